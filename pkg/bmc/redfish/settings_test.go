package redfish

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

const (
	biosPath     = sysPath + "/Bios"
	biosSettings = biosPath + "/Settings"
	biosReset    = biosPath + "/Actions/Bios.ResetBios"
	registryPath = "/redfish/v1/Registries"
)

const testRegistry = `{"@odata.type": "#AttributeRegistry.v1_3_6.AttributeRegistry", "Id": "Reg.v1_0_3", "RegistryEntries": {"Attributes": [
	{"AttributeName": "ProcTurbo", "Type": "Enumeration", "DisplayName": "Turbo\u0007", "ReadOnly": false, "Value": [{"ValueName": "Enabled"}, {"ValueName": "Disabled"}]},
	{"AttributeName": "Cores", "Type": "Integer", "LowerBound": 0, "UpperBound": 336, "ReadOnly": false, "ResetRequired": false},
	{"AttributeName": "Seed", "Type": "Integer", "LowerBound": null, "UpperBound": "none"},
	{"AttributeName": "Quiet", "Type": "Boolean", "Hidden": true},
	{"AttributeName": "AssetTag", "Type": "String", "MinLength": 2, "MaxLength": 8},
	{"AttributeName": "Version", "Type": "String", "ReadOnly": true},
	{"AttributeName": "Service", "Type": "String", "Immutable": true},
	{"AttributeName": "SetupPassword", "Type": "Password", "MinLength": 4, "MaxLength": 32, "WriteOnly": true},
	{"AttributeName": "NewPassword", "Type": "Password"},
	{"AttributeName": "IscsiDev1Con1ChapSecret", "Type": "String", "MinLength": 12, "MaxLength": 16},
	{"AttributeName": "PasswordRotation", "Type": "Enumeration", "Value": [{"ValueName": "On"}, {"ValueName": "Off"}]},
	{"AttributeName": "Absent", "Type": "Enumeration", "Value": [{"ValueName": "On"}]},
	"not an entry", {"Type": "String"}
]}}`

// newBIOS is a board with BIOS settings, their registry and a settings object
// that stages what differs.
func newBIOS(t *testing.T) *board {
	b := newBoard(t, func(b *board, w boardWrite) boardReply {
		if w.Path != biosSettings {
			return boardReply{code: http.StatusMethodNotAllowed}
		}
		staged := b.docs[biosSettings]["Attributes"].(map[string]any)
		for k, v := range w.json["Attributes"].(map[string]any) {
			staged[k] = v
		}
		return boardReply{}
	})
	b.change(func(s map[string]any) {
		s["Bios"] = map[string]any{"@odata.id": biosPath}
		s["BiosVersion"] = "1.2"
	})
	b.docs["/redfish/v1"]["Registries"] = map[string]any{"@odata.id": registryPath}
	b.put(registryPath, `{"Members": [{"@odata.id": "/redfish/v1/Registries/Base.1.5.0"}, {"@odata.id": "/redfish/v1/Registries/Reg.v1_0_3"}]}`)
	b.put(registryPath+"/Reg.v1_0_3", `{"Location": [{"Language": "ja", "Uri": "/ja"}, {"Language": "en", "Uri": "/redfish/v1/store/reg"}]}`)
	b.put("/redfish/v1/store/reg", testRegistry)
	b.put(biosPath, `{"@odata.id": "/redfish/v1/Systems/1/Bios", "AttributeRegistry": "Reg.v1_0_3", "ResetBiosToDefaultsPending": false,
		"Attributes": {"ProcTurbo": "Enabled", "Cores": 144, "Seed": 7, "Quiet": true, "AssetTag": "rack4", "Version": "1.2", "Service": "A",
			"IscsiDev1Con1ChapSecret": "", "SetupPassword": null, "PasswordRotation": "On", "Strange": [1], "Nothing": null},
		"@Redfish.Settings": {"SettingsObject": {"@odata.id": "/redfish/v1/Systems/1/Bios/Settings"}},
		"Actions": {"#Bios.ResetBios": {"target": "/redfish/v1/Systems/1/Bios/Actions/Bios.ResetBios"}}}`)
	b.put(biosSettings, `{"@odata.etag": "\"e1\"", "Attributes": {}}`)
	return b
}

