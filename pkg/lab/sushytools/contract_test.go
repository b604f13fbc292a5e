package sushytools

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

func on(l *lab) { l.ask(http.MethodPost, sys1+"/Actions/ComputerSystem.Reset", obj{"ResetType": "On"}) }

// TestAnswers holds each request to the answer that its source gives.
func TestAnswers(t *testing.T) {
	const reset = sys1 + "/Actions/ComputerSystem.Reset"
	const cd = sys1 + "/VirtualMedia/Cd"
	type o = obj
	for _, tc := range []struct {
		name   string
		o      Options
		mode   simbmc.BootMode
		before func(l *lab)
		method string
		path   string
		body   any
		code   int
		want   string // in the body
	}{
		{name: "unknown URL", path: "/redfish/v1/Nothing", code: 404, want: "404 Not Found: The requested URL was not found on the server."},
		{name: "no sessions", path: "/redfish/v1/SessionService", code: 404},
		{name: "no accounts", path: "/redfish/v1/AccountService", code: 404},
		{name: "no events", path: "/redfish/v1/EventService", code: 404},
		{name: "slash at the end", path: "/redfish/v1/Systems/", code: 200, want: uuid1},
		{name: "unknown method", method: "DELETE", path: sys1, code: 405, want: "405 Method Not Allowed"},
		{name: "unknown system, and no JSON", path: "/redfish/v1/Systems/x", code: 404, want: `Error finding domain by name/UUID "x" at libvirt`},
		{name: "system by its name", path: "/redfish/v1/Systems/vbmc-node", code: 307},
		{name: "part of a system by its name", path: "/redfish/v1/Systems/vbmc-node/EthernetInterfaces/x", code: 500, want: "Could not build url"},
		{name: "memory is linked and not there", path: sys1 + "/Memory", code: 404},
		{name: "BIOS at the standard's path", path: sys1 + "/Bios", code: 404},
		{name: "what was not read", path: "/redfish/v1/CertificateService", code: 501, want: NotReproduced},

		{name: "no body", method: "PATCH", path: sys1, code: 400, want: "400 Bad Request"},
		{name: "body of a wrong type", method: "PATCH", path: sys1, body: []int{1}, code: 500, want: "'list' object has no attribute 'get'"},
		{name: "patch of nothing, and no JSON", method: "PATCH", path: sys1, body: o{"AssetTag": "x"}, code: 400, want: "PATCH only works for Boot and IndicatorLED elements"},
		{name: "boot of a wrong type", method: "PATCH", path: sys1, body: o{"Boot": "Pxe"}, code: 500, want: "'str' object has no attribute 'get'"},
		{name: "boot without a target", method: "PATCH", path: sys1, body: o{"Boot": o{"BootSourceOverrideEnabled": "Disabled"}}, code: 400, want: "Missing the BootSourceOverrideTarget"},
		{name: "no override", method: "PATCH", path: sys1, body: o{"Boot": o{"BootSourceOverrideTarget": "None", "BootSourceOverrideEnabled": "Disabled"}}, code: 500, want: "Target libvirt device None does not exist"},
		{name: "BIOS setup", method: "PATCH", path: sys1, body: o{"Boot": o{"BootSourceOverrideTarget": "BiosSetup"}}, code: 500, want: "Target libvirt device BiosSetup"},
		{name: "CD without a drive", o: Options{NoCDROM: true}, method: "PATCH", path: sys1, body: o{"Boot": o{"BootSourceOverrideTarget": "Cd"}}, code: 500, want: "Target libvirt device Cd"},
		{name: "CD after an ejection", before: func(l *lab) { l.ask("POST", cd+"/Actions/VirtualMedia.EjectMedia", o{}) }, method: "PATCH", path: sys1, body: o{"Boot": o{"BootSourceOverrideTarget": "Cd"}}, code: 500, want: "Target libvirt device Cd"},
		{name: "unknown mode", method: "PATCH", path: sys1, body: o{"Boot": o{"BootSourceOverrideMode": "Both"}}, code: 400, want: "Unknown boot mode requested: Both"},
		{name: "ETag is not looked at", method: "PATCH", path: sys1, body: o{"Boot": o{"BootSourceOverrideTarget": "Pxe"}}, code: 204},
		{name: "light", method: "PATCH", path: sys1, body: o{"IndicatorLED": "Blinking"}, code: 204},
		{name: "light of another colour", method: "PATCH", path: sys1, body: o{"IndicatorLED": "Blue"}, code: 500, want: "Unknown indicator state Blue"},
		{name: "light in a smaller feature set", o: Options{FeatureSet: VMedia}, method: "PATCH", path: sys1, body: o{"IndicatorLED": "Lit"}, code: 400, want: "Feature IndicatorLED not available"},

		{name: "cycle is no reset it knows", before: on, method: "POST", path: reset, body: o{"ResetType": "PowerCycle"}, code: 204},
		{name: "no reset type", method: "POST", path: reset, body: o{}, code: 204},
		{name: "restart when off", method: "POST", path: reset, body: o{"ResetType": "ForceRestart"}, code: 204},
		{name: "off, forbidden", o: Options{DisablePowerOff: true}, method: "POST", path: reset, body: o{"ResetType": "ForceOff"}, code: 400, want: "Can not request power off transition"},

		{name: "drives", path: sys1 + "/VirtualMedia", code: 200, want: `/VirtualMedia/Floppy"`},
		{name: "drives are not below managers", path: "/redfish/v1/Managers/" + uuid1 + "/VirtualMedia", code: 404},
		{name: "drives of an old release", o: Options{MediaOnManager: true}, path: "/redfish/v1/Managers/" + uuid1 + "/VirtualMedia/Cd", code: 200, want: "/redfish/v1/Managers/" + uuid1 + "/VirtualMedia/Cd/Actions/VirtualMedia.InsertMedia"},
		{name: "drive that is not there", path: sys1 + "/VirtualMedia/Usb", code: 404, want: "No such virtual media device Usb"},
		{name: "image by PATCH", method: "PATCH", path: cd, body: o{"Image": "http://x/y.iso", "Inserted": true}, code: 400, want: "Empty or malformed patch"},
		{name: "verify", method: "PATCH", path: cd, body: o{"VerifyCertificate": "yes"}, code: 400, want: "VerifyCertificate must be a boolean"},
		{name: "user alone", method: "POST", path: cd + "/Actions/VirtualMedia.InsertMedia", body: o{"Image": "http://x/y.iso", "UserName": "u"}, code: 400, want: "UserName and Password must be passed together"},
		{name: "no image", method: "POST", path: cd + "/Actions/VirtualMedia.InsertMedia", body: o{}, code: 500, want: "Failed fetching image from URL None"},
		{name: "ejection of nothing", method: "POST", path: cd + "/Actions/VirtualMedia.EjectMedia", body: o{}, code: 204},
		{name: "ejection without a body", method: "POST", path: cd + "/Actions/VirtualMedia.EjectMedia", code: 204},
		{name: "certificate", method: "POST", path: cd + "/Certificates", body: o{"CertificateType": "PEM", "CertificateString": "x"}, code: 204},
		{name: "second certificate", before: func(l *lab) {
			l.ask("POST", cd+"/Certificates", o{"CertificateType": "PEM", "CertificateString": "x"})
		}, method: "POST", path: cd + "/Certificates", body: o{"CertificateType": "PEM", "CertificateString": "x"}, code: 409, want: "already exists"},

		{name: "Secure Boot without UEFI", mode: simbmc.ModeLegacy, before: func(l *lab) {
			l.ask("PATCH", sys1, o{"Boot": o{"BootSourceOverrideMode": "Legacy"}})
		}, path: sys1 + "/SecureBoot", code: 501, want: "Legacy boot mode does not support secure boot"},
		{name: "Secure Boot of firmware that nobody named", mode: simbmc.ModeLegacy, path: sys1 + "/SecureBoot", code: 200},
		{name: "no storage", path: sys1 + "/Storage", code: 500, want: "Error finding storage collection"},
		{name: "no volumes configured", o: Options{Storage: map[string][]Storage{uuid1: {{ID: "1"}}}}, path: sys1 + "/Storage/1/Volumes", code: 500, want: "'NoneType' object is not iterable"},
		{name: "no deletion of volumes", o: Options{Storage: map[string][]Storage{uuid1: {{ID: "1", Volumes: []Volume{{ID: "v"}}}}}}, method: "DELETE", path: sys1 + "/Storage/1/Volumes/v", code: 405},
		{name: "update without targets", method: "POST", path: "/redfish/v1/UpdateService/Actions/UpdateService.SimpleUpdate", body: o{"ImageURI": "http://x"}, code: 400, want: "Missing ImageURI and/or Targets."},
		{name: "update of a manager", method: "POST", path: "/redfish/v1/UpdateService/Actions/UpdateService.SimpleUpdate", body: o{"ImageURI": "http://x", "Targets": []string{"/redfish/v1/Managers/1"}}, code: 400, want: "not currently a supported Target"},
		{name: "firmware inventory", path: "/redfish/v1/UpdateService/FirmwareInventory", code: 404},
		{name: "tasks", path: "/redfish/v1/TaskService/Tasks", code: 404},
		{name: "task", path: "/redfish/v1/TaskService/Tasks/42", code: 200, want: "Completed"},
		{name: "another task", path: "/redfish/v1/TaskService/Tasks/43", code: 404},
		{name: "chassis by its id", path: "/redfish/v1/Chassis/SheetMetalChassis", code: 307},
		{name: "chassis that is not there", path: "/redfish/v1/Chassis/x", code: 500, want: "Error finding chassis"},
		{name: "manager that is not there", path: "/redfish/v1/Managers/x", code: 404, want: "Manager with UUID x was not found"},
		{name: "managers in the smallest feature set", o: Options{FeatureSet: Minimum}, path: "/redfish/v1/Managers", code: 404, want: "Feature Managers not available"},
		{name: "BIOS in a smaller feature set", o: Options{FeatureSet: VMedia}, path: sys1 + "/BIOS", code: 404, want: "Feature BIOS not available"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.mode == "" {
				tc.mode = simbmc.ModeUEFI
			}
			l := newLab(t, tc.mode, tc.o)
			if tc.before != nil {
				tc.before(l)
			}
			method := tc.method
			if method == "" {
				method = http.MethodGet
			}
			code, text, header := l.ask(method, tc.path, tc.body)
			if code != tc.code || !strings.Contains(text, tc.want) || header.Get("Content-Type") != "application/json" {
				t.Errorf("%s %s: %d %q, want %d with %q; %s", method, tc.path, code, text, tc.code, tc.want, header.Get("Content-Type"))
			}
			if header.Get("ETag") != "" || header.Get("OData-Version") != "" {
				t.Errorf("headers that the emulator does not send: %v", header)
			}
		})
	}
}

