package lab

import (
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

func TestSimulatedLab(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lab")
	l, err := Up(Config{Dir: dir, Count: 4, Simulated: true, BootURL: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	defer func() {
		if !closed {
			_ = l.Close()
		}
	}()
	seen := map[string]bool{}
	schemes := map[string]int{}
	var redfish string
	for _, m := range l.Machines {
		for _, id := range []string{m.Name, m.Address, m.MAC} {
			if id == "" || seen[id] {
				t.Errorf("%q is there twice, or empty", id)
			}
			seen[id] = true
		}
		if _, err := net.ParseMAC(m.MAC); err != nil || m.Kind != "simulated" || m.Username == "" || m.Password == "" {
			t.Errorf("machine %+v: %v", m, err)
		}
		// Its address is one that a person could write.
		a, err := bmc.ParseAddress(m.Address)
		if err != nil {
			t.Fatalf("%s: %v", m.Address, err)
		}
		schemes[strings.SplitN(m.Address, "://", 2)[0]]++
		if ip, err := netip.ParseAddr(a.Host); err != nil || !ip.IsLoopback() {
			t.Errorf("%s is not on loopback", m.Address)
		}
		if strings.HasPrefix(m.Address, "redfish+http://") {
			redfish = a.HostPort()
		}
		if l.BMCs[m.Name] == nil {
			t.Errorf("%s has no BMC", m.Name)
		}
	}
	if len(l.Machines) != 4 || len(schemes) < 2 || redfish == "" {
		t.Fatalf("%d machines with the schemes %v: want 4, Redfish and IPMI", len(l.Machines), schemes)
	}
	resp, err := http.Get("http://" + redfish + "/redfish/v1/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the face answers %s", resp.Status)
	}
	closed = true
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", redfish); err == nil {
		c.Close()
		t.Error("a face is still there after Close")
	}
	if _, err := os.Stat(filepath.Join(dir, "journal.jsonl")); err != nil {
		t.Errorf("the journal: %v", err)
	}
}

// TestEmulatedLab asks a machine of QEMU's, which is off, at the address that is
// given for it.
func TestEmulatedLab(t *testing.T) {
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("no QEMU here (apt-get install qemu-system-x86)")
	}
	l, err := Up(Config{Dir: filepath.Join(t.TempDir(), "lab"), Count: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m := l.Machines[0]
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.TrimPrefix(m.Redfish, "redfish+"), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(m.Username, m.Password)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%s answers %s", m.Redfish, resp.Status)
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []Config{{Count: 0}, {Count: -1, Simulated: true}, {Count: MaxMachines + 1}} {
		c.Dir = filepath.Join(t.TempDir(), "lab")
		if _, err := Up(c); err == nil || !strings.Contains(err.Error(), "want 1 to") {
			t.Errorf("%d machines: %v", c.Count, err)
		}
		if _, err := os.Stat(c.Dir); err == nil {
			t.Error("a lab that was refused left a directory")
		}
	}
}

// A demo of four machines shows both firmwares, both protocols and both NICs.
func TestKinds(t *testing.T) {
	names, modes, nics, protocols := map[string]bool{}, map[simbmc.BootMode]bool{}, map[any]bool{}, map[bool]bool{}
	for _, k := range Kinds() {
		names[k.Name], modes[k.Mode], nics[k.NIC], protocols[k.IPMI] = true, true, true, true
	}
	if len(names) != len(Kinds()) || len(modes) != 2 || len(nics) != 2 || len(protocols) != 2 {
		t.Errorf("kinds %+v", Kinds())
	}
}

// Machines keep their identity from one start of a lab to the next.
func TestIdentity(t *testing.T) {
	if a, err := uuid.Parse(uuidOf("lab-1")); err != nil || a.String() != uuidOf("lab-1") || uuidOf("lab-1") == uuidOf("lab-2") {
		t.Errorf("UUIDs %s and %s, %v", uuidOf("lab-1"), uuidOf("lab-2"), err)
	}
	server := netip.MustParsePrefix(ServerAddress)
	for _, s := range []string{RangeStart, RangeEnd} {
		if !server.Contains(netip.MustParseAddr(s)) || netip.MustParseAddr(s) == server.Addr() {
			t.Errorf("%s is outside of %s, or the server's", s, server)
		}
	}
}
