package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/node"
)

// board is a made-up BMC: it keeps what it is told, or fails.
type board struct {
	override bmc.BootOverride
	ordered  []bmc.PowerAction
	lit      bool
	secure   *bool
	drives   []bmc.Slot
	inserted bmc.MediaRequest
	subs     []bmc.Subscription
	fail     error
}

func (b *board) Identify(context.Context) (bmc.Identity, error) { return bmc.Identity{}, b.fail }
func (b *board) Close(context.Context) error                    { return nil }

func (b *board) PowerState(context.Context) (bmc.PowerState, error) { return bmc.PowerOn, b.fail }

func (b *board) SetPower(_ context.Context, a bmc.PowerAction) error {
	b.ordered = append(b.ordered, a)
	return b.fail
}

func (b *board) BootOverride(context.Context) (bmc.BootOverride, error) { return b.override, b.fail }

func (b *board) SetBootOverride(_ context.Context, o bmc.BootOverride) error {
	b.override = o
	return b.fail
}

func (b *board) Indicator(context.Context) (bool, error) { return b.lit, b.fail }

func (b *board) SetIndicator(_ context.Context, lit bool) error {
	b.lit = lit
	return b.fail
}

func (b *board) SecureBoot(context.Context) (bmc.SecureBootState, error) {
	return bmc.SecureBootState{}, b.fail
}

func (b *board) SetSecureBoot(_ context.Context, on bool) (bmc.Op, error) {
	b.secure = &on
	return bmc.Op{}, b.fail
}

func (b *board) ResetSecureBootKeys(context.Context, bmc.KeyReset) (bmc.Op, error) {
	return bmc.Op{}, b.fail
}

func (b *board) EnrollSecureBootCertificate(context.Context, string, []byte) (bmc.Op, error) {
	return bmc.Op{}, b.fail
}

func (b *board) Slots(context.Context) ([]bmc.Slot, error) { return b.drives, b.fail }

func (b *board) InsertMedia(_ context.Context, r bmc.MediaRequest) (bmc.Slot, error) {
	b.inserted = r
	return bmc.Slot{}, b.fail
}

func (b *board) EjectMedia(context.Context, string) error {
	b.inserted = bmc.MediaRequest{}
	return b.fail
}

func (b *board) Subscriptions(context.Context) ([]bmc.Subscription, error) {
	return slices.Clone(b.subs), b.fail
}

func (b *board) Subscribe(_ context.Context, s bmc.Subscription) (bmc.Subscription, error) {
	s.ID = "/redfish/v1/EventService/Subscriptions/7"
	b.subs = append(b.subs, s)
	return s, b.fail
}

func (b *board) Unsubscribe(_ context.Context, id string) error {
	b.subs = slices.DeleteFunc(b.subs, func(s bmc.Subscription) bool { return s.ID == id })
	return b.fail
}

// bare is a BMC that can be asked who it is, and nothing else.
type bare struct{}

func (bare) Identify(context.Context) (bmc.Identity, error) { return bmc.Identity{}, nil }
func (bare) Close(context.Context) error                    { return nil }

// made is a made-up Machines with one machine.
type made struct {
	conn     bmc.Conn
	refusal  error
	settings *metal3.HostFirmwareSettings
	schema   map[string]metal3.SettingSchema
	firmware *metal3.HostFirmwareComponents
	taken    *agent.Inventory
	changes  int
}

func (m *made) Read(ctx context.Context, _ *node.Node, do func(context.Context, bmc.Conn) error) error {
	if m.refusal != nil {
		return m.refusal
	}
	return do(ctx, m.conn)
}

func (m *made) Change(ctx context.Context, n *node.Node, do func(context.Context, bmc.Conn) error) error {
	m.changes++
	return m.Read(ctx, n, do)
}

func (m *made) Begin(ctx context.Context, _ *node.Node, do func(context.Context, bmc.Conn) error, ended func(context.Context, error)) error {
	if m.refusal != nil {
		return m.refusal
	}
	m.changes++
	ended(ctx, do(ctx, m.conn))
	return nil
}

func (m *made) OwnSubscription(_ *node.Node, s bmc.Subscription) bool { return s.Context == "ours" }

func (m *made) Console(n *node.Node) string {
	return "https://10.0.0.1:6183/console/v1/" + n.Key.Namespace + "/" + n.Key.Name
}

