package ipmi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bougou/go-ipmi/pkg/types"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// simulator starts OpenIPMI's ipmi_sim (Debian: openipmi) with a chassis that is
// a file, and the further commands of its emulator, and returns its address.
func simulator(t *testing.T, commands ...string) bmc.Address {
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
	sol := ""
	if len(commands) > 0 {
		if rest, ok := strings.CutPrefix(commands[0], "sol "); ok { // its place is the other file
			sol, commands = "  sol "+rest, commands[1:]
		}
	}
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
%s
  user 2 true "admin" "secret" admin 10 none md2 md5 straight
`, port, filepath.Join(dir, "chassis"), sol)
	emu := `mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02
sel_enable 0x20 1000 0x0a
` + strings.Join(commands, "") + `mc_enable 0x20
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

// openSimulator opens it as soon as it is up.
func openSimulator(t *testing.T, addr bmc.Address) (m *Machine) {
	t.Helper()
	waitFor(t, func() (up bool) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		var err error
		m, err = Open(ctx, addr, admin, Options{Pause: 100 * time.Millisecond})
		return err == nil
	})
	t.Cleanup(func() { _ = m.Close(context.Background()) })
	return m
}

func TestAgainstIPMISim(t *testing.T) {
	addr := simulator(t)
	m := openSimulator(t, addr)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
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
	all, err := m.Accounts(ctx)
	if want := []bmc.Account{{ID: "2", Username: "admin", Role: "Administrator", Enabled: true}}; err != nil || !slices.Equal(all, want) {
		t.Errorf("accounts %+v, %v", all, err)
	}
	// It keeps 16 bytes of a password, whatever it is given (lanserv/bmc_app.c,
	// handle_set_user_password: memcpy(…, 16)).
	wantError(t, m.SetPassword(ctx, admin.Username, "12345678901234567890"), bmc.Protocol, "", "the old one was put back")
	for _, password := range []string{"another", "sixteen letters.", admin.Password} {
		if err := m.SetPassword(ctx, admin.Username, password); err != nil {
			t.Errorf("set password of %d bytes: %v", len(password), err)
		}
	}
	// It forgets the flags, which is no error.
	if err := m.SetBootOverride(ctx, bmc.BootOverride{Target: bmc.BootPXE, Mode: bmc.BootModeUEFI}); err != nil {
		t.Error(err)
	}

	_, err = open(t, addr, bmc.Credentials{Username: "admin", Password: "hunter2"})
	wantError(t, err, bmc.Auth, bmc.CodeAuth, "")
}

// TestConsoleAgainstIPMISim talks over ipmi_sim to a serial line that is a TCP
// connection, as QEMU's may be.
func TestConsoleAgainstIPMISim(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			go func() {
				b := make([]byte, 512)
				for {
					n, err := conn.Read(b)
					if err != nil {
						return
					}
					_, _ = conn.Write(bytes.ToUpper(b[:n]))
				}
			}()
		}
	}()
	addr := simulator(t, fmt.Sprintf("sol \"tcp:127.0.0.1:%d\" 115200\n", listener.Addr().(*net.TCPAddr).Port))
	m := openSimulator(t, addr)
	var c io.ReadWriteCloser
	for range 2 { // the second finds what the first gave back
		if c, err = m.OpenConsole(t.Context()); err != nil {
			t.Fatal(err)
		}
		text := lines(8)
		written := make(chan error, 1)
		go func() { _, err := io.WriteString(c, text); written <- err }()
		expect(t, c, strings.ToUpper(text))
		if err := <-written; err != nil {
			t.Error(err)
		}
		if _, err := m.PowerState(t.Context()); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	stale, err := m.OpenConsole(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stale.Close()
	if c, err = m.OpenConsole(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "mine"); err != nil {
		t.Error(err)
	}
	expect(t, c, "MINE")
}

// TestInventoryAsIPMItoolSeesIt compares Details on ipmi_sim with ipmitool's.
func TestInventoryAsIPMItoolSeesIt(t *testing.T) {
	tool, err := exec.LookPath("ipmitool")
	if err != nil {
		t.Skip("ipmitool is not installed")
	}
	fru, err := types.PackFRU(types.FRUPackConfig{Product: &types.FRUPackProduct{Manufacturer: "Maker Inc.", Name: "Model 7", Version: "2", Serial: "SN-0001"}})
	if err != nil {
		t.Fatal(err)
	}
	command := fmt.Sprintf("mc_add_fru_data 0x20 0 %d data", len(fru))
	for _, c := range fru {
		command += fmt.Sprintf(" 0x%02x", c)
	}
	addr := simulator(t, command+"\n")
	m := openSimulator(t, addr)
	got, err := m.Details(t.Context(), bmc.Identity{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, tool, "-I", "lanplus", "-C", "3", "-H", addr.Host, "-p", fmt.Sprint(addr.Port), "-U", admin.Username, "-E", "fru", "print", "0")
	cmd.Env = append(os.Environ(), "IPMI_PASSWORD="+admin.Password)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"Product Manufacturer  : " + got.Manufacturer, "Product Name          : " + got.Model, "Product Serial        : " + got.Serial} {
		if !strings.Contains(string(out), want+"\n") {
			t.Errorf("ipmitool does not say %q:\n%s", want, out)
		}
	}
	if got.Serial != "SN-0001" {
		t.Errorf("details %+v", got)
	}
}
