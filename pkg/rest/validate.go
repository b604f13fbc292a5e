package rest

import (
	"net/http"
	"strings"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/node"
)

func (s *Server) validateRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/nodes/{node}/validate", action: "baremetal:node:validate", query: []string{}, do: func(c *call) (*reply, error) {
			n, err := c.node()
			if err != nil {
				return nil, err
			}
			return validated(n)
		}},
		{method: http.MethodGet, path: "/nodes/validate", action: "baremetal:node:validate", query: []string{"node", "node_uuid"}, do: func(c *call) (*reply, error) {
			q := c.URL.Query()
			ident := q.Get("node_uuid")
			switch {
			case ident != "" && !uuidLike(ident):
				return nil, badRequest("Expected UUID for node_uuid: %s", clip([]byte(ident)))
			case ident == "" && q.Get("node") == "":
				return nil, badRequest("Expected a logical name or UUID but received None.")
			case ident == "":
				ident = q.Get("node")
				if !uuidLike(ident) && c.version < 5 {
					return nil, notAcceptable("")
				}
			}
			n, err := c.findNode(ident)
			if err == nil {
				err = c.mayNode("baremetal:node:validate", ident, n)
			}
			if err != nil {
				return nil, err
			}
			return validated(n)
		}},
	}
}

type validation struct {
	Result bool   `json:"result"`
	Reason string `json:"reason,omitempty"`
}

// validated says of each interface whether it could do its work.
func validated(n *node.Node) (*reply, error) {
	all := map[string]validation{}
	for _, t := range interfaceTypes {
		if t.name != "vendor" { // whose methods each have needs of their own
			reason := unfit(&n.Node, t.name)
			all[t.name] = validation{Result: reason == "", Reason: reason}
		}
	}
	return ok(all)
}

// unfit says why an interface of a node could not do its work; "" if it could.
func unfit(n *ironic.Node, kind string) string {
	impl := ""
	for _, t := range interfaceTypes {
		if t.name == kind {
			impl = *t.of(n)
		}
	}
	h, known := findHardware(n.Driver)
	switch {
	case !known:
		return "Could not find the following driver(s) or hardware type(s): " + n.Driver + "."
	case strings.HasPrefix(impl, "no-"):
		return "Driver " + n.Driver + " does not support " + kind + " (disabled or not implemented)."
	case impl == "fake" || impl == "noop":
		return ""
	}
	switch kind {
	case "power", "management":
		var missing []string
		for _, key := range h.required {
			if text, _ := n.DriverInfo[key].(string); text == "" {
				missing = append(missing, key)
			}
		}
		if len(missing) > 0 {
			return "Missing the following parameters in the node's driver_info: " + strings.Join(missing, ", ") + "."
		}
	case "deploy":
		return noImage(n, impl)
	}
	return ""
}

// noImage says what a deployment lacks. A deploy method of one's own needs no image;
// a ramdisk may come as an ISO.
func noImage(n *ironic.Node, impl string) string {
	has := func(key string) bool { text, _ := n.InstanceInfo[key].(string); return text != "" }
	switch {
	case impl == "custom-agent", has("image_source"), has("boot_iso"):
		return ""
	case impl == "ramdisk" && has("kernel") && has("ramdisk"):
		return ""
	}
	return "Cannot validate image information for node " + n.UUID + " because one or more parameters are missing from its instance_info. Missing are: ['image_source']"
}
