package fleet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// door is a boot door whose answer a test sets.
type door struct {
	*httptest.Server

	mu     sync.Mutex
	script string // empty: 404
	asked  []string
}

// pin is that of no certificate.
const pin = "00000000000000000000000000000000000000000000000000000000000000ff"

const agentScript = "#!ipxe\nkernel http://HOST/boot/kernel/vm initrd=i ingot.url=https://192.0.2.1:6183 ingot.ca=" + pin + " ingot.boot=b1\ninitrd --name i http://HOST/boot/initrd/vm\nboot\n"

func newDoor(t *testing.T, script string) *door {
	t.Helper()
	d := &door{script: script}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		d.asked = append(d.asked, r.URL.RequestURI())
		script := d.script
		d.mu.Unlock()
		switch {
		case r.URL.Path != "/boot/ipxe":
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader("a kernel"))
		case script == "":
			http.NotFound(w, r)
		default:
			_, _ = io.WriteString(w, strings.ReplaceAll(script, "HOST", r.Host))
		}
	}))
	t.Cleanup(d.Server.Close)
	return d
}

func (d *door) set(script string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.script = script
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func newFleet(t *testing.T, cfg Config) *Fleet {
	t.Helper()
	if cfg.Journal == nil {
		cfg.Journal = simbmc.NewJournal(nil, nil)
	}
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// await blocks until the machine's journal has the entry.
func await(t *testing.T, f *Fleet, machine, kind, detail string) {
	t.Helper()
	_, err := f.cfg.Journal.Wait(testContext(t), func(e simbmc.Entry) bool {
		return e.Machine == machine && e.Kind == kind && strings.Contains(e.Detail, detail)
	})
	if err != nil {
		t.Fatalf("%s: no %s %q in %v", machine, kind, detail, f.cfg.Journal.Entries(machine))
	}
}

func kinds(f *Fleet, machine string) []string {
	var list []string
	for _, e := range f.cfg.Journal.Entries(machine) {
		list = append(list, e.Kind+" "+e.Detail)
	}
	return list
}

// writer is an agent that writes one image to the first disk and reboots.
func writer(image []byte) func(context.Context, *guest) (outcome, error) {
	sum := sha256.Sum256(image)
	manifest := agent.Manifest{Size: int64(len(image)), SHA256: hex.EncodeToString(sum[:])}
	return func(ctx context.Context, g *guest) (outcome, error) {
		d, spec, err := g.open(g.inventory().Disks[0].Name)
		if err != nil {
			return sits, err
		}
		if _, err := d.writeAt(ctx, image, 0); err != nil {
			return sits, err
		}
		return reboots, g.written(ctx, d, spec, manifest)
	}
}

func TestMachineInstallsAndBootsItsDisk(t *testing.T) {
	image := bytes.Repeat([]byte("image "), 100_000)
	d := newDoor(t, agentScript)
	f := newFleet(t, Config{Count: 1, Seed: 7, BootURL: d.URL, agent: writer(image)})
	m := f.Machines()[0]
	ctx := testContext(t)
	if err := m.body.SetBoot(ctx, simbmc.BootOverride{Target: simbmc.BootPXE, Enabled: simbmc.BootOnce, Mode: simbmc.ModeUEFI}); err != nil {
		t.Fatal(err)
	}
	if err := m.body.SetPower(ctx, simbmc.PowerOn); err != nil {
		t.Fatal(err)
	}
	await(t, f, m.Name, KindOSUp, "")
	serial, sum := m.hw.disks[0].Serial, sha256.Sum256(image)
	digest := hex.EncodeToString(sum[:])
	want := []string{
		"start network", "agent b1", "write " + serial + " " + digest, "guest reboot",
		"start disk", "os-up " + serial + " " + digest,
	}
	if diff := cmp.Diff(want, kinds(f, m.Name)); diff != "" {
		t.Errorf("journal (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(digest, m.Images()[0]); diff != "" {
		t.Error(diff)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if diff := cmp.Diff([]string{"/boot/ipxe?mac=02%3A69%3A07%3A00%3A00%3A00", "/boot/kernel/vm", "/boot/initrd/vm"}, d.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestScriptIsAskedForAgain(t *testing.T) {
	d := newDoor(t, "")
	f := newFleet(t, Config{Count: 1, BootURL: d.URL})
	m := f.Machines()[0]
	if err := m.body.SetPower(testContext(t), simbmc.PowerOn); err != nil {
		t.Fatal(err)
	}
	await(t, f, m.Name, KindStart, "network")
	d.set("#!ipxe\nexit 1\n")
	await(t, f, m.Name, KindStuck, "no bootable disk")
}

func TestPowerOffKillsTheAgent(t *testing.T) {
	ended := make(chan error, 1)
	d := newDoor(t, agentScript)
	f := newFleet(t, Config{Count: 1, BootURL: d.URL, agent: func(ctx context.Context, g *guest) (outcome, error) {
		<-ctx.Done()
		disk, _, _ := g.open(g.m.hw.disks[0].Name)
		_, err := disk.writeAt(ctx, []byte("late"), 0)
		ended <- err
		return reboots, nil
	}})
	m := f.Machines()[0]
	ctx := testContext(t)
	if err := m.body.SetPower(ctx, simbmc.PowerOn); err != nil {
		t.Fatal(err)
	}
	await(t, f, m.Name, KindAgent, "b1")
	if err := m.body.SetPower(ctx, simbmc.ForceOff); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("a machine without power wrote to its disk")
	}
	if m.On() {
		t.Error("it switched itself on")
	}
	if slices.ContainsFunc(kinds(f, m.Name), func(s string) bool { return strings.HasPrefix(s, KindGuest) }) {
		t.Error("an agent without power rebooted the machine")
	}
}

func TestMachineFaults(t *testing.T) {
	for _, tc := range []struct {
		name   string
		faults Faults
		see    func(*guest) string
		want   string
	}{
		{"too little RAM", Faults{MemoryMiB: 256}, func(g *guest) string { return fmt.Sprint(g.memoryMiB(), g.inventory().Memory.Physical>>20) }, "256 256"},
		{"no disk", Faults{NoDisk: true}, func(g *guest) string { return fmt.Sprint(len(g.inventory().Disks)) }, "0"},
		{"another's MAC", Faults{MAC: "02:69:00:00:00:09"}, func(g *guest) string { return g.macs()[0] + " " + g.inventory().NICs[0].MAC }, "02:69:00:00:00:09 02:69:00:00:00:09"},
		{"swapped disks", Faults{SwapDisks: true}, func(g *guest) string {
			before := g.inventory().Disks[0].Serial
			return fmt.Sprint(before == g.m.hw.disks[0].Serial, g.found()[0].Serial == before)
		}, "true false"},
		{"dies mid-write", Faults{DieMidWrite: 1}, func(g *guest) string { return fmt.Sprint(g.takeDeath(), g.takeDeath()) }, "true false"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			saw := make(chan string, 1)
			f := newFleet(t, Config{Count: 1, BootURL: newDoor(t, agentScript).URL, agent: func(_ context.Context, g *guest) (outcome, error) {
				saw <- tc.see(g)
				return sits, nil
			}})
			m := f.Machines()[0]
			m.SetFaults(tc.faults)
			if err := m.body.SetPower(testContext(t), simbmc.PowerOn); err != nil {
				t.Fatal(err)
			}
			select {
			case got := <-saw:
				if got != tc.want {
					t.Errorf("got %s, want %s", got, tc.want)
				}
			case <-testContext(t).Done():
				t.Fatal("the agent never ran")
			}
		})
	}
	t.Run("silent", func(t *testing.T) {
		f := newFleet(t, Config{Count: 1, BootURL: newDoor(t, agentScript).URL})
		m := f.Machines()[0]
		m.SetFaults(Faults{Silent: true})
		if err := m.body.SetPower(testContext(t), simbmc.PowerOn); err != nil {
			t.Fatal(err)
		}
		await(t, f, m.Name, KindStuck, "calls nobody")
	})
}

func TestFleetIsMadeFromItsSeed(t *testing.T) {
	cfg := Config{
		Count: 6, Seed: 42, BootURL: "http://192.0.2.1:6180",
		Protocols: []Protocol{RedfishHTTP, RedfishTLS, IPMI},
		Firmware:  []simbmc.BootMode{simbmc.ModeUEFI, simbmc.ModeLegacy},
	}
	a, b := newFleet(t, cfg), newFleet(t, cfg)
	cfg.Seed++
	c := newFleet(t, cfg)
	serials, macs := map[string]bool{}, map[string]bool{}
	for i, m := range a.Machines() {
		if diff := cmp.Diff(m.hw, b.Machines()[i].hw, cmp.AllowUnexported(hardware{})); diff != "" {
			t.Errorf("%s differs:\n%s", m.Name, diff)
		}
		if m.hw.info.UUID == c.Machines()[i].hw.info.UUID || m.MAC == c.Machines()[i].MAC {
			t.Errorf("%s is the same with another seed", m.Name)
		}
		if want := string(cfg.Protocols[i%3]) + "://127.0.0.1:"; !strings.HasPrefix(m.Address, want) {
			t.Errorf("%s is at %s", m.Name, m.Address)
		}
		for _, d := range m.hw.disks {
			serials[d.Serial] = true
		}
		for _, mac := range m.hw.info.MACs {
			if macs[mac] {
				t.Errorf("MAC %s twice", mac)
			}
			macs[mac] = true
		}
	}
	if len(serials) < 6 {
		t.Errorf("%d serials", len(serials))
	}
}

func TestTLSFaceAnswers(t *testing.T) {
	f := newFleet(t, Config{Count: 1, BootURL: "http://192.0.2.1:6180", Protocols: []Protocol{RedfishTLS}})
	m := f.Machines()[0]
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // what a self-signed BMC asks for
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(testContext(t), http.MethodGet, strings.Replace(m.Address, "redfish://", "https://", 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(m.Username, m.Password)
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusOK || !strings.Contains(string(text), m.hw.info.UUID) {
		t.Errorf("%s: %s", res.Status, text)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, tc := range []struct {
		name string
		cfg  Config
	}{
		{"no machines", Config{BootURL: "http://x"}},
		{"too many", Config{Count: maxCount + 1, BootURL: "http://x"}},
		{"no boot door", Config{Count: 1}},
		{"unknown protocol", Config{Count: 1, BootURL: "http://x", Protocols: []Protocol{"wsman"}}},
	} {
		if f, err := New(tc.cfg); err == nil {
			f.Close()
			t.Errorf("%s: accepted", tc.name)
		}
	}
}
