package engine

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/open"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/lab/treebmc"
)

// changing is a rig whose BMC speaks Redfish over the wire, in a preparation.
func changing(t *testing.T, o treebmc.Options, w host.Wants) (*rig, *treebmc.Server) {
	t.Helper()
	b, err := treebmc.New(treebmc.Small(), o)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(b)
	t.Cleanup(srv.Close)
	c, err := open.Open(t.Context(), "redfish+"+srv.URL+"/redfish/v1/Systems/1", bmc.Credentials{}, open.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t)
	r.BMCs = bmcs{conn: c}
	r.in.Host.State, r.in.Host.Boot, r.in.Host.Wants = host.Preparing, nil, w
	r.in.Host.Op = &host.Op{Kind: host.OpPrepare, Entered: true}
	r.in.HFS, r.in.HFC = &metal3.HostFirmwareSettings{}, &metal3.HostFirmwareComponents{}
	return r, b
}

func posts(b *treebmc.Server, path string) int {
	n := 0
	for _, e := range b.Journal() {
		if e.Method == http.MethodPost && strings.HasSuffix(e.Path, path) {
			n++
		}
	}
	return n
}

func TestSecureBootIsSwitchedOnce(t *testing.T) {
	r, b := changing(t, treebmc.Options{}, host.Wants{})
	for _, tc := range []struct{ on, switched bool }{{true, true}, {true, false}, {false, true}, {false, false}} {
		o := r.outcome(host.Action{Verb: host.SetSecureBoot, On: tc.on})
		if o.Problem != nil || o.Switched != tc.switched {
			t.Fatalf("on %v: %+v, problem %+v", tc.on, o, o.Problem)
		}
		if got := b.Resource("/redfish/v1/Systems/1/SecureBoot")["SecureBootEnable"]; got != tc.on {
			t.Errorf("it is %v, want %v", got, tc.on)
		}
	}
	r.BMCs = bmcs{conn: mute{}}
	r.problem(host.Action{Verb: host.SetSecureBoot, On: true}, "secure-boot", host.Retry)
}

// An update whose answer was lost with the process that asked for it is found
// again: as a task of the BMC's, or by the version that it brought.
func TestLostUpdateIsFound(t *testing.T) {
	r, b := changing(t, treebmc.Options{TaskReads: 5}, host.Wants{Updates: true, Firmware: "f1"})
	u := metal3.FirmwareUpdate{Component: "bios", URL: "http://10.0.0.1/bios-2.5.0.bin"}
	r.in.HFC.Spec.Updates = []metal3.FirmwareUpdate{u}
	plan := r.outcome(host.Action{Verb: host.PlanChange})
	want := host.Change{What: host.ChangeFirmware, Target: "bios http://10.0.0.1/bios-2.5.0.bin", For: "f1", Before: "1.0.0"}
	if plan.Problem != nil || plan.Change == nil || *plan.Change != want {
		t.Fatalf("planned %+v, problem %+v", plan.Change, plan.Problem)
	}
	r.in.Host.Op.Change = plan.Change
	first := r.outcome(host.Action{Verb: host.ApplyChange}) // nobody hears of it
	again := r.outcome(host.Action{Verb: host.ApplyChange, Again: true})
	for _, o := range []host.Outcome{first, again} {
		var op bmc.Op
		if o.Change == nil || json.Unmarshal([]byte(o.Change.Op), &op) != nil || op.Task == "" || op.Done {
			t.Fatalf("%+v, problem %+v", o.Change, o.Problem)
		}
	}
	if n := posts(b, "SimpleUpdate"); n != 1 {
		t.Errorf("the update was asked for %d times", n)
	}
	r.in.Host.Op.Change = again.Change
	p := r.do(host.Action{Verb: host.SettleChange})
	if o := p.Event.(host.Outcome); o.Problem != nil || p.Firmware == nil || p.Firmware.Flashed == nil || *p.Firmware.Flashed != u {
		t.Fatalf("%+v, read %+v", o.Problem, p.Firmware)
	}
	if v := version(p.Firmware.Components, "bios"); v != "2.5.0" {
		t.Errorf("the version is %q", v)
	}
	r.in.Host.Op.Change = plan.Change
	done := r.outcome(host.Action{Verb: host.ApplyChange, Again: true})
	if done.Change == nil || !strings.Contains(done.Change.Op, `"done":true`) || posts(b, "SimpleUpdate") != 1 {
		t.Errorf("%+v, problem %+v", done.Change, done.Problem)
	}
	r.in.HFC.Status.Updates = r.in.HFC.Spec.Updates
	if o := r.outcome(host.Action{Verb: host.ApplyChange}); o.Change != nil || o.Problem != nil {
		t.Errorf("what was carried out is asked for again: %+v, %+v", o.Change, o.Problem)
	}
}

