//go:build e2e

package vm_test

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	labnet "github.com/ingot-metal/ingot/pkg/lab/net"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
	"github.com/ingot-metal/ingot/pkg/lab/vm"
)

const asLab = "INGOT_TEST_AS_LAB"

// A lab that is killed takes its machines with it.
func TestNoOrphans(t *testing.T) {
	if dir := os.Getenv(asLab); dir != "" {
		m, err := vm.New(vm.Config{Name: "m1", Dir: dir, UUID: "6a8c5f9e-0000-4000-8000-000000000001"})
		must(t, err)
		must(t, m.SetPower(t.Context(), simbmc.PowerOn))
		fmt.Println("pid", m.PID())
		time.Sleep(patience) // until it is killed
		return
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNoOrphans$")
	child.Env = append(os.Environ(), asLab+"="+t.TempDir())
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	pid := 0
	for lines := bufio.NewScanner(out); pid == 0 && lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "pid "); ok {
			pid, err = strconv.Atoi(text)
			must(t, err)
		}
	}
	if pid == 0 || !alive(pid) {
		t.Fatalf("QEMU is process %d", pid)
	}
	must(t, child.Process.Kill())
	_ = child.Wait()
	until(t, "QEMU ends with its lab", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(stat), ") Z ") // init may reap it later
	})
}

// The root variant: QEMU in a namespace, on a TAP of its bridge.
func TestBridge(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip(labnet.ErrRoot)
	}
	b, err := labnet.NewBridge(t.Context(), labnet.BridgeConfig{
		Namespace: fmt.Sprintf("ingot-v%d", os.Getpid()%1000000), Addr: netip.MustParsePrefix("10.77.0.1/24"), Taps: []string{"tap0"},
	})
	must(t, err)
	defer func() { must(t, b.Close()) }()
	m, err := vm.New(vm.Config{
		Name: "m1", Dir: filepath.Join(t.TempDir(), "m1"), UUID: "6a8c5f9e-0000-4000-8000-000000000001",
		NICs: []vm.NIC{{MAC: "52:54:00:00:00:77", Tap: "tap0"}}, Wrap: b.Command,
	})
	must(t, err)
	defer func() { must(t, m.Close()) }()
	must(t, m.SetPower(bounded(t), simbmc.PowerOn))
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", m.PID()))
	if err != nil || !strings.Contains(exe, "qemu") {
		t.Errorf("process is %q, %v", exe, err)
	}
	argv := b.Command("ip", "-s", "link", "show", "tap0")
	until(t, "the firmware asks for an address", func() bool {
		out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).Output()
		must(t, err)
		_, after, _ := strings.Cut(string(out), "RX:")
		fields := strings.Fields(strings.SplitN(after, "\n", 3)[1])
		return fields[1] != "0"
	})
}

// QEMU takes the command line of every kind of device, with names that its
// option parser would stumble over.
func TestEveryDevice(t *testing.T) {
	l := newLab(t)
	for _, mode := range []simbmc.BootMode{simbmc.ModeLegacy, simbmc.ModeUEFI} {
		m := l.machine("all-"+string(mode), "idle", func(c *vm.Config) {
			c.Dir += ", with a comma"
			c.Mode = mode
			c.Model = "model, with a comma"
			c.NICs = append(c.NICs, vm.NIC{MAC: "52:54:00:00:00:78", Model: vm.E1000e, Socket: l.sw.Path()})
			c.Disks = []vm.Disk{
				{SizeBytes: 64 << 20},
				{Kind: vm.Virtio, SizeBytes: 64 << 20},
				{Kind: vm.SCSI, SizeBytes: 64 << 20, WWN: "0xd000c500a0b1c2d3"},
			}
		})
		must(t, m.SetPower(bounded(t), simbmc.PowerOn))
		until(t, "both NICs are on the wire", func() bool { return len(l.sw.Ports()) >= 5 })
		must(t, m.SetPower(bounded(t), simbmc.ForceOff))
	}
}
