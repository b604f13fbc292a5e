package ipmi

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// simulator starts OpenIPMI's ipmi_sim (Debian: openipmi) with a chassis that is
// a file, and returns its address.
func simulator(t *testing.T) bmc.Address {
	t.Helper()
	path, err := exec.LookPath("ipmi_sim")
	if err != nil {
		t.Skip("ipmi_sim is not installed (Debian package openipmi)")
	}
	dir := t.TempDir()
	free, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	port := free.LocalAddr().(*net.UDPAddr).Port
	free.Close()
	script := `#!/bin/sh
# Called as: script get|set ITEM [VALUE]; the answer is ITEM:VALUE.
dir=$(dirname "$0")
case "$1 $2" in
"get power") echo "power:$(cat "$dir/power")" ;;
"set power") echo "$3" >"$dir/new"; mv "$dir/new" "$dir/power" ;;
esac
exit 0
`
	lan := fmt.Sprintf(`name "ingot"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 %d
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid 33221100554477468899aabbccddeeff
  endlan
  chassis_control "%s"
  user 2 true "admin" "secret" admin 10 none md2 md5 straight
`, port, filepath.Join(dir, "chassis"))
	emu := `mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02
sel_enable 0x20 1000 0x0a
mc_enable 0x20
`
	for _, f := range []struct {
		name, text string
		mode       os.FileMode
	}{{"chassis", script, 0o700}, {"lan.conf", lan, 0o600}, {"sim.emu", emu, 0o600}, {"power", "0\n", 0o600}} {
		if err := os.WriteFile(filepath.Join(dir, f.name), []byte(f.text), f.mode); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(path, "-n", "-c", filepath.Join(dir, "lan.conf"), "-f", filepath.Join(dir, "sim.emu"), "-s", dir)
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		out.Close()
		if t.Failed() {
			said, _ := os.ReadFile(out.Name())
			t.Logf("ipmi_sim said:\n%s", said)
		}
	})
	return parseAddress(t, fmt.Sprintf("ipmi://127.0.0.1:%d", port))
}

func TestAgainstIPMISim(t *testing.T) {
	addr := simulator(t)
	var m *Machine
	waitFor(t, func() (up bool) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		var err error
		m, err = Open(ctx, addr, admin, Options{Pause: 100 * time.Millisecond})
		return err == nil
	})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	defer m.Close(ctx)
	if m.session.keys.suite.id != 3 {
		t.Errorf("cipher suite %d, want 3, its only one", m.session.keys.suite.id)
	}
	id, err := m.Identify(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if id.SystemUUID != "00112233-4455-4677-8899-aabbccddeeff" || id.BMCVersion == "" {
		t.Errorf("identity %+v", id)
	}
	if _, err := m.Details(ctx, id); err != nil {
		t.Error(err) // it has no inventory
	}
	for _, step := range []struct {
		action bmc.PowerAction
		want   bmc.PowerState
	}{{bmc.ActionOn, bmc.PowerOn}, {bmc.ActionForceOff, bmc.PowerOff}, {bmc.ActionCycle, bmc.PowerOn}} {
		if err := m.SetPower(ctx, step.action); err != nil {
			t.Fatalf("%s: %v", step.action, err)
		}
		waitFor(t, func() bool {
			got, err := m.PowerState(ctx)
			if err != nil {
				t.Fatal(err)
			}
			return got == step.want
		})
	}
	// It forgets the flags, which is no error.
	if err := m.SetBootOverride(ctx, bmc.BootOverride{Target: bmc.BootPXE, Mode: bmc.BootModeUEFI}); err != nil {
		t.Error(err)
	}

	_, err = open(t, addr, bmc.Credentials{Username: "admin", Password: "hunter2"})
	wantError(t, err, bmc.Auth, bmc.CodeAuth, "")
}
