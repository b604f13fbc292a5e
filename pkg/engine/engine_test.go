package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/agentapi"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/explain"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/image"
	"github.com/ingot-metal/ingot/pkg/userdata"
)

func TestVerify(t *testing.T) {
	r := newRig(t)
	r.board.power = bmc.PowerOn
	p := r.do(host.Action{Verb: host.VerifyBMC})
	o := p.Event.(host.Outcome)
	if o.Problem != nil || o.Power != host.PowerOn || p.Note == nil || p.Note.Reason != "BMCAccessValidated" {
		t.Errorf("outcome %+v, note %+v", o, p.Note)
	}
	if b := p.Extra.BMC; b == nil || b.SystemUUID != "u" || len(b.MACs) != maxMACs || b.MACs[1] != "02:00:00:00:00:01" {
		t.Errorf("BMC %+v", b)
	}
	// Where the MAC is declared, nobody pays for what the BMC knows.
	r.in.BMH.Spec.BootMACAddress, r.board.details = "52:54:00:00:00:01", 0
	if r.outcome(host.Action{Verb: host.VerifyBMC}); r.board.details != 0 {
		t.Error("the BMC was asked for its MACs though one is declared")
	}
}

func TestSetPower(t *testing.T) {
	tests := []struct {
		name   string
		change host.PowerChange
		before bmc.PowerState
		lag    int
		errs   []error
		action bmc.PowerAction
		want   host.Power
	}{
		{name: "on", change: host.ChangeOn, before: bmc.PowerOff, action: bmc.ActionOn, want: host.PowerOn},
		{name: "on, after a while", change: host.ChangeOn, before: bmc.PowerOff, lag: 2, action: bmc.ActionOn, want: host.PowerOn},
		{name: "hard off", change: host.ChangeForce, before: bmc.PowerOn, action: bmc.ActionForceOff, want: host.PowerOff},
		{name: "soft off", change: host.ChangeSoft, before: bmc.PowerOn, lag: 1, action: bmc.ActionSoftOff, want: host.PowerOff},
		{name: "reset", change: host.ChangeReset, before: bmc.PowerOn, action: bmc.ActionReset, want: host.PowerOn},
		{
			name: "a BMC that is mute while it switches", change: host.ChangeOn, before: bmc.PowerOff, action: bmc.ActionOn, want: host.PowerOn,
			errs: []error{&bmc.Error{Class: bmc.Unreachable, Op: "read power"}, errors.New("no class")},
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			r.board.power, r.board.lag, r.board.readErrs = tc.before, tc.lag, tc.errs
			o := r.outcome(host.Action{Verb: host.SetPower, Power: tc.change})
			if o.Problem != nil || o.Power != tc.want || !reflect.DeepEqual(r.board.ordered, []bmc.PowerAction{tc.action}) {
				t.Errorf("outcome %+v after %v", o, r.board.ordered)
			}
		})
	}
	t.Run("a login that ends in between is not tried again", func(t *testing.T) {
		r := newRig(t)
		r.board.readErrs = []error{&bmc.Error{Class: bmc.Auth, Op: "read power"}}
		r.problem(host.Action{Verb: host.SetPower, Power: host.ChangeOn}, "bmc-auth", host.Wait)
	})
	t.Run("a machine that never switches", func(t *testing.T) {
		r := newRig(t)
		r.board.lag = 1 << 30
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		p := r.setPower(ctx, r.in, host.Action{Power: host.ChangeOn}).Event.(host.Outcome).Problem
		if p == nil || p.Code != "bmc-slow" || !strings.Contains(p.Seen[0], `the power is "Off", want "On"`) {
			t.Errorf("problem %+v", p)
		}
	})
}

