package redfish

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

func TestStageBIOSChecks(t *testing.T) {
	for _, tc := range []struct {
		name  string
		attrs map[string]any
		bare  bool // without a registry
		want  string
		sent  string // body, where it is written
	}{
		{name: "not among the values", attrs: map[string]any{"ProcTurbo": "On"}, want: `attribute "ProcTurbo": "On" is not among its values; give one of Enabled, Disabled`},
		{name: "boolean for a value", attrs: map[string]any{"ProcTurbo": true}, want: `"true" is not among its values`},
		{name: "spelling of a value", attrs: map[string]any{"ProcTurbo": "disabled"}, sent: `{"Attributes":{"ProcTurbo":"Disabled"}}`},
		{name: "too small", attrs: map[string]any{"Cores": -1}, want: `attribute "Cores": -1 is out of bounds; give an integer from 0 to 336`},
		{name: "too large", attrs: map[string]any{"Cores": int64(337)}, want: `337 is out of bounds`},
		{name: "no integer", attrs: map[string]any{"Cores": "many"}, want: `"many" is no integer; give one from 0 to 336`},
		{name: "fraction", attrs: map[string]any{"Cores": 1.5}, want: `"1.5" is no integer`},
		{name: "inexact", attrs: map[string]any{"Seed": 1e18}, want: `a value of type float64 is none; give a string, an integer or a boolean`},
		{name: "integer as text, as Metal3 has it", attrs: map[string]any{"Cores": "16"}, sent: `{"Attributes":{"Cores":16}}`},
		{name: "integer from JSON", attrs: map[string]any{"Cores": float64(16)}, sent: `{"Attributes":{"Cores":16}}`},
		{name: "beyond 2^53", attrs: map[string]any{"Seed": "9007199254740993"}, sent: `{"Attributes":{"Seed":9007199254740993}}`},
		{name: "boolean as text", attrs: map[string]any{"Quiet": "false"}, sent: `{"Attributes":{"Quiet":false}}`},
		{name: "no boolean", attrs: map[string]any{"Quiet": 0}, want: `"0" is no boolean; give true or false`},
		{name: "too short", attrs: map[string]any{"AssetTag": "x"}, want: `"x" has 1 characters; give at least 2`},
		{name: "too long", attrs: map[string]any{"AssetTag": "äääääääää"}, want: `has 9 characters; give at most 8`},
		{name: "length in characters", attrs: map[string]any{"AssetTag": "ääääääää"}, sent: `{"Attributes":{"AssetTag":"ääääääää"}}`},
		{name: "read-only", attrs: map[string]any{"Version": "2"}, want: `attribute "Version": it is read-only; leave it out`},
		{name: "read-only, as it is", attrs: map[string]any{"Version": "1.2"}},
		{name: "immutable", attrs: map[string]any{"Service": "B"}, want: `read-only`},
		{name: "unknown", attrs: map[string]any{"Turbo": "Enabled"}, want: `attribute "Turbo": the BIOS has none of that name; take one of the 11 that it has`},
		{name: "other case", attrs: map[string]any{"procturbo": "Enabled"}, want: `it has "ProcTurbo" (upper and lower case matter)`},
		{name: "not on this machine", attrs: map[string]any{"Absent": "On"}, want: `this machine does not have it, though its registry does`},
		{name: "no value", attrs: map[string]any{"Cores": []string{"1"}}, want: `a value of type []string is none`},
		{name: "several", attrs: map[string]any{"Cores": 400, "ProcTurbo": "On", "Quiet": true}, want: `attribute "Cores": 400 is out of bounds; give an integer from 0 to 336; attribute "ProcTurbo": "On"`},
		{name: "password too short", attrs: map[string]any{"SetupPassword": "zq9"}, want: `attribute "SetupPassword": the value has 3 characters; give at least 4`},
		{name: "password", attrs: map[string]any{"SetupPassword": "s3cret"}, sent: `{"Attributes":{"SetupPassword":"s3cret"}}`},
		{name: "password that is not shown", attrs: map[string]any{"NewPassword": "s3cret"}, sent: `{"Attributes":{"NewPassword":"s3cret"}}`},
		{name: "secret that the registry has as a string (Dell)", attrs: map[string]any{"IscsiDev1Con1ChapSecret": "zq9"}, want: "the value has 3 characters; give at least 12"},
		{name: "password as it is read", attrs: map[string]any{"SetupPassword": "(hidden)"}},
		{name: "no registry: type of what is there", bare: true, attrs: map[string]any{"Cores": "16", "Quiet": "false", "ProcTurbo": "anything"}, sent: `{"Attributes":{"Cores":16,"ProcTurbo":"anything","Quiet":false}}`},
		{name: "no registry: wrong type", bare: true, attrs: map[string]any{"Cores": "many"}, want: `"many" is no integer; give one`},
		{name: "no registry: unknown", bare: true, attrs: map[string]any{"Turbo": "On"}, want: `the BIOS has none of that name`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBIOS(t)
			if tc.bare {
				delete(b.docs, registryPath)
			}
			o, err := dialBoard(t, b).StageBIOS(context.Background(), tc.attrs, "")
			if tc.want != "" {
				wantError(t, err, bmc.BadRequest, "", tc.want)
				if len(b.sent) > 0 {
					t.Errorf("written all the same: %+v", b.sent)
				}
				if strings.Contains(err.Error(), "zq9") {
					t.Errorf("the error tells a password: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			sent := ""
			for _, w := range b.sent {
				sent += w.Body
			}
			if sent != tc.sent {
				t.Errorf("sent %s, want %s", sent, tc.sent)
			}
			if data, _ := json.Marshal(o); strings.Contains(string(data), "s3cret") {
				t.Errorf("the operation keeps a password: %s", data)
			}
		})
	}
}

func TestSameIsTyped(t *testing.T) {
	for _, tc := range []struct {
		have any
		want string
		same bool
	}{
		{int64(16), "16", true},
		{int64(16), "016", true},
		{int64(16), "16.0", false},
		{"16", "16", true},
		{"16", "016", false},
		{true, "true", true},
		{true, "True", false},
		{"Enabled", "enabled", false},
		{nil, "", false},
		{"", "", true},
	} {
		if got := same(tc.have, tc.want); got != tc.same {
			t.Errorf("same(%#v, %q) = %v", tc.have, tc.want, got)
		}
	}
}