func (m *made) Settings(context.Context, *node.Node) (*metal3.HostFirmwareSettings, map[string]metal3.SettingSchema, error) {
	return m.settings, m.schema, m.refusal
}

func (m *made) Components(context.Context, *node.Node) (*metal3.HostFirmwareComponents, error) {
	return m.firmware, m.refusal
}

func (m *made) Inventory(context.Context, *node.Node) (*agent.Inventory, error) {
	return m.taken, m.refusal
}

// machineDoor is a door with a node of a driver, n1, and its machine.
func machineDoor(t *testing.T, driver string) (*door, *made, *board) {
	t.Helper()
	d, b := newDoor(t), &board{}
	m := &made{conn: b}
	d.s.Machines = m
	d.want(http.StatusCreated, http.MethodPost, "/v1/nodes", map[string]any{"driver": driver, "name": "n1"})
	return d, m, b
}

// recorded changes the record of n1 as the life cycle would.
func (d *door) recorded(change func(*v1alpha1.HostRecord)) {
	d.t.Helper()
	n, ok := d.nodes.Get("n1")
	if !ok {
		d.t.Fatal("no n1")
	}
	r := n.Record.DeepCopy()
	change(r)
	if err := d.nodes.Client.Status().Update(d.t.Context(), r); err != nil {
		d.t.Fatal(err)
	}
	d.nodes.Observe(r)
}

func (d *door) lastError() string {
	d.t.Helper()
	text, _ := d.want(http.StatusOK, http.MethodGet, "/v1/nodes/n1", nil)["last_error"].(string)
	return text
}

// Every endpoint that a version brought is not there below it.
func TestMachineEndpointsByVersion(t *testing.T) {
	for _, tc := range []struct {
		method, path, before, since string
		hidden, there               int
		body                        any
	}{
		{method: "PUT", path: "management/inject_nmi", before: "1.28", since: "1.29", hidden: 404, there: 204},
		{method: "GET", path: "management/indicators", before: "1.62", since: "1.63", hidden: 404, there: 200},
		{method: "GET", path: "management/indicators/led@system", before: "1.62", since: "1.63", hidden: 404, there: 200},
		{method: "PUT", path: "management/indicators/led@system", before: "1.62", since: "1.63", hidden: 404, there: 204, body: map[string]any{"state": "on"}},
		{method: "PUT", path: "states/boot_mode", before: "1.75", since: "1.76", hidden: 404, there: 202, body: map[string]any{"target": "uefi"}},
		{method: "PUT", path: "states/secure_boot", before: "1.75", since: "1.76", hidden: 404, there: 202, body: map[string]any{"target": true}},
		{method: "GET", path: "vmedia", before: "1.92", since: "1.93", hidden: 404, there: 200},
		{method: "POST", path: "vmedia", before: "1.88", since: "1.89", hidden: 404, there: 204, body: map[string]any{"device_type": "cdrom", "image_url": "http://192.0.2.1/a.iso"}},
		{method: "DELETE", path: "vmedia", before: "1.88", since: "1.89", hidden: 404, there: 204},
		{method: "GET", path: "bios", before: "1.39", since: "1.40", hidden: 404, there: 200},
		{method: "GET", path: "bios/ProcTurbo", before: "1.39", since: "1.40", hidden: 404, there: 200},
		{method: "GET", path: "bios?detail=true", before: "1.73", since: "1.74", hidden: 400, there: 200},
		{method: "GET", path: "bios?fields=name", before: "1.73", since: "1.74", hidden: 400, there: 200},
		{method: "GET", path: "firmware", before: "1.85", since: "1.86", hidden: 404, there: 200},
		{method: "GET", path: "firmware?fields=vendor", before: "1.113", since: "1.114", hidden: 400, there: 200},
		{method: "GET", path: "inventory", before: "1.80", since: "1.81", hidden: 404, there: 200},
		{method: "PUT", path: "states/raid", before: "1.11", since: "1.12", hidden: 406, there: 204, body: map[string]any{}},
	} {
		t.Run(tc.method+" "+tc.path, func(t *testing.T) {
			d, m, b := machineDoor(t, "redfish")
			b.drives = []bmc.Slot{{ID: "/cd"}}
			m.settings = &metal3.HostFirmwareSettings{Status: metal3.HostFirmwareSettingsStatus{Settings: metal3.SettingsMap{"ProcTurbo": "Enabled"}}}
			m.taken = &agent.Inventory{}
			path := "/v1/nodes/n1/" + tc.path
			if tc.path == "vmedia" && tc.method == "GET" {
				if code, list := d.version(tc.since).machineList(path); code != tc.there || len(list) != 1 {
					t.Errorf("%s at %s: %d %v", path, tc.since, code, list)
				}
			} else {
				d.version(tc.since).want(tc.there, tc.method, path, tc.body)
			}
			was := m.changes
			d.version(tc.before).want(tc.hidden, tc.method, path, tc.body)
			if m.changes != was {
				t.Error("what is not there did something")
			}
		})
	}
}

