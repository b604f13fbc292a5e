package engine

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/open"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

const isoURL = "http://192.0.2.1:8080/live.iso"

// simulated opens the BMC of a machine that is nothing but its state.
func simulated(t *testing.T) (bmc.Conn, *simbmc.Memory, *simbmc.Journal) {
	t.Helper()
	journal := simbmc.NewJournal(nil, nil)
	body := simbmc.NewMemory(simbmc.Info{UUID: "6b6c1f0e-52a1-4d0c-9a61-0f0c33aa1101", Name: "m1"}, simbmc.ModeUEFI, nil, nil)
	b := simbmc.New(body, simbmc.Config{Username: treeCreds.Username, Password: treeCreds.Password, Journal: journal})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan struct{})
	go func() { defer close(served); _ = b.ServeRedfish(ctx, l, nil) }()
	t.Cleanup(func() { cancel(); b.Close(); <-served })
	conn, err := open.Open(t.Context(), "redfish+http://"+l.Addr().String(), treeCreds, open.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn, body, journal
}

// A live ISO over the wire: inserted, booted from, started, taken out. What was done
// before a restart is found, not done again.
func TestMediaOverTheWire(t *testing.T) {
	conn, body, journal := simulated(t)
	r := newRig(t)
	r.BMCs = bmcs{conn: conn}
	r.in.Host.LastTried = &host.Image{URL: isoURL, Format: host.FormatLiveISO}
	must := func(a host.Action) {
		t.Helper()
		if o := r.outcome(a); o.Problem != nil {
			t.Fatalf("%+v: %+v", a, o.Problem)
		}
	}
	for range 2 { // the second is after a kill -9
		must(host.Action{Verb: host.InsertMedia, Media: isoURL})
	}
	must(host.Action{Verb: host.SetBoot, FromMedia: true, Lasting: true})
	must(host.Action{Verb: host.SetPower, Power: host.ChangeOn})
	var got []string
	for _, e := range journal.Entries("", simbmc.KindMedia, simbmc.KindBoot, simbmc.KindPower) {
		got = append(got, e.Kind+" "+e.Detail)
	}
	want := []string{"media insert " + isoURL, "boot Cd Continuous UEFI", "power On"}
	if !slices.Equal(got, want) {
		t.Errorf("journal %q, want %q", got, want)
	}

	// What a person put there meanwhile is taken out for what is declared.
	if err := body.InsertMedia(t.Context(), "http://192.0.2.9/other.iso"); err != nil {
		t.Fatal(err)
	}
	must(host.Action{Verb: host.InsertMedia, Media: isoURL})
	if in, _, _ := body.Media(t.Context()); in != isoURL {
		t.Errorf("%q is in the drive", in)
	}
	for range 2 {
		must(host.Action{Verb: host.EjectMedia})
	}
	if in, inserted, _ := body.Media(t.Context()); inserted {
		t.Errorf("%q is in the drive", in)
	}
	t.Run("once, where it is asked for", func(t *testing.T) {
		r.LiveISOOnce = true
		must(host.Action{Verb: host.SetBoot, FromMedia: true, Lasting: true})
		if o, _ := body.Boot(t.Context()); o.Target != simbmc.BootCD || o.Enabled != simbmc.BootOnce {
			t.Errorf("override %+v", o)
		}
	})
	t.Run("a live ISO's lasting override is not replaced by the disk", func(t *testing.T) {
		before := len(journal.Entries("", simbmc.KindBoot))
		r.in.Host.State, r.in.Host.Provisioned = host.Provisioned, r.in.Host.LastTried
		must(host.Action{Verb: host.SetPower, Power: host.ChangeOn})
		if all := journal.Entries("", simbmc.KindBoot); len(all) != before {
			t.Errorf("boot changes %v", all[before:])
		}
	})
}

// Recorded trees of makers whose drives lie and behave differently.
func TestMediaOfRecordedTrees(t *testing.T) {
	for _, set := range []string{"dell-r750-idrac9", "hpe-dl360-gen12-ilo7", "dmtf-public-rackmount1", "lenovo-sr670-xcc"} {
		t.Run(set, func(t *testing.T) {
			conn, s := recordedTree(t, set)
			r := newRig(t)
			r.BMCs = bmcs{conn: conn}
			// As in the life cycle: iDRAC empties a drive only while its machine is off.
			if o := r.outcome(host.Action{Verb: host.SetPower, Power: host.ChangeForce}); o.Problem != nil {
				t.Fatalf("off: %+v", o.Problem)
			}
			if o := r.outcome(host.Action{Verb: host.InsertMedia, Media: isoURL}); o.Problem != nil {
				t.Fatalf("insert: %+v", o.Problem)
			}
			slots, err := conn.(bmc.Media).Slots(t.Context())
			if err != nil || !slices.ContainsFunc(slots, func(s bmc.Slot) bool { return s.Inserted && s.Image == isoURL }) {
				t.Errorf("slots %+v, %v", slots, err)
			}
			if o := r.outcome(host.Action{Verb: host.EjectMedia}); o.Problem != nil {
				t.Fatalf("eject: %+v", o.Problem)
			}
			var writes []string
			for _, e := range s.Journal() {
				if e.Method != http.MethodGet && !strings.HasSuffix(strings.TrimRight(e.Path, "/"), "/Sessions") {
					writes = append(writes, e.Method+" "+e.Path)
				}
			}
			t.Logf("writes %v", writes)
		})
	}
}

