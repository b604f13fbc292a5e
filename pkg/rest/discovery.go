package rest

import (
	"net/http"
	"strings"

	"github.com/ingot-metal/ingot/api/ironic"
)

type link struct {
	Href string `json:"href"`
	Rel  string `json:"rel"`
}

// links are those of a resource: its place, and the place without a version.
func (c *call) links(path string) []link {
	return []link{{Href: base(c.Request) + "/v1/" + path, Rel: "self"}, {Href: base(c.Request) + "/" + path, Rel: "bookmark"}}
}

type version struct {
	ID         string `json:"id"`
	Links      []link `json:"links"`
	Status     string `json:"status"`
	MinVersion string `json:"min_version"`
	Version    string `json:"version"`
}

func (s *Server) discoveryRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/{$}", do: root},
		{method: http.MethodGet, path: "/v1", do: v1},
	}
}

func ownVersion(c *call) version {
	return version{
		ID: "v1", Status: "CURRENT", MinVersion: ironic.MinVersion.String(), Version: ironic.MaxVersion.String(),
		Links: []link{{Href: base(c.Request) + "/v1/", Rel: "self"}},
	}
}

func root(c *call) (*reply, error) {
	v := ownVersion(c)
	return ok(map[string]any{
		"name":            "OpenStack Ironic API",
		"description":     "ingot answers as Ironic does: bare-metal hosts, the same that kubectl shows.",
		"default_version": v,
		"versions":        []version{v},
	})
}

// listed are those that the version's document names, with the version that
// brought each (ironic/api/controllers/v1/__init__.py).
var listed = []struct {
	name  string
	since ironic.Version
}{
	{"nodes", 0},
	{"ports", 0},
	{"chassis", 0},
	{"drivers", 0},
	{"lookup", 22},
	{"heartbeat", 22},
	{"portgroups", 23},
	{"volume", 32},
	{"conductors", 49},
	{"allocations", 52},
	{"events", 54},
	{"deploy_templates", 55},
	{"shards", 82},
	{"continue_inspection", 84},
	{"runbooks", 92},
	{"inspection_rules", 96},
}

// v1 lists the resources of the version that are served.
func v1(c *call) (*reply, error) {
	v := ownVersion(c)
	body := map[string]any{
		"id": "v1", "version": v, "links": v.Links,
		"media_types": map[string]string{"base": "application/json", "type": "application/vnd.openstack.ironic.v1+json"},
	}
	for _, r := range listed {
		if c.version >= r.since && c.s.serves("/"+r.name) {
			body[r.name] = c.links(r.name + "/")
		}
	}
	return ok(body)
}

// serves reports whether there is an endpoint at a path or below it.
func (s *Server) serves(path string) bool {
	for p := range s.routes {
		if p == path || strings.HasPrefix(p, path+"/") {
			return true
		}
	}
	return false
}