func TestBootDevice(t *testing.T) {
	d, _, b := machineDoor(t, "redfish")
	const path = "/v1/nodes/n1/management/boot_device"
	if got := d.want(http.StatusOK, http.MethodGet, path, nil); got["boot_device"] != nil || got["persistent"] != nil {
		t.Errorf("without an override: %v", got)
	}
	for _, tc := range []struct {
		name       string
		persistent any
		want       bmc.BootOverride
	}{
		{name: "pxe", want: bmc.BootOverride{Target: bmc.BootPXE}},
		{name: "disk", persistent: true, want: bmc.BootOverride{Target: bmc.BootDisk, Persistent: true}},
		{name: "cdrom", persistent: "no", want: bmc.BootOverride{Target: bmc.BootCD}},
		{name: "bios", persistent: "True", want: bmc.BootOverride{Target: bmc.BootSetup, Persistent: true}},
		{name: "uefihttp", want: bmc.BootOverride{Target: bmc.BootUEFIHTTP}},
	} {
		body := map[string]any{"boot_device": tc.name}
		if tc.persistent != nil {
			body["persistent"] = tc.persistent
		}
		d.want(http.StatusNoContent, http.MethodPut, path, body)
		if diff := cmp.Diff(tc.want, b.override); diff != "" {
			t.Errorf("%s: %s", tc.name, diff)
		}
		if got := d.want(http.StatusOK, http.MethodGet, path, nil); got["boot_device"] != tc.name || got["persistent"] != tc.want.Persistent {
			t.Errorf("%s is read as %v", tc.name, got)
		}
	}
	for body, want := range map[string]string{
		`{"boot_device": "safe"}`:          "Invalid boot device safe specified.",
		`{}`:                               "Missing mandatory parameter: boot_device",
		``:                                 "Missing mandatory parameter: boot_device",
		`{"boot_device": "pxe", "foo": 1}`: "Unexpected arguments: foo",
		`{"boot_device": "pxe", "persistent": "some"}`: "Invalid persistent: Unrecognized value 'some', acceptable values are: '0', '1', 'f', 'false', 'n', 'no', 'off', 'on', 't', 'true', 'y', 'yes'", //nolint:misspell // Ironic's own text
		`[]`: "The request body has to be a JSON object.",
	} {
		if got := d.want(http.StatusBadRequest, http.MethodPut, path, body); got["faultstring"] != want {
			t.Errorf("%s: %v", body, got["faultstring"])
		}
	}
	list, _ := d.want(http.StatusOK, http.MethodGet, path+"/supported", nil)["supported_boot_devices"].([]any)
	if len(list) != 5 {
		t.Errorf("supported: %v", list)
	}
}

