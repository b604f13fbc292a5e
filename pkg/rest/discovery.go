package rest

import (
	"net/http"

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

// v1 lists the resources of the version.
func v1(c *call) (*reply, error) {
	body := map[string]any{
		"id": "v1", "version": ownVersion(c), "links": ownVersion(c).Links,
		"media_types": []map[string]string{{"base": "application/json", "type": "application/vnd.openstack.ironic.v1+json"}},
	}
	for _, r := range []struct {
		name  string
		since ironic.Version
	}{{"nodes", 1}} {
		if c.version >= r.since {
			body[r.name] = c.links(r.name + "/")
		}
	}
	return ok(body)
}