// A message with quotes makes a body that is no JSON.
func TestErrorBodies(t *testing.T) {
	l := newLab(t, simbmc.ModeUEFI, Options{})
	_, text, _ := l.ask(http.MethodGet, "/redfish/v1/Systems/x", nil)
	if json.Valid([]byte(text)) {
		t.Errorf("valid: %s", text)
	}
	_, text, _ = l.ask(http.MethodGet, "/redfish/v1/Nothing", nil)
	if !json.Valid([]byte(text)) {
		t.Errorf("invalid: %s", text)
	}
	if _, _, h := l.ask(http.MethodGet, "/redfish/v1/Systems/vbmc-node", nil); h.Get("Location") != sys1 {
		t.Errorf("redirected to %q", h.Get("Location"))
	}
}

func TestAuthentication(t *testing.T) {
	l := newLab(t, simbmc.ModeUEFI, Options{Username: "admin", Password: "password"})
	for _, tc := range []struct {
		name, path, header string
		code               int
		want               string
	}{
		{name: "the root is open", path: "/redfish/v1/", code: 200},
		{name: "nothing else is", path: "/redfish/v1/Systems", code: 401, want: "Authorization required"},
		{name: "wrong", path: "/redfish/v1/Systems", header: "Basic YWRtaW46bm8=", code: 401, want: "Incorrect username or password"},
		{name: "right", path: "/redfish/v1/Systems", header: "Basic YWRtaW46cGFzc3dvcmQ=", code: 200},
		{name: "bearer", path: "/redfish/v1/Systems", header: "Bearer x", code: 500},
		{name: "no base64", path: "/redfish/v1/Systems", header: "Basic !", code: 500},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(testContext(t), http.MethodGet, l.url+tc.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if tc.header != "" {
				req.Header.Set("Authorization", tc.header)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			var body struct{ Error struct{ Message string } }
			_ = json.NewDecoder(resp.Body).Decode(&body)
			if resp.StatusCode != tc.code || body.Error.Message != tc.want {
				t.Errorf("%d %q, want %d %q", resp.StatusCode, body.Error.Message, tc.code, tc.want)
			}
			if tc.code == 401 && resp.Header.Get("WWW-Authenticate") != `Basic realm="Baremetal API"` {
				t.Errorf("asks for %q", resp.Header.Get("WWW-Authenticate"))
			}
		})
	}
}