// A fake node answers as Ironic's fake interfaces do, and no machine is asked.
func TestFakeHardware(t *testing.T) {
	d, m, _ := machineDoor(t, "fake-hardware")
	m.refusal = errors.New("asked")
	if got := d.want(http.StatusOK, http.MethodGet, "/v1/nodes/n1/management/boot_device", nil); got["boot_device"] != "pxe" || got["persistent"] != false {
		t.Errorf("boot device %v", got)
	}
	d.want(http.StatusNoContent, http.MethodPut, "/v1/nodes/n1/management/boot_device", map[string]any{"boot_device": "pxe"})
	d.want(http.StatusBadRequest, http.MethodPut, "/v1/nodes/n1/management/boot_device", map[string]any{"boot_device": "disk"})
	for path, extension := range map[string]string{"management/inject_nmi": "inject_nmi", "management/indicators/led@system": "set_indicator_state"} {
		got := d.want(http.StatusBadRequest, http.MethodPut, "/v1/nodes/n1/"+path, map[string]any{"state": "on"})
		if want := "Driver fake-hardware does not support " + extension + " (disabled or not implemented)."; got["faultstring"] != want {
			t.Errorf("%s: %v", path, got)
		}
	}
	all, _ := d.want(http.StatusOK, http.MethodGet, "/v1/nodes/n1/management/indicators", nil)["indicators"].([]any)
	if len(all) != 2 {
		t.Errorf("indicators %v", all)
	}
	d.want(http.StatusAccepted, http.MethodPut, "/v1/nodes/n1/states/boot_mode", map[string]any{"target": "uefi"})
	if got, want := d.lastError(), "Failed to change boot mode to 'uefi': Driver fake-hardware does not support set_boot_mode (disabled or not implemented)."; got != want {
		t.Errorf("last_error %q", got)
	}
	d.want(http.StatusBadRequest, http.MethodGet, "/v1/nodes/n1/vmedia", nil)
	d.want(http.StatusNoContent, http.MethodDelete, "/v1/nodes/n1/vmedia", nil)
	if got := d.lastError(); !strings.Contains(got, "does not support detach_virtual_media") {
		t.Errorf("last_error %q", got)
	}
	d.want(http.StatusNotFound, http.MethodGet, "/v1/nodes/n1/inventory", nil)
	d.want(http.StatusNotFound, http.MethodGet, "/v1/nodes/n1/bios/x", nil)
	if got := d.want(http.StatusOK, http.MethodGet, "/v1/nodes/n1/firmware", nil); len(got["firmware"].([]any)) != 0 {
		t.Errorf("firmware %v", got)
	}

	d.want(http.StatusOK, http.MethodPatch, "/v1/nodes/n1", []map[string]any{
		{"op": "add", "path": "/management_interface", "value": "noop"},
		{"op": "add", "path": "/console_interface", "value": "no-console"},
		{"op": "add", "path": "/vendor_interface", "value": "no-vendor"},
	})
	if got := d.want(http.StatusOK, http.MethodGet, "/v1/nodes/n1/management/boot_device", nil); got["boot_device"] != "pxe" || got["persistent"] != true {
		t.Errorf("boot device of noop %v", got)
	}
	d.want(http.StatusNoContent, http.MethodPut, "/v1/nodes/n1/management/boot_device", map[string]any{"boot_device": "disk"})
	d.want(http.StatusBadRequest, http.MethodGet, "/v1/nodes/n1/management/indicators", nil)
	d.want(http.StatusBadRequest, http.MethodGet, "/v1/nodes/n1/management/indicators/led@system", nil)
	d.want(http.StatusBadRequest, http.MethodPut, "/v1/nodes/n1/states/console", map[string]any{"enabled": true})
	if got := d.want(http.StatusOK, http.MethodGet, "/v1/nodes/n1/vendor_passthru/methods", nil); len(got) != 0 {
		t.Errorf("methods of no-vendor %v", got)
	}
}

func TestNMIAndIndicators(t *testing.T) {
	d, m, b := machineDoor(t, "redfish")
	d.want(http.StatusNoContent, http.MethodPut, "/v1/nodes/n1/management/inject_nmi", nil)
	if !slices.Equal(b.ordered, []bmc.PowerAction{bmc.ActionNMI}) {
		t.Errorf("ordered %v", b.ordered)
	}
	const led = "/v1/nodes/n1/management/indicators/led@system"
	for _, state := range []string{"on", "off"} {
		d.want(http.StatusNoContent, http.MethodPut, led, map[string]any{"state": state})
		if got := d.want(http.StatusOK, http.MethodGet, led, nil); got["state"] != state {
			t.Errorf("%s: %v", state, got)
		}
	}
	was := m.changes
	for _, tc := range []struct{ id, state string }{{"led", "on"}, {"led@disk", "on"}, {"x@system", "on"}, {"led@system", "blinking"}} {
		d.want(http.StatusBadRequest, http.MethodPut, "/v1/nodes/n1/management/indicators/"+tc.id, map[string]any{"state": tc.state})
	}
	if m.changes != was {
		t.Error("a wrong request changed something")
	}
}