func TestSetBoot(t *testing.T) {
	tests := []struct {
		name    string
		address string
		action  host.Action
		once    error // what the BMC says to a persistent override
		want    []bmc.BootOverride
		code    string
	}{
		{name: "network, once", want: []bmc.BootOverride{{Target: bmc.BootPXE, Mode: bmc.BootModeUEFI}}},
		{name: "legacy", action: host.Action{Legacy: true}, want: []bmc.BootOverride{{Target: bmc.BootPXE, Mode: bmc.BootModeLegacy}}},
		{name: "UEFI HTTP", address: "redfish-uefihttp://10.0.0.3", want: []bmc.BootOverride{{Target: bmc.BootUEFIHTTP, Mode: bmc.BootModeUEFI}}},
		{name: "disk, from now on", action: host.Action{FromDisk: true}, want: []bmc.BootOverride{{Target: bmc.BootDisk, Persistent: true, Mode: bmc.BootModeUEFI}}},
		{
			name: "a BMC that knows no Continuous", action: host.Action{FromDisk: true}, once: &bmc.Error{Class: bmc.BadRequest},
			want: []bmc.BootOverride{{Target: bmc.BootDisk, Persistent: true, Mode: bmc.BootModeUEFI}, {Target: bmc.BootDisk, Mode: bmc.BootModeUEFI}},
		},
		{
			name: "a BMC that fails otherwise", action: host.Action{FromDisk: true}, once: &bmc.Error{Class: bmc.Auth, Op: "boot"}, code: "bmc-auth",
			want: []bmc.BootOverride{{Target: bmc.BootDisk, Persistent: true, Mode: bmc.BootModeUEFI}},
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			r.board.once = tc.once
			if tc.address != "" {
				r.in.BMH.Spec.BMC.Address = tc.address
			}
			tc.action.Verb = host.SetBoot
			o := r.outcome(tc.action)
			if diff := cmp.Diff(tc.want, r.board.boots); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if got := o.Problem; (got == nil) != (tc.code == "") || got != nil && got.Code != tc.code {
				t.Errorf("problem %+v, want %q", got, tc.code)
			}
		})
	}
}

func TestMuteBMC(t *testing.T) {
	r := newRig(t)
	r.BMCs = bmcs{conn: mute{}}
	r.problem(host.Action{Verb: host.SetPower}, "bmc-unsupported", host.Wait)
	r.problem(host.Action{Verb: host.SetBoot}, "bmc-unsupported", host.Wait)
	if o := r.outcome(host.Action{Verb: host.VerifyBMC}); o.Problem != nil || o.Power != host.PowerUnknown {
		t.Errorf("outcome %+v", o)
	}
}

// Every way to fail at a BMC ends in a diagnosis that the catalogue has, and a
// wrong password is never retried.
func TestBMCProblems(t *testing.T) {
	for _, class := range []bmc.Class{
		bmc.Unreachable, bmc.TLSIdentity, bmc.Auth, bmc.Forbidden, bmc.Unsupported, bmc.Busy, bmc.Precondition, bmc.BadRequest,
		bmc.Transient, bmc.Protocol,
	} {
		t.Run(string(class), func(t *testing.T) {
			r := newRig(t)
			r.BMCs = bmcs{err: fmt.Errorf("opening: %w", &bmc.Error{Class: class, Op: "log in", Detail: "as seen"})}
			code, ok := classCode[class]
			if _, known := explain.Lookup(code); !ok || !known {
				t.Fatalf("code %q is not in the catalogue", code)
			}
			for _, v := range []host.Verb{host.VerifyBMC, host.SetPower, host.SetBoot} {
				p := r.outcome(host.Action{Verb: v}).Problem
				if p == nil || p.Code != code || p.Facts["secret"] != "s1" || !strings.Contains(p.Seen[0], "as seen") {
					t.Errorf("%s: problem %+v, want %s", v, p, code)
				}
				if class == bmc.Auth && p.Class != host.Wait {
					t.Error("a wrong password is retried: the account would be locked")
				}
			}
		})
	}
	t.Run("the driver's own code comes first", func(t *testing.T) {
		r := newRig(t)
		r.BMCs = bmcs{err: &bmc.Error{Class: bmc.Unreachable, Code: bmc.CodeRefused, Op: "dial"}}
		r.problem(host.Action{Verb: host.VerifyBMC}, "bmc-refused", host.Retry)
	})
	t.Run("an error without a class", func(t *testing.T) {
		r := newRig(t)
		r.BMCs = bmcs{err: errors.New("odd")}
		r.problem(host.Action{Verb: host.VerifyBMC}, "bmc-transient", host.Retry)
	})
	t.Run("out of time", func(t *testing.T) {
		r := newRig(t)
		r.BMCs = bmcs{err: context.DeadlineExceeded}
		r.problem(host.Action{Verb: host.VerifyBMC}, "bmc-slow", host.Retry)
	})
}

