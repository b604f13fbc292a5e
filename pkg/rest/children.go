package rest

import "net/http"

func (s *Server) childRoutes() []route {
	return []route{{method: http.MethodGet, path: "/nodes/{node}/children", since: 83, action: "baremetal:node:get", do: listChildren}}
}

// listChildren names the nodes whose parent is the path's.
func listChildren(c *call) (*reply, error) {
	n, err := c.node()
	if err != nil {
		return nil, err
	}
	ids := []string{}
	for _, child := range c.visible() {
		if p := child.ParentNode; p != nil && (*p == n.UUID || n.Name != nil && *p == *n.Name) {
			ids = append(ids, child.UUID)
		}
	}
	return ok(map[string]any{"children": ids})
}