// What goes wrong is told as Ironic does, or said to be worth another try.
func TestMachineFaults(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		want int
		text string
	}{
		{name: "locked", err: &Refusal{Status: 409, Text: "Node x is locked by host y, please retry after the current operation is completed."}, want: 409, text: "is locked by host y"},
		{name: "elsewhere", err: &Refusal{Status: 503, Text: "that of the door https://10.0.0.2:6183"}, want: 503, text: "https://10.0.0.2:6183"},
		{name: "unsupported", err: &bmc.Error{Class: bmc.Unsupported, Op: "set power: NMI", Detail: "the BMC has no Nmi"}, want: 400, text: "Driver redfish does not support inject_nmi (disabled or not implemented). set power: NMI: the BMC has no Nmi"},
		{name: "busy", err: &bmc.Error{Class: bmc.Busy, Op: "x"}, want: 503, text: "busy"},
		{name: "refused", err: &bmc.Error{Class: bmc.BadRequest, Op: "x"}, want: 400},
		{name: "unreachable", err: &bmc.Error{Class: bmc.Unreachable, Op: "x", Detail: "no route"}, want: 500, text: "no route"},
		{name: "auth", err: &bmc.Error{Class: bmc.Auth, Op: "x", Detail: "401"}, want: 500},
		{name: "late", err: context.DeadlineExceeded, want: 503},
		{name: "another", err: errors.New("boom"), want: 500},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, m, _ := machineDoor(t, "redfish")
			m.refusal = tc.err
			got := d.want(tc.want, http.MethodPut, "/v1/nodes/n1/management/inject_nmi", nil)
			if text, _ := got["faultstring"].(string); !strings.Contains(text, tc.text) {
				t.Errorf("%q", text)
			}
		})
	}
	t.Run("no such capability", func(t *testing.T) {
		for _, driver := range []string{"ipmi", "redfish"} {
			d, m, _ := machineDoor(t, driver)
			m.conn = bare{}
			got := d.want(http.StatusBadRequest, http.MethodGet, "/v1/nodes/n1/vmedia", nil)
			if got["faultstring"] != "Driver "+driver+" does not support get_virtual_media (disabled or not implemented)." {
				t.Errorf("%v", got)
			}
		}
	})
	t.Run("no machines", func(t *testing.T) {
		d, _, _ := machineDoor(t, "redfish")
		d.s.Machines = nil
		d.want(http.StatusBadRequest, http.MethodGet, "/v1/nodes/n1/management/boot_device", nil)
		d.want(http.StatusAccepted, http.MethodPut, "/v1/nodes/n1/states/boot_mode", map[string]any{"target": "bios"})
		if got := d.lastError(); !strings.Contains(got, "does not support set_boot_mode") {
			t.Errorf("last_error %q", got)
		}
	})
}

func TestBootModeAndSecureBoot(t *testing.T) {
	d, m, b := machineDoor(t, "redfish")
	b.override = bmc.BootOverride{Target: bmc.BootPXE, Persistent: true, Mode: bmc.BootModeUEFI}
	code, _, header := d.do(http.MethodPut, "/v1/nodes/n1/states/boot_mode", map[string]any{"target": "bios"})
	if code != http.StatusAccepted || header.Get("Location") != "http://10.0.0.1:6385/v1/nodes/n1/states" {
		t.Errorf("%d %q", code, header.Get("Location"))
	}
	if want := (bmc.BootOverride{Target: bmc.BootPXE, Persistent: true, Mode: bmc.BootModeLegacy}); b.override != want {
		t.Errorf("override %+v", b.override)
	}
	d.want(http.StatusAccepted, http.MethodPut, "/v1/nodes/n1/states/secure_boot", map[string]any{"target": "true"})
	if b.secure == nil || !*b.secure {
		t.Error("secure boot is not on")
	}
	if got := d.want(http.StatusOK, http.MethodGet, "/v1/nodes/n1", nil); got["boot_mode"] != "bios" || got["secure_boot"] != true {
		t.Errorf("shown %v, %v", got["boot_mode"], got["secure_boot"])
	}
	was := m.changes
	for _, tc := range []struct{ path, body, want string }{
		{"boot_mode", `{"target": "foo"}`, "Invalid boot mode foo requested for node. Allowed boot modes are: bios, uefi"},
		{"boot_mode", `{"target": {}}`, "Invalid boot mode map[] requested for node. Allowed boot modes are: bios, uefi"},
		{"boot_mode", `{}`, "Missing mandatory parameter: target"},
		{"secure_boot", `{"target": null}`, "Invalid secure_boot None requested for node. Allowed secure_boot states are: True, False"},
	} {
		if got := d.want(http.StatusBadRequest, http.MethodPut, "/v1/nodes/n1/states/"+tc.path, tc.body); got["faultstring"] != tc.want {
			t.Errorf("%s %s: %v", tc.path, tc.body, got["faultstring"])
		}
	}
	d.recorded(func(r *v1alpha1.HostRecord) { r.Status.Node = &v1alpha1.NodeStatus{Hold: "clean wait"} })
	d.want(http.StatusConflict, http.MethodPut, "/v1/nodes/n1/states/boot_mode", map[string]any{"target": "uefi"})
	if m.changes != was {
		t.Error("what was refused changed something")
	}
	d.recorded(func(r *v1alpha1.HostRecord) { r.Status.Node = nil })
	b.fail = &bmc.Error{Class: bmc.Unreachable, Op: "switch", Detail: "no route"}
	d.want(http.StatusAccepted, http.MethodPut, "/v1/nodes/n1/states/secure_boot", map[string]any{"target": false})
	if got := d.lastError(); !strings.HasPrefix(got, "Failed to change secure_boot state to 'False': ") || !strings.HasSuffix(got, "no route") {
		t.Errorf("last_error %q", got)
	}
	b.fail = nil
	d.want(http.StatusAccepted, http.MethodPut, "/v1/nodes/n1/states/secure_boot", map[string]any{"target": false})
	if got := d.lastError(); got != "" {
		t.Errorf("last_error after a success: %q", got)
	}
}