// Whoever makes a problem names a diagnosis that exists.
func TestCodesExist(t *testing.T) {
	use := regexp.MustCompile(`NewProblem\("([a-z0-9-]+)"|case ("[a-z0-9-]+"(?:, *"[a-z0-9-]+")*)|\bCode: +"([a-z0-9-]+)"|Code\w+ += "([a-z0-9-]+)"|host\.Phase\w+: "([a-z0-9-]+)"`)
	found := 0
	for _, dir := range []string{".", "../controller", "../host", "../record", "../bmc", "../image", "../userdata", "../inventory"} {
		paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range use.FindAllStringSubmatch(string(text), -1) {
				if m[2] != "" {
					continue
				}
				code := m[1] + m[3] + m[4] + m[5]
				found++
				if _, ok := explain.Lookup(code); !ok {
					t.Errorf("%s: the catalogue lacks %s", path, code)
				}
			}
		}
	}
	if found < 40 {
		t.Errorf("%d codes found: the test looks past them", found)
	}
}

func TestOrderBoot(t *testing.T) {
	r := newRig(t)
	a, b := r.outcome(host.Action{Verb: host.OrderBoot}), r.outcome(host.Action{Verb: host.OrderBoot})
	if a.BootID == "" || a.BootID == b.BootID {
		t.Errorf("boots %q and %q", a.BootID, b.BootID)
	}
}

func TestPrepareImage(t *testing.T) {
	r := newRig(t)
	p := r.do(host.Action{Verb: host.PrepareImage})
	if o := p.Event.(host.Outcome); o.Problem != nil || p.Extra.Manifest == "" || p.Note != nil {
		t.Errorf("outcome %+v, extra %+v, note %+v", o, p.Extra, p.Note)
	}
	r.in.Host.LastTried.ChecksumType = "md5"
	if p := r.do(host.Action{Verb: host.PrepareImage}); p.Note == nil || !p.Note.Warning || p.Note.Reason != "ImageChecksumWeak" {
		t.Errorf("MD5 is taken without a warning: %+v", p.Note)
	}
	for _, tc := range []struct {
		name  string
		err   error
		code  string
		class host.Class
	}{
		{name: "wrong checksum", err: &image.Error{Code: image.CodeChecksum, Message: "want a, got b"}, code: "image-checksum", class: host.Wait},
		{name: "no answer", err: &image.Error{Code: image.CodeUnreachable, Message: "502", Retryable: true}, code: "image-unreachable", class: host.Retry},
		{name: "disk full", err: &image.Error{Code: image.CodeDiskFull, Message: "no room", Retryable: true}, code: "disk-full", class: host.Retry},
		{name: "not classed", err: errors.New("odd"), code: "image-unreachable", class: host.Retry},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r.Images = images{err: tc.err}
			r.problem(host.Action{Verb: host.PrepareImage}, tc.code, tc.class)
		})
	}
}

