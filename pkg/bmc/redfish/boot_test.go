package redfish

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

func TestSetBootOverride(t *testing.T) {
	once := bmc.BootOverride{Target: bmc.BootPXE}
	for _, tc := range []struct {
		name  string
		bmc   func(f *fake)
		set   bmc.BootOverride
		want  bmc.BootOverride
		tries int // PATCHes
		class bmc.Class
		part  string
	}{
		{name: "once", set: once, want: bmc.BootOverride{Target: bmc.BootPXE, Mode: bmc.BootModeUEFI}, tries: 1},
		{
			name: "persistent", set: bmc.BootOverride{Target: bmc.BootDisk, Persistent: true},
			want: bmc.BootOverride{Target: bmc.BootDisk, Persistent: true, Mode: bmc.BootModeUEFI}, tries: 1,
		},
		{
			name: "with mode", set: bmc.BootOverride{Target: bmc.BootPXE, Mode: bmc.BootModeLegacy},
			want: bmc.BootOverride{Target: bmc.BootPXE, Mode: bmc.BootModeLegacy}, tries: 1,
		},
		{name: "none when none", set: bmc.BootOverride{Target: bmc.BootNone}, want: bmc.BootOverride{Target: bmc.BootNone, Mode: bmc.BootModeUEFI}},
		{
			name: "none after some",
			bmc: func(f *fake) {
				f.change(func(s map[string]any) {
					s["Boot"].(map[string]any)["BootSourceOverrideEnabled"] = "Once"
					s["Boot"].(map[string]any)["BootSourceOverrideTarget"] = "Pxe"
				})
			},
			set: bmc.BootOverride{Target: bmc.BootNone}, want: bmc.BootOverride{Target: bmc.BootNone, Mode: bmc.BootModeUEFI}, tries: 1,
		},
		{name: "target not offered", set: bmc.BootOverride{Target: bmc.BootCD}, class: bmc.Unsupported, part: "None, Pxe, Hdd, UefiHttp"},
		{
			name: "no Continuous (Lenovo)",
			bmc: func(f *fake) {
				f.change(func(s map[string]any) {
					s["Boot"].(map[string]any)["BootSourceOverrideEnabled@Redfish.AllowableValues"] = []any{"Once", "Disabled"}
				})
			},
			set: bmc.BootOverride{Target: bmc.BootPXE, Persistent: true}, class: bmc.Unsupported, part: "no override Continuous, but Once, Disabled",
		},
		{
			name: "mode not offered",
			bmc: func(f *fake) {
				f.change(func(s map[string]any) {
					s["Boot"].(map[string]any)["BootSourceOverrideMode@Redfish.AllowableValues"] = []any{"UEFI"}
				})
			},
			set: bmc.BootOverride{Target: bmc.BootPXE, Mode: bmc.BootModeLegacy}, class: bmc.Unsupported, part: "no boot mode Legacy",
		},
		{
			name: "mode read-only (HPE)",
			bmc: func(f *fake) {
				f.refuse = func(body map[string]any) (int, string) {
					if body["Boot"].(map[string]any)["BootSourceOverrideMode"] != nil {
						return http.StatusBadRequest, `{"error": {"@Message.ExtendedInfo": [{"MessageId": "Base.1.4.PropertyNotWritable"}]}}`
					}
					return 0, ""
				}
			},
			set: bmc.BootOverride{Target: bmc.BootPXE, Mode: bmc.BootModeUEFI}, want: bmc.BootOverride{Target: bmc.BootPXE, Mode: bmc.BootModeUEFI}, tries: 2,
		},
		{
			name: "mode required (AMI)",
			bmc: func(f *fake) {
				f.refuse = func(body map[string]any) (int, string) {
					if body["Boot"].(map[string]any)["BootSourceOverrideMode"] == nil {
						return http.StatusBadRequest, ""
					}
					return 0, ""
				}
			},
			set: once, want: bmc.BootOverride{Target: bmc.BootPXE, Mode: bmc.BootModeUEFI}, tries: 2,
		},
		{
			name: "settings object (iDRAC10)",
			bmc: func(f *fake) {
				f.settings = true
				f.change(func(s map[string]any) {
					s["@Redfish.Settings"] = map[string]any{"SettingsObject": map[string]any{"@odata.id": sysPath + "/Settings"}}
				})
				f.put(sysPath+"/Settings", `{"@odata.id": "/redfish/v1/Systems/1/Settings"}`)
			},
			set: once, want: bmc.BootOverride{Target: bmc.BootPXE, Mode: bmc.BootModeUEFI}, tries: 3,
		},
		{name: "etag", bmc: func(f *fake) { f.etag = `W/"17"` }, set: once, want: bmc.BootOverride{Target: bmc.BootPXE, Mode: bmc.BootModeUEFI}, tries: 1},
		{name: "write ignored", bmc: func(f *fake) { f.ignore = true }, set: once, class: bmc.Protocol, part: `shows target "None"`, tries: 2},
		{
			name: "busy in POST (HPE)",
			bmc: func(f *fake) {
				f.refuse = func(map[string]any) (int, string) {
					return http.StatusBadRequest, `{"error": {"@Message.ExtendedInfo": [{"MessageId": "iLO.2.14.UnableToModifyDuringSystemPOST"}]}}`
				}
			},
			set:   once,
			class: bmc.Busy, tries: 1,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFake(t)
			if tc.bmc != nil {
				tc.bmc(f)
			}
			s := mustDial(t, f)
			err := s.SetBootOverride(context.Background(), tc.set)
			if n := strings.Count(strings.Join(f.requests(), "\n"), "PATCH "); n != tc.tries {
				t.Errorf("%d writes, want %d: %q", n, tc.tries, f.requests())
			}
			if tc.class != "" {
				wantError(t, err, tc.class, "", tc.part)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.BootOverride(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("override (-want +got):\n%s", d)
			}
		})
	}
}

func TestSetBootOverrideRefusedETag(t *testing.T) {
	f := newFake(t)
	f.fault = func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("ETag", `"stale"`)
		if r.Header.Get("If-Match") != "" {
			w.WriteHeader(http.StatusPreconditionFailed)
			return true
		}
		return false
	}
	for _, ladder := range []bool{false, true} {
		s, err := dial(t, serve(t, f), admin, Options{Quirks: quirk.Set{quirk.ETagLadder: ladder}})
		if err != nil {
			t.Fatal(err)
		}
		err = s.SetBootOverride(context.Background(), bmc.BootOverride{Target: bmc.BootPXE})
		if !ladder {
			wantError(t, err, bmc.Precondition, "", "412")
		} else if err != nil {
			t.Errorf("a BMC that refuses its own ETag: %v", err)
		}
	}
}