// Enabled is Continuous whatever is asked for, and a running machine follows at
// its next start, though it shows the new device at once.
func TestBoot(t *testing.T) {
	l := newLab(t, simbmc.ModeUEFI, Options{})
	boot := func() string {
		b := l.get(sys1)["Boot"].(obj)
		mode, _ := b["BootSourceOverrideMode"].(string)
		return b["BootSourceOverrideTarget"].(string) + " " + b["BootSourceOverrideEnabled"].(string) + " " + mode
	}
	patch := func(b obj) {
		t.Helper()
		if code, text, _ := l.ask(http.MethodPatch, sys1, obj{"Boot": b}); code != 204 {
			t.Fatalf("%v: %d %s", b, code, text)
		}
	}
	reset := func(kind string) {
		t.Helper()
		if code, text, _ := l.ask(http.MethodPost, sys1+"/Actions/ComputerSystem.Reset", obj{"ResetType": kind}); code != 204 {
			t.Fatalf("%s: %d %s", kind, code, text)
		}
	}
	started := func(want simbmc.BootTarget) {
		t.Helper()
		if o := <-l.starts; o.Target != want {
			t.Errorf("started with %+v, want %s", o, want)
		}
	}
	if got := boot(); got != "Hdd Continuous UEFI" {
		t.Errorf("at first: %s", got)
	}
	patch(obj{"BootSourceOverrideTarget": "Pxe", "BootSourceOverrideEnabled": "Once"})
	if got := boot(); got != "Pxe Continuous UEFI" {
		t.Errorf("once: %s", got)
	}
	reset("On")
	started(simbmc.BootPXE)
	patch(obj{"BootSourceOverrideTarget": "Hdd"})
	if got := boot(); got != "Hdd Continuous UEFI" {
		t.Errorf("while on: %s", got)
	}
	reset("ForceRestart")
	started(simbmc.BootPXE)
	reset("ForceOff")
	reset("On")
	started(simbmc.BootDisk)
	patch(obj{"BootSourceOverrideTarget": "UefiHttp"})
	if got := boot(); got != "Pxe Continuous UEFI" {
		t.Errorf("UefiHttp without a URL: %s", got)
	}
	patch(obj{"BootSourceOverrideTarget": "UefiHttp", "HttpBootUri": l.images + "/boot.iso"})
	if got := boot(); got != "Cd Continuous UEFI" {
		t.Errorf("UefiHttp: %s", got)
	}
	if got := l.get(sys1)["Boot"].(obj)["HttpBootUri"]; got != l.images+"/boot.iso" {
		t.Errorf("HttpBootUri %v", got)
	}

	legacy := newLab(t, simbmc.ModeLegacy, Options{})
	if mode, shown := legacy.get(sys1)["Boot"].(obj)["BootSourceOverrideMode"]; shown {
		t.Errorf("a machine whose firmware nobody named shows the mode %v", mode)
	}
	legacy.ask(http.MethodPatch, sys1, obj{"Boot": obj{"BootSourceOverrideMode": "Legacy"}})
	if mode := legacy.get(sys1)["Boot"].(obj)["BootSourceOverrideMode"]; mode != "Legacy" {
		t.Errorf("and then %v", mode)
	}
}

