package virtualbmc

import (
	"bufio"
	"context"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/ipmi"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// python is Debian's own interpreter, the one that has Debian's packages.
const python = "/usr/bin/python3"

var admin = bmc.Credentials{Username: "admin", Password: "password"}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func body(starts chan simbmc.BootOverride) *simbmc.Memory {
	return simbmc.NewMemory(simbmc.Info{UUID: "6b6c1f0e-52a1-4d0c-9a61-0f0c33aa1101", Name: "m1", MACs: []string{"52:54:00:00:00:01"}},
		simbmc.ModeUEFI, func(o simbmc.BootOverride) {
			if starts != nil {
				starts <- o
			}
		}, nil)
}

// contract serves our own server and returns its address.
func contract(t *testing.T, b simbmc.Body) *net.UDPAddr {
	t.Helper()
	s, err := New(b, Options{})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, conn) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return conn.LocalAddr().(*net.UDPAddr)
}

// reference starts the real pyghmi with VirtualBMC's methods over a pretended
// domain that is off, or skips the test. INGOT_PYGHMI may name a directory that
// holds the package, such as one that apt-get download and dpkg -x made.
func reference(t *testing.T) *net.UDPAddr {
	t.Helper()
	env := append(os.Environ(), "PYTHONPATH="+os.Getenv("INGOT_PYGHMI"))
	probe := exec.Command(python, "-c", "import pyghmi.ipmi.bmc")
	probe.Env = env
	if probe.Run() != nil {
		t.Skip("no python3-pyghmi here (apt-get install python3-pyghmi, or set INGOT_PYGHMI)")
	}
	free, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	addr := free.LocalAddr().(*net.UDPAddr)
	free.Close()
	cmd := exec.Command(python, "testdata/reference.py", strconv.Itoa(addr.Port), admin.Username, admin.Password)
	cmd.Env = env
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	ready := make(chan error, 1)
	go func() {
		_, err := bufio.NewReader(out).ReadString('\n')
		ready <- err
	}()
	select {
	case err := <-ready:
		if err != nil {
			t.Fatalf("reference.py: %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("reference.py does not begin")
	}
	return addr
}

func machine(t *testing.T, addr *net.UDPAddr, creds bmc.Credentials) (*ipmi.Machine, error) {
	t.Helper()
	a, err := bmc.ParseAddress("ipmi://" + addr.String())
	if err != nil {
		t.Fatal(err)
	}
	m, err := ipmi.Open(testContext(t), a, creds, ipmi.Options{Pause: 50 * time.Millisecond})
	if err == nil {
		t.Cleanup(func() { _ = m.Close(context.Background()) })
	}
	return m, err
}
