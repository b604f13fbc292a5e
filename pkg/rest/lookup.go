package rest

import (
	"net/http"
	"slices"

	"github.com/ingot-metal/ingot/api/ironic"
)

// The three calls of ironic-python-agent. Machines here run an agent of another kind,
// which speaks another protocol at another door, so that there is never a node to be
// found or a token to be right: they answer as Ironic does then. They are open to
// everybody, as Ironic's are, and tell nobody anything.

func (s *Server) ramdiskRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/lookup", since: 22, late: http.StatusNotFound, do: lookup},
		{method: http.MethodPost, path: "/heartbeat/{ident}", since: 22, late: http.StatusNotFound, do: heartbeat},
		{method: http.MethodPost, path: "/continue_inspection", do: continueInspection},
	}
}

func nothingFound() error { return notFound("Resource could not be found.") }

func lookup(c *call) (*reply, error) {
	if err := c.knows("addresses", "node_uuid"); err != nil {
		return nil, err
	}
	q := c.URL.Query()
	id := q.Get("node_uuid")
	if _, ok := canonical(id); id != "" && !ok {
		return nil, badRequest("Expected UUID for node_uuid: %s", id)
	}
	valid := slices.ContainsFunc(commaList(q["addresses"]), func(a string) bool { _, ok := normalMAC(a); return ok })
	if !valid && id == "" {
		return nil, badRequest("At least one of 'addresses' and 'node_uuid' parameters is required")
	}
	return nil, nothingFound()
}

func heartbeat(c *call) (*reply, error) {
	var body map[string]any
	if err := c.read(&body); err != nil {
		return nil, err
	}
	known := []string{"callback_url", "agent_version", "agent_token", "agent_verify_ca", "agent_status", "agent_status_message"}
	for name := range body {
		if !slices.Contains(known, name) {
			return nil, badRequest("Unexpected arguments: %s", name)
		}
	}
	switch has := func(name string) bool { return body[name] != nil }; {
	case !has("callback_url"):
		return nil, badRequest("Missing mandatory parameter: callback_url")
	case has("agent_version") && c.version < 36:
		return nil, badRequest(`Field "agent_version" not recognised`)
	case (has("agent_status") || has("agent_status_message")) && c.version < 72:
		return nil, badRequest(`Fields "agent_status" and "agent_status_message" not recognised.`)
	case has("agent_verify_ca") && c.version < 68:
		return nil, badRequest(`Field "agent_verify_ca" not recognised in this version`)
	}
	ident := c.PathValue("ident")
	switch _, found := c.s.Nodes.Get(ident); {
	case !found:
		return nil, notFound("Node %s could not be found.", ident)
	case body["agent_token"] == nil:
		return nil, badRequest("Agent token is required for heartbeat processing.")
	}
	return nil, badRequest("Invalid or missing agent token received.")
}

// compatInspection is the version of ironic-inspector's clients, who name none.
const compatInspection, ownInspection = ironic.MinVersion, ironic.Version(84)

func continueInspection(c *call) (*reply, error) {
	id := c.URL.Query().Get("node_uuid")
	if c.version != compatInspection && c.version < ownInspection || id != "" && c.version < ownInspection {
		return nil, notFound("API version 1.%d or newer is required", ownInspection)
	}
	if err := c.knows("node_uuid"); err != nil {
		return nil, err
	}
	var body map[string]any
	if err := c.read(&body); err != nil {
		return nil, err
	}
	inventory, ok := body["inventory"].(map[string]any)
	if !ok {
		return nil, badRequest("Schema error for data: 'inventory' is a required property")
	}
	list, ok := inventory["interfaces"].([]any)
	if !ok || len(list) == 0 {
		return nil, badRequest("Schema error for data: 'interfaces' is a required property")
	}
	for _, e := range list {
		nic, _ := e.(map[string]any)
		if _, ok := nic["mac_address"].(string); !ok {
			return nil, badRequest("Schema error for data: 'mac_address' is a required property")
		}
	}
	return nil, nothingFound()
}
