package virtualbmc

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/bmctest"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

var update = flag.Bool("update", false, "rewrite the golden file from the real pyghmi")

// transcript is one client's talk with a server whose machine is off.
func transcript(t *testing.T, addr *net.UDPAddr) []string {
	t.Helper()
	var said []string
	say := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }

	c := newClient(t, addr)
	say("ping of ASF: %x", c.ask([]byte{0x06, 0, 0xff, 0x06, 0, 0, 0x11, 0xbe, 0x80, 0, 0, 0}))
	say("auth capabilities: %x", c.ask(question(0x8e)))
	say("auth capabilities of IPMI 1.5: %x", c.ask(question(0x0e)))
	say("auth capabilities of channel 1: %x", c.ask(question(0x81)))
	suites := []byte{0x20, netFnApp << 2, 0, 0x81, 4 << 2, 0x54, 0x0e, 0x00, 0x80, 0}
	suites[2], suites[9] = checksum(suites[:2]), checksum(suites[3:9])
	say("cipher suites: %x", c.ask(bare(payloadIPMI, suites)))
	say("login: %s", c.login("admin", "password"))
	for _, q := range []struct {
		what           string
		netFn, command byte
		data           []byte
	}{
		{what: "privilege ADMINISTRATOR", netFn: netFnApp, command: 0x3b, data: []byte{4}},
		{what: "privilege, which is it", netFn: netFnApp, command: 0x3b, data: []byte{0}},
		{what: "privilege OEM", netFn: netFnApp, command: 0x3b, data: []byte{5}},
		{what: "device id", netFn: netFnApp, command: 0x01},
		{what: "cold reset", netFn: netFnApp, command: 0x02},
		{what: "warm reset", netFn: netFnApp, command: 0x03},
		{what: "self test", netFn: netFnApp, command: 0x04},
		{what: "system guid", netFn: netFnApp, command: 0x37},
		{what: "activate payload", netFn: netFnApp, command: 0x48, data: []byte{1, 1, 0, 0, 0, 0}},
		{what: "deactivate payload", netFn: netFnApp, command: 0x49, data: []byte{1, 1, 0, 0, 0, 0}},
		{what: "sensor", netFn: 0x04, command: 0x2d, data: []byte{1}},
		{what: "SEL", netFn: 0x0a, command: 0x40},
		{what: "FRU", netFn: 0x0a, command: 0x10, data: []byte{0}},
		{what: "LAN", netFn: 0x0c, command: 0x02, data: []byte{1, 3, 0, 0}},
		{what: "chassis capabilities", netFn: netFnChassis, command: 0x00},
		{what: "status", netFn: netFnChassis, command: 0x01},
		{what: "reset when off", netFn: netFnChassis, command: 0x02, data: []byte{3}},
		{what: "off when off", netFn: netFnChassis, command: 0x02, data: []byte{0}},
		{what: "soft when off", netFn: netFnChassis, command: 0x02, data: []byte{5}},
		{what: "status", netFn: netFnChassis, command: 0x01},
		{what: "control of nothing", netFn: netFnChassis, command: 0x02},
		{what: "control 9", netFn: netFnChassis, command: 0x02, data: []byte{9}},
		{what: "flags", netFn: netFnChassis, command: 0x09, data: []byte{5, 0, 0}},
		{what: "other parameter", netFn: netFnChassis, command: 0x09, data: []byte{7, 0, 0}},
		{what: "no parameter", netFn: netFnChassis, command: 0x09},
		{what: "in progress", netFn: netFnChassis, command: 0x08, data: []byte{0, 1}},
		{what: "valid bit", netFn: netFnChassis, command: 0x08, data: []byte{3, 8}},
		{what: "acknowledge", netFn: netFnChassis, command: 0x08, data: []byte{4, 1, 1}},
		{what: "initiator", netFn: netFnChassis, command: 0x08, data: []byte{7, 1}},
		{what: "persistent EFI network", netFn: netFnChassis, command: 0x08, data: []byte{5, 0xe0, 1 << 2, 0, 0, 0}},
		{what: "flags", netFn: netFnChassis, command: 0x09, data: []byte{5, 0, 0}},
		{what: "setup", netFn: netFnChassis, command: 0x08, data: []byte{5, 0x80, 6 << 2, 0, 0, 0}},
		{what: "diagnostic partition", netFn: netFnChassis, command: 0x08, data: []byte{5, 0x80, 4 << 2, 0, 0, 0}},
		{what: "no override", netFn: netFnChassis, command: 0x08, data: []byte{5, 0, 0, 0, 0, 0}},
		{what: "flags cut short", netFn: netFnChassis, command: 0x08, data: []byte{5, 0x80}},
		{what: "flags", netFn: netFnChassis, command: 0x09, data: []byte{5, 0, 0}},
		{what: "on", netFn: netFnChassis, command: 0x02, data: []byte{1}},
		{what: "status", netFn: netFnChassis, command: 0x01},
		{what: "cycle", netFn: netFnChassis, command: 0x02, data: []byte{2}},
		{what: "CD while on", netFn: netFnChassis, command: 0x08, data: []byte{5, 0x80, 5 << 2, 0, 0, 0}},
		{what: "flags, of what runs", netFn: netFnChassis, command: 0x09, data: []byte{5, 0, 0}},
		{what: "reset", netFn: netFnChassis, command: 0x02, data: []byte{3}},
		{what: "flags, still", netFn: netFnChassis, command: 0x09, data: []byte{5, 0, 0}},
		{what: "NMI", netFn: netFnChassis, command: 0x02, data: []byte{4}},
		{what: "off", netFn: netFnChassis, command: 0x02, data: []byte{0}},
		{what: "flags, at last", netFn: netFnChassis, command: 0x09, data: []byte{5, 0, 0}},
		{what: "close", netFn: netFnApp, command: 0x3c, data: c.managed},
		{what: "status after close", netFn: netFnChassis, command: 0x01},
	} {
		say("%s: %s", q.what, c.command(q.netFn, q.command, q.data...))
	}
	again := c.ask(c.openRequest(1, 1))
	sealed := len(again) > 5 && again[5] == payloadOpenResponse|encrypted|authenticated
	say("a second session from the same port: sealed with the first one's keys: %t", sealed)

	say("unknown user: %s", newClient(t, addr).login("root", "password"))
	say("nobody: %s", newClient(t, addr).login("", "password"))
	say("wrong password: %s", newClient(t, addr).login("admin", "hunter2"))
	return said
}

