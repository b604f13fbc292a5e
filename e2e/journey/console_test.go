package journey_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/e2e/rig"
	"github.com/ingot-metal/ingot/pkg/cli"
	"github.com/ingot-metal/ingot/pkg/lab/fleet"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// A machine whose agent never calls home: its console says why, in explain and by
// itself, and a person can sit at it once it runs.
func TestConsole(t *testing.T) {
	r := newRack(t, 1, fleet.IPMI)
	m := r.machine(0)
	os := r.image("os.raw", small)
	m.SetFaults(fleet.Faults{Silent: true})
	m.enrol(func(b *metal3.BareMetalHost) { b.Spec.Image = os.spec() })
	rep := m.awaitCode("boot-kernel-no-callhome", metal3.InspectionError)
	const said = "ingot-agent: no network interface has a link"
	m.await("explained with its console", func() bool {
		rep = m.explain()
		return rep.Code != "" && strings.Contains(strings.Join(rep.Console, "\n"), said)
	})
	if all := strings.Join(rep.Console, "\n"); !strings.Contains(all, "Booting from network") || !strings.Contains(all, "Linux version") {
		t.Errorf("the console's lines lack the boot:\n%s", all)
	}
	text := ""
	m.await("explained to a person with its console", func() bool {
		text, _ = r.cli("explain", m.host)
		return strings.Contains(text, "console  │ ") && strings.Contains(text, "│ "+said) && strings.Contains(text, "ingot console "+m.host+" --last")
	})
	if last, code := r.cli("console", m.host, "--last"); code != 0 || !strings.Contains(last, said) {
		t.Errorf("console --last: exit code %d\n%s", code, last)
	}
	m.SetFaults(fleet.Faults{})
	m.awaitProvisioned(os)

	// Somebody sits down, types, and leaves.
	keys, hands := io.Pipe()
	ctx, cancel := context.WithTimeout(r.ctx, patience)
	defer cancel()
	var out, errOut rig.Buffer
	var wg sync.WaitGroup
	defer wg.Wait()
	code := -1
	wg.Go(func() {
		env := func(k string) string {
			return map[string]string{"KUBECONFIG": shared.kubeconfig, "HOME": "/nonexistent"}[k]
		}
		code = cli.Run(ctx, []string{"--namespace", r.ns, "console", m.host}, env, cli.Stdio{In: keys, Out: &out, Err: &errOut, Terminal: true})
	})
	if !poll(ctx, func() bool { return strings.Contains(errOut.String(), "connected") }) {
		t.Fatalf("not connected: %s", errOut.String())
	}
	if text, code := r.cli("console", m.host, "--last=5"); code != 0 || text == "" {
		t.Errorf("console --last while somebody sits there: exit code %d\n%s", code, text)
	}
	// Another may watch, and not type.
	var second rig.Buffer
	if c := cli.Run(ctx, []string{"--namespace", r.ns, "console", m.host}, func(k string) string {
		return map[string]string{"KUBECONFIG": shared.kubeconfig, "HOME": "/nonexistent"}[k]
	}, cli.Stdio{In: strings.NewReader(""), Out: io.Discard, Err: &second, Terminal: true}); c != 1 || !strings.Contains(second.String(), "--read-only") {
		t.Errorf("a second keyboard: exit code %d, %s", c, second.String())
	}
	if _, err := io.WriteString(hands, "root\r"); err != nil {
		t.Fatal(err)
	}
	if !poll(ctx, func() bool { return strings.Contains(out.String(), "root") }) {
		t.Errorf("what was typed does not come back: %q", out.String())
	}
	if _, err := io.WriteString(hands, "~."); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if code != 0 || !strings.Contains(errOut.String(), "left the console") {
		t.Errorf("exit code %d, %s", code, errOut.String())
	}
	if bytes.Contains([]byte(shared.log.String()), []byte("no network interface has a link")) {
		t.Error("the service's log has the console in it")
	}
}

// A BMC without a console costs nothing but a word of why.
func TestNoConsole(t *testing.T) {
	r := newRack(t, 1)
	m := r.machine(0)
	m.SetFaults(fleet.Faults{Silent: true})
	m.enrol()
	m.awaitCode("boot-kernel-no-callhome", metal3.InspectionError)
	m.await("explained without a console", func() bool {
		return strings.Contains(m.explain().NoConsole, "no serial console over SSH")
	})
	if text, code := r.cli("console", m.host); code != 1 || !strings.Contains(text, "Serial over LAN") {
		t.Errorf("console: exit code %d\n%s", code, text)
	}
	m.await("explained while it is tried again", func() bool {
		rep := m.explain()
		return strings.HasPrefix(rep.Last, "boot-kernel-no-callhome, try ") && rep.Code == "" && len(rep.Do) > 0
	})
	m.SetFaults(fleet.Faults{})
	m.awaitState(metal3.StateAvailable)
	if got := m.log(simbmc.KindAuth); len(got) != 0 {
		t.Errorf("refused logins: %v", got)
	}
}
