package ipmi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	gobmc "github.com/bougou/go-ipmi/pkg/bmc"
	"github.com/bougou/go-ipmi/pkg/clock"
	"github.com/bougou/go-ipmi/pkg/hal"
	"github.com/bougou/go-ipmi/pkg/hal/mock"
	"github.com/bougou/go-ipmi/pkg/handlers"
	"github.com/bougou/go-ipmi/pkg/server"
	"github.com/bougou/go-ipmi/pkg/transport/udp"
	"github.com/bougou/go-ipmi/pkg/types"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/bmctest"
)

// board is the hardware under go-ipmi's server.
type board struct {
	*mock.Chassis
	storage hal.StorageHAL
	console *serial

	mu     sync.Mutex
	orders []string
	answer answers
}

// answers are the commands that a test answers itself, others being go-ipmi's.
// It is called with the board's mu held.
type answers func(netFn, cmd byte, data []byte) (answer []byte, code types.CompletionCode, mine bool)

// intercept lets a test answer commands; nil none.
func (b *board) intercept(a answers) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = a
}

// look lets a test look at what its answers, or the console, keep.
func (b *board) look(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.console.mu.Lock()
	defer b.console.mu.Unlock()
	f()
}

func (b *board) registry() *handlers.Registry {
	r := handlers.NewRegistry()
	r.Use(func(next handlers.Handler) handlers.Handler {
		return handlers.HandlerFunc(func(ctx context.Context, h *handlers.HandlerContext, data []byte) ([]byte, types.CompletionCode, error) {
			b.mu.Lock()
			if b.answer != nil && h.Session != nil {
				if out, code, mine := b.answer(byte(h.Command.NetFn), h.Command.ID, data); mine {
					b.mu.Unlock()
					return out, code, nil
				}
			}
			b.mu.Unlock()
			return next.Handle(ctx, h, data)
		})
	})
	handlers.RegisterAllHandlers(r)
	return r
}

// hardware hands the board out as the chassis of an otherwise mocked machine.
type hardware struct {
	*mock.HAL
	board *board
}

func (h hardware) Chassis() hal.ChassisHAL { return h.board }

func (b *board) order(s string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.orders = append(b.orders, s)
}

func (b *board) ordered() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.orders, " ")
}

func (b *board) SetPower(ctx context.Context, on bool) error {
	b.order(map[bool]string{true: "on", false: "off"}[on])
	return b.Chassis.SetPower(ctx, on)
}

func (b *board) PowerCycle(context.Context) error { b.order("cycle"); return nil }
func (b *board) ColdReset(context.Context) error  { b.order("reset"); return nil }

func (b *board) WarmReset(ctx context.Context) error {
	b.order("soft")
	return b.Chassis.SetPower(ctx, false)
}

var admin = bmc.Credentials{Username: "admin", Password: "secret"}