// restart applies what is staged, as the machine's next start does.
func (b *board) restart() {
	b.mu.Lock()
	defer b.mu.Unlock()
	current := b.docs[biosPath]["Attributes"].(map[string]any)
	for k, v := range b.docs[biosSettings]["Attributes"].(map[string]any) {
		current[k] = v
	}
	b.docs[biosSettings]["Attributes"] = map[string]any{}
}

func TestBIOS(t *testing.T) {
	b := newBIOS(t)
	b.docs[biosSettings]["Attributes"] = map[string]any{"Cores": 100, "Quiet": true, "SetupPassword": "leak"}
	s := dialBoard(t, b)
	got, err := s.BIOS(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	want := bmc.BIOS{
		Attributes: map[string]any{
			"ProcTurbo": "Enabled", "Cores": int64(144), "Seed": int64(7), "Quiet": true, "AssetTag": "rack4",
			"Version": "1.2", "Service": "A", "SetupPassword": "(hidden)", "IscsiDev1Con1ChapSecret": "(hidden)", "PasswordRotation": "On",
		},
		Pending:    map[string]any{"Cores": int64(100), "SetupPassword": "(hidden)"},
		RegistryID: "Reg.v1_0_3",
	}
	registry := got.Registry
	got.Registry = nil
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("BIOS (-want +got):\n%s", d)
	}
	zero, many, two, eight := int64(0), int64(336), int64(2), int64(8)
	for name, want := range map[string]bmc.BIOSAttribute{
		"ProcTurbo": {Type: "Enumeration", Values: []string{"Enabled", "Disabled"}, NeedsReset: true, DisplayName: "Turbo"},
		"Cores":     {Type: "Integer", LowerBound: &zero, UpperBound: &many},
		"Seed":      {Type: "Integer", NeedsReset: true},
		"Quiet":     {Type: "Boolean", Hidden: true, NeedsReset: true},
		"AssetTag":  {Type: "String", MinLength: &two, MaxLength: &eight, NeedsReset: true},
		"Service":   {Type: "String", ReadOnly: true, NeedsReset: true},
	} {
		if d := cmp.Diff(want, registry[name]); d != "" {
			t.Errorf("registry of %s (-want +got):\n%s", name, d)
		}
	}
	if len(registry) != 12 {
		t.Errorf("%d attributes in the registry, want 12", len(registry))
	}
	b.forget()
	if _, err := s.BIOS(context.Background()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"GET " + sysPath, "GET " + biosPath, "GET " + biosSettings}, b.requests()); d != "" {
		t.Errorf("second read (-want +got):\n%s", d)
	}
	// An update of the BIOS may change the registry and keep its name.
	b.change(func(s map[string]any) { s["BiosVersion"] = "1.3" })
	b.forget()
	if _, err := s.BIOS(context.Background()); err != nil || len(b.requests()) != 6 {
		t.Errorf("after an update of the BIOS: %v, %q", err, b.requests())
	}
}