func TestConsole(t *testing.T) {
	const path = "/v1/nodes/n1/states/console"
	for _, driver := range []string{"fake-hardware", "redfish"} {
		d, _, _ := machineDoor(t, driver)
		if got := d.want(http.StatusOK, http.MethodGet, path, nil); got["console_enabled"] != false || got["console_info"] != nil {
			t.Errorf("%s: %v", driver, got)
		}
		if driver == "redfish" {
			got := d.want(http.StatusBadRequest, http.MethodPut, path, map[string]any{"enabled": true})
			if got["faultstring"] != "Driver redfish does not support console (disabled or not implemented)." {
				t.Errorf("no-console: %v", got)
			}
			n, _ := d.nodes.Get("n1")
			to := n.Clone()
			to.ConsoleInterface = "ingot"
			if _, err := d.nodes.Update(t.Context(), n, to); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			code, _, header := d.do(http.MethodPut, path, map[string]any{"enabled": true})
			if code != http.StatusAccepted || header.Get("Location") != "http://10.0.0.1:6385"+path {
				t.Errorf("%s: %d %q", driver, code, header.Get("Location"))
			}
		}
		got := d.want(http.StatusOK, http.MethodGet, path, nil)
		info, _ := got["console_info"].(map[string]any)
		at, _ := info["url"].(string)
		if got["console_enabled"] != true || info == nil || driver == "redfish" && (info["type"] != "ingot" || !strings.HasPrefix(at, "https://10.0.0.1:6183/console/v1/default/")) {
			t.Errorf("%s: %v", driver, got)
		}
		d.want(http.StatusAccepted, http.MethodPut, path, map[string]any{"enabled": false})
		if got := d.want(http.StatusOK, http.MethodGet, path, nil); got["console_enabled"] != false {
			t.Errorf("%s: %v", driver, got)
		}
		d.want(http.StatusBadRequest, http.MethodPut, path, map[string]any{})
	}
}