const golden = "testdata/pyghmi.txt"

// The contract, packet by packet. The golden file was written by the real pyghmi
// (TestReference with -update).
func TestContract(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(transcript(t, contract(t, body(nil))), "\n") + "\n"
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("this server answers otherwise than pyghmi (-pyghmi +contract):\n%s", diff)
	}
}

func TestReference(t *testing.T) {
	t.Parallel()
	got := strings.Join(transcript(t, reference(t)), "\n") + "\n"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("this pyghmi answers otherwise than the one that wrote the file (-file +now):\n%s", diff)
	}
}

// servers are the contract server and the real thing.
func servers(t *testing.T, f func(t *testing.T, addr *net.UDPAddr)) {
	t.Parallel()
	t.Run("contract", func(t *testing.T) { t.Parallel(); f(t, contract(t, body(nil))) })
	t.Run("pyghmi", func(t *testing.T) { t.Parallel(); f(t, reference(t)) })
}

func TestDriverConformance(t *testing.T) {
	servers(t, func(t *testing.T, addr *net.UDPAddr) {
		m, err := machine(t, addr, admin)
		if err != nil {
			t.Fatal(err)
		}
		bmctest.Conform(testContext(t), t, m, 12)
	})
}

// What quirk.IPMIPlainBoot, as it is detected, makes of a device that lasts and
// has no mode.
func TestDriverBoot(t *testing.T) {
	servers(t, func(t *testing.T, addr *net.UDPAddr) {
		m, err := machine(t, addr, admin)
		if err != nil {
			t.Fatal(err)
		}
		ctx := testContext(t)
		for _, target := range []bmc.BootTarget{bmc.BootPXE, bmc.BootCD, bmc.BootDisk, bmc.BootPXE, bmc.BootNone} {
			for _, mode := range []bmc.BootMode{bmc.BootModeUEFI, bmc.BootModeLegacy, ""} {
				if err := m.SetBootOverride(ctx, bmc.BootOverride{Target: target, Persistent: mode == "", Mode: mode}); err != nil {
					t.Errorf("%s, %s: %v", target, mode, err)
				}
				want := bmc.BootOverride{Target: target, Persistent: true}
				if target == bmc.BootNone {
					want.Target = bmc.BootDisk
				}
				if got, err := m.BootOverride(ctx); err != nil || got != want {
					t.Errorf("%s: %+v, %v", target, got, err)
				}
			}
		}
		if err := m.SetBootOverride(ctx, bmc.BootOverride{Target: bmc.BootSetup}); bmc.ClassOf(err) != bmc.Protocol {
			t.Errorf("setup: %v", err)
		}
	})
}