// The rules of Reset, of a machine that is off and one that is on.
func TestReset(t *testing.T) {
	for _, tc := range []struct {
		kind    string
		off, on string // state after it
		restart bool
	}{
		{kind: "On", off: "On", on: "On"},
		{kind: "ForceOn", off: "On", on: "On"},
		{kind: "ForceOff", off: "Off", on: "Off"},
		{kind: "GracefulShutdown", off: "Off", on: "Off"},
		{kind: "GracefulRestart", off: "Off", on: "On", restart: true},
		{kind: "ForceRestart", off: "Off", on: "On", restart: true},
		{kind: "Nmi", off: "Off", on: "On"},
		{kind: "PowerCycle", off: "Off", on: "On"},
		{kind: "PushPowerButton", off: "Off", on: "On"},
	} {
		t.Run(tc.kind, func(t *testing.T) {
			for _, begin := range []string{"off", "on"} {
				l := newLab(t, simbmc.ModeUEFI, Options{})
				want := tc.off
				if begin == "on" {
					on(l)
					<-l.starts
					want = tc.on
				}
				if code, text, _ := l.ask(http.MethodPost, sys1+"/Actions/ComputerSystem.Reset", obj{"ResetType": tc.kind}); code != 204 {
					t.Errorf("%s: %d %s", begin, code, text)
				}
				if got := l.get(sys1)["PowerState"]; got != want {
					t.Errorf("%s: %v, want %s", begin, got, want)
				}
				if restarted := len(l.starts) == 1; begin == "on" && restarted != tc.restart {
					t.Errorf("restarted %t", restarted)
				}
			}
		})
	}
}

