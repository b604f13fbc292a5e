package fleet

import (
	"bytes"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bougou/go-ipmi/pkg/client"
	"github.com/bougou/go-ipmi/pkg/command/chassis"
	"github.com/bougou/go-ipmi/pkg/types"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/agent/fault"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// testImage has a chunk of zeros in it, and an end that fills no page.
func testImage() []byte {
	image := bytesOf(rand.New(rand.NewPCG(5, 6)), 5*pageSize+777)
	clear(image[2*pageSize : 4*pageSize])
	return image
}

// networkBoot orders a network boot through the machine's BMC, as a server does.
func networkBoot(t *testing.T, m *Machine) {
	t.Helper()
	ctx := testContext(t)
	if m.Protocol == IPMI {
		host, port, err := net.SplitHostPort(strings.TrimPrefix(m.Address, "ipmi://"))
		if err != nil {
			t.Fatal(err)
		}
		number, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		c, err := client.NewClient(host, number, m.Username, m.Password)
		if err != nil {
			t.Fatal(err)
		}
		c = c.WithInterface(client.InterfaceLanplus)
		if err := c.Connect(ctx); err != nil {
			t.Fatal(err)
		}
		defer c.Close(ctx)
		if err := c.SetBootDevice(ctx, types.BootDeviceSelectorForcePXE, types.BIOSBootTypeEFI, false); err != nil {
			t.Error(err)
		}
		if _, err := c.ChassisControl(ctx, chassis.ChassisControlPowerUp); err != nil {
			t.Error(err)
		}
		return
	}
	system := strings.Replace(m.Address, string(RedfishHTTP), "http", 1)
	for _, call := range []struct{ method, target, body string }{
		{http.MethodPatch, system, `{"Boot":{"BootSourceOverrideTarget":"Pxe","BootSourceOverrideEnabled":"Once"}}`},
		{http.MethodPost, system + "/Actions/ComputerSystem.Reset", `{"ResetType":"On"}`},
	} {
		req, err := http.NewRequestWithContext(ctx, call.method, call.target, strings.NewReader(call.body))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth(m.Username, m.Password)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusNoContent {
			t.Errorf("%s %s: %s", call.method, call.target, res.Status)
		}
	}
}

// TestJourneyWithTheRealAgent takes machines of each protocol through the agent's
// own loop and transport.
func TestJourneyWithTheRealAgent(t *testing.T) {
	image := testImage()
	s := newSite(t, image, 2*pageSize)
	f := newFleet(t, Config{
		Count: 6, Seed: 9, BootURL: s.boot.URL, Latency: time.Millisecond, POST: time.Millisecond,
		Protocols: []Protocol{RedfishHTTP, IPMI},
	})
	for _, m := range f.Machines() {
		networkBoot(t, m)
	}
	digest := digestOf(image)
	for _, m := range f.Machines() {
		await(t, f, m.Name, KindOSUp, digest)
		serial := m.hw.disks[0].Serial
		want := []string{"boot Pxe Once UEFI", "power On", "start network", "agent b1"}
		for _, d := range m.hw.disks {
			want = append(want, "erase "+d.Serial)
		}
		want = append(want, "write-begin "+serial+" "+digest, "write "+serial+" "+digest,
			"config-drive "+serial+" "+digestOf([]byte("a config drive")), "guest reboot", "start disk", "os-up "+serial+" "+digest)
		if diff := cmp.Diff(want, kinds(f, m.Name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", m.Name, diff)
		}
		s.mu.Lock()
		inv := s.seen[m.MAC]
		s.mu.Unlock()
		if inv.Vendor.UUID != m.hw.info.UUID || len(inv.Disks) != len(m.hw.disks) || inv.CPU.Threads != m.hw.cpu.Threads {
			t.Errorf("%s: inventory %+v", m.Name, inv)
		}
	}
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	if n := len(f.store.data); n != 4 { // of six pages, two are zero
		t.Errorf("six disks with one image hold %d pages", n)
	}
}

func TestJourneyFaults(t *testing.T) {
	image := testImage()
	for _, tc := range []struct {
		name   string
		faults Faults
		change func(*site)
		code   string // of the step that fails; empty: none does
		stuck  string
	}{
		{name: "the disk was swapped", faults: Faults{SwapDisks: true}, code: fault.DiskMismatch},
		{name: "a chunk does not decode", code: fault.ImageChunk, change: func(s *site) {
			frame := bytes.Repeat([]byte("not zstd"), 20)
			s.chunks[digestOf(frame)] = frame
			s.manifest.Chunks[0].Stored, s.manifest.Chunks[0].Digest = int64(len(frame)), digestOf(frame)
		}},
		{name: "a chunk is corrupt", code: fault.ImageChunk, change: func(s *site) {
			for digest, text := range s.chunks {
				if len(text) > 100 { // not the config drive
					s.chunks[digest] = append([]byte{text[0] ^ 1}, text[1:]...)
				}
			}
		}},
		{name: "the agent dies", faults: Faults{DieMidWrite: 1}, stuck: "agent: it died in the middle of a write"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, image, pageSize)
			if tc.change != nil {
				tc.change(s)
			}
			f := newFleet(t, Config{Count: 1, Seed: 9, BootURL: s.boot.URL})
			m := f.Machines()[0]
			m.SetFaults(tc.faults)
			if err := m.body.SetPower(testContext(t), simbmc.PowerOn); err != nil {
				t.Fatal(err)
			}
			switch {
			case tc.stuck != "":
				await(t, f, m.Name, KindStuck, tc.stuck)
			default:
				ctx := testContext(t)
				for {
					if r, ok := s.last(m.MAC); ok && r.Error != nil {
						if r.Error.Code != tc.code {
							t.Errorf("step %s failed with %+v, want %s", r.StepID, r.Error, tc.code)
						}
						break
					}
					if !pause(ctx, 5*time.Millisecond) {
						t.Fatalf("no step failed: %v", kinds(f, m.Name))
					}
				}
			}
			if slices.ContainsFunc(m.Images(), func(d string) bool { return d != "" }) {
				t.Error("a disk is bootable")
			}
			if slices.ContainsFunc(kinds(f, m.Name), func(e string) bool { return strings.HasPrefix(e, KindWrite+" ") }) {
				t.Errorf("a whole image was written: %v", kinds(f, m.Name))
			}
		})
	}
}

// TestPowerOffDuringTheJourney finds that a machine goes on from the network when
// it is switched on again, whatever it was doing.
func TestPowerOffDuringTheJourney(t *testing.T) {
	image := testImage()
	s := newSite(t, image, pageSize)
	f := newFleet(t, Config{Count: 1, Seed: 9, BootURL: s.boot.URL})
	m := f.Machines()[0]
	ctx := testContext(t)
	m.SetFaults(Faults{DieMidWrite: 1})
	if err := m.body.SetPower(ctx, simbmc.PowerOn); err != nil {
		t.Fatal(err)
	}
	await(t, f, m.Name, KindStuck, "died")
	s.mu.Lock()
	clear(s.results)
	s.mu.Unlock()
	if err := m.body.SetPower(ctx, simbmc.PowerCycle); err != nil {
		t.Fatal(err)
	}
	await(t, f, m.Name, KindOSUp, digestOf(image))
}
