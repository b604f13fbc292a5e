package rest

import (
	"net/http"
	"slices"
)

// eventKinds are what Neutron tells of its ports.
var eventKinds = []string{"network.bind_port", "network.unbind_port", "network.delete_port"}

var eventFields = kind{name: "event", fields: []field{
	{name: "event", write: onCreate},
	{name: "port_id", write: onCreate, check: uuidField("port_id")},
	{name: "mac_address", write: onCreate, check: macField("mac_address")},
	{name: "status", write: onCreate, check: textField(255)},
	{name: "device_id", write: onCreate, check: uuidField("device_id")},
	{name: "binding:host_id", write: onCreate, check: uuidField("binding:host_id")},
	{name: "binding:vnic_type", write: onCreate, check: textField(255)},
}}

func (s *Server) eventRoutes() []route {
	return []route{{method: http.MethodPost, path: "/events", since: 54, late: http.StatusNotFound, action: "baremetal:events:post", do: takeEvents}}
}

// takeEvents takes note of events, as Ironic does: nothing follows from them.
func takeEvents(c *call) (*reply, error) {
	var body struct {
		Events []map[string]any `json:"events"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	if body.Events == nil {
		return nil, badRequest("Schema error for evts: 'events' is a required property")
	}
	if len(body.Events) == 0 {
		return nil, badRequest("Schema error for evts: [] is too short")
	}
	form := &resource{kind: &eventFields, arg: "evts", required: []string{"event", "port_id", "mac_address", "status"}}
	for _, e := range body.Events {
		name, _ := e["event"].(string)
		if !slices.Contains(eventKinds, name) {
			return nil, badRequest("Schema error for evts: %s is not one of ['network.bind_port', 'network.unbind_port', 'network.delete_port']", python(e["event"]))
		}
		if err := form.accepts(c, e); err != nil {
			return nil, err
		}
	}
	for _, e := range body.Events {
		c.s.Log.Debug("external event", "event", e["event"], "port", e["port_id"], "status", e["status"])
	}
	return nil, nil
}
