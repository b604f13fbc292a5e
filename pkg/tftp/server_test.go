package tftp

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pin "github.com/pin/tftp/v3"
)

const limit = 20 * time.Second // of any wait in a test

type bench struct {
	addr   net.Addr
	cancel context.CancelFunc
	done   chan error

	mu      sync.Mutex
	events  []Event
	changed chan struct{}
}

func content(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7 >> 3)
	}
	return b
}

func file(b []byte) File {
	return func() (io.ReadCloser, int64, error) { return io.NopCloser(bytes.NewReader(b)), int64(len(b)), nil }
}

func start(t *testing.T, cfg Config) *bench {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{addr: conn.LocalAddr(), done: make(chan error, 1), changed: make(chan struct{}, 1)}
	cfg.Observe = func(e Event) {
		b.mu.Lock()
		b.events = append(b.events, e)
		b.mu.Unlock()
		select {
		case b.changed <- struct{}{}:
		default:
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	go func() { b.done <- New(cfg).Serve(ctx, conn) }()
	t.Cleanup(func() {
		cancel()
		select {
		case <-b.done:
		case <-time.After(limit):
			t.Error("Serve does not end with its context")
		}
	})
	return b
}

// wait returns the first event of a kind.
func (b *bench) wait(t *testing.T, k Kind) Event {
	t.Helper()
	deadline := time.After(limit)
	for {
		b.mu.Lock()
		for _, e := range b.events {
			if e.Kind == k {
				b.mu.Unlock()
				return e
			}
		}
		b.mu.Unlock()
		select {
		case <-b.changed:
		case <-deadline:
			t.Fatalf("no event %q in time", k)
		}
	}
}

// TestAnotherClient reads files with pin/tftp's client, whose code is not ours.
func TestAnotherClient(t *testing.T) {
	own := func(ctx context.Context) (net.PacketConn, error) {
		return new(net.ListenConfig).ListenPacket(ctx, "udp4", "127.0.0.1:0")
	}
	for _, test := range []struct {
		name   string
		size   int
		block  int
		listen func(context.Context) (net.PacketConn, error)
	}{
		{name: "empty", size: 0},
		{name: "less than a block", size: 100},
		{name: "a block exactly", size: 512},
		{name: "several", size: 200_001},
		{name: "large blocks", size: 200_001, block: 1428},
		{name: "blocks too large for a frame", size: 200_001, block: 9000},
		{name: "block numbers near their end", size: MaxFile, block: 1000},
		{name: "a socket for each", size: 200_001, block: 1428, listen: own},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := content(test.size)
			b := start(t, Config{Files: map[string]File{"snponly.efi": file(want)}, Listen: test.listen})
			c, err := pin.NewClient(b.addr.String())
			if err != nil {
				t.Fatal(err)
			}
			c.RequestTSize(true)
			if test.block > 0 {
				c.SetBlockSize(test.block)
			}
			w, err := c.Receive("/snponly.efi", "octet")
			if err != nil {
				t.Fatal(err)
			}
			if n, ok := w.(pin.IncomingTransfer).Size(); !ok || n != int64(test.size) {
				t.Errorf("size told is %d (%v), want %d", n, ok, test.size)
			}
			var got bytes.Buffer
			if _, err := w.WriteTo(&got); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("got %d bytes that differ from the %d sent", got.Len(), len(want))
			}
			e := b.wait(t, Done)
			if e.Bytes != int64(test.size) || e.Size != int64(test.size) || e.Name != "snponly.efi" {
				t.Errorf("got event %+v", e)
			}
		})
	}
}

func TestManyAtOnce(t *testing.T) {
	want := content(300_000)
	b := start(t, Config{Files: map[string]File{"f": file(want)}})
	var wg sync.WaitGroup
	for range perClient {
		wg.Go(func() {
			c, err := pin.NewClient(b.addr.String())
			if err != nil {
				t.Error(err)
				return
			}
			c.SetBlockSize(1428)
			var got bytes.Buffer
			w, err := c.Receive("f", "octet")
			if err == nil {
				_, err = w.WriteTo(&got)
			}
			if err != nil || !bytes.Equal(got.Bytes(), want) {
				t.Errorf("got %d bytes, %v", got.Len(), err)
			}
		})
	}
	wg.Wait()
}

// dialog is a client that says what a test wants.
type dialog struct {
	net.PacketConn
	t  *testing.T
	to net.Addr
}

func dial(t *testing.T, b *bench) *dialog {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	return &dialog{conn, t, b.addr}
}

func (d *dialog) say(p string) {
	d.t.Helper()
	if _, err := d.WriteTo([]byte(p), d.to); err != nil {
		d.t.Fatal(err)
	}
}

func (d *dialog) hear() string {
	d.t.Helper()
	buf := make([]byte, 2048)
	n, _, err := d.ReadFrom(buf)
	if err != nil {
		d.t.Fatal(err)
	}
	return string(buf[:n])
}

func rrq(name string, options ...string) string {
	return "\x00\x01" + name + "\x00octet\x00" + strings.Join(options, "\x00") + strings.Repeat("\x00", min(len(options), 1))
}

func ack(n uint16) string {
	return "\x00\x04" + string(binary.BigEndian.AppendUint16(nil, n))
}