// A broken Secret is found before the machine is started.
func TestUserData(t *testing.T) {
	ref := func(name string) func(*metal3.BareMetalHost) {
		return func(b *metal3.BareMetalHost) { b.Spec.UserData = secretRef(name) }
	}
	for _, tc := range []struct {
		name   string
		change func(*metal3.BareMetalHost)
		code   string
		class  host.Class
	}{
		{name: "absent", change: ref("nowhere"), code: userdata.CodeMissing, class: host.Wait},
		{name: "without the key", change: ref("empty"), code: userdata.CodeMissing, class: host.Wait},
		{name: "no YAML", change: func(b *metal3.BareMetalHost) { b.Spec.MetaData = secretRef("broken") }, code: userdata.CodeInvalid, class: host.Wait},
		{name: "a whole drive that is none", change: ref("whole"), code: userdata.CodeInvalid, class: host.Wait},
		{name: "a slow API", change: ref("slow"), code: "api-slow", class: host.Retry},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			r.Secrets = secrets{"empty": {}, "broken": {"metaData": []byte("a: [")}, "whole": {"configDrive": []byte("H4sIAA==")}}
			tc.change(r.in.BMH)
			r.problem(host.Action{Verb: host.PrepareImage}, tc.code, tc.class)
		})
	}
}

func TestChooseDisk(t *testing.T) {
	size := 200
	for _, tc := range []struct {
		name   string
		size   int64 // of the image
		change func(*metal3.BareMetalHost)
		note   string // of the choice
		code   string
	}{
		{name: "the smallest fixed disk", size: 1 << 30, note: "/dev/nvme0n1 (S1): no root device hints"},
		{
			name: "by hint", size: 1 << 30, note: "/dev/sda (S2)",
			change: func(b *metal3.BareMetalHost) {
				b.Spec.RootDeviceHints = &metal3.RootDeviceHints{SerialNumber: "S2"}
			},
		},
		{
			name: "hints of an earlier provisioning hold", size: 1 << 30, note: "/dev/sda (S2)",
			change: func(b *metal3.BareMetalHost) {
				b.Status.Provisioning.RootDeviceHints = &metal3.RootDeviceHints{SerialNumber: "S2"}
			},
		},
		{
			name: "no match", code: "hint-none",
			change: func(b *metal3.BareMetalHost) {
				b.Spec.RootDeviceHints = &metal3.RootDeviceHints{MinSizeGigabytes: size}
			},
		},
		{
			name: "several, and they must not be", code: "hint-many",
			change: func(b *metal3.BareMetalHost) {
				b.Spec.RootDeviceHints = &metal3.RootDeviceHints{MinSizeGigabytes: 1}
				b.Annotations = map[string]string{strictHints: "true"}
			},
		},
		{
			name: "several", size: 1 << 30, note: "1 more matched: /dev/sda",
			change: func(b *metal3.BareMetalHost) {
				b.Spec.RootDeviceHints = &metal3.RootDeviceHints{MinSizeGigabytes: 1}
			},
		},
		{name: "the image does not fit", size: 65 << 30, code: "disk-small"},
		{name: "the image fits to the byte", size: 64 << 30, note: "/dev/nvme0n1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			r.Images = images{manifest: &agent.Manifest{Size: tc.size}}
			if tc.change != nil {
				tc.change(r.in.BMH)
			}
			if tc.code != "" {
				r.problem(host.Action{Verb: host.ChooseDisk}, tc.code, host.Wait)
				return
			}
			p := r.do(host.Action{Verb: host.ChooseDisk})
			if o := p.Event.(host.Outcome); o.Problem != nil || p.Note == nil || !strings.Contains(p.Note.Message, tc.note) {
				t.Errorf("outcome %+v, note %+v", o, p.Note)
			}
		})
	}
	t.Run("no inventory", func(t *testing.T) {
		r := newRig(t)
		r.in.HR.Status.Inventory = nil
		r.problem(host.Action{Verb: host.ChooseDisk}, "inspect-failed", host.Retry)
	})
}

