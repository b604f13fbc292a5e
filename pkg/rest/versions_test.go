package rest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/ingot-metal/ingot/api/ironic"
)

// around are the versions on either side of a change.
func around(t *testing.T, d *door, minor ironic.Version, check func(t *testing.T, before, at *door)) {
	t.Helper()
	if minor <= ironic.MinVersion || minor > ironic.MaxVersion {
		return
	}
	t.Run(minor.String(), func(t *testing.T) {
		before, at := *d.version((minor - 1).String()), *d.version(minor.String())
		before.t, at.t = t, t
		check(t, &before, &at)
	})
}

func TestChangesAreAllVersionsInOrder(t *testing.T) {
	for i, ch := range changes {
		if int(ch.minor) != i+1 || ch.what == "" {
			t.Errorf("row %d is of %s: %q", i, ch.minor, ch.what)
		}
	}
	if last := changes[len(changes)-1].minor; last != ironic.MaxVersion {
		t.Errorf("the table ends with %s, the greatest version is %s", last, ironic.MaxVersion)
	}
}

// The tables that serve and the table of changes say the same.
func TestChangesAreThoseOfTheTables(t *testing.T) {
	named := map[string]ironic.Version{}
	for _, ch := range changes {
		for _, f := range ch.fields {
			named[f] = ch.minor
		}
		for _, f := range ch.filters {
			name, _, _ := strings.Cut(f, "=")
			named[name] = ch.minor
		}
		for _, v := range ch.verbs {
			named["verb "+v] = ch.minor
		}
	}
	for _, f := range nodes.fields {
		if got := named["node."+f.name]; got != f.since {
			t.Errorf("node.%s is of %s in its table and of %s in that of changes", f.name, f.since, got)
		}
	}
	for _, f := range nodeFilters {
		if got := named["nodes?"+f.name]; got != f.since {
			t.Errorf("filter %s is of %s in its table and of %s in that of changes", f.name, f.since, got)
		}
	}
	for verb, since := range verbSince {
		if got := named["verb "+string(verb)]; got != since {
			t.Errorf("verb %s is of %s in its table and of %s in that of changes", verb, since, got)
		}
	}
}

// A filter of any list is refused below the version that its table names.
func TestFiltersOfTables(t *testing.T) {
	d := newDoor(t)
	tried := 0
	for _, k := range []*kind{&portKind, &portgroupKind, &allocationKind, &connectorKind, &volumeTargetKind, &runbookKind} {
		for _, f := range k.filters {
			if f.Since == 0 {
				continue
			}
			tried++
			for v, want := range map[ironic.Version]bool{f.Since - 1: false, f.Since: true} {
				code, out, _ := d.version(v.String()).do(http.MethodGet, "/v1/"+k.plural+"?"+f.Name+"=x", nil)
				if (code != http.StatusNotAcceptable) != want || !want && !strings.Contains(toText(out), f.Name+" came with "+f.Since.String()) {
					t.Errorf("%s?%s at %s: %d %v", k.plural, f.Name, v, code, out)
				}
			}
		}
	}
	if tried < 6 {
		t.Errorf("%d filters of a version", tried)
	}
}

