package explain_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/explain"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestExplain(t *testing.T) {
	now := time.Date(2026, 9, 1, 14, 31, 2, 0, time.UTC)
	since := func(d time.Duration) time.Time { return now.Add(-d) }
	tests := []struct {
		name string
		in   explain.Input
	}{
		{name: "other-dhcp", in: explain.Input{
			Host: "worker-7", State: "inspecting", Since: since(9*time.Minute + 2*time.Second),
			Problem: &explain.Occurrence{
				Problem: explain.Problem{
					Code:  "boot-other-dhcp",
					Seen:  []string{"offer from 10.0.0.9 (52:54:00:ab:00:09) 0.4 s before ours, three times"},
					Facts: map[string]string{"server": "10.0.0.9", "network": "rack-4"},
				},
				NextTry: now.Add(68 * time.Second), Attempts: 1, MaxAttempts: 5,
			},
			NextEvent: "power cycle",
			Earlier:   []explain.Phase{{Name: "registering", Took: 1200 * time.Millisecond}},
		}},
		{name: "new", in: explain.Input{Host: "a"}},
		{name: "unmanaged", in: explain.Input{Host: "a", State: "unmanaged", NoBMC: true}},
		{name: "wrong-password", in: explain.Input{
			Host: "worker-3", Namespace: "racks", State: "registering", Since: since(time.Hour),
			WaitsFor: "Secret s1 or the address to change",
			Problem: &explain.Occurrence{Problem: explain.Problem{
				Code: "bmc-auth", Seen: []string{"401 from 10.0.0.3 for user admin"}, Facts: map[string]string{"secret": "s1"},
			}},
		}},
		{name: "checksum", in: explain.Input{
			Host: "worker-3", State: "provisioning", Since: since(3 * time.Second),
			Problem: &explain.Occurrence{Problem: explain.Problem{
				Code: "image-checksum", Seen: []string{"want 0123…, got 4567…"}, Facts: map[string]string{"form": "decompressed"},
			}},
		}},
		{name: "writing", in: explain.Input{
			Host: "worker-3", State: "provisioning", Since: since(20 * time.Second), Image: "http://h/i.raw", Online: true, Power: "on",
			Operation: &explain.Operation{Kind: "provision", Phase: "write", Started: since(8 * time.Second), Progress: &explain.Progress{Done: 600 << 20, Total: 2 << 30, Unit: "bytes"}},
			Earlier:   []explain.Phase{{Name: "registering", Took: time.Second}, {Name: "inspecting", Took: 75 * time.Second}},
		}},
		{name: "tried-again", in: explain.Input{
			Host: "worker-3", State: "inspecting", Since: since(20 * time.Minute), Online: true, Power: "on",
			Operation: &explain.Operation{Kind: "inspect", Phase: "boot", Started: since(8 * time.Second)},
			Earlier: []explain.Phase{
				{Name: "registering", Took: time.Second},
				{Name: "inspecting", Took: 9 * time.Minute, Failed: "boot-no-dhcp, try 1"},
				{Name: "inspecting", Took: 19 * time.Minute, Failed: "boot-kernel-no-callhome, try 2"},
			},
		}},
		{name: "provisioned-again", in: explain.Input{
			Host: "worker-3", State: "provisioning", Since: since(time.Minute), Online: true, Power: "on", Image: "http://h/i",
			Operation: &explain.Operation{Kind: "provision", Phase: "boot", Started: since(8 * time.Second)},
			Earlier: []explain.Phase{
				{Name: "provisioning", Took: 3 * time.Minute, Failed: "from-the-future, try 1"}, {Name: "provisioning", Took: 4 * time.Minute, Aborted: true}, {Name: "deprovisioning", Took: time.Minute},
			},
		}},
		{name: "nobody-works", in: explain.Input{Host: "a", State: "inspecting", Since: since(2 * time.Hour)}},
		{name: "available", in: explain.Input{Host: "a", State: "available", Since: since(50 * time.Hour)}},
		{name: "available-off", in: explain.Input{Host: "a", State: "available", Image: "http://h/i"}},
		{name: "rests-at-manageable", in: explain.Input{
			Host: "a", State: "registering", Power: "off", Hold: "manageable",
			WaitsFor: "the REST client to ask for provide (openstack baremetal node provide a)",
		}},
		{name: "provisioned-held", in: explain.Input{Host: "a", State: "provisioned", Online: true, Power: "on", Consumer: "Metal3Machine md-0-x7"}},
		{name: "switching-off", in: explain.Input{Host: "a", State: "provisioned", Power: "on"}},
		{name: "paused-with-problem", in: explain.Input{
			Host: "a", Namespace: "default", State: "inspecting", Paused: "metal3.io/capm3",
			Problem: &explain.Occurrence{Problem: explain.Problem{Code: "boot-no-dhcp"}},
		}},
		{name: "detached", in: explain.Input{Host: "a", Namespace: "default", State: "provisioned", Detached: true}},
		{name: "error-of-another-controller", in: explain.Input{Host: "a", State: "inspecting", ErrorType: "inspection error", ErrorMessage: "timeout\nreached"}},
		{name: "unknown-code", in: explain.Input{Host: "a", State: "inspecting", Problem: &explain.Occurrence{Problem: explain.Problem{Code: "from-the-future"}}}},
		{name: "deleting", in: explain.Input{Host: "a", State: "available", Deleting: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.in.Now = now
			r := explain.Explain(tt.in)
			if r.Doing == "" || r.WaitsFor == "" || r.Next == "" {
				t.Errorf("no answer to what, for what or what next: %+v", r)
			}
			golden(t, tt.name+".txt", r.Text())
			if _, err := json.Marshal(r); err != nil {
				t.Error(err)
			}
		})
	}
}

