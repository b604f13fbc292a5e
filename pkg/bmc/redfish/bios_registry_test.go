package redfish

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

func TestAttributes(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		want     any
		absent   bool
	}{
		{name: "string", in: `"Enabled"`, want: "Enabled"},
		{name: "digits in a string", in: `"5"`, want: "5"},
		{name: "integer", in: `-3`, want: int64(-3)},
		{name: "beyond 2^53", in: `9007199254740993`, want: int64(9007199254740993)},
		{name: "largest", in: `9223372036854775807`, want: int64(9223372036854775807)},
		{name: "beyond int64", in: `18446744073709551615`, want: "18446744073709551615"},
		{name: "fraction", in: `2.50`, want: "2.50"},
		{name: "boolean", in: `false`, want: false},
		{name: "null", in: `null`, want: nil},
		{name: "list", in: `["a"]`, absent: true},
		{name: "object", in: `{"a": 1}`, absent: true},
		{name: "too long", in: `"` + strings.Repeat("x", maxName+1) + `"`, absent: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b biosResource
			if err := decode("test", []byte(`{"Attributes": {"A": `+tc.in+`, "B": 1}}`), &b); err != nil {
				t.Fatal(err)
			}
			got, ok := b.Attributes["A"]
			if got != tc.want || ok == tc.absent || b.Attributes["B"] != int64(1) {
				t.Errorf("%#v, %v", b.Attributes, ok)
			}
		})
	}
	var b biosResource
	if err := decode("test", []byte(`{"Attributes": "none", "AttributeRegistry": "R"}`), &b); err != nil || b.Registry != "R" {
		t.Errorf("%+v, %v", b, err)
	}
}

