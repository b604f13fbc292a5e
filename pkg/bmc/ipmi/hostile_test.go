package ipmi

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bougou/go-ipmi/pkg/types"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// between stands between the machine and its BMC and may add datagrams to each
// answer, drop or change it.
func between(t *testing.T, addr bmc.Address, answer func(n int, b []byte) [][]byte) bmc.Address {
	t.Helper()
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	back, err := net.Dial("udp", addr.HostPort())
	if err != nil {
		t.Fatal(err)
	}
	var console net.Addr
	var mu sync.Mutex
	var wg sync.WaitGroup
	wg.Go(func() {
		b := make([]byte, 2048)
		for {
			n, from, err := front.ReadFrom(b)
			if err != nil {
				return
			}
			mu.Lock()
			console = from
			mu.Unlock()
			_, _ = back.Write(b[:n])
		}
	})
	wg.Go(func() {
		b := make([]byte, 2048)
		for i := 0; ; i++ {
			n, err := back.Read(b)
			if err != nil {
				return
			}
			mu.Lock()
			for _, d := range answer(i, b[:n]) {
				_, _ = front.WriteTo(d, console)
			}
			mu.Unlock()
		}
	})
	t.Cleanup(func() { front.Close(); back.Close(); wg.Wait() })
	return parseAddress(t, "ipmi://"+front.LocalAddr().String())
}

// TestForgedAnswers sends before each true answer what the client of go-ipmi
// v0.9.1 dies of or believes.
func TestForgedAnswers(t *testing.T) {
	b, addr := goServer(t)
	if err := b.Chassis.SetPower(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	// Get Chassis Status, "off", as an IPMI 1.5 packet outside of any session.
	off := []byte{0x06, 0, 0xff, 0x07, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	message := []byte{addressConsole, 1 << 2, 0, addressBMC, 2 << 2, 0x01, 0, 0, 0, 0, 0}
	message[2], message[10] = checksum(message[:2]), checksum(message[3:10])
	off = append(append(off, byte(len(message))), message...)
	m, err := open(t, between(t, addr, func(_ int, true_ []byte) [][]byte {
		session := uint32(0)
		if len(true_) > 10 {
			session = binary.LittleEndian.Uint32(true_[6:])
		}
		short := append(appendHeader(nil, 0xc0, session, 9, 5), 1, 2, 3, 4, 5)
		noise := append(appendHeader(nil, 0xc0, session, 9, 32), bytes.Repeat([]byte{0xa5}, 64)...)
		clear := append(appendHeader(nil, 0x00, session, 9, len(message)), message...)
		flipped := bytes.Clone(true_)
		flipped[len(flipped)-1] ^= 1
		out := [][]byte{{}, {0x06}, off, short, noise, clear, true_[:len(true_)-3]}
		if session != 0 {
			out = append(out, flipped)
		}
		return append(out, true_)
	}), admin)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := m.PowerState(context.Background()); err != nil || got != bmc.PowerOn {
		t.Errorf("power %q, %v; want On", got, err)
	}
}

func TestLossIsRepaired(t *testing.T) {
	b, addr := goServer(t)
	m, err := open(t, between(t, addr, func(n int, b []byte) [][]byte {
		if n%2 == 0 {
			return nil
		}
		return [][]byte{b}
	}), admin)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.SetPower(context.Background(), bmc.ActionOn); err != nil {
		t.Fatal(err)
	}
	if b.ordered() == "" {
		t.Error("nothing was ordered")
	}
}

func TestLostSessionIsReplacedForReads(t *testing.T) {
	_, addr := goServer(t)
	_, other := goServer(t)
	var mu sync.Mutex
	target := addr
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { front.Close() })
	// A BMC that restarts is another server at the same address.
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := front.ReadFrom(b)
			if err != nil {
				return
			}
			mu.Lock()
			to := target
			mu.Unlock()
			back, err := net.Dial("udp", to.HostPort())
			if err != nil {
				return
			}
			_, _ = back.Write(b[:n])
			_ = back.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			if n, err = back.Read(b); err == nil {
				_, _ = front.WriteTo(b[:n], from)
			}
			back.Close()
		}
	}()
	m, err := open(t, parseAddress(t, "ipmi://"+front.LocalAddr().String()), admin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.PowerState(context.Background()); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	target = other
	mu.Unlock()
	if got, err := m.PowerState(context.Background()); err != nil || got != bmc.PowerOff {
		t.Errorf("power after the BMC restarted: %q, %v", got, err)
	}
}

