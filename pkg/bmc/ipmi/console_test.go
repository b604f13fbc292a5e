package ipmi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bougou/go-ipmi/pkg/hal"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// serial is a machine's serial line under go-ipmi's server: what is typed comes
// back in upper case.
type serial struct {
	mu     sync.Mutex
	out    []byte // printed, not yet fetched
	typed  []byte
	opened int
	most   int // characters it takes at a time
	deaf   bool
}

func newSerial() *serial { return &serial{most: 1 << 20} }

func (s *serial) Open(context.Context) (hal.ConsoleConn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened++
	return line{s}, nil
}

func (s *serial) print(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out = append(s.out, text...)
}

func (s *serial) heard() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.typed)
}

type line struct{ *serial }

func (l line) ReadAvailable(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := copy(b, l.out)
	l.out = l.out[n:]
	return n, nil
}

func (l line) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.deaf {
		return 0, nil
	}
	b = b[:min(len(b), l.most)]
	l.typed = append(l.typed, b...)
	l.out = append(l.out, bytes.ToUpper(b)...)
	return len(b), nil
}

func (line) SendBreak(context.Context) error { return nil }
func (line) Close() error                    { return nil }

// openConsole opens the console of the machine at addr with waits cut short.
func openConsole(t *testing.T, addr bmc.Address) (*Machine, io.ReadWriteCloser) {
	t.Helper()
	m, err := open(t, addr, admin)
	if err != nil {
		t.Fatal(err)
	}
	c, err := m.OpenConsole(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return m, c
}

// expect reads from c until it has seen want.
func expect(t *testing.T, c io.Reader, want string) {
	t.Helper()
	seen := make(chan error, 1)
	var got []byte
	go func() {
		b := make([]byte, 300)
		for !strings.HasSuffix(string(got), want) {
			n, err := c.Read(b)
			got = append(got, b[:n]...)
			if err != nil {
				seen <- err
				return
			}
		}
		seen <- nil
	}()
	select {
	case err := <-seen:
		if err != nil {
			t.Fatalf("read %q, then %v; want %q", got, err, want)
		}
	case <-time.After(time.Minute):
		t.Fatalf("no %q", want)
	}
	if !strings.HasPrefix(want, string(got)) && string(got) != want {
		t.Errorf("read %d bytes %.80q, want %d bytes %.80q", len(got), got, len(want), want)
	}
}

func lines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "line %06d of the machine's console\r\n", i)
	}
	return b.String()
}

func TestConsole(t *testing.T) {
	b, addr := goServer(t)
	b.console.print("login: ")
	m, c := openConsole(t, addr)
	expect(t, c, "login: ")
	long := lines(100) // more than the server's buffer, of many packets
	for _, text := range []string{"root\n", long} {
		if n, err := io.WriteString(c, text); err != nil || n != len(text) {
			t.Fatalf("wrote %d of %d, %v", n, len(text), err)
		}
		expect(t, c, strings.ToUpper(text))
	}
	if got := b.console.heard(); got != "root\n"+long {
		t.Errorf("the machine heard %d bytes, want %d", len(got), len(long)+5)
	}
	// The machine's own session works beside the console.
	if err := m.SetPower(t.Context(), bmc.ActionOn); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read after close: %v, want EOF", err)
	}
	if _, err := io.WriteString(c, "x"); err == nil {
		t.Error("wrote after close")
	}
	if err := c.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	// It was given back: another opens at the first try.
	if _, err := m.OpenConsole(t.Context()); err != nil {
		t.Error(err)
	}
	b.look(func() {
		if b.console.opened != 2 {
			t.Errorf("opened %d times, want 2", b.console.opened)
		}
	})
}

func TestConsoleStaleIsTakenOver(t *testing.T) {
	b, addr := goServer(t)
	_, stale := openConsole(t, addr)
	_, c := openConsole(t, addr)
	b.console.print("hello")
	expect(t, c, "hello")
	_, err := stale.Read(make([]byte, 8))
	wantError(t, err, bmc.Busy, "", "taken by another")
	// Its going away does not take the console from the new holder.
	if err := stale.Close(); err != nil {
		t.Error(err)
	}
	b.console.print(" again")
	expect(t, c, " again")
}

