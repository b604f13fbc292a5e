package rest

import "net/http"

// ruleRoutes answer for inspection rules as Ironic does below the version that brought
// them (1.96). Inspection here carries none out: one that is taken, and then does
// nothing, would be worse than none.
func (s *Server) ruleRoutes() []route {
	rule := func(method, path, verb string, answer error) route {
		return route{method: method, path: path, action: "baremetal:inspection_rule:" + verb, do: func(c *call) (*reply, error) {
			if err := c.may(c.route.action, nil); err != nil {
				return nil, err
			}
			return nil, answer
		}}
	}
	return []route{
		rule(http.MethodGet, "/inspection_rules", "get", noRoute()),
		rule(http.MethodPost, "/inspection_rules", "create", notAllowed("")),
		rule(http.MethodGet, "/inspection_rules/{ident}", "get", noRoute()),
		rule(http.MethodPatch, "/inspection_rules/{ident}", "update", notAllowed("")),
		rule(http.MethodDelete, "/inspection_rules/{ident}", "delete", notAllowed("")),
	}
}
