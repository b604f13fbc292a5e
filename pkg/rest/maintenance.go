package rest

import (
	"net/http"

	"github.com/ingot-metal/ingot/api/ironic"
)

func (s *Server) maintenanceRoutes() []route {
	return []route{
		{method: http.MethodPut, path: "/nodes/{node}/maintenance", action: "baremetal:node:set_maintenance", query: []string{"reason"}, do: setMaintenance},
		{method: http.MethodDelete, path: "/nodes/{node}/maintenance", action: "baremetal:node:clear_maintenance", query: []string{}, do: clearMaintenance},
	}
}

// setMaintenance takes the reason from the body, or as old clients send it from the
// query.
func setMaintenance(c *call) (*reply, error) {
	args, err := c.arguments("reason")
	if err != nil {
		return nil, err
	}
	text, err := textArgument(args, "reason")
	if err != nil {
		return nil, err
	}
	if _, given := args["reason"]; !given {
		text = c.URL.Query().Get("reason")
	}
	if err := isText(text); err != nil {
		return nil, badRequest("Invalid input for field/attribute reason. %v", err)
	}
	return c.maintain(func(d *ironic.Node) {
		d.Maintenance, d.MaintenanceReason = true, nil
		if text != "" {
			d.MaintenanceReason = &text
		}
	})
}

func clearMaintenance(c *call) (*reply, error) {
	return c.maintain(func(d *ironic.Node) { d.Maintenance, d.MaintenanceReason, d.Fault = false, nil, nil })
}

// maintain is allowed in every state: maintenance is how a node on a wrong way is
// stopped.
func (c *call) maintain(change func(*ironic.Node)) (*reply, error) {
	n, err := c.node()
	if err != nil {
		return nil, err
	}
	to := n.Clone()
	change(&to)
	if _, err := c.s.Nodes.Update(c.Context(), n, to); err != nil {
		return nil, err
	}
	return accepted()
}