// Every state of Metal3 has an answer, with and without a problem, whatever else
// is missing.
func TestExplainAlwaysAnswers(t *testing.T) {
	states := []string{
		"", "unmanaged", "registering", "match profile", "preparing", "ready", "available", "provisioning", "provisioned",
		"externally provisioned", "deprovisioning", "inspecting", "powering off before delete", "deleting", "a state to come",
	}
	for _, state := range states {
		for _, d := range append(explain.Catalogue(), explain.Diagnosis{}) {
			in := explain.Input{Host: "h", State: state}
			if d.Code != "" {
				in.Problem = &explain.Occurrence{Problem: explain.Problem{Code: d.Code}}
			}
			r := explain.Explain(in)
			if r.Doing == "" || r.WaitsFor == "" || r.Next == "" || (in.Problem != nil && (r.So == "" || len(r.Do) == 0)) {
				t.Errorf("state %q with %q: %+v", state, d.Code, r)
			}
		}
	}
}

func TestMessage(t *testing.T) {
	tests := []struct {
		name string
		p    explain.Problem
		want string
	}{
		{
			name: "full",
			p:    explain.Problem{Code: "boot-other-dhcp", Seen: []string{"offer from 10.0.0.9", "offer from 10.0.0.10"}, Facts: map[string]string{"server": "10.0.0.9", "network": "rack-4"}},
			want: "boot-other-dhcp: the machine booted somebody else's loader (offer from 10.0.0.9; offer from 10.0.0.10); stop DHCP on 10.0.0.9, or set mode: proxy on ProvisioningNetwork rack-4",
		},
		{
			name: "hostile evidence stays on one line",
			p:    explain.Problem{Code: "boot-ram", Seen: []string{"128 MiB\n\x1b[2J\xff", " "}},
			want: "boot-ram: the machine has less memory than the agent's ramdisk needs (128 MiB [2J?); give the machine at least 512 MiB of memory",
		},
		{
			name: "unknown code",
			p:    explain.Problem{Code: "x"},
			want: "x: this is not in the catalogue of diagnoses; read the log of ingot for this host, and report the code: the catalogue lacks it",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.p.Message()
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			code, ok := explain.ParseCode(got)
			if _, known := explain.Lookup(tt.p.Code); ok != known || code != tt.p.Code {
				t.Errorf("ParseCode = %q, %v", code, ok)
			}
		})
	}
	long := explain.Problem{Code: "disk-io", Seen: []string{strings.Repeat("ä", 5000)}}.Message()
	if len(long) > 600 {
		t.Errorf("message of %d bytes", len(long))
	}
	if explain.Problem.Message(explain.Problem{}) == "" {
		t.Error("an empty problem has an empty message")
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0.0s", 1290 * time.Millisecond: "1.2s", 42 * time.Second: "42s", 542 * time.Second: "9m02s",
		187 * time.Minute: "3h07m", 122 * time.Hour: "5d02h",
	} {
		if got := explain.Duration(d); got != want {
			t.Errorf("Duration(%v) = %q, want %q", d, got, want)
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// What the machine printed stands under the evidence, the end of it, and nothing in
// it moves the cursor.
func TestConsoleInText(t *testing.T) {
	r := explain.Report{Host: "w1", State: "inspecting", Seen: []string{"no call"}, So: "it hangs"}
	if got := r.Text(); strings.Contains(got, "console") {
		t.Errorf("without a console:\n%s", got)
	}
	r.NoConsole = "the BMC has none"
	if got := r.Text(); !strings.Contains(got, "  console  none: the BMC has none\n") {
		t.Errorf("none:\n%s", got)
	}
	r.Console = []string{"first", "\x1b[2Jpanic"}
	if got, want := r.Text(), "  seen     no call\n  console  │ first\n           │ [2Jpanic\n           (live: ingot console w1; this again: ingot console w1 --last)\n  so       it hangs\n"; !strings.Contains(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for range 30 {
		r.Console = append(r.Console, "more")
	}
	if got := r.Text(); strings.Contains(got, "first") || strings.Count(got, "│ more") != 20 || !strings.Contains(got, "(the last 20 of 32 lines; all: ingot console w1 --last)") {
		t.Errorf("many:\n%s", got)
	}
}
