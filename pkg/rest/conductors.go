package rest

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/ingot-metal/ingot/api/ironic"
)

// Conductor is a replica of the service.
type Conductor struct {
	Hostname         string
	Group            string
	Alive            bool
	Drivers          []string
	Created, Updated time.Time // zero: not known
}

// conductorKind is what a conductor has (ironic/api/controllers/v1/conductor.py).
var conductorKind = kind{name: "conductor", plural: "conductors", fields: []field{
	{name: "alive", summary: true, object: true},
	{name: "conductor_group", summary: true},
	{name: "created_at"},
	{name: "drivers", object: true},
	{name: "hostname", summary: true},
	{name: "updated_at"},
}}

// allDrivers are the drivers that every replica has.
var allDrivers = []string{"fake-hardware", "idrac", "ipmi", "redfish"}

func (s *Server) conductors() []Conductor {
	if s.Conductors != nil {
		return s.Conductors()
	}
	return []Conductor{{Hostname: s.Nodes.Conductor, Alive: true, Drivers: allDrivers}}
}

func (s *Server) conductorRoutes() []route {
	const since, action = ironic.Version(49), "baremetal:conductor:get"
	return []route{
		{method: http.MethodGet, path: "/conductors", since: since, late: http.StatusNotFound, action: action, do: listConductors},
		{method: http.MethodGet, path: "/conductors/{ident}", since: since, late: http.StatusNotFound, action: action, do: showConductor},
	}
}

func (r Conductor) doc() (doc, error) {
	at := func(t time.Time) any {
		if t.IsZero() {
			return nil
		}
		return t.UTC().Format(time.RFC3339)
	}
	return conductorKind.docOf(map[string]any{
		"hostname": r.Hostname, "conductor_group": r.Group, "alive": r.Alive, "drivers": append([]string{}, r.Drivers...),
		"created_at": at(r.Created), "updated_at": at(r.Updated),
	})
}

func listConductors(c *call) (*reply, error) {
	if err := c.knows(append([]string{"fields", "detail"}, pageQuery...)...); err != nil {
		return nil, err
	}
	detail, _, err := flag(c.URL.Query(), "detail")
	if err != nil {
		return nil, err
	}
	if detail && c.URL.Query().Has("fields") {
		return nil, badRequest("Can not specify ?detail=True and fields in the same request.")
	}
	v, err := c.view(&conductorKind, detail)
	if err != nil {
		return nil, err
	}
	var items []item
	for _, r := range c.s.conductors() {
		d, err := r.doc()
		if err != nil {
			return nil, err
		}
		items = append(items, item{id: r.Hostname, doc: d})
	}
	return c.list(&conductorKind, v, items, func(it item) []byte { return c.linkMembers("links", "conductors/"+it.id) })
}

func showConductor(c *call) (*reply, error) {
	if err := c.knows("fields"); err != nil {
		return nil, err
	}
	v, err := c.view(&conductorKind, true)
	if err != nil {
		return nil, err
	}
	for _, r := range c.s.conductors() {
		if r.Hostname != c.PathValue("ident") {
			continue
		}
		d, err := r.doc()
		if err != nil {
			return nil, err
		}
		return &reply{status: http.StatusOK, raw: json.RawMessage(v.append(nil, d, c.linkMembers("links", "conductors/"+r.Hostname)...))}, nil
	}
	return nil, notFound("Conductor %s could not be found.", c.PathValue("ident"))
}