// A field is hidden, cannot be asked for and cannot be written below its version
// (tempest's *_hidden cases).
func TestNodeFieldsAtTheirVersions(t *testing.T) {
	d := newDoor(t)
	id, _ := d.want(http.StatusCreated, http.MethodPost, "/v1/nodes", map[string]any{"driver": "fake-hardware"})["uuid"].(string)
	path := "/v1/nodes/" + id
	values := map[string]any{
		"automated_clean": false, "disable_power_off": true, "protected": false, "retired": false, "name": "x", "network_data": map[string]any{},
		"conductor_group": "g", "parent_node": id,
	}
	for _, ch := range changes {
		for _, name := range ch.fields {
			name, ours := strings.CutPrefix(name, "node.")
			if !ours {
				continue
			}
			around(t, d, ch.minor, func(t *testing.T, before, at *door) {
				if _, shown := before.want(http.StatusOK, http.MethodGet, path, nil)[name]; shown {
					t.Errorf("%s is shown before", name)
				}
				if _, shown := at.want(http.StatusOK, http.MethodGet, path, nil)[name]; !shown {
					t.Errorf("%s is not shown", name)
				}
				detail := before.want(http.StatusOK, http.MethodGet, "/v1/nodes/detail", nil)["nodes"].([]any)[0].(map[string]any)
				if _, shown := detail[name]; shown {
					t.Errorf("%s is shown in lists before", name)
				}
				if ch.minor > 8 {
					before.want(http.StatusNotAcceptable, http.MethodGet, path+"?fields="+name, nil)
					before.want(http.StatusNotAcceptable, http.MethodGet, "/v1/nodes?fields="+name, nil)
					if _, shown := at.want(http.StatusOK, http.MethodGet, path+"?fields="+name, nil)[name]; !shown {
						t.Errorf("%s is not shown when it is asked for", name)
					}
				}
				f := nodes.field(name)
				value, given := values[name]
				if !given {
					value = "x"
					if strings.HasSuffix(name, "_interface") {
						value = map[bool]string{true: "noop", false: "fake"}[name == "network_interface"]
					}
				}
				if f.write == always {
					before.want(http.StatusNotAcceptable, http.MethodPost, "/v1/nodes", map[string]any{"driver": "fake-hardware", name: value})
				}
				if f.write == always || f.write == onPatch {
					before.want(http.StatusNotAcceptable, http.MethodPatch, path, []map[string]any{{"op": "replace", "path": "/" + name, "value": value}})
					if code, out, _ := at.do(http.MethodPatch, path, []map[string]any{{"op": "replace", "path": "/" + name, "value": value}}); code == http.StatusNotAcceptable {
						t.Errorf("%s cannot be patched: %v", name, out)
					}
				} else {
					at.want(http.StatusBadRequest, http.MethodPatch, path, []map[string]any{{"op": "replace", "path": "/" + name, "value": value}})
				}
			})
		}
	}
}

func TestDriverFieldsAtTheirVersions(t *testing.T) {
	d := newDoor(t)
	for _, ch := range changes {
		for _, name := range ch.fields {
			name, ours := strings.CutPrefix(name, "driver.")
			if !ours {
				continue
			}
			around(t, d, ch.minor, func(t *testing.T, before, at *door) {
				if _, shown := before.want(http.StatusOK, http.MethodGet, "/v1/drivers/redfish", nil)[name]; shown {
					t.Errorf("%s is shown before", name)
				}
				if _, shown := at.want(http.StatusOK, http.MethodGet, "/v1/drivers/redfish", nil)[name]; !shown {
					t.Errorf("%s is not shown", name)
				}
			})
		}
	}
}

func TestFiltersAtTheirVersions(t *testing.T) {
	d := newDoor(t)
	for _, ch := range changes {
		for _, filter := range ch.filters {
			if list, _, _ := strings.Cut(filter, "?"); !d.s.serves("/" + list) {
				continue
			}
			around(t, d, ch.minor, func(t *testing.T, before, at *door) {
				if code, out, _ := before.do(http.MethodGet, "/v1/"+filter, nil); code != http.StatusNotAcceptable && code != http.StatusBadRequest {
					t.Errorf("%s before: %d %v", filter, code, out)
				}
				at.want(http.StatusOK, http.MethodGet, "/v1/"+filter, nil)
			})
		}
	}
}

// A verb is not acceptable below its version, whatever the node's state.
func TestVerbsAtTheirVersions(t *testing.T) {
	d := newDoor(t)
	id, _ := d.want(http.StatusCreated, http.MethodPost, "/v1/nodes", map[string]any{"driver": "fake-hardware"})["uuid"].(string)
	for _, ch := range changes {
		for _, verb := range ch.verbs {
			path := "/v1/nodes/" + id + "/states/provision"
			if strings.HasPrefix(verb, "soft ") {
				path = "/v1/nodes/" + id + "/states/power"
			}
			around(t, d, ch.minor, func(t *testing.T, before, at *door) {
				before.want(http.StatusNotAcceptable, http.MethodPut, path, map[string]any{"target": verb})
				if code, out, _ := at.do(http.MethodPut, path, map[string]any{"target": verb}); code == http.StatusNotAcceptable {
					t.Errorf("%s: %d %v", verb, code, out)
				}
			})
		}
	}
}

