//go:build e2e

package vm_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/ipmi"
	"github.com/ingot-metal/ingot/pkg/console"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// TestConsoleOverIPMI is a QEMU machine's serial console over the lab's BMC: a
// recorder sees it boot and types at it, and after it ipmitool does.
func TestConsoleOverIPMI(t *testing.T) {
	l := newLab(t)
	m := l.machine("console", "idle", nil)
	ctx := bounded(t)
	b := simbmc.New(m, simbmc.Config{Username: "admin", Password: "secret"})
	defer b.Close()
	socket, err := net.ListenPacket("udp4", "127.0.0.1:0")
	must(t, err)
	served := make(chan struct{})
	serving, stop := context.WithCancel(ctx)
	go func() { defer close(served); _ = b.ServeIPMI(serving, socket) }()
	defer func() { stop(); <-served }()
	addr, err := bmc.ParseAddress("ipmi://" + socket.LocalAddr().String())
	must(t, err)
	driver, err := ipmi.Open(ctx, addr, bmc.Credentials{Username: "admin", Password: "secret"}, ipmi.Options{})
	must(t, err)
	defer driver.Close(ctx)

	r := console.New(driver, console.Options{})
	recording, end := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); r.Run(recording) }()
	until(t, "the console", func() bool { return r.Status().Connected })
	r.Mark("boot")
	must(t, m.SetBoot(ctx, once(simbmc.BootPXE, simbmc.ModeLegacy)))
	must(t, driver.SetPower(ctx, bmc.ActionOn))
	saw := func(text string) func() bool {
		return func() bool {
			b, _ := r.Since("boot", 400)
			return strings.Contains(strings.Join(console.Lines(b), "\n"), text)
		}
	}
	until(t, "the boot on the recorded console", saw("guest: up guest=idle"))
	w, err := r.Writer()
	must(t, err)
	_, err = w.Write([]byte("hello\n"))
	must(t, err)
	until(t, "the machine's answer", saw("guest: heard hello"))
	t.Logf("%d bytes recorded, %v", r.Status().Bytes, r.Status())
	end()
	<-ended
	// Not a byte was lost on the way: what the lab itself wrote down is the same.
	recorded, _ := r.Since("boot", 1<<20)
	printed, err := os.ReadFile(m.SerialPath())
	must(t, err)
	if !strings.HasPrefix(string(printed), string(recorded)) || len(recorded) < 1000 {
		t.Errorf("recorded %d bytes that are not the console's first", len(recorded))
	}

	tool, err := exec.LookPath("ipmitool")
	if err != nil {
		t.Skip("ipmitool is not installed")
	}
	port := socket.LocalAddr().(*net.UDPAddr).Port
	cmd := exec.CommandContext(ctx, tool, "-I", "lanplus", "-H", "127.0.0.1", "-p", strconv.Itoa(port), "-U", "admin", "-E", "sol", "activate")
	cmd.Env = append(os.Environ(), "IPMI_PASSWORD=secret")
	in, err := cmd.StdinPipe()
	must(t, err)
	var out strings.Builder
	cmd.Stdout = &out
	must(t, cmd.Start())
	_, err = in.Write([]byte("world\n"))
	must(t, err)
	must(t, m.WaitSerial(ctx, "guest: heard world"))
	_, err = in.Write([]byte("\n~."))
	must(t, err)
	_ = cmd.Wait()
	if !strings.Contains(out.String(), "SOL Session operational") {
		t.Errorf("ipmitool said %q", out.String())
	}
}