func TestRegistry(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte(testRegistry))
	_ = z.Close()
	member := func(b *board, name string) {
		b.put(registryPath, `{"Members": [{"@odata.id": "/redfish/v1/Registries/Base.1.5.0"}, {"@odata.id": "/redfish/v1/Registries/`+name+`"}]}`)
		b.put(registryPath+"/"+name, `{"Location": {"Language": "en-US", "Uri": "/redfish/v1/store/reg"}}`)
	}
	id := func(b *board, v any) { b.docs[biosPath]["AttributeRegistry"] = v }
	answer := func(b *board, path string, code int, body []byte) {
		old := b.fault
		b.fault = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != path {
				return old(w, r)
			}
			w.WriteHeader(code)
			_, _ = w.Write(body)
			return true
		}
	}
	for _, tc := range []struct {
		name  string
		bmc   func(b *board)
		found bool
		stage bmc.Class // of StageBIOS's error
	}{
		{name: "by id", bmc: func(*board) {}, found: true},
		{name: "another version (Dell)", bmc: func(b *board) { id(b, "Reg.v1_0_3"); member(b, "Reg.v1_0_0") }, found: true},
		{name: "no id (NVIDIA)", bmc: func(b *board) { id(b, nil); member(b, "BiosAttributeRegistry") }, found: true},
		{name: "id is a URI", bmc: func(b *board) { id(b, registryPath+"/Reg.v1_0_3") }, found: true},
		{name: "no link in the root", bmc: func(b *board) { delete(b.docs["/redfish/v1"], "Registries") }, found: true},
		{name: "the registry itself in the collection", bmc: func(b *board) { b.put(registryPath+"/Reg.v1_0_3", testRegistry) }, found: true},
		{name: "packed (HPE)", bmc: func(b *board) { answer(b, "/redfish/v1/store/reg", 200, packed.Bytes()) }, found: true},
		{name: "only Japanese", bmc: func(b *board) {
			b.put(registryPath+"/Reg.v1_0_3", `{"Location": [{"Language": "ja", "Uri": "/redfish/v1/store/reg"}]}`)
		}, found: true},
		{name: "another's", bmc: func(b *board) { id(b, "Other.v1_0_0") }},
		{name: "no location", bmc: func(b *board) { b.put(registryPath+"/Reg.v1_0_3", `{}`) }},
		{name: "not recorded", bmc: func(b *board) { delete(b.docs, "/redfish/v1/store/reg") }},
		{name: "cut", bmc: func(b *board) { answer(b, "/redfish/v1/store/reg", 200, []byte(testRegistry[:200])) }},
		{name: "badly packed", bmc: func(b *board) { answer(b, "/redfish/v1/store/reg", 200, packed.Bytes()[:20]) }},
		{name: "server error", bmc: func(b *board) { answer(b, "/redfish/v1/store/reg", 500, nil) }, stage: bmc.Transient},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBIOS(t)
			tc.bmc(b)
			s := dialBoard(t, b)
			got, err := s.BIOS(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := got.Registry["ProcTurbo"]; ok != tc.found {
				t.Errorf("registry found: %v, want %v; %q", ok, tc.found, b.requests())
			}
			if tc.found == (got.Registry == nil) {
				t.Errorf("registry %v", got.Registry)
			}
			_, err = s.StageBIOS(context.Background(), map[string]any{"ProcTurbo": "Disabled"}, "")
			if tc.stage != "" {
				wantError(t, err, tc.stage, "", "")
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRegistryCacheIsBounded(t *testing.T) {
	var c registryCache
	for i := range 10 * maxRegistries {
		c.store(fmt.Sprint(i), registry{})
		if _, ok := c.load(fmt.Sprint(i)); !ok || len(c.kept) > maxRegistries {
			t.Fatalf("%d kept, the newest: %v", len(c.kept), ok)
		}
	}
	if c.drop(); c.kept != nil {
		t.Error("kept for good")
	}
}

func TestGunzipIsBounded(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	junk := make([]byte, 1<<20)
	for range maxBody>>20 + 1 {
		_, _ = z.Write(junk)
	}
	_ = z.Close()
	if _, err := gunzip(bomb.Bytes()); err == nil {
		t.Errorf("%d bytes became more than 16 MiB", bomb.Len())
	}
}

func FuzzBIOS(f *testing.F) {
	for _, s := range []string{
		`{"Attributes": {"A": 1, "B": "x", "C": true, "D": null, "Password": "p"}, "AttributeRegistry": "R.v1", "@Redfish.Settings": {"SettingsObject": {"@odata.id": "/s"}, "SupportedApplyTimes": "OnReset", "Messages": [{"MessageId": 1, "RelatedProperties": "#/Attributes/A"}]}}`,
		`{"Attributes": [1], "Actions": {"#Bios.ResetBios": {"target": 1}}}`, `{"Attributes": {"A": 1e400, "A": -0}}`, `[]`, `null`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		b := biosState{uri: "/b"}
		if decode("fuzz", body, &b.biosResource) != nil {
			return
		}
		b.pending = &biosResource{Attributes: b.Attributes}
		if len(b.Attributes) > maxAttributes || len(b.waiting()) > 0 {
			t.Errorf("%d attributes, %d waiting", len(b.Attributes), len(b.waiting()))
		}
		want := map[string]string{}
		for name, v := range b.registry.show(b.Attributes) {
			switch v.(type) {
			case string, int64, bool:
			default:
				t.Errorf("%s is a %T", name, v)
			}
			in, ok := plain(v)
			if !ok {
				t.Errorf("%s has no text", name)
			}
			if !b.registry.secret(name) {
				want[name] = in
			}
			out, err := b.registry.checkAttributes("fuzz", map[string]any{name: v}, b.Attributes)
			if err != nil || !b.registry.secret(name) && out[name] != v {
				t.Errorf("%q: what is there is not taken: %#v became %#v, %v", name, v, out[name], err)
			}
		}
		if inForce, _ := b.missing(want); len(inForce) > 0 {
			t.Errorf("not in force: %q", inForce)
		}
		b.refused([]string{"A"})
	})
}

func FuzzRegistry(f *testing.F) {
	for _, s := range []string{
		testRegistry, `{"Location": [{"Language": "en", "Uri": "/r"}]}`, `{"RegistryEntries": {"Attributes": {"AttributeName": "A"}}}`,
		`{"RegistryEntries": {"Attributes": [{"AttributeName": "A", "Type": 1, "Value": {"ValueName": "x"}, "LowerBound": 1e3, "ReadOnly": "true"}]}}`,
		`{"RegistryEntries": null}`, "\x1f\x8b\x08\x00", `[]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		body, err := gunzip(body)
		if err != nil {
			return
		}
		var file registryFile
		if decode("fuzz", body, &file) != nil {
			return
		}
		r := file.registry()
		if len(r) > maxAttributes {
			t.Errorf("%d attributes", len(r))
		}
		current := attributes{}
		for name, a := range r {
			if len(a.Values) > maxValues {
				t.Errorf("%d values", len(a.Values))
			}
			current[name] = "is"
		}
		for name, a := range r {
			for _, v := range []any{"x", int64(5), true, a.Values} {
				got, err := r.checkAttributes("fuzz", map[string]any{name: v}, current)
				if err != nil && len(err.Error()) > 8000 {
					t.Errorf("an error of %d bytes", len(err.Error()))
				}
				if s, ok := got[name].(string); ok && a.Type == typeEnum && len(a.Values) > 0 && !slices.Contains(a.Values, s) {
					t.Errorf("%q is not among %q", s, a.Values)
				}
			}
		}
	})
}