// goServer starts go-ipmi's own server.
func goServer(t *testing.T, suites ...types.CipherSuiteID) (*board, bmc.Address) {
	t.Helper()
	b := &board{Chassis: &mock.Chassis{}}
	h := hardware{HAL: mock.New(), board: b}
	b.storage, b.console = h.Storage(), newSerial()
	h.SetConsole(b.console)
	fru, err := types.PackFRU(types.FRUPackConfig{Product: &types.FRUPackProduct{Manufacturer: "ingot", Name: "server", Version: "1.0", Serial: "S1"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Storage().FRU().Write(context.Background(), 0, fru); err != nil {
		t.Fatal(err)
	}
	// The GUID of SMBIOS's example, 00112233-4455-4677-8899-aabbccddeeff.
	guid := [16]byte{0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x46, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}
	opts := []gobmc.Option{gobmc.WithClock(clock.Real)}
	if len(suites) > 0 {
		opts = append(opts, gobmc.WithCipherSuites(suites))
	}
	g := gobmc.New(gobmc.DeviceInfo{DeviceID: 32, FirmwareMajor: 2, FirmwareMinor: 7, IPMIVersion: 0x20}, guid, h, opts...)
	for i, u := range []struct {
		name  string
		level gobmc.PrivilegeLevel
	}{{admin.Username, gobmc.PrivilegeLevelAdministrator}, {"reader", gobmc.PrivilegeLevelUser}} {
		user, err := g.Users.Add(uint8(2+i), u.name)
		if err != nil {
			t.Fatal(err)
		}
		user.SetPassword([]byte(admin.Password))
		user.Enabled = true
		user.ChannelAccess[1] = gobmc.UserChannelAccess{MaxPrivilege: u.level, Enabled: true}
	}
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	srv := server.NewServer(g, udp.Wrap(socket), server.WithHandlerRegistry(b.registry()))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ctx) }()
	t.Cleanup(func() { cancel(); srv.Close(); <-done })
	return b, parseAddress(t, "ipmi://"+socket.LocalAddr().String())
}

func parseAddress(t *testing.T, s string) bmc.Address {
	t.Helper()
	addr, err := bmc.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// open opens the machine with waits cut short.
func open(t *testing.T, addr bmc.Address, creds bmc.Credentials) (*Machine, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	m, err := Open(ctx, addr, creds, Options{Pause: 100 * time.Millisecond})
	if err == nil {
		t.Cleanup(func() {
			if err := m.Close(ctx); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
	return m, err
}

func wantError(t *testing.T, err error, class bmc.Class, code, part string) {
	t.Helper()
	var e *bmc.Error
	if !errors.As(err, &e) {
		t.Fatalf("err = %v, want a *bmc.Error", err)
	}
	if e.Class != class || e.Code != code {
		t.Errorf("class %q, code %q; want %q, %q (%v)", e.Class, e.Code, class, code, err)
	}
	if !strings.Contains(err.Error(), part) {
		t.Errorf("error %q does not say %q", err, part)
	}
}

func TestAgainstGoServer(t *testing.T) {
	for _, tc := range []struct {
		name   string
		suites []types.CipherSuiteID
		want   int
	}{
		{name: "both suites", want: 17},
		{name: "suite 17 alone", suites: []types.CipherSuiteID{types.CipherSuiteID17}, want: 17},
		{name: "suite 3 alone", suites: []types.CipherSuiteID{types.CipherSuiteID3}, want: 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, addr := goServer(t, tc.suites...)
			m, err := open(t, addr, admin)
			if err != nil {
				t.Fatal(err)
			}
			if got := m.session.keys.suite.id; got != tc.want {
				t.Errorf("cipher suite %d, want %d", got, tc.want)
			}
			ctx := context.Background()
			id, err := m.Identify(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if id, err = m.Details(ctx, id); err != nil {
				t.Fatal(err)
			}
			want := "{ipmi ingot server S1 00112233-4455-4677-8899-aabbccddeeff  2.07 []}"
			if got := fmt.Sprint(id); got != want {
				t.Errorf("identity %s, want %s", got, want)
			}
			if got, err := m.PowerState(ctx); err != nil || got != bmc.PowerOff {
				t.Errorf("power %q, %v", got, err)
			}
			for _, a := range []bmc.PowerAction{
				bmc.ActionForceOff, bmc.ActionOn, bmc.ActionOn, bmc.ActionCycle, bmc.ActionReset, bmc.ActionSoftOff, bmc.ActionSoftOff, bmc.ActionReset, bmc.ActionForceOff,
			} {
				if err := m.SetPower(ctx, a); err != nil {
					t.Errorf("%s: %v", a, err)
				}
			}
			if got, want := b.ordered(), "on cycle reset soft on off"; got != want {
				t.Errorf("ordered %q, want %q", got, want)
			}
			wantError(t, m.SetPower(ctx, bmc.ActionNMI), bmc.BadRequest, "", "0xc9") // its HAL knows no NMI
			wantError(t, m.SetPower(ctx, "Explode"), bmc.BadRequest, "", "")
		})
	}
}

func TestBootOverride(t *testing.T) {
	_, addr := goServer(t)
	m, err := open(t, addr, admin)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for _, tc := range []struct {
		name string
		set  bmc.BootOverride
		want bmc.BootOverride
	}{
		{name: "pxe once", set: bmc.BootOverride{Target: bmc.BootPXE, Mode: bmc.BootModeUEFI}, want: bmc.BootOverride{Target: bmc.BootPXE, Mode: bmc.BootModeUEFI}},
		{name: "mode stays", set: bmc.BootOverride{Target: bmc.BootCD}, want: bmc.BootOverride{Target: bmc.BootCD, Mode: bmc.BootModeUEFI}},
		{name: "disk for good", set: bmc.BootOverride{Target: bmc.BootDisk, Persistent: true, Mode: bmc.BootModeLegacy}, want: bmc.BootOverride{Target: bmc.BootDisk, Persistent: true, Mode: bmc.BootModeLegacy}},
		{name: "setup", set: bmc.BootOverride{Target: bmc.BootSetup}, want: bmc.BootOverride{Target: bmc.BootSetup, Mode: bmc.BootModeLegacy}},
		{name: "none", set: bmc.BootOverride{Target: bmc.BootNone}, want: bmc.BootOverride{Target: bmc.BootNone, Mode: bmc.BootModeLegacy}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := m.SetBootOverride(ctx, tc.set); err != nil {
				t.Fatal(err)
			}
			if got, err := m.BootOverride(ctx); err != nil || got != tc.want {
				t.Errorf("override %+v, %v; want %+v", got, err, tc.want)
			}
		})
	}
	bmctest.Read(ctx, t, m)
	bmctest.Switch(ctx, t, m)
	wantError(t, m.SetBootOverride(ctx, bmc.BootOverride{Target: bmc.BootUEFIHTTP}), bmc.Unsupported, "", "no such boot target")
}

func TestPrivilegeLevel(t *testing.T) {
	_, addr := goServer(t)
	reader := bmc.Credentials{Username: "reader", Password: admin.Password}
	_, err := open(t, addr, reader)
	wantError(t, err, bmc.Forbidden, "", "privilegelevel")
	addr.PrivilegeLevel = "USER"
	m, err := open(t, addr, reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.PowerState(context.Background()); err != nil {
		t.Error(err)
	}
	wantError(t, m.SetPower(context.Background(), bmc.ActionOn), bmc.Forbidden, "", "0xd4")
}

func TestParallelCallersTakeTurns(t *testing.T) {
	_, addr := goServer(t)
	m, err := open(t, addr, admin)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if _, err := m.PowerState(context.Background()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestIdleSessionEndsAndAnotherBegins(t *testing.T) {
	_, addr := goServer(t)
	m, err := Open(context.Background(), addr, admin, Options{Pause: 100 * time.Millisecond, Idle: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	// The server has four sessions; each of these is a new one.
	for i := 0; i < 10; i++ {
		waitFor(t, func() bool {
			m.turn <- struct{}{}
			defer func() { <-m.turn }()
			return m.session == nil
		})
		if _, err := m.PowerState(context.Background()); err != nil {
			t.Fatalf("session %d: %v", i, err)
		}
	}
	if err := m.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	_, err = m.PowerState(context.Background())
	wantError(t, err, bmc.Unreachable, "", "closed")
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
	}
}

func TestOpenErrors(t *testing.T) {
	_, addr := goServer(t)
	_, suite1 := goServer(t, types.CipherSuiteID1)
	silent, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	closed, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, tc := range []struct {
		name  string
		addr  bmc.Address
		creds bmc.Credentials
		class bmc.Class
		code  string
		part  string
	}{
		{name: "wrong password", addr: addr, creds: bmc.Credentials{Username: "admin", Password: "hunter2"}, class: bmc.Auth, code: bmc.CodeAuth},
		{name: "unknown user", addr: addr, creds: bmc.Credentials{Username: "nobody", Password: "secret"}, class: bmc.Auth, code: bmc.CodeAuth},
		{name: "long password", addr: addr, creds: bmc.Credentials{Username: "admin", Password: "123456789012345678901"}, class: bmc.Auth, code: bmc.CodeAuth, part: "20 of password"},
		{name: "no suite in common", addr: suite1, creds: admin, class: bmc.Unsupported, code: bmc.CodeIPMICipher, part: "17 nor 3"},
		{name: "silence", addr: parseAddress(t, "ipmi://"+silent.LocalAddr().String()), creds: admin, class: bmc.Unreachable, code: bmc.CodeUnreachable, part: "no answer"},
		{name: "nothing listens", addr: parseAddress(t, "ipmi://"+closed.LocalAddr().String()), creds: admin, class: bmc.Unreachable, code: bmc.CodeRefused},
		{name: "no such name", addr: parseAddress(t, "ipmi://no..such.host"), creds: admin, class: bmc.Unreachable, code: bmc.CodeNameUnresolved},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := open(t, tc.addr, tc.creds)
			wantError(t, err, tc.class, tc.code, tc.part)
			if strings.Contains(err.Error(), tc.creds.Password) {
				t.Errorf("%v tells the password", err)
			}
		})
	}
}

func TestContextEndsSilence(t *testing.T) {
	silent, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = Open(ctx, parseAddress(t, "ipmi://"+silent.LocalAddr().String()), admin, Options{})
	wantError(t, err, bmc.Unreachable, bmc.CodeUnreachable, "deadline")
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}