func TestBIOSAndFirmware(t *testing.T) {
	d, m, _ := machineDoor(t, "redfish")
	yes, low := true, 1
	m.settings = &metal3.HostFirmwareSettings{Status: metal3.HostFirmwareSettingsStatus{Settings: metal3.SettingsMap{"B": "2", "A": "on"}}}
	m.schema = map[string]metal3.SettingSchema{"A": {AttributeType: "Enumeration", AllowableValues: []string{"on", "off"}, ReadOnly: &yes}, "B": {LowerBound: &low}}
	list, _ := d.version("1.40").want(http.StatusOK, http.MethodGet, "/v1/nodes/n1/bios", nil)["bios"].([]any)
	if len(list) != 2 {
		t.Fatalf("%v", list)
	}
	first, _ := list[0].(map[string]any)
	if first["name"] != "A" || first["value"] != "on" || first["links"] == nil {
		t.Errorf("%v", first)
	}
	if _, shown := first["read_only"]; shown {
		t.Error("what the registry says is shown without detail")
	}
	one, _ := d.want(http.StatusOK, http.MethodGet, "/v1/nodes/n1/bios/A", nil)["A"].(map[string]any)
	if one["attribute_type"] != "Enumeration" || one["read_only"] != true || len(one["allowable_values"].([]any)) != 2 || one["lower_bound"] != nil {
		t.Errorf("%v", one)
	}
	old, _ := d.version("1.73").want(http.StatusOK, http.MethodGet, "/v1/nodes/n1/bios/A", nil)["A"].(map[string]any)
	if _, shown := old["attribute_type"]; shown {
		t.Errorf("at 1.73: %v", old)
	}
	list, _ = d.want(http.StatusOK, http.MethodGet, "/v1/nodes/n1/bios?detail=True", nil)["bios"].([]any)
	if b, _ := list[1].(map[string]any); b["lower_bound"] != 1.0 {
		t.Errorf("%v", b)
	}
	n, _ := d.nodes.Get("n1")
	if got := d.want(http.StatusNotFound, http.MethodGet, "/v1/nodes/n1/bios/C", nil); got["faultstring"] != "Node "+n.UUID+" doesn't have a BIOS setting 'C'" {
		t.Errorf("%v", got)
	}
	d.want(http.StatusBadRequest, http.MethodGet, "/v1/nodes/n1/bios?detail=True&fields=name", nil)
	d.want(http.StatusBadRequest, http.MethodGet, "/v1/nodes/n1/bios?fields=nope", nil)

	when := metav1.NewTime(time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC))
	m.firmware = &metal3.HostFirmwareComponents{}
	m.firmware.Status.Components = []metal3.FirmwareComponentStatus{{Component: "bios", InitialVersion: "1", CurrentVersion: "2", UpdatedAt: when}}
	list, _ = d.version("1.113").want(http.StatusOK, http.MethodGet, "/v1/nodes/n1/firmware", nil)["firmware"].([]any)
	want := map[string]any{"component": "bios", "initial_version": "1", "current_version": "2", "last_version_flashed": nil, "created_at": nil, "updated_at": "2026-11-21T09:00:00Z"}
	if diff := cmp.Diff([]any{want}, list); diff != "" {
		t.Error(diff)
	}
	list, _ = d.version("1.114").want(http.StatusOK, http.MethodGet, "/v1/nodes/n1/firmware", nil)["firmware"].([]any)
	want["vendor"], want["model"], want["serial_number"] = nil, nil, nil
	if diff := cmp.Diff([]any{want}, list); diff != "" {
		t.Error(diff)
	}
}

func TestInventory(t *testing.T) {
	d, m, _ := machineDoor(t, "redfish")
	n, _ := d.nodes.Get("n1")
	if got := d.want(http.StatusNotFound, http.MethodGet, "/v1/nodes/n1/inventory", nil); got["faultstring"] != "Node inventory record for node "+n.UUID+" could not be found." {
		t.Errorf("%v", got)
	}
	host := n.Host.DeepCopy()
	host.Status.HardwareDetails = &metal3.HardwareDetails{NIC: []metal3.NIC{{Name: "eno1", MAC: "52:54:00:00:00:02"}}}
	d.nodes.Observe(host)
	if got := fmt.Sprint(d.want(http.StatusOK, http.MethodGet, "/v1/nodes/n1/inventory", nil)); !strings.Contains(got, "mac_address:52:54:00:00:00:02") {
		t.Error(got)
	}
	m.taken = &agent.Inventory{NICs: []agent.NIC{{Name: "eth0", MAC: "52:54:00:00:00:01", PXE: true}}}
	got := d.want(http.StatusOK, http.MethodGet, "/v1/nodes/n1/inventory", nil)
	data, _ := got["plugin_data"].(map[string]any)
	nics, _ := data["all_interfaces"].(map[string]any)
	if eth0, _ := nics["eth0"].(map[string]any); eth0["pxe_enabled"] != true || got["inventory"] == nil {
		t.Errorf("%v", got)
	}
}