// A cycle, of which quirk.IPMINoCycle makes two orders, is a start: what was set
// while the machine ran counts from it.
func TestDriverCycle(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	starts := make(chan simbmc.BootOverride, 8)
	m, err := machine(t, contract(t, body(starts)), admin)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // of a machine that is off: on
		if err := m.SetPower(ctx, bmc.ActionCycle); err != nil {
			t.Fatal(err)
		}
		<-starts
	}
	_ = m.SetBootOverride(ctx, bmc.BootOverride{Target: bmc.BootPXE}) // cannot be read back yet
	if err := m.SetPower(ctx, bmc.ActionCycle); err != nil {
		t.Fatal(err)
	}
	if o := <-starts; o.Target != simbmc.BootPXE {
		t.Errorf("started with %+v", o)
	}
}

func TestDriverLogin(t *testing.T) {
	servers(t, func(t *testing.T, addr *net.UDPAddr) {
		// The BMC proves the password before the client does, so a wrong one is known.
		_, err := machine(t, addr, bmc.Credentials{Username: "admin", Password: "hunter2"})
		if bmc.ClassOf(err) != bmc.Auth {
			t.Errorf("wrong password: %v", err)
		}
		// An unknown name is met with silence: nobody can tell it from a dead BMC.
		_, err = machine(t, addr, bmc.Credentials{Username: "root", Password: "password"})
		if bmc.ClassOf(err) != bmc.Unreachable {
			t.Errorf("unknown user: %v", err)
		}
	})
}

// A device that is set while the machine runs counts from its next start, and a
// reset is none.
func TestDeviceCountsFromTheNextStart(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	starts := make(chan simbmc.BootOverride, 8)
	m, err := machine(t, contract(t, body(starts)), admin)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.SetPower(ctx, bmc.ActionOn); err != nil {
		t.Fatal(err)
	}
	if o := <-starts; o.Enabled != simbmc.BootDisabled {
		t.Errorf("first start with %+v", o)
	}
	if err := m.SetBootOverride(ctx, bmc.BootOverride{Target: bmc.BootPXE}); bmc.ClassOf(err) != bmc.Protocol {
		t.Errorf("the driver sees the device of a running machine: %v", err)
	}
	for _, step := range []struct {
		action bmc.PowerAction
		want   simbmc.BootTarget
	}{{bmc.ActionReset, simbmc.BootNone}, {bmc.ActionForceOff, ""}, {bmc.ActionOn, simbmc.BootPXE}, {bmc.ActionReset, simbmc.BootPXE}} {
		if err := m.SetPower(ctx, step.action); err != nil {
			t.Fatal(err)
		}
		if step.want == "" {
			continue
		}
		if o := <-starts; o.Target != step.want {
			t.Errorf("%s: started with %+v, want %s", step.action, o, step.want)
		}
	}
}

// TestIPMItool runs what VirtualBMC's own documentation shows.
func TestIPMItool(t *testing.T) {
	tool, err := exec.LookPath("ipmitool")
	if err != nil {
		t.Skip("no ipmitool here (apt-get install ipmitool)")
	}
	servers(t, func(t *testing.T, addr *net.UDPAddr) {
		for _, tc := range []struct {
			command string
			want    string
			fails   bool
		}{
			{command: "mc info", want: "IPMI Version              : 2.0"},
			{command: "power status", want: "Chassis Power is off"},
			{command: "chassis bootdev pxe", want: "Set Boot Device to pxe"},
			{command: "chassis bootparam get 5", want: "Force PXE"},
			{command: "chassis bootdev cdrom", want: "Set Boot Device to cdrom"},
			{command: "chassis bootparam get 5", want: "Force Boot from CD/DVD"},
			{command: "chassis bootdev disk", want: "Set Boot Device to disk"},
			{command: "chassis bootparam get 5", want: "Force Boot from default Hard-Drive"},
			{command: "power on", want: "Up/On"},
			{command: "power diag", want: "Diag"},
			{command: "power reset", want: "Reset"},
			{command: "power cycle", fails: true, want: "Invalid data field"},
			{command: "power soft", want: "Soft"},
			{command: "power status", want: "Chassis Power is off"},
			{command: "mc guid", fails: true, want: "Invalid command"},
			{command: "sel info", fails: true, want: "Invalid command"},
		} {
			args := append([]string{"-I", "lanplus", "-H", addr.IP.String(), "-p", strconv.Itoa(addr.Port), "-U", admin.Username, "-E", "-N", "2", "-R", "1"}, strings.Fields(tc.command)...)
			cmd := exec.CommandContext(testContext(t), tool, args...)
			cmd.Env = []string{"IPMI_PASSWORD=" + admin.Password}
			out, err := cmd.CombinedOutput()
			if (err != nil) != tc.fails || !strings.Contains(string(out), tc.want) {
				t.Errorf("%s: %v, want %q in\n%s", tc.command, err, tc.want, out)
			}
		}
	})
}