func TestWrongPasswordIsSentOnce(t *testing.T) {
	_, addr := goServer(t)
	var sent atomic.Int32
	m := &Machine{
		address: between(t, addr, func(_ int, b []byte) [][]byte {
			if b[5] == payloadRAKP2 {
				sent.Add(1)
			}
			return [][]byte{b}
		}).HostPort(),
		creds: bmc.Credentials{Username: "admin", Password: "hunter2"}, privilege: 4, turn: make(chan struct{}, 1),
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m.o = defaults(Options{Pause: 200 * time.Millisecond})
	for range 3 {
		_, err := m.PowerState(ctx)
		wantError(t, err, bmc.Auth, bmc.CodeAuth, "password")
	}
	if n := sent.Load(); n != 1 {
		t.Errorf("%d key exchanges, want 1", n)
	}
}

func TestUUID(t *testing.T) {
	const want = "00112233-4455-4677-8899-aabbccddeeff"
	for _, tc := range []struct {
		name string
		in   []byte
		want string
	}{
		{name: "smbios", in: []byte{0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x46, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}, want: want},
		{name: "specification", in: []byte{0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa, 0x99, 0x88, 0x77, 0x46, 0x55, 0x44, 0x33, 0x22, 0x11, 0x00}, want: want},
		{name: "rfc 4122", in: []byte{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x46, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}, want: want},
		{name: "none", in: make([]byte, 16)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := uuid(tc.in); got != tc.want {
				t.Errorf("uuid = %q, want %q", got, tc.want)
			}
		})
	}
}

func TestFieldText(t *testing.T) {
	for _, tc := range []struct {
		name string
		kind byte
		in   []byte
		want string
	}{
		{name: "binary", kind: 0, in: []byte{0xde, 0xad}, want: "dead"},
		{name: "bcd", kind: 1, in: []byte{0x12, 0x3b, 0x4c}, want: "123-4."},
		{name: "six bits", kind: 2, in: []byte{0x29, 0xdc, 0xa6}, want: "IPMI"}, // the specification's example
		{name: "latin", kind: 3, in: []byte("Dell\x00\x1b[31m "), want: "Dell[31m"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := fieldText(tc.kind, tc.in); got != tc.want {
				t.Errorf("text %q, want %q", got, tc.want)
			}
		})
	}
}

func TestSealOpens(t *testing.T) {
	for _, s := range suites() {
		k := keys{suite: s, k1: bytes.Repeat([]byte{1}, 20), k2: bytes.Repeat([]byte{2}, 20)}
		for n := range 70 {
			want := bytes.Repeat([]byte{7}, n)
			b, err := k.seal(0x01020304, 5, want, make([]byte, 16))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := k.open(b, 0x01020304); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("suite %d, %d bytes: %x, %v", s.id, n, got, err)
			}
			if _, err := k.open(b, 0x01020305); !errors.Is(err, errPacket) {
				t.Fatalf("another session's packet: %v", err)
			}
			b[len(b)/2] ^= 0x40
			if _, err := k.open(b, 0x01020304); err == nil {
				t.Fatal("a changed packet was taken")
			}
		}
	}
}

func FuzzPacket(f *testing.F) {
	k := keys{suite: suites()[0], k1: make([]byte, 20), k2: make([]byte, 20)}
	sealed, err := k.seal(1, 1, request{netFn: 7, cmd: 1, data: []byte{0, 1}}.pack(1), make([]byte, 16))
	if err != nil {
		f.Fatal(err)
	}
	fru, err := types.PackFRU(types.FRUPackConfig{Product: &types.FRUPackProduct{Manufacturer: "a", Name: "b", Version: "c", Serial: "d"}})
	if err != nil {
		f.Fatal(err)
	}
	for _, b := range [][]byte{sealed, plain(payloadRAKP2, make([]byte, 72)), fru, {}, make([]byte, 36)} {
		f.Add(b)
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		if p, err := parse(b, 16); err == nil {
			_, _ = decrypt(k.k2, p.payload)
		}
		_, _ = k.open(b, 1)
		_, _ = decrypt(k.k2, b)
		_, _, _ = request{netFn: 6, cmd: 1}.response(b, 1)
		for _, s := range suites() {
			h := newHandshake(s, admin, 4, make([]byte, 20))
			h.console = 0
			_ = h.openResponse(b)
			_ = h.rakp2(b)
			h.theirs, h.guid = make([]byte, 16), make([]byte, 16)
			_, _ = h.rakp4(b)
		}
		parseFRU(b)
		for kind := range byte(4) {
			fieldText(kind, b)
		}
	})
}

// TestLateRefusalOfAnotherSuite: a slow BMC refuses suite 17 twice, because it was
// asked twice, and the second refusal comes when suite 3 has been asked for.
func TestLateRefusalOfAnotherSuite(t *testing.T) {
	_, addr := goServer(t, types.CipherSuiteID3)
	var refusal []byte
	m, err := open(t, between(t, addr, func(_ int, b []byte) [][]byte {
		if len(b) > 17 && b[5] == payloadOpenResponse {
			if b[17] != 0 {
				refusal = bytes.Clone(b)
			} else {
				return [][]byte{refusal, b}
			}
		}
		return [][]byte{b}
	}), admin)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.session.keys.suite.id; got != 3 || refusal == nil {
		t.Errorf("suite %d, refusal % x", got, refusal)
	}
}
