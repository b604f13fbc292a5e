package rest

import (
	"encoding/json"
	"net/http"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/node"
)

func (s *Server) nodeRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/nodes", action: "baremetal:node:list", do: func(c *call) (*reply, error) { return c.listNodes(false) }},
		{method: http.MethodGet, path: "/nodes/detail", action: "baremetal:node:list", do: func(c *call) (*reply, error) { return c.listNodes(true) }},
		{method: http.MethodPost, path: "/nodes", action: "baremetal:node:create", do: createNode},
		{method: http.MethodGet, path: "/nodes/{node}", action: "baremetal:node:get", do: showNode},
		{method: http.MethodPatch, path: "/nodes/{node}", action: "baremetal:node:update", do: patchNode},
		{method: http.MethodDelete, path: "/nodes/{node}", action: "baremetal:node:delete", do: deleteNode},
	}
}

// node finds the node of the path.
func (c *call) node() (*node.Node, error) {
	ident := c.PathValue("node")
	n, found := c.s.Nodes.Get(ident)
	if !found {
		return nil, notFound("Node %s could not be found.", ident)
	}
	return n, nil
}

func (c *call) nodeDoc(n *node.Node) (doc, error) {
	return c.s.docs.get(n.UUID, n.Version, func() (doc, error) { return nodes.docOf(n.Node) })
}

func (c *call) nodeLinks(id string) []byte { return c.linkMembers("links", "nodes/"+id) }

func (c *call) listNodes(detail bool) (*reply, error) {
	v, err := c.view(&nodes, detail)
	if err != nil {
		return nil, err
	}
	var items []item
	for _, n := range c.s.Nodes.List() {
		d, err := c.nodeDoc(n)
		if err != nil {
			return nil, err
		}
		items = append(items, item{id: n.UUID, doc: d})
	}
	return c.list(&nodes, v, items, func(it item) []byte { return c.nodeLinks(it.id) })
}

// answerNode shows one node.
func (c *call) answerNode(status int, n *node.Node) (*reply, error) {
	v, err := c.view(&nodes, true)
	if err != nil {
		return nil, err
	}
	d, err := c.nodeDoc(n)
	if err != nil {
		return nil, err
	}
	return &reply{status: status, raw: v.append(nil, d, c.nodeLinks(n.UUID)...)}, nil
}

func showNode(c *call) (*reply, error) {
	n, err := c.node()
	if err != nil {
		return nil, err
	}
	return c.answerNode(http.StatusOK, n)
}

func createNode(c *call) (*reply, error) {
	var body map[string]any
	if err := c.read(&body); err != nil {
		return nil, err
	}
	if err := c.sent(&nodes, body, onCreate); err != nil {
		return nil, err
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	var d ironic.Node
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, badRequest("%v", err)
	}
	n, err := c.s.Nodes.Create(c.Context(), d)
	if err != nil {
		return nil, err
	}
	out, err := c.answerNode(http.StatusCreated, n)
	if err == nil {
		out.location = "/nodes/" + n.UUID
	}
	return out, err
}

func patchNode(c *call) (*reply, error) {
	n, err := c.node()
	if err != nil {
		return nil, err
	}
	changes, err := c.readPatch(&nodes)
	if err != nil {
		return nil, err
	}
	var to ironic.Node
	if err := nodes.patched(n.Node, changes, &to); err != nil {
		return nil, err
	}
	if n, err = c.s.Nodes.Update(c.Context(), n, to); err != nil {
		return nil, err
	}
	return c.answerNode(http.StatusOK, n)
}

func deleteNode(c *call) (*reply, error) {
	n, err := c.node()
	if err != nil {
		return nil, err
	}
	return nil, c.s.Nodes.Delete(c.Context(), n)
}
