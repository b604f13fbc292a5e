package rest

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/ingot-metal/ingot/pkg/node"
)

// tenantVIF is where a port keeps the virtual interface that is attached to it.
const tenantVIF = "tenant_vif_port_id"

func (s *Server) vifRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/nodes/{node}/vifs", since: 28, action: "baremetal:node:vif:list", do: listVIFs},
		{method: http.MethodPost, path: "/nodes/{node}/vifs", since: 28, action: "baremetal:node:vif:attach", do: attachVIF},
		{method: http.MethodDelete, path: "/nodes/{node}/vifs/{vif}", since: 28, action: "baremetal:node:vif:detach", do: detachVIF},
	}
}

// plug is a port or port group of a node.
type plug struct {
	r      *resource
	stored *node.Object
	*object
}

// plugs are what interfaces may be attached to: port groups first, then ports that
// boot from the network, then the others.
func (c *call) plugs(n *node.Node) ([]plug, error) {
	var groups, booting, others []plug
	for _, r := range []*resource{c.s.portgroupResource(), c.s.portResource()} {
		for _, o := range r.all(c) {
			if o.Node != n.UUID {
				continue
			}
			is, err := r.open(c, o)
			if err != nil {
				return nil, err
			}
			p := plug{r, o, is}
			switch {
			case r.of == node.KindPortGroup:
				groups = append(groups, p)
			case is.flag("pxe_enabled"):
				booting = append(booting, p)
			default:
				others = append(others, p)
			}
		}
	}
	return slices.Concat(groups, booting, others), nil
}

func (p plug) vif() string {
	s, _ := p.object.object("internal_info")[tenantVIF].(string)
	return s
}

// attach stores the interface with the port; an empty one detaches.
func (p plug) attach(c *call, vif string) error {
	info := map[string]any{}
	for k, v := range p.object.object("internal_info") {
		info[k] = v
	}
	delete(info, tenantVIF)
	if vif != "" {
		info[tenantVIF] = vif
	}
	p.fields["internal_info"] = info
	if p.r.update != nil {
		_, err := p.r.update(c, p.stored, p.object)
		return err
	}
	_, err := p.r.restore(c, p.stored, p.object)
	return err
}

// takesVIFs reports whether a node's network interface does anything with virtual
// interfaces. noop does not: what is attached to it is nowhere.
func takesVIFs(n *node.Node) bool { return n.NetworkInterface != "" && n.NetworkInterface != "noop" }

func listVIFs(c *call) (*reply, error) {
	n, err := c.node()
	if err != nil {
		return nil, err
	}
	list := []map[string]string{}
	if takesVIFs(n) {
		plugs, err := c.plugs(n)
		if err != nil {
			return nil, err
		}
		for _, p := range plugs {
			if vif := p.vif(); vif != "" {
				list = append(list, map[string]string{"id": vif})
			}
		}
	}
	return ok(map[string]any{"vifs": list})
}

func attachVIF(c *call) (*reply, error) {
	n, err := c.node()
	if err != nil {
		return nil, err
	}
	var body map[string]json.RawMessage
	if err := c.read(&body); err != nil {
		return nil, err
	}
	vif := decodeFields(body)
	if _, given := vif["id"]; !given {
		return nil, badRequest("Schema error for vif: 'id' is a required property")
	}
	id, isText := vif["id"].(string)
	if !isText {
		return nil, badRequest("Schema error for vif: %s is not of type 'string'", python(vif["id"]))
	}
	if _, isUUID := canonical(id); !isUUID && !isLogicalName(id) {
		return nil, badRequest("Expected UUID or name for id: %s", id)
	}
	port, group := "", ""
	if c.version >= 67 {
		port, _ = vif["port_uuid"].(string)
		group, _ = vif["portgroup_uuid"].(string)
		if port != "" && group != "" {
			return nil, badRequest("Cannot specify both port_uuid and portgroup_uuid")
		}
	}
	if !takesVIFs(n) {
		return nil, nil
	}
	c.s.kept.writing.Lock()
	defer c.s.kept.writing.Unlock()
	plugs, err := c.plugs(n)
	if err != nil {
		return nil, err
	}
	p, err := freePlug(plugs, id, port, group)
	if err != nil {
		return nil, err
	}
	return nil, p.attach(c, id)
}

// freePlug finds what an interface is attached to: a port group with ports of which
// none is taken, or a port that is in none or whose group has taken ports.
func freePlug(plugs []plug, vif, port, group string) (plug, error) {
	members, taken := map[string]int{}, map[string]bool{}
	for _, p := range plugs {
		if p.vif() == vif {
			what := "Port"
			if p.r.of == node.KindPortGroup {
				what = "Portgroup"
			}
			return plug{}, conflict("Unable to attach VIF because VIF %s is already attached to Ironic %s %s", vif, what, p.id)
		}
		if g := p.text("portgroup_uuid"); g != "" {
			members[g]++
			taken[g] = taken[g] || p.vif() != ""
		}
	}
	for _, p := range plugs {
		isGroup, of := p.r.of == node.KindPortGroup, p.text("portgroup_uuid")
		switch {
		case p.vif() != "", port != "" && p.id != port, group != "" && p.id != group:
		case isGroup && (taken[p.id] || members[p.id] == 0):
		case !isGroup && port == "" && of != "" && !taken[of]:
		default:
			return p, nil
		}
	}
	return plug{}, badRequest("Unable to attach VIF %s, not enough free physical ports.", vif)
}

func detachVIF(c *call) (*reply, error) {
	n, err := c.node()
	if err != nil {
		return nil, err
	}
	id := c.PathValue("vif")
	if _, isUUID := canonical(id); !isUUID && !isLogicalName(id) {
		return nil, badRequest("Expected UUID or name for vif_id: %s", id)
	}
	if !takesVIFs(n) {
		return nil, nil
	}
	c.s.kept.writing.Lock()
	defer c.s.kept.writing.Unlock()
	plugs, err := c.plugs(n)
	if err != nil {
		return nil, err
	}
	for _, p := range plugs {
		if p.vif() == id {
			return nil, p.attach(c, "")
		}
	}
	return nil, badRequest("Unable to detach VIF %s from node %s because it is not attached to it.", id, n.UUID)
}
