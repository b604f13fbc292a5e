package simbmc

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/ipmi"
)

// talkative is a machine whose serial console greets whoever attaches and
// repeats in upper case what is typed.
type talkative struct{ *Memory }

func (talkative) Serial() (io.ReadWriteCloser, error) {
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		out := make(chan []byte, 64)
		defer close(out)
		go func() { // a pipe holds nothing: who types must not wait for who reads
			for b := range out {
				_, _ = theirs.Write(b)
			}
		}()
		out <- []byte("m1 login: ")
		b := make([]byte, 256)
		for {
			n, err := theirs.Read(b)
			if err != nil {
				return
			}
			out <- bytes.ToUpper(b[:n])
		}
	}()
	return ours, nil
}

// newTalkative is newBench with a serial console.
func newTalkative(t *testing.T) *bench {
	t.Helper()
	s := &bench{journal: NewJournal(nil, nil), starts: make(chan BootOverride, 64)}
	s.body = NewMemory(testInfo(), ModeUEFI, func(o BootOverride) { s.starts <- o }, nil)
	s.BMC = New(talkative{s.body}, Config{Username: testUser, Password: testPassword, Journal: s.journal})
	t.Cleanup(s.Close)
	return s
}

func ipmitool(t *testing.T, ctx context.Context, addr *net.UDPAddr, suite, command string) *exec.Cmd {
	t.Helper()
	tool, err := exec.LookPath("ipmitool")
	if err != nil {
		t.Skip("no ipmitool here (apt-get install ipmitool)")
	}
	args := append([]string{"-I", "lanplus", "-C", suite, "-H", addr.IP.String(), "-p", strconv.Itoa(addr.Port), "-U", testUser, "-E", "-N", "2", "-R", "1"}, strings.Fields(command)...)
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Env = []string{"IPMI_PASSWORD=" + testPassword, "TZ=UTC"}
	return cmd
}

// TestIPMItoolReads is what an operator asks a BMC for.
func TestIPMItoolReads(t *testing.T) {
	s := newTalkative(t)
	addr := s.serveIPMI(t)
	for _, tc := range []struct {
		command string
		want    []string
	}{
		{command: "sel info", want: []string{"Entries          : 1", "Reserve"}},
		{command: "sdr list", want: []string{"CPU Temp         | no reading        | ns", "Inlet Temp       | 24 degrees C      | ok"}},
		{command: "power on", want: []string{"Up/On"}},
		{command: "power cycle", want: []string{"Cycle"}},
		{command: "sel list", want: []string{
			"Event Logging Disabled #0x40 | Log area reset/cleared | Asserted",
			"System ACPI Power State #0x41 | S0/G0: working | Asserted",
			"Power Unit #0x43 | Power cycle | Asserted",
		}},
		{command: "sdr list", want: []string{
			"CPU Temp         | 42 degrees C      | ok", "Fan 1            | 4800 RPM          | ok",
			"12V              | 12.03 Volts       | ok", "Power Draw       | 220 Watts         | ok", "PSU 1            | 0x01              | ok",
		}},
		{command: "sdr type 0x08", want: []string{"Presence detected"}},
		{command: "sensor get 12V", want: []string{"Sensor Reading        : 12.033"}},
		{command: "sensor list", want: []string{"CPU Temp         | 42.000     | degrees C  | ok    | na        | na        | na        | 85.000    | 95.000    | na"}},
		{command: "fru print", want: []string{"Product Manufacturer  : Ingot Lab", "Product Serial        : LAB0001"}},
		{command: "chassis identify force", want: []string{"indefinite"}},
		{command: "chassis status", want: []string{"System Power         : on", "Main Power Fault     : false"}},
		{command: "sel clear", want: []string{"Clearing SEL"}},
		{command: "sel info", want: []string{"Entries          : 1"}},
		{command: "sol payload status 1 2", want: []string{"is enabled"}},
		{command: "sol info 1", want: []string{"Enabled                         : true"}},
	} {
		out, err := ipmitool(t, testContext(t), addr, "17", tc.command).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", tc.command, err, out)
		}
		for _, want := range tc.want {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s: no %q in\n%s", tc.command, want, out)
			}
		}
	}
	if got := s.ipmi.locator.state(); got != 2 {
		t.Errorf("locator %d, want 2, for good", got)
	}
}

// TestIPMItoolConsole types at the machine's console through ipmitool.
func TestIPMItoolConsole(t *testing.T) {
	for _, suite := range []string{"3", "17"} {
		t.Run("suite "+suite, func(t *testing.T) {
			t.Parallel()
			s := newTalkative(t)
			ctx := testContext(t)
			cmd := ipmitool(t, ctx, s.serveIPMI(t), suite, "sol activate")
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			r := bufio.NewReader(out)
			until := func(want string) {
				t.Helper()
				var got []byte
				for !strings.HasSuffix(string(got), want) {
					b, err := r.ReadByte()
					if err != nil {
						t.Fatalf("%v behind %q; want %q", err, got, want)
					}
					got = append(got, b)
				}
			}
			until("m1 login: ")
			for _, text := range []string{"root\r", "hunter2\r"} {
				if _, err := io.WriteString(in, text); err != nil {
					t.Fatal(err)
				}
				until(strings.ToUpper(text))
			}
			// ~. behind a newline ends it.
			if _, err := io.WriteString(in, "~."); err != nil {
				t.Fatal(err)
			}
			until("terminated")
			_ = cmd.Wait()
		})
	}
}