func TestStageBIOS(t *testing.T) {
	ctx := context.Background()
	poll := func(t *testing.T, s *System, o bmc.Op, want bmc.Progress) {
		t.Helper()
		got, err := s.Poll(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("progress (-want +got):\n%s", d)
		}
	}
	waits := bmc.Progress{Percent: -1, State: "Pending", Message: "waits for a reset of the machine"}
	done := bmc.Progress{Done: true, Percent: 100}

	t.Run("staged, then in force", func(t *testing.T) {
		b := newBIOS(t)
		s := dialBoard(t, b)
		o, err := s.StageBIOS(ctx, map[string]any{"ProcTurbo": "Disabled", "Cores": 16, "Quiet": true}, "")
		if err != nil {
			t.Fatal(err)
		}
		want := bmc.Op{Kind: "bios", Resource: biosPath, NeedsReset: true, Want: map[string]string{"ProcTurbo": "Disabled", "Cores": "16"}}
		if d := cmp.Diff(want, o); d != "" {
			t.Errorf("operation (-want +got):\n%s", d)
		}
		if len(b.sent) != 1 || b.sent[0].Body != `{"Attributes":{"Cores":16,"ProcTurbo":"Disabled"}}` || b.sent[0].Match != `"e1"` || b.sent[0].Path != biosSettings {
			t.Errorf("sent %+v", b.sent)
		}
		poll(t, s, o, waits)
		// Asked again, it waits already.
		again, err := s.StageBIOS(ctx, map[string]any{"ProcTurbo": "Disabled", "Cores": 16}, "")
		if err != nil || len(b.sent) != 1 {
			t.Errorf("written twice: %v, %+v", err, b.sent)
		}
		if d := cmp.Diff(want, again); d != "" {
			t.Errorf("operation (-want +got):\n%s", d)
		}
		b.restart()
		// A restart of ours too: the Op is all that is left.
		data, _ := json.Marshal(o)
		var kept bmc.Op
		if err := json.Unmarshal(data, &kept); err != nil {
			t.Fatal(err)
		}
		poll(t, dialBoard(t, b), kept, done)
	})

	t.Run("nothing differs", func(t *testing.T) {
		b := newBIOS(t)
		o, err := dialBoard(t, b).StageBIOS(ctx, map[string]any{"Cores": "144", "Quiet": true}, bmc.ApplyNow)
		if err != nil || !o.Done || o.NeedsReset || len(b.sent) > 0 {
			t.Errorf("%+v, %v, sent %+v", o, err, b.sent)
		}
	})

	t.Run("what waits is taken back", func(t *testing.T) {
		b := newBIOS(t)
		b.docs[biosSettings]["Attributes"] = map[string]any{"Cores": 100}
		s := dialBoard(t, b)
		o, err := s.StageBIOS(ctx, map[string]any{"Cores": 144}, "")
		if err != nil || len(b.sent) != 1 || !o.Done {
			t.Errorf("%+v, %v, sent %+v", o, err, b.sent)
		}
		b.restart()
		poll(t, s, o, done)
	})

	t.Run("apply times", func(t *testing.T) {
		for _, tc := range []struct {
			name      string
			supported []any
			older     bool // beside the attributes, as services before Settings 1.1 have it
			at        bmc.ApplyTime
			sent      string
			reset     bool
			fails     bmc.Class
		}{
			{name: "left to the BMC", supported: []any{"OnReset", "Immediate"}, sent: `{"Attributes":{"Cores":1}}`, reset: true},
			{name: "offered", supported: []any{"OnReset"}, at: bmc.ApplyOnReset, sent: `{"@Redfish.SettingsApplyTime":{"ApplyTime":"OnReset"},"Attributes":{"Cores":1}}`, reset: true},
			{name: "at once", supported: []any{"OnReset", "Immediate"}, at: bmc.ApplyNow, sent: `{"@Redfish.SettingsApplyTime":{"ApplyTime":"Immediate"},"Attributes":{"Cores":1}}`},
			{name: "older service", supported: []any{"Immediate"}, older: true, at: bmc.ApplyNow, sent: `{"@Redfish.SettingsApplyTime":{"ApplyTime":"Immediate"},"Attributes":{"Cores":1}}`},
			{name: "not offered", supported: []any{"OnReset"}, at: bmc.ApplyNow, fails: bmc.Unsupported},
			{name: "nothing said, on reset", at: bmc.ApplyOnReset, sent: `{"Attributes":{"Cores":1}}`, reset: true},
			{name: "nothing said, at once", at: bmc.ApplyNow, fails: bmc.Unsupported},
		} {
			t.Run(tc.name, func(t *testing.T) {
				b := newBIOS(t)
				if tc.older {
					b.docs[biosPath]["@Redfish.SettingsApplyTime"] = map[string]any{"ApplyTime@Redfish.AllowableValues": tc.supported}
				} else if tc.supported != nil {
					b.docs[biosPath]["@Redfish.Settings"].(map[string]any)["SupportedApplyTimes"] = tc.supported
				}
				o, err := dialBoard(t, b).StageBIOS(ctx, map[string]any{"Cores": 1}, tc.at)
				if tc.fails != "" {
					wantError(t, err, tc.fails, "", "appl")
					return
				}
				if err != nil || len(b.sent) != 1 || b.sent[0].Body != tc.sent || o.NeedsReset != tc.reset {
					t.Errorf("%+v, %v, sent %+v; want %s", o, err, b.sent, tc.sent)
				}
			})
		}
	})

	t.Run("applied at once", func(t *testing.T) {
		b := newBIOS(t)
		b.handle = func(b *board, w boardWrite) boardReply {
			for k, v := range w.json["Attributes"].(map[string]any) {
				b.docs[biosPath]["Attributes"].(map[string]any)[k] = v
			}
			return boardReply{}
		}
		o, err := dialBoard(t, b).StageBIOS(ctx, map[string]any{"Cores": 1}, "")
		if err != nil || !o.Done || o.NeedsReset {
			t.Errorf("%+v, %v", o, err)
		}
	})

	t.Run("no settings object", func(t *testing.T) {
		b := newBIOS(t)
		delete(b.docs[biosPath], "@Redfish.Settings")
		b.handle = func(b *board, w boardWrite) boardReply { return boardReply{} }
		s := dialBoard(t, b)
		o, err := s.StageBIOS(ctx, map[string]any{"Cores": 1}, "")
		if err != nil || len(b.sent) != 1 || b.sent[0].Path != biosPath || !o.NeedsReset {
			t.Fatalf("%+v, %v, sent %+v", o, err, b.sent)
		}
		poll(t, s, o, bmc.Progress{Percent: -1, Message: "not in force yet: Cores"})
	})

	t.Run("settings object that is not to be read", func(t *testing.T) {
		b := newBIOS(t)
		delete(b.docs, biosSettings)
		b.handle = func(b *board, w boardWrite) boardReply { return boardReply{} }
		o, err := dialBoard(t, b).StageBIOS(ctx, map[string]any{"Cores": 1}, "")
		if err != nil || len(b.sent) != 1 || b.sent[0].Path != biosSettings || !o.NeedsReset {
			t.Errorf("%+v, %v, sent %+v", o, err, b.sent)
		}
	})

	t.Run("taken and ignored", func(t *testing.T) {
		b := newBIOS(t)
		b.handle = func(b *board, w boardWrite) boardReply { return boardReply{} }
		_, err := dialBoard(t, b).StageBIOS(ctx, map[string]any{"Cores": 1}, "")
		wantError(t, err, bmc.Protocol, "", "shows neither as staged nor in force: Cores")
	})

	t.Run("task", func(t *testing.T) { // Dell: 202 with the job in Location
		const job = "/redfish/v1/TaskService/Tasks/JID_1"
		b := newBIOS(t)
		b.handle = func(b *board, w boardWrite) boardReply { return boardReply{code: 202, location: job} }
		b.put(job, `{"@odata.type": "#Task.v1_5_1.Task", "TaskState": "Starting", "PercentComplete": 0, "Messages": [{"Message": "Task successfully scheduled."}]}`)
		s := dialBoard(t, b)
		o, err := s.StageBIOS(ctx, map[string]any{"Cores": 1}, "")
		if err != nil || o.Task != job || !o.NeedsReset {
			t.Fatalf("%+v, %v", o, err)
		}
		poll(t, s, o, bmc.Progress{State: "Starting", Message: "Task successfully scheduled."})
		b.edit(job, func(d map[string]any) { d["TaskState"] = "Completed" })
		b.edit(biosPath, func(d map[string]any) { d["Attributes"].(map[string]any)["Cores"] = 1 })
		poll(t, s, o, done)
	})

	t.Run("refused at the start", func(t *testing.T) {
		b := newBIOS(t)
		s := dialBoard(t, b)
		o, err := s.StageBIOS(ctx, map[string]any{"ProcTurbo": "Disabled"}, "")
		if err != nil {
			t.Fatal(err)
		}
		// As the DMTF's public-rackmount1 has it in /Systems/437XR1138R2/Bios.
		b.edit(biosSettings, func(d map[string]any) { d["Attributes"] = map[string]any{} })
		b.edit(biosPath, func(d map[string]any) {
			d["@Redfish.Settings"].(map[string]any)["Messages"] = []any{
				map[string]any{"MessageId": "ExtendedError.1.2.RebootRequired", "Severity": "Warning", "RelatedProperties": []any{"#/Attributes/ProcTurbo"}},
				map[string]any{"MessageId": "Base.1.0.SettingsFailed", "RelatedProperties": []any{"/Attributes/ProcTurbo"}},
			}
		})
		_, err = s.Poll(ctx, o)
		wantError(t, err, bmc.BadRequest, "", "the BIOS did not take ProcTurbo: Base.1.0.SettingsFailed")
	})
}