// Settings come into force at a start: the machine that is off is started, the one
// that runs is restarted, and one where they are in force already is left alone.
func TestRestartForSettings(t *testing.T) {
	for _, tc := range []struct {
		name   string
		on     bool
		action string
	}{{"off", false, "On"}, {"on", true, "ForceRestart"}} {
		t.Run(tc.name, func(t *testing.T) {
			r, b := changing(t, treebmc.Options{}, host.Wants{Settings: true, Firmware: "f1"})
			if tc.on {
				b.Edit("/redfish/v1/Systems/1", func(d map[string]any) { d["PowerState"] = "On" })
			}
			r.in.HFS.Spec.Settings = metal3.DesiredSettingsMap{"Threads": intstr.FromString("32")}
			r.in.Host.Op.Change = r.outcome(host.Action{Verb: host.PlanChange}).Change
			asked := r.outcome(host.Action{Verb: host.ApplyChange})
			if asked.Change == nil || !asked.Change.Reset || strings.Contains(asked.Change.Op, "Threads") {
				t.Fatalf("%+v, problem %+v", asked.Change, asked.Problem)
			}
			r.in.Host.Op.Change = asked.Change
			for range 2 {
				if o := r.outcome(host.Action{Verb: host.Restart}); o.Problem != nil || o.Power != host.PowerOn {
					t.Fatalf("power %s, problem %+v", o.Power, o.Problem)
				}
			}
			var resets []string
			for _, e := range b.Journal() {
				if strings.HasSuffix(e.Path, "ComputerSystem.Reset") {
					resets = append(resets, e.Body)
				}
			}
			if len(resets) != 1 || !strings.Contains(resets[0], `"`+tc.action+`"`) {
				t.Errorf("resets %q", resets)
			}
			p := r.do(host.Action{Verb: host.SettleChange})
			if o := p.Event.(host.Outcome); o.Problem != nil || p.Firmware.BIOS.Attributes["Threads"] != int64(32) {
				t.Errorf("%+v, %+v", o.Problem, p.Firmware)
			}
		})
	}
}

// What cannot be is said, before anything is changed.
func TestPlanRefuses(t *testing.T) {
	volume := `[{"level":"5"}]`
	for _, tc := range []struct {
		name  string
		wants host.Wants
		conn  bmc.Conn
		code  string
		class host.Class
	}{
		{name: "a level the controller lacks", wants: host.Wants{RAID: volume}, code: "raid-impossible", class: host.Wait},
		{name: "no RAID over this protocol", wants: host.Wants{RAID: volume}, conn: mute{}, code: "raid-unsupported", class: host.Wait},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, b := changing(t, treebmc.Options{}, tc.wants)
			r.in.BMH.Spec.RAID = &metal3.RAIDConfig{}
			if tc.conn != nil {
				r.BMCs = bmcs{conn: tc.conn}
			}
			r.problem(host.Action{Verb: host.PlanChange}, tc.code, tc.class)
			for _, e := range b.Journal() {
				if e.Method != http.MethodGet && !strings.Contains(e.Path, "Session") {
					t.Errorf("the BMC was asked %s %s", e.Method, e.Path)
				}
			}
		})
	}
}

// A BMC that can tell no settings is no obstacle: it says so, once.
func TestPlanWithoutSettings(t *testing.T) {
	r, _ := changing(t, treebmc.Options{}, host.Wants{Settings: true, Updates: true, Firmware: "f1"})
	r.BMCs = bmcs{conn: mute{}}
	p := r.do(host.Action{Verb: host.PlanChange})
	if o := p.Event.(host.Outcome); o.Problem != nil || o.Change != nil || p.Firmware.NoBIOS == "" || p.Firmware.NoComponents == "" {
		t.Errorf("%+v, read %+v", o, p.Firmware)
	}
}