// Virtual media by plain HTTP; a test with the driver belongs here once it has
// them.
func TestVirtualMedia(t *testing.T) {
	l := newLab(t, simbmc.ModeUEFI, Options{})
	const cd = sys1 + "/VirtualMedia/Cd"
	insert := func(body obj) (int, string) {
		code, text, _ := l.ask(http.MethodPost, cd+"/Actions/VirtualMedia.InsertMedia", body)
		return code, text
	}
	shown := func() string {
		m := l.get(cd)
		text, _ := json.Marshal([]any{m["Image"], m["Inserted"], m["WriteProtected"], m["UserName"], m["Password"]})
		return string(text)
	}
	for _, tc := range []struct {
		name  string
		body  obj
		code  int
		want  string // what the drive shows then
		media string // what the machine has, below the image server
	}{
		{name: "gone", body: obj{"Image": l.images + "/gone.iso"}, code: 400, want: `["",false,false,"",""]`},
		{name: "broken", body: obj{"Image": l.images + "/broken.iso"}, code: 502, want: `["",false,false,"",""]`},
		{name: "nobody there", body: obj{"Image": "http://127.0.0.1:1/x.iso"}, code: 500, want: `["",false,false,"",""]`},
		{name: "plain", body: obj{"Image": l.images + "/a/boot.iso?x=1"}, code: 204, want: `["boot.iso",true,true,"",""]`, media: "/a/boot.iso?x=1"},
		{name: "over another", body: obj{"Image": l.images + "/named", "Inserted": true, "WriteProtected": false}, code: 204, want: `["other.iso",true,false,"",""]`, media: "/named"},
		{name: "no name", body: obj{"Image": l.images + "/"}, code: 204, want: `["image.iso",true,true,"",""]`, media: "/"},
		{name: "credentials", body: obj{"Image": l.images + "/secret.iso", "UserName": "u", "Password": "p"}, code: 204, want: `["secret.iso",true,true,"u","******"]`, media: "/secret.iso"},
		{name: "not inserted", body: obj{"Image": l.images + "/b.iso", "Inserted": false}, code: 204, want: `["b.iso",false,true,"",""]`, media: "/b.iso"},
	} {
		code, text := insert(tc.body)
		if code != tc.code {
			t.Errorf("%s: %d %s", tc.name, code, text)
		}
		if got := shown(); got != tc.want {
			t.Errorf("%s: drive shows %s, want %s", tc.name, got, tc.want)
		}
		url, _, _ := l.body.Media(t.Context())
		if want := tc.media; want != "" && url != l.images+want {
			t.Errorf("%s: the machine has %q", tc.name, url)
		}
	}
	if code, _, _ := l.ask(http.MethodPatch, sys1, obj{"Boot": obj{"BootSourceOverrideTarget": "Cd"}}); code != 204 {
		t.Errorf("boot from CD: %d", code)
	}
	on(l)
	if o := <-l.starts; o.Target != simbmc.BootCD {
		t.Errorf("started with %+v", o)
	}
	l.ask(http.MethodPost, cd+"/Actions/VirtualMedia.EjectMedia", obj{})
	if got := shown(); got != `["",false,false,"",""]` {
		t.Errorf("after the ejection: %s", got)
	}
	if _, inserted, _ := l.body.Media(t.Context()); inserted {
		t.Error("the machine still has the image")
	}
	if got := l.get(sys1)["Boot"].(obj)["BootSourceOverrideTarget"]; got != "Hdd" {
		t.Errorf("boots from %v, want its disk", got)
	}
}

