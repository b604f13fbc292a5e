package quirk_test

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk/internal/table"
)

// repository is its root, from here.
const repository = "../../.."

func constants(t *testing.T) map[string]quirk.Name {
	t.Helper()
	all, err := table.Constants("quirk.go")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestAllHasEveryConstantOnce(t *testing.T) {
	var want, got []quirk.Name
	for _, n := range constants(t) {
		want = append(want, n)
	}
	for _, i := range quirk.All() {
		got = append(got, i.Name)
		if i.Title == "" || i.Does == "" {
			t.Errorf("%s has no title or does not say what we do", i.Name)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("constants and All (-constants +All):\n%s", d)
	}
}

func TestDataIsWhole(t *testing.T) {
	used := quirk.Set{}
	vendors := map[string]bool{}
	for _, v := range quirk.Vendors() {
		if vendors[v.Name] {
			t.Errorf("vendor %s twice", v.Name)
		}
		vendors[v.Name] = true
		if len(v.Quirk) == 0 {
			t.Errorf("vendor %s has no quirk", v.Name)
		}
		for _, s := range v.Is {
			if s == (quirk.Sign{}) {
				t.Errorf("%s is known by a sign that fits everything", v.Name)
			}
			checkLower(t, v.Name, s.Vendor, s.Product, s.RootName, s.OEM, s.Manufacturer, s.ManagerModel, s.DeviceID)
		}
		seen := quirk.Set{}
		for _, e := range v.Quirk {
			if !quirk.Known(e.Quirk) {
				t.Errorf("%s: there is no quirk %q", v.Name, e.Quirk)
			}
			if seen[e.Quirk] {
				t.Errorf("%s: %s twice", v.Name, e.Quirk)
			}
			seen[e.Quirk], used[e.Quirk] = true, true
			if e.Evidence == "" {
				t.Errorf("%s: %s has no evidence", v.Name, e.Quirk)
			}
			if e.URL != "" && !strings.HasPrefix(e.URL, "https://") {
				t.Errorf("%s: %s: URL %q", v.Name, e.Quirk, e.URL)
			}
			if !slices.Contains([]quirk.Proof{quirk.Captured, quirk.SourceRead, quirk.Unverified}, e.Proof) {
				t.Errorf("%s: %s: proof %q", v.Name, e.Quirk, e.Proof)
			}
			for _, w := range e.When {
				checkLower(t, v.Name, slices.Concat(w.Model, w.Except, w.ManagerModel, w.Unless)...)
			}
		}
	}
	for _, i := range quirk.All() {
		if !used[i.Name] {
			t.Errorf("no vendor has %s", i.Name)
		}
	}
}

// checkLower holds that patterns can match at all: facts are folded.
func checkLower(t *testing.T, vendor string, patterns ...string) {
	t.Helper()
	for _, p := range patterns {
		if p != strings.ToLower(p) {
			t.Errorf("%s: pattern %q has upper case", vendor, p)
		}
	}
}

func TestReferenceIsCurrent(t *testing.T) {
	want, err := table.Generate(repository)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(repository + "/docs/reference/quirks.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Error("docs/reference/quirks.md is not what the data and tests say: run go generate ./pkg/bmc/quirk")
	}
}

func TestEveryQuirkHasATest(t *testing.T) {
	tests, err := table.Tests(repository+"/pkg", constants(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range quirk.All() {
		if len(tests[i.Name]) == 0 {
			t.Errorf("no test names %s", i.Name)
		}
	}
}