func TestRAID(t *testing.T) {
	d, _, _ := machineDoor(t, "redfish")
	const path = "/v1/nodes/n1/states/raid"
	soft := `{"logical_disks": [{"size_gb": 100, "is_root_volume": true, "raid_level": "5", "controller": "software", "physical_disks": [{"size": "> 100"}, {"size": "> 100"}]}]}`
	d.want(http.StatusNoContent, http.MethodPut, path, soft)
	got, _ := d.want(http.StatusOK, http.MethodGet, "/v1/nodes/n1", nil)["target_raid_config"].(map[string]any)
	if disks, _ := got["logical_disks"].([]any); len(disks) != 1 {
		t.Errorf("kept %v", got)
	}
	for body, want := range map[string]string{
		`{"foo": 1}`:                                               "'logical_disks' is a required property",
		`{"logical_disks": [], "foo": 1}`:                          "additional properties are not allowed ('foo' was unexpected)",
		`{"logical_disks": []}`:                                    "[] is too short",
		`{"logical_disks": {}}`:                                    "map[] is not of type 'array'",
		`{"logical_disks": [1]}`:                                   "1 is not of type 'object'",
		`{"logical_disks": [{"size_gb": 1}]}`:                      "'raid_level' is a required property",
		`{"logical_disks": [{"raid_level": "9", "size_gb": 1}]}`:   "'9' is not one of ['JBOD', '0', '1', '2', '5', '6', '1+0', '5+0', '6+0']",
		`{"logical_disks": [{"raid_level": "1", "size_gb": -1}]}`:  "-1 is not valid under any of the given schemas (size_gb: a number of GiB, or MAX)",
		`{"logical_disks": [{"raid_level": "1", "size_gb": 1.5}]}`: "1.5 is not valid under any of the given schemas (size_gb: a number of GiB, or MAX)",
		`{"logical_disks": [{"raid_level": "1", "size_gb": 1, "physical_disks": ["a"]}]}`:                                                           "'controller' is a dependency of 'physical_disks'",
		`{"logical_disks": [{"raid_level": "1", "size_gb": 1, "nope": 1}]}`:                                                                         "additional properties are not allowed ('nope' was unexpected)",
		`{"logical_disks": [{"raid_level": "1", "size_gb": 1, "number_of_physical_disks": 0}]}`:                                                     "0 is not a number of disks",
		`{"logical_disks": [{"raid_level": "1", "size_gb": 1, "is_root_volume": true}, {"raid_level": "0", "size_gb": 1, "is_root_volume": true}]}`: "raid config cannot have more than one root volume. 2 root volumes were specified",
	} {
		if got := d.want(http.StatusBadRequest, http.MethodPut, path, body); got["faultstring"] != "RAID config validation error: "+want {
			t.Errorf("%s: %v", body, got["faultstring"])
		}
	}
	d.want(http.StatusNoContent, http.MethodPut, path, nil)
	if got := d.want(http.StatusOK, http.MethodGet, "/v1/nodes/n1", nil)["target_raid_config"].(map[string]any); len(got) != 0 {
		t.Errorf("not taken back: %v", got)
	}
	d.want(http.StatusOK, http.MethodPatch, "/v1/nodes/n1", []map[string]any{{"op": "add", "path": "/raid_interface", "value": "no-raid"}})
	d.want(http.StatusNotFound, http.MethodPut, path, soft)
	d.want(http.StatusNoContent, http.MethodPut, path, map[string]any{})
}

// What came of a change is shown although somebody else wrote the node meanwhile; of
// one that was deleted, nobody is told.
func TestNoteAfterAnotherWrite(t *testing.T) {
	d, m, b := machineDoor(t, "redfish")
	conflicts := 1
	real := d.nodes.Client
	d.nodes.Client = interceptor.NewClient(real.(client.WithWatch), interceptor.Funcs{
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			if conflicts--; conflicts >= 0 {
				return apierrors.NewConflict(schema.GroupResource{}, o.GetName(), errors.New("changed"))
			}
			return c.Update(ctx, o, opts...)
		},
	})
	b.fail = &bmc.Error{Class: bmc.Unreachable, Op: "boot", Detail: "no route"}
	d.want(http.StatusAccepted, http.MethodPut, "/v1/nodes/n1/states/boot_mode", map[string]any{"target": "bios"})
	if got := d.lastError(); !strings.HasSuffix(got, "no route") || conflicts >= 0 {
		t.Errorf("last_error %q", got)
	}
	if err := d.s.note(t.Context(), "nobody", func(*ironic.Node) {}); !errors.Is(err, node.ErrNotFound) {
		t.Errorf("%v", err)
	}
	if m.changes != 1 {
		t.Errorf("%d changes", m.changes)
	}
}
