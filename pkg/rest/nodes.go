package rest

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/node"
)

func (s *Server) nodeRoutes() []route {
	return slices.Concat([]route{
		{method: http.MethodGet, path: "/nodes", action: "baremetal:node:list", query: nodeQuery("fields", "detail"), do: func(c *call) (*reply, error) { return c.listNodes(false) }},
		{method: http.MethodGet, path: "/nodes/detail", action: "baremetal:node:list", query: nodeQuery(), do: func(c *call) (*reply, error) { return c.listNodes(true) }},
		{method: http.MethodPost, path: "/nodes", action: "baremetal:node:create", query: []string{}, do: createNode},
		{method: http.MethodGet, path: "/nodes/{node}", action: "baremetal:node:get", query: []string{"fields"}, do: showNode},
		{method: http.MethodPatch, path: "/nodes/{node}", action: "baremetal:node:update", query: []string{"reset_interfaces"}, do: patchNode},
		{method: http.MethodDelete, path: "/nodes/{node}", action: "baremetal:node:delete", query: []string{}, do: deleteNode},
	}, s.stateRoutes(), s.maintenanceRoutes(), s.validateRoutes(), s.traitRoutes(), s.driverRoutes())
}

// Names of nodes: RFC 3986's unreserved characters; before 1.10 those of a host.
var (
	logicalName = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,255}$`)
	hostName    = regexp.MustCompile(`(?i)^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?$`)
)

// reservedNames are parts of paths: a node of such a name could not be reached.
var reservedNames = []string{
	"maintenance", "management", "states", "vendor_passthru", "detail", "validate",
	"allocation", "bios", "children", "firmware", "history", "inventory", "portgroups", "ports", "traits", "vifs", "vmedia", "volume",
}

// validName reports whether a version takes a text for a name.
func (c *call) validName(name string) bool {
	if c.version < 10 {
		return len(name) <= 255 && hostName.MatchString(name)
	}
	return logicalName.MatchString(name)
}

// node finds the node of the path.
func (c *call) node() (*node.Node, error) { return c.findNode(c.PathValue("node")) }

// findNode finds a node by its UUID, or its name where the version has names.
func (c *call) findNode(ident string) (*node.Node, error) {
	if !uuidLike(ident) {
		switch {
		case slices.Contains(reservedNames, ident):
			return nil, noRoute()
		case !logicalName.MatchString(ident):
			return nil, &fault{status: http.StatusBadRequest, title: "Bad Request", text: "Expected UUID or name for node: " + string(clip([]byte(ident)))}
		case c.version < 5:
			return nil, notFound("Node %s could not be found.", ident)
		case !c.validName(ident):
			return nil, badRequest("Expected a logical name or UUID but received %s.", ident)
		}
	}
	if n, found := c.s.Nodes.Get(ident); found {
		return n, nil
	}
	// Until 1.91 an ending of .json said no more than the Accept header.
	if bare, ended := strings.CutSuffix(ident, ".json"); ended && c.version < 91 {
		if n, found := c.s.Nodes.Get(bare); found {
			return n, nil
		}
	}
	return nil, notFound("Node %s could not be found.", ident)
}

// nodeDoc is a node as the version shows it.
func (c *call) nodeDoc(n *node.Node) (doc, error) {
	d, err := c.s.docs.get(n.UUID, n.Version, func() (doc, error) { return nodes.docOf(withoutSecrets(n.Node)) })
	if err != nil {
		return nil, err
	}
	if c.version < 39 && n.ProvisionState != nil {
		if shown := c.shownState(n.ProvisionState); shown == nil || *shown != *n.ProvisionState {
			d = slices.Clone(d)
			if d[provisionStateField], err = json.Marshal(shown); err != nil {
				return nil, err
			}
		}
	}
	return c.redacted(n, d), nil
}

var lastErrorField = nodeField("last_error")

var provisionStateField = slices.IndexFunc(nodes.fields, func(f field) bool { return f.name == "provision_state" })

// shownState is a state as the version names it.
func (c *call) shownState(st *ironic.State) *ironic.State {
	switch {
	case st == nil || c.version < 2 && *st == ironic.Available:
		return nil
	case c.version < 39 && *st == ironic.InspectWait:
		old := ironic.Inspecting
		return &old
	}
	return st
}

// nodeLinks are the links of a node, and in a whole document those of what belongs
// to it.
func (c *call) nodeLinks(out []byte, at, id string, chosen bool) []byte {
	out = appendLinks(out, "links", at, "nodes/", id)
	for _, sub := range []struct {
		name  string
		since ironic.Version
	}{{"ports", 0}, {"states", 14}, {"portgroups", 24}, {"volume", 32}} {
		if !chosen && c.version >= sub.since {
			out = appendLinks(append(out, ',', ' '), sub.name, at, "nodes/", id, "/", sub.name)
		}
	}
	return out
}

func (c *call) listNodes(detail bool) (*reply, error) {
	v, err := c.view(&nodes, detail)
	if err != nil {
		return nil, err
	}
	q := c.URL.Query()
	if marker := q.Get("marker"); marker != "" && !uuidLike(marker) {
		return nil, badRequest("Expected UUID for marker: %s", clip([]byte(marker)))
	}
	keep, err := c.nodeFilter(q)
	if err != nil {
		return nil, err
	}
	all := c.visible()
	items := make([]item, 0, len(all))
	sorted := q.Get("sort_key") != "" // by what documents say
	for _, n := range all {
		if !keep(n) {
			continue
		}
		it := item{id: n.UUID, at: n.Created, of: n}
		if sorted {
			if it.doc, err = c.nodeDoc(n); err != nil {
				return nil, err
			}
		}
		items = append(items, it)
	}
	c.s.docs.keep(len(c.s.Nodes.List()))
	if q.Has("instance_uuid") {
		q.Del("limit") // an instance has one node: there is no next page
		c.URL.RawQuery = q.Encode()
	}
	at, links := base(c.Request), []byte(nil)
	show := func(out []byte, it item) ([]byte, error) {
		if it.doc == nil {
			if it.doc, err = c.nodeDoc(it.of); err != nil {
				return nil, err
			}
		}
		links = c.nodeLinks(links[:0], at, it.id, v.chosen)
		return v.append(out, it.doc, links...), nil
	}
	return c.page(&nodes, items, show, c.nodeMark)
}

// nodeMark is where a node stands that no filter lets through any more.
func (c *call) nodeMark(id string) (item, bool) {
	n, found := c.s.Nodes.Get(id)
	if !found || !c.sees(n) {
		return item{}, false
	}
	d, err := c.nodeDoc(n)
	return item{id: n.UUID, at: n.Created, doc: d}, err == nil
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
	return &reply{status: status, raw: v.append(make([]byte, 0, 4096), d, c.nodeLinks(nil, base(c.Request), n.UUID, v.chosen)...)}, nil
}

func showNode(c *call) (*reply, error) {
	n, err := c.node()
	if err != nil {
		return nil, err
	}
	return c.answerNode(http.StatusOK, n)
}

func createNode(c *call) (*reply, error) {
	d, err := c.newNode()
	if err != nil {
		return nil, err
	}
	if err := c.mayCreate(&d); err != nil {
		return nil, err
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
	if err := c.mayPatch(n, changes); err != nil {
		return nil, err
	}
	to, err := c.changedNode(n, changes)
	if err != nil {
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
	if err := deletable(&n.Node); err != nil {
		return nil, err
	}
	return nil, c.s.Nodes.Delete(c.Context(), n)
}