// The write step is the same whenever it is made again in one boot: an agent that
// is handed it after a restart runs what it was told before.
func TestWriteStep(t *testing.T) {
	r := newRig(t)
	r.Secrets = secrets{"user": {"userData": []byte("#cloud-config\n{}\n")}, "net": {"networkData": []byte("links: []\n")}, "meta": {"metaData": []byte("b: 1\na: 2\n")}}
	r.in.BMH.Spec.UserData, r.in.BMH.Spec.NetworkData, r.in.BMH.Spec.MetaData = secretRef("user"), secretRef("net"), secretRef("meta")
	for range 3 {
		if o := r.outcome(host.Action{Verb: host.RunStep, Step: host.PhaseWrite, StepID: "b1.9"}); o.Problem != nil {
			t.Fatal(o.Problem)
		}
	}
	first := r.agents.steps[0]
	for _, s := range r.agents.steps[1:] {
		if diff := cmp.Diff(first, s); diff != "" {
			t.Errorf("another step:\n%s", diff)
		}
	}
	w := first.Write
	want := agent.DiskRef{Name: "/dev/nvme0n1", Serial: "S1", WWN: "w1", Size: 64 << 30}
	if first.ID != "b1.9" || first.Epoch != 3 || first.Kind != agent.StepWrite || w.Disk != want || w.ChunkBase != "http://10.77.0.1:6180/images/sha256/" {
		t.Errorf("step %+v", first)
	}
	drive := r.agents.secret[w.ConfigDrive]
	if int64(len(drive)) != w.ConfigDriveSize || !strings.Contains(string(drive), "#cloud-config") || len(r.agents.secret) != 1 {
		t.Errorf("config drive of %d bytes, announced %d", len(drive), w.ConfigDriveSize)
	}
}

// A config drive that is given whole is written as it is; other Secrets do not
// count beside it.
func TestWholeConfigDrive(t *testing.T) {
	for name, size := range map[string]int{"iso": 0, "vfat": 4096} {
		t.Run(name, func(t *testing.T) {
			given, err := userdata.ConfigDrive(userdata.Input{UUID: "u", Name: "n", Namespace: "rack", UserData: []byte("#cloud-config\n{}\n"), SectorSize: size})
			if err != nil {
				t.Fatal(err)
			}
			r := newRig(t)
			r.Secrets = secrets{"user": {"configDrive": given}}
			r.in.BMH.Spec.UserData, r.in.BMH.Spec.MetaData = secretRef("user"), secretRef("nowhere")
			if o := r.outcome(host.Action{Verb: host.RunStep, Step: host.PhaseWrite, StepID: "b1.9"}); o.Problem != nil {
				t.Fatal(o.Problem)
			}
			r.in.Host.LastTried.Method = "m"
			r.problem(host.Action{Verb: host.PrepareImage}, userdata.CodeInvalid, host.Wait)
			if got := r.agents.secret[r.agents.steps[0].Write.ConfigDrive]; !bytes.Equal(got, given) {
				t.Errorf("a drive of %d bytes, given %d", len(got), len(given))
			}
		})
	}
}