// TestDriverOnTheFace runs our own driver's capabilities against the face.
func TestDriverOnTheFace(t *testing.T) {
	s := newTalkative(t)
	addr, err := bmc.ParseAddress("ipmi://" + s.serveIPMI(t).String())
	if err != nil {
		t.Fatal(err)
	}
	ctx := testContext(t)
	m, err := ipmi.Open(ctx, addr, bmc.Credentials{Username: testUser, Password: testPassword}, ipmi.Options{Pause: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close(ctx)
	for _, a := range []bmc.PowerAction{bmc.ActionOn, bmc.ActionReset, bmc.ActionNMI} {
		if err := m.SetPower(ctx, a); err != nil {
			t.Fatal(err)
		}
	}
	health, err := m.Health(ctx)
	if err != nil || health.Status != "OK" || health.State != "Enabled" || len(health.Sensors) != len(simSensors()) {
		t.Errorf("health %+v, %v", health, err)
	}
	if got := fmt.Sprint(health.Sensors[4]); got != "{12V voltage 12.033 V OK  false}" {
		t.Errorf("sensor %s", got)
	}
	log, err := m.EventLog(ctx, 3)
	var said []string
	for _, e := range log {
		said = append(said, e.Message)
	}
	if got := strings.Join(said, ", "); err != nil || got != "S0/G0 working, hard reset, front panel NMI" {
		t.Errorf("log %q, %v", got, err)
	}
	if err := m.ClearEventLog(ctx); err != nil {
		t.Error(err)
	}
	for _, lit := range []bool{true, false} {
		if err := m.SetIndicator(ctx, lit); err != nil {
			t.Error(err)
		}
	}
	c, err := m.OpenConsole(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "uname -a\r"); err != nil {
		t.Fatal(err)
	}
	want := "m1 login: UNAME -A\r"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Errorf("console %q, %v", got, err)
	}
}

// TestNoSerialNoSOL: a body without a console has none over IPMI.
func TestNoSerialNoSOL(t *testing.T) {
	s := newBench(t, nil)
	s.Close()
	s.BMC = New(struct{ Body }{s.body}, Config{Username: testUser, Password: testPassword, Journal: s.journal})
	t.Cleanup(s.Close)
	addr, err := bmc.ParseAddress("ipmi://" + s.serveIPMI(t).String())
	if err != nil {
		t.Fatal(err)
	}
	ctx := testContext(t)
	m, err := ipmi.Open(ctx, addr, bmc.Credentials{Username: testUser, Password: testPassword}, ipmi.Options{Pause: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close(ctx)
	if _, err := m.OpenConsole(ctx); bmc.ClassOf(err) != bmc.Unsupported {
		t.Errorf("console: %v", err)
	}
}

// A machine made of memory has a console: what is printed is read by all who are
// attached, what is typed is heard while it is on.
func TestMemorySerial(t *testing.T) {
	m := NewMemory(testInfo(), ModeUEFI, nil, nil)
	m.Print("nobody reads this")
	one, err := m.Serial()
	if err != nil {
		t.Fatal(err)
	}
	two, err := m.Serial()
	if err != nil {
		t.Fatal(err)
	}
	m.OnTyped(func(b []byte) { m.Print(string(bytes.ToUpper(b))) })
	for _, typed := range []string{"off ", "on"} {
		if _, err := io.WriteString(one, typed); err != nil {
			t.Fatal(err)
		}
		if err := m.SetPower(t.Context(), PowerOn); err != nil {
			t.Fatal(err)
		}
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	m.Print(strings.Repeat("x", 2*serialBuffer) + "end")
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(one); err != nil || string(got) != "ON" {
		t.Errorf("the first read %q, %v", got, err)
	}
	if got, err := io.ReadAll(two); err != nil || len(got) != serialBuffer || !bytes.HasSuffix(got, []byte("xend")) {
		t.Errorf("the second read %d bytes, %v", len(got), err)
	}
	if n := len(m.serial.attached); n != 0 {
		t.Errorf("%d are still attached", n)
	}
}

func TestSELIsBounded(t *testing.T) {
	l := newSEL(func() time.Time { return time.Unix(1700000000, 0) })
	for range 3 * selEntries {
		l.power(NMI)
	}
	if len(l.entries) != selEntries || !l.overflow {
		t.Errorf("%d entries, overflow %v", len(l.entries), l.overflow)
	}
	l.id = selLast - 1
	l.power(PowerOn)
	if l.id != 1 {
		t.Errorf("id %#x behind the last", l.id)
	}
}

func FuzzSELCommands(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0xff})
	f.Add([]byte{1, 0, 'C', 'L', 'R', 0xaa})
	f.Fuzz(func(_ *testing.T, data []byte) {
		l := newSEL(time.Now)
		l.reserve(data)
		l.get(data)
		l.clear(data)
		_, _ = sensorOf(data)
	})
}
