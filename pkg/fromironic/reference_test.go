package fromironic

import (
	"os"
	"testing"
)

// TestReference reads a real Ironic, where one is named: its pages, and objects of all
// that it has.
func TestReference(t *testing.T) {
	where := os.Getenv("INGOT_IRONIC")
	if where == "" {
		t.Skip("INGOT_IRONIC names no Ironic: hack/ironic-reference.sh starts one")
	}
	c, err := NewClient(where)
	if err != nil {
		t.Fatal(err)
	}
	if err := (Login{Env: os.Getenv}).Apply(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	site, err := c.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := Convert(site, Options{Namespace: "default", Secret: "s"})
	t.Logf("version %s, %d nodes, %d other resources, %d objects, missed %v", site.Version, len(site.Nodes), len(site.Things), len(p.Objects), site.Missed)
	for _, v := range p.Nodes {
		t.Logf("%-20s %-14s host %s refused %q", v.Name, v.State, v.Host, v.Refused)
		if (v.Host == "") != (v.Refused != "") {
			t.Errorf("%s: neither taken nor refused", v.UUID)
		}
	}
}