func TestRefusals(t *testing.T) {
	for _, test := range []struct {
		name, say, want string
	}{
		{"another file", rrq("../../etc/passwd"), "\x00\x05\x00\x01no such file\x00"},
		{"writing", "\x00\x02f\x00octet\x00", "\x00\x05\x00\x02read only\x00"},
		{"netascii", "\x00\x01f\x00netascii\x00", "\x00\x05\x00\x04only octet mode is served\x00"},
		{"no end", "\x00\x01f", "\x00\x05\x00\x04malformed request\x00"},
		{"too long", rrq(strings.Repeat("f", 600)), "\x00\x05\x00\x04malformed request\x00"},
		{"too large a file", rrq("large"), "\x00\x05\x00\x00file cannot be read\x00"},
		{"a file that shrank", rrq("short"), "\x00\x05\x00\x00file cannot be read\x00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			short := func() (io.ReadCloser, int64, error) { return io.NopCloser(strings.NewReader("abc")), 10, nil }
			b := start(t, Config{Files: map[string]File{"f": file(content(10)), "large": file(content(MaxFile + 1)), "short": short}})
			d := dial(t, b)
			d.say(test.say)
			if got := d.hear(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestLossAndRepetition loses a packet, repeats an acknowledgement and repeats the request.
func TestLossAndRepetition(t *testing.T) {
	b := start(t, Config{Files: map[string]File{"f": file(content(600))}, Timeout: 50 * time.Millisecond})
	d := dial(t, b)
	d.say(rrq("f", "blksize", "512", "tsize", "0", "windowsize", "4"))
	want := "\x00\x06blksize\x00512\x00tsize\x00600\x00"
	for range 2 { // the first is lost: it comes again
		if got := d.hear(); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	d.say(ack(0))
	for first := d.hear(); first[3] != 1; first = d.hear() {
	}
	d.say(ack(0)) // late; must not cause another block 1 by itself
	d.say(ack(1))
	last := d.hear()
	for ; last[3] != 2; last = d.hear() { // sent again by the clock
	}
	if last != "\x00\x03\x00\x02"+string(content(600)[512:]) {
		t.Errorf("got %q", last)
	}
	d.say(ack(2))
	if e := b.wait(t, Done); e.Bytes != 600 {
		t.Errorf("got %+v", e)
	}
}

func TestStalledSaysHowFar(t *testing.T) {
	b := start(t, Config{Files: map[string]File{"f": file(content(5000))}, Timeout: time.Millisecond})
	d := dial(t, b)
	d.say(rrq("f"))
	d.hear()
	d.say(ack(1))
	e := b.wait(t, Stalled)
	e.Time, e.Client = time.Time{}, netip.AddrPort{}
	want := Event{Kind: Stalled, Name: "f", Bytes: 512, Size: 5000, Block: 512, Detail: "no answer to block 2 after 5 tries"}
	if diff := cmp.Diff(want, e, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
}

// TestSizeOnly is a PXE ROM's first request.
func TestSizeOnly(t *testing.T) {
	b := start(t, Config{Files: map[string]File{"f": file(content(5000))}})
	d := dial(t, b)
	d.say(rrq("f", "tsize", "0"))
	d.hear()
	d.say("\x00\x05\x00\x08User \x1baborted\x00")
	if e := b.wait(t, Aborted); e.Bytes != 0 || e.Detail != "error 8: User aborted" {
		t.Errorf("got %+v", e)
	}
	// The same port again is a new transfer.
	d.say(rrq("f"))
	if got := d.hear(); got[:4] != "\x00\x03\x00\x01" {
		t.Errorf("got %q", got)
	}
	// And another request in the middle of it as well.
	d.say(ack(1))
	d.hear()
	d.say(rrq("f", "blksize", "1000"))
	for got := d.hear(); got != "\x00\x06blksize\x001000\x00"; got = d.hear() {
	}
}

func TestOneClientCannotTakeAll(t *testing.T) {
	b := start(t, Config{Files: map[string]File{"f": file(content(5000))}, Timeout: time.Hour})
	for range perClient {
		d := dial(t, b)
		d.say(rrq("f"))
		d.hear()
	}
	d := dial(t, b)
	d.say(rrq("f"))
	d.say("\x00\x02f\x00octet\x00") // refused at once, so nothing came for the request before it
	if got := d.hear(); got[1] != opERROR {
		t.Errorf("a fifth transfer began: %q", got)
	}
}

func FuzzPacket(f *testing.F) {
	for _, s := range []string{
		rrq("f", "blksize", "1428", "tsize", "0", "timeout", "3"), rrq("f", "blksize", "8"), rrq("f", "BLKSIZE", "99999999999999999999"), ack(1), "\x00\x02f\x00octet\x00",
		"\x00\x05\x00\x01text", "\x00\x05", "\x00\x01\x00\x00", "\x00\x01f\x00octet\x00blksize\x00",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 2 {
			return
		}
		_ = errorText(data)
		r, err := parseRequest(data[2:])
		if err != nil {
			return
		}
		if r.block < defaultBlock || r.block > maxBlock || r.timeout < 0 || r.timeout > 255*time.Second {
			t.Fatalf("got %+v", r)
		}
		if oack := r.oack(MaxFile); len(oack) > defaultBlock {
			t.Fatalf("an answer of %d bytes", len(oack))
		}
		if strings.ContainsFunc(clean(r.name), func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("name %q", clean(r.name))
		}
	})
}

func TestPaths(t *testing.T) {
	path := filepath.Join(t.TempDir(), "loader")
	if err := os.WriteFile(path, content(1000), 0o644); err != nil {
		t.Fatal(err)
	}
	files := Paths(map[string]string{"snponly.efi": path, "gone": path + "x"})
	f, size, err := files["snponly.efi"]()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := io.ReadAll(f); err != nil || size != 1000 || !bytes.Equal(got, content(1000)) {
		t.Errorf("got %d bytes of %d, %v", len(got), size, err)
	}
	if _, _, err := files["gone"](); err == nil {
		t.Error("a missing file was opened")
	}
}