// What a client stages is in force at once, as a string; a boot mode switches
// Secure Boot off.
func TestSettings(t *testing.T) {
	l := newLab(t, simbmc.ModeUEFI, Options{})
	if code, text, _ := l.ask(http.MethodPatch, sys1+"/BIOS/Settings", obj{"Attributes": obj{"QuietBoot": false, "NumCores": 4, "New": nil}}); code != 204 {
		t.Fatalf("%d %s", code, text)
	}
	for _, p := range []string{"/BIOS", "/BIOS/Settings"} {
		a := l.get(sys1 + p)["Attributes"].(obj)
		if diff := cmp.Diff([]any{"False", "4", "None", "Enabled"}, []any{a["QuietBoot"], a["NumCores"], a["New"], a["ProcTurboMode"]}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", p, diff)
		}
	}
	l.ask(http.MethodPost, sys1+"/BIOS/Actions/Bios.ResetBios", obj{})
	if a := l.get(sys1 + "/BIOS")["Attributes"].(obj); a["NumCores"] != "10" || a["New"] != nil {
		t.Errorf("after reset %v", a)
	}

	l.ask(http.MethodPatch, sys1+"/SecureBoot", obj{"SecureBootEnable": true})
	if sb := l.get(sys1 + "/SecureBoot"); sb["SecureBootEnable"] != true || sb["SecureBootCurrentBoot"] != "Enabled" {
		t.Errorf("Secure Boot %v", sb)
	}
	l.ask(http.MethodPatch, sys1, obj{"Boot": obj{"BootSourceOverrideMode": "UEFI"}})
	if sb := l.get(sys1 + "/SecureBoot"); sb["SecureBootEnable"] != false {
		t.Errorf("Secure Boot survived a boot mode: %v", sb)
	}

	code, _, h := l.ask(http.MethodPost, "/redfish/v1/UpdateService/Actions/UpdateService.SimpleUpdate", obj{"ImageURI": "http://x/y", "Targets": []string{sys1}})
	if code != 204 || h.Get("Location") != "/redfish/v1/TaskService/Tasks/42" {
		t.Errorf("update: %d, %q", code, h.Get("Location"))
	}
	if v := l.get(sys1)["BiosVersion"]; v != "1.1.0" {
		t.Errorf("BIOS version %v", v)
	}
}

func TestStorage(t *testing.T) {
	l := newLab(t, simbmc.ModeUEFI, Options{Storage: map[string][]Storage{uuid1: {{
		ID: "1", Name: "Local Storage Controller", Controllers: []Controller{{MemberID: "0", Name: "Contoso Integrated RAID", SpeedGbps: 12}},
		Drives: []Drive{{ID: "32ADF365C6C1B7BD", Name: "Drive Sample", CapacityBytes: 899527000000, Protocol: "SAS"}}, Volumes: []Volume{},
	}}}})
	if l.get(sys1)["Storage"] == nil {
		t.Error("the system does not name its storage")
	}
	code, text, h := l.ask(http.MethodPost, sys1+"/Storage/1/Volumes", obj{"Name": "root", "RAIDType": "RAID1", "CapacityBytes": 1 << 30})
	if code != 201 || text != "" {
		t.Fatalf("%d %s", code, text)
	}
	v := l.get(h.Get("Location"))
	if v["Name"] != "root" || v["CapacityBytes"] != float64(1<<30) || v["VolumeType"] != "None" || v["RAIDType"] != nil {
		t.Errorf("volume %v", v)
	}
	if n := l.get(sys1 + "/Storage/1/Volumes")["Members@odata.count"]; n != float64(1) {
		t.Errorf("%v volumes", n)
	}
}