func TestResetBIOS(t *testing.T) {
	ctx := context.Background()
	b := newBIOS(t)
	b.handle = func(b *board, w boardWrite) boardReply {
		b.docs[biosPath]["ResetBiosToDefaultsPending"] = true
		return boardReply{}
	}
	s := dialBoard(t, b)
	o, err := s.ResetBIOS(ctx)
	if err != nil || len(b.sent) != 1 || b.sent[0].Path != biosReset || b.sent[0].Body != "" {
		t.Fatalf("%v, sent %+v", err, b.sent)
	}
	if d := cmp.Diff(bmc.Op{Kind: "bios-reset", Resource: biosPath, Want: map[string]string{"ResetBiosToDefaultsPending": "false"}, NeedsReset: true}, o); d != "" {
		t.Errorf("operation (-want +got):\n%s", d)
	}
	if p, err := s.Poll(ctx, o); err != nil || p.Done || p.Message != "waits for a reset of the machine" {
		t.Errorf("%+v, %v", p, err)
	}
	b.edit(biosPath, func(d map[string]any) { d["ResetBiosToDefaultsPending"] = false })
	if p, err := s.Poll(ctx, o); err != nil || !p.Done {
		t.Errorf("%+v, %v", p, err)
	}
	b.edit(biosPath, func(d map[string]any) { delete(d, "ResetBiosToDefaultsPending") })
	if p, err := s.Poll(ctx, o); err != nil || !p.Done || p.Message == "" {
		t.Errorf("%+v, %v", p, err)
	}

	info := func(params string) *board {
		b := newBIOS(t)
		b.handle = func(*board, boardWrite) boardReply { return boardReply{} }
		b.docs[biosPath]["Actions"].(map[string]any)["#Bios.ResetBios"].(map[string]any)["@Redfish.ActionInfo"] = biosPath + "/ResetInfo"
		b.put(biosPath+"/ResetInfo", `{"Parameters": `+params+`}`)
		return b
	}
	b = info(`[{"Name": "ResetType", "Required": true, "AllowableValues": ["Reset"]}, {"Name": "Extra", "Required": false}]`)
	if _, err := dialBoard(t, b).ResetBIOS(ctx); err != nil || b.sent[0].Body != `{"ResetType":"Reset"}` {
		t.Errorf("%v, sent %+v", err, b.sent)
	}
	b = info(`[{"Name": "ResetType", "Required": true, "AllowableValues": ["Factory", "Manufacturing"]}]`)
	_, err = dialBoard(t, b).ResetBIOS(ctx)
	wantError(t, err, bmc.Unsupported, "", "wants a ResetType with the reset: Factory, Manufacturing")

	b = newBIOS(t)
	delete(b.docs[biosPath], "Actions")
	_, err = dialBoard(t, b).ResetBIOS(ctx)
	wantError(t, err, bmc.Unsupported, "", "no reset of BIOS settings")
	_, err = dialBoard(t, newFake(t)).BIOS(ctx)
	wantError(t, err, bmc.Unsupported, "", "no BIOS settings")
}