// An endpoint is not there below its version. Those that nothing serves in this test
// are left out.
func TestEndpointsAtTheirVersions(t *testing.T) {
	d := newDoor(t)
	id, _ := d.want(http.StatusCreated, http.MethodPost, "/v1/nodes", map[string]any{"driver": "fake-hardware"})["uuid"].(string)
	for _, ch := range changes {
		for _, endpoint := range ch.endpoints {
			method, path, _ := strings.Cut(endpoint, " ")
			if _, served := d.s.routes[path][method]; !served {
				continue
			}
			path = "/v1" + strings.NewReplacer("{node}", id, "{driver}", "redfish").Replace(path)
			around(t, d, ch.minor, func(t *testing.T, before, at *door) {
				code, out, _ := before.do(method, path, nil)
				if !slices.Contains([]int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable}, code) {
					t.Errorf("%s before: %d %v", endpoint, code, out)
				}
				code, out, _ = at.do(method, path, nil)
				if code == http.StatusMethodNotAllowed || code == http.StatusNotAcceptable || code == http.StatusNotFound && out["title"] != nil {
					t.Errorf("%s: %d %v", endpoint, code, out)
				}
			})
		}
	}
}

func TestNegotiation(t *testing.T) {
	for _, tt := range []struct {
		name, own, standard string
		code                int
		version             string // served
		told                bool   // of the range
	}{
		{name: "none", code: 200, version: "1.1", told: true},
		{name: "own", own: "1.31", code: 200, version: "1.31", told: true},
		{name: "latest", own: "latest", code: 200, version: "1.115", told: true},
		{name: "latest loud", own: "LATEST", code: 200, version: "1.115", told: true},
		{name: "standard", standard: "baremetal 1.50", code: 200, version: "1.50", told: true},
		{name: "standard of several", standard: "compute 2.1, baremetal 1.51,volume 3.0", code: 200, version: "1.51", told: true},
		{name: "standard first", own: "1.31", standard: "baremetal 1.50", code: 200, version: "1.50", told: true},
		{name: "of others", standard: "compute 2.1", code: 200, version: "1.1", told: true},
		{name: "too high", own: "1.999", code: 406, told: true},
		{name: "zero", own: "1.0", code: 406, told: true},
		{name: "major", own: "2.1", code: 406, told: true},
		{name: "huge", own: "1.99999999999999999999", code: 406},
		{name: "word", own: "foo", code: 406},
		{name: "three", own: "1.1.1", code: 406},
		{name: "no minor", own: "1", code: 406},
		{name: "negative", own: "1.-1", code: 406},
		{name: "standard malformed", standard: "baremetal x", code: 406},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{}
			if tt.own != "" {
				h.Set("X-OpenStack-Ironic-API-Version", tt.own)
			}
			if tt.standard != "" {
				h.Set("OpenStack-API-Version", tt.standard)
			}
			for _, path := range []string{"/v1/nodes", "/v1"} {
				w, _ := get(t, http.MethodGet, path, h)
				if w.Code != tt.code || w.Header().Get(versionHeader) != tt.version || (w.Header().Get(minimumHeader) == "1.1") != tt.told {
					t.Errorf("%s: %d, headers %v", path, w.Code, w.Header())
				}
			}
			if w, _ := get(t, http.MethodGet, "/v1/nowhere", h); w.Code != max(tt.code, 404) {
				t.Errorf("where there is nothing: %d", w.Code)
			}
			if w, _ := get(t, http.MethodGet, "/", h); w.Code != http.StatusOK {
				t.Errorf("the root: %d", w.Code)
			}
		})
	}
}

func FuzzNegotiation(f *testing.F) {
	for _, s := range []string{"1.1", "latest", "baremetal 1.5, compute 2", "1.999", "x", "-1.-1", "1.", ".1"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, own, standard string) {
		h := http.Header{}
		h.Set(versionHeader, own)
		h.Set(standardHeader, standard)
		c := &call{Request: &http.Request{Header: h, URL: &url.URL{Path: "/nodes"}}}
		w := discard{}
		err := c.negotiate(w)
		if c.version < ironic.MinVersion || c.version > ironic.MaxVersion {
			t.Errorf("version %s", c.version)
		}
		if err != nil && faultOf(err).status != http.StatusNotAcceptable {
			t.Error(err)
		}
	})
}

// discard is an answer that nobody reads.
type discard http.Header

func (d discard) Header() http.Header         { return http.Header(d) }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}