func TestSteps(t *testing.T) {
	inspect := host.Action{Verb: host.RunStep, Step: host.PhaseInspect, StepID: "b1.2"}
	t.Run("cleaning names the machine's own disks", func(t *testing.T) {
		r := newRig(t)
		if o := r.outcome(host.Action{Verb: host.RunStep, Step: host.PhaseClean, StepID: "b1.3"}); o.Problem != nil {
			t.Fatal(o.Problem)
		}
		want := []agent.DiskRef{{Name: "/dev/nvme0n1", Serial: "S1", WWN: "w1", Size: 64 << 30}, {Name: "/dev/sda", Serial: "S2", Size: 128 << 30}}
		if diff := cmp.Diff(want, r.agents.steps[0].Clean.Disks); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
	t.Run("an agent that fell silent", func(t *testing.T) {
		r := newRig(t)
		r.agents.err = agentapi.ErrLost
		if e, ok := r.do(inspect).Event.(host.AgentLost); !ok || e.BootID != "b1" {
			t.Errorf("event %+v", e)
		}
	})
	t.Run("an agent that never called this process", func(t *testing.T) {
		r := newRig(t)
		r.agents.silent = true
		r.problem(host.Action{Verb: host.RunStep, Step: host.PhaseWrite}, "agent-lost", host.Retry)
	})
	t.Run("an inventory", func(t *testing.T) {
		r := newRig(t)
		inv := &agent.Inventory{Hostname: "m", Disks: disks()}
		r.agents.result = agent.Result{Inventory: inv}
		p := r.do(inspect)
		if o := p.Event.(host.Outcome); o.Problem != nil || p.Extra.Inventory == nil || p.Extra.Inventory.Boot != "b1" || p.Extra.Hardware == nil {
			t.Fatalf("outcome %+v, extra %+v", o, p.Extra)
		}
		var got agent.Inventory
		if err := json.Unmarshal(r.readBlob(strings.TrimPrefix(p.Extra.Inventory.Digest, "sha256:")), &got); err != nil || got.Hostname != "m" {
			t.Errorf("the blob holds %+v, %v", got, err)
		}
	})
	for name, res := range map[string]agent.Result{
		"no inventory":         {},
		"an inventory of lies": {Inventory: &agent.Inventory{Hostname: strings.Repeat("x", 1<<20)}},
		"what the agent says":  {Error: &agent.StepError{Code: "inspect-failed", Message: "no sysfs"}},
		"a code from nowhere":  {Error: &agent.StepError{Code: "../../etc", Message: strings.Repeat("m", 1000)}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.agents.result = res
			if p := r.problem(inspect, "inspect-failed", host.Retry); len(p.Seen[0]) > 1500 {
				t.Errorf("evidence of %d bytes", len(p.Seen[0]))
			}
		})
	}
}

// A new action ends the one before it; Cancel and the end of the context end
// whatever runs. What was ended so has no outcome: least of all a failure, when it
// is this process that ends.
func TestOneAtATime(t *testing.T) {
	r := newRig(t)
	r.agents.wait = make(chan struct{})
	step := host.Action{Verb: host.RunStep, Step: host.PhaseInspect, Seq: 1}
	r.Do(t.Context(), r.in, step)
	if !r.Busy(r.in.Key) {
		t.Error("nothing runs")
	}
	step.Seq = 2
	r.Do(t.Context(), r.in, step)
	r.Cancel(r.in.Key)
	ctx, end := context.WithCancel(t.Context())
	step.Seq = 3
	r.Do(ctx, r.in, step)
	end()
	r.Wait()
	if r.Busy(r.in.Key) || len(r.posts) != 0 {
		t.Error("something is left over")
	}
	// What has no outcome is not the engine's.
	r.Do(t.Context(), r.in, host.Action{Verb: host.Release})
	if r.Busy(r.in.Key) {
		t.Error("Release runs here")
	}
}

func TestHub(t *testing.T) {
	h := &Hub{}
	changed, stop := h.Watch()
	h.Set("rack/w1", Progress{Step: "write", Done: 1})
	h.Set("rack/w1", Progress{Step: "write", Done: 2})
	<-changed
	if all := h.All(); len(all) != 1 || all[0].Done != 2 || all[0].Host != "rack/w1" {
		t.Errorf("progress %+v", all)
	}
	h.Clear("rack/w1")
	<-changed
	if all := h.All(); len(all) != 0 {
		t.Errorf("progress %+v after the end", all)
	}
	stop()
	h.Set("rack/w1", Progress{})
	select {
	case <-changed:
		t.Error("a watch goes on after its end")
	default:
	}
}