func TestConsoleEndsWithContext(t *testing.T) {
	_, addr := goServer(t)
	m, err := open(t, addr, admin)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c, err := m.OpenConsole(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err = c.Read(make([]byte, 8)); !errors.Is(err, context.Canceled) {
		t.Errorf("read: %v, want canceled", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	// Given back though its context was dead: not an instance is active.
	data, err := m.read(t.Context(), "", request{netFn: netFnApp, cmd: cmdActivation, data: []byte{payloadSOL}}, 2)
	if err != nil || data[1] != 0 {
		t.Errorf("activation % x, %v", data, err)
	}
}

func TestConsoleLossIsRepaired(t *testing.T) {
	b, addr := goServer(t)
	m, err := open(t, between(t, addr, func(n int, b []byte) [][]byte {
		switch {
		case n > 20 && n%3 == 0:
			return nil
		case n%5 == 0:
			return [][]byte{b, b} // a network that repeats
		}
		return [][]byte{b}
	}), admin)
	if err != nil {
		t.Fatal(err)
	}
	c, err := m.OpenConsole(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	text := lines(20)
	written := make(chan error, 1)
	go func() { _, err := io.WriteString(c, text); written <- err }()
	expect(t, c, strings.ToUpper(text))
	if err := <-written; err != nil {
		t.Error(err)
	}
	if got := b.console.heard(); got != text {
		t.Errorf("the machine heard %d bytes, want %d", len(got), len(text))
	}
}

func TestConsoleSlowLine(t *testing.T) {
	b, addr := goServer(t)
	b.look(func() { b.console.most = 7 })
	_, c := openConsole(t, addr)
	text := lines(3)
	if n, err := io.WriteString(c, text); err != nil || n != len(text) {
		t.Fatalf("wrote %d, %v", n, err)
	}
	if got := b.console.heard(); got != text {
		t.Errorf("heard %q, want %q", got, text)
	}
}

func TestConsoleDeafMachine(t *testing.T) {
	b, addr := goServer(t)
	b.look(func() { b.console.deaf = true })
	m, err := Open(t.Context(), addr, admin, Options{Pause: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close(t.Context())
	c, err := m.OpenConsole(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = io.WriteString(c, "anybody?")
	wantError(t, err, bmc.Busy, "", "did not take 8 characters")
	b.look(func() { b.console.deaf = false })
	if _, err := io.WriteString(c, "there?"); err != nil {
		t.Errorf("after the machine listens again: %v", err)
	}
}

func TestConsoleNoticesSilence(t *testing.T) {
	t.Parallel()
	_, addr := goServer(t)
	var mu sync.Mutex
	dead := false
	m, err := Open(t.Context(), between(t, addr, func(_ int, b []byte) [][]byte {
		mu.Lock()
		defer mu.Unlock()
		if dead {
			return nil
		}
		return [][]byte{b}
	}), admin, Options{Pause: 80 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close(t.Context())
	c, err := m.OpenConsole(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ended := make(chan error, 1)
	go func() { _, err := c.Read(make([]byte, 8)); ended <- err }()
	select { // answers to what it asks keep it alive: twice the quiet of 1.2 s
	case err := <-ended:
		t.Fatalf("ended with the BMC there: %v", err)
	case <-time.After(2600 * time.Millisecond):
	}
	mu.Lock()
	dead = true
	mu.Unlock()
	select {
	case err := <-ended:
		wantError(t, err, bmc.Unreachable, bmc.CodeUnreachable, "no answer")
	case <-time.After(time.Minute):
		t.Fatal("a dead BMC was not noticed")
	}
}

func TestConsoleSwitchedOff(t *testing.T) {
	_, addr := goServer(t)
	m, err := open(t, addr, admin)
	if err != nil {
		t.Fatal(err)
	}
	// Set SOL Configuration Parameters: SOL Enable, off.
	if err := m.write(t.Context(), "", request{netFn: 0x0c, cmd: 0x21, data: []byte{1, 1, 0}}, 1); err != nil {
		t.Fatal(err)
	}
	_, err = m.OpenConsole(t.Context())
	wantError(t, err, bmc.Unsupported, "", "switched off")
}

// TestSOLLink tells the exchange of chapter 15 packet by packet.
func TestSOLLink(t *testing.T) {
	start := time.Unix(1000, 0)
	l := solLink{retry: time.Second, pause: 4 * time.Second}
	// Characters in, a repetition, a repetition with more, and the next.
	for _, step := range []struct {
		in   solPacket
		want string
	}{
		{in: solPacket{seq: 1, data: []byte("ab")}, want: "[{0 1 2 0 []}]"},
		{in: solPacket{seq: 1, data: []byte("ab")}, want: "[{0 1 2 0 []}]"},
		{in: solPacket{seq: 1, data: []byte("abcd")}, want: "[{0 1 4 0 []}]"},
		{in: solPacket{seq: 2, data: []byte("e")}, want: "[{0 2 1 0 []}]"},
		{in: solPacket{ack: 9, accepted: 200}, want: "[]"},
	} {
		if got := fmt.Sprint(l.receive(start, step.in)); got != step.want {
			t.Errorf("answer to %+v: %s, want %s", step.in, got, step.want)
		}
	}
	if string(l.buffer) != "abcde" {
		t.Errorf("took %q", l.buffer)
	}
	// Characters out: sent again, accepted in part, refused, accepted.
	p := l.send(start, []byte("xyz"))
	if fmt.Sprint(p) != "{1 0 0 0 [120 121 122]}" {
		t.Errorf("sent %v", p)
	}
	if _, send, _ := l.tick(start.Add(time.Second / 2)); send {
		t.Error("sent again too soon")
	}
	if p, send, _ := l.tick(start.Add(time.Second)); !send || p.seq != 1 || string(p.data) != "xyz" {
		t.Errorf("sent again %v %v", p, send)
	}
	if got := l.receive(start, solPacket{ack: 1, accepted: 1}); len(got) != 1 || got[0].seq != 2 || string(got[0].data) != "yz" {
		t.Errorf("after a part: %v", got)
	}
	if got := l.receive(start, solPacket{ack: 2, control: solNACK}); len(got) != 0 || l.out == nil {
		t.Errorf("after a refusal: %v", got)
	}
	if p, send, _ := l.tick(start.Add(5 * time.Second)); !send || p.seq != 3 || string(p.data) != "yz" {
		t.Errorf("after the pause: %v %v", p, send)
	}
	if l.receive(start, solPacket{ack: 3, accepted: 255}); l.out != nil {
		t.Error("accepted, and still under way")
	}
	// Nobody reads: refused when there is no room, resumed when there is.
	for i := range solBuffer / 250 {
		l.receive(start, solPacket{seq: byte(3 + i%13), data: make([]byte, 250)})
	}
	got := l.receive(start, solPacket{seq: 1, data: make([]byte, 250)})
	if len(got) != 1 || got[0].control != solNACK || len(l.buffer) > solBuffer {
		t.Errorf("full: %v with %d bytes", got, len(l.buffer))
	}
	_, answer, resume := l.read(make([]byte, solBuffer))
	if !resume || answer.ack != 1 || answer.accepted != 0 || answer.control != 0 {
		t.Errorf("resume %v %v", answer, resume)
	}
}

func TestReplays(t *testing.T) {
	var r replays
	for _, step := range []struct {
		number uint32
		want   bool
	}{{3, true}, {3, false}, {1, true}, {1, false}, {2, true}, {100, true}, {36, false}, {37, true}, {99, true}, {99, false}, {1 << 31, true}, {100, false}} {
		if got := r.fresh(step.number); got != step.want {
			t.Errorf("%d: fresh %v, want %v", step.number, got, step.want)
		}
	}
}

func FuzzSOL(f *testing.F) {
	f.Add([]byte{4, 1, 0, 0, 0, 5, 1, 0, 3, 0x40, 'a'})
	f.Add([]byte{9, 0x0f, 0x01, 255, 0x10, 1, 2, 3, 4, 5})
	f.Fuzz(func(t *testing.T, b []byte) {
		l := solLink{retry: time.Second, pause: time.Second}
		now := time.Unix(0, 0)
		l.send(now, []byte("typed"))
		for len(b) > 0 { // packets, each behind its length
			n := min(int(b[0]), len(b)-1)
			p, err := parseSOL(b[1 : 1+n])
			b = b[1+n:]
			if err != nil {
				continue
			}
			if back, err := parseSOL(p.pack()); err != nil || back.seq != p.seq || !bytes.Equal(back.data, p.data) {
				t.Fatalf("%+v packs to %+v, %v", p, back, err)
			}
			for _, a := range l.receive(now, p) {
				if a.seq != 0 && len(a.data) == 0 || a.seq > solMaxSeq {
					t.Fatalf("answer %+v to %+v", a, p)
				}
			}
			now = now.Add(time.Second)
			if p, send, _ := l.tick(now); send && len(p.data) == 0 {
				t.Fatalf("sends nothing: %+v", p)
			}
			if len(l.buffer) > solBuffer {
				t.Fatalf("%d bytes kept", len(l.buffer))
			}
			l.read(make([]byte, len(b)%8))
		}
	})
}