func TestMediaProblems(t *testing.T) {
	r := newRig(t) // its BMC has no virtual media
	p := r.problem(host.Action{Verb: host.InsertMedia, Media: "http://user:geheim@192.0.2.1/a.iso"}, "media-unsupported", host.Wait)
	if p.Facts["media"] != "http://192.0.2.1/a.iso" || strings.Contains(strings.Join(p.Seen, " "), "geheim") {
		t.Errorf("problem %+v", p)
	}
	if o := r.outcome(host.Action{Verb: host.EjectMedia}); o.Problem != nil {
		t.Errorf("a drive that is not there: %+v", o.Problem)
	}
	r.problem(host.Action{Verb: host.InsertMedia, Media: "http://[::1"}, "media-insert", host.Retry)
	for _, tc := range []struct {
		name  string
		class bmc.Class
		code  string
		wait  host.Class
	}{
		{name: "refused", class: bmc.BadRequest, code: "media-insert", wait: host.Retry},
		{name: "stays empty", class: bmc.Protocol, code: "media-insert", wait: host.Retry},
		{name: "no drive", class: bmc.Unsupported, code: "media-unsupported", wait: host.Wait},
		{name: "wrong password", class: bmc.Auth, code: "bmc-auth", wait: host.Wait},
		{name: "gone", class: bmc.Unreachable, code: "bmc-unreachable", wait: host.Retry},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			r.BMCs = bmcs{conn: drives{r.board, &bmc.Error{Class: tc.class, Op: "insert", Detail: "no"}}}
			p := r.problem(host.Action{Verb: host.InsertMedia, Media: isoURL}, tc.code, tc.wait)
			if p.Facts["media"] != isoURL {
				t.Errorf("facts %v", p.Facts)
			}
		})
	}
}

// drives is a BMC whose drives fail.
type drives struct {
	*board
	err error
}

func (d drives) Slots(context.Context) ([]bmc.Slot, error) { return nil, d.err }
func (d drives) InsertMedia(context.Context, bmc.MediaRequest) (bmc.Slot, error) {
	return bmc.Slot{}, d.err
}
func (d drives) EjectMedia(context.Context, string) error { return d.err }

// A method is checked against what the ramdisk of this boot has, and gets the disk,
// the image as it is declared, and what a config drive would hold.
func TestDeployStep(t *testing.T) {
	r := newRig(t)
	r.in.Host.LastTried = &host.Image{URL: "http://images/tree", Format: host.FormatLiveISO, Method: "install"}
	r.Images = images{err: context.Canceled} // nobody prepares it
	r.Secrets = secrets{"u": {"userData": []byte("recipe")}}
	r.in.BMH.Spec.UserData = secretRef("u")
	if o := r.outcome(host.Action{Verb: host.PrepareImage}); o.Problem != nil {
		t.Fatalf("%+v", o.Problem)
	}
	p := r.problem(host.Action{Verb: host.ChooseDisk}, "deploy-unknown-method", host.Wait)
	if !strings.Contains(strings.Join(p.Seen, " "), "no deploy methods") {
		t.Errorf("seen %q", p.Seen)
	}
	r.inspect(agent.Inventory{CPU: agent.CPU{Arch: "x86_64"}, Disks: disks(), Methods: []string{"other", "install"}})
	if o := r.outcome(host.Action{Verb: host.ChooseDisk}); o.Problem != nil {
		t.Fatalf("%+v", o.Problem)
	}
	if o := r.outcome(host.Action{Verb: host.RunStep, Step: host.PhaseDeploy, StepID: "s1"}); o.Problem != nil {
		t.Fatalf("%+v", o.Problem)
	}
	step := r.agents.steps[0]
	d := step.Deploy
	if step.Kind != agent.StepDeploy || d == nil || d.Method != "install" || d.Disk.Serial != "S1" || d.Image == nil || d.Image.URL != "http://images/tree" {
		t.Fatalf("step %+v, deploy %+v", step, d)
	}
	var files agent.DeployFiles
	if err := json.Unmarshal(r.agents.secret[d.Files], &files); err != nil || string(files["user_data"]) != "recipe" || !strings.Contains(string(files["meta_data.json"]), `"metal3-name":"w1"`) {
		t.Errorf("files %q, %v", files, err)
	}
	r.agents.result = agent.Result{Error: &agent.StepError{Code: "deploy-failed", Message: "exit status 3\n" + strings.Repeat("noise\n", 20) + "the reason"}}
	p = r.problem(host.Action{Verb: host.RunStep, Step: host.PhaseDeploy, StepID: "s2"}, "deploy-failed", host.Retry)
	if len(p.Seen) > 8 || p.Seen[0] != "exit status 3" || p.Seen[len(p.Seen)-1] != "the reason" {
		t.Errorf("seen %q", p.Seen)
	}
	r.in.Host.LastTried.Method = "../init"
	r.problem(host.Action{Verb: host.ChooseDisk}, "deploy-unknown-method", host.Wait)
}
