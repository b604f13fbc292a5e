package console

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
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// machine is a console that a test holds the other end of.
type machine struct {
	mu     sync.Mutex
	fail   error // of the next opening
	opened int
	print  *io.PipeWriter
	typed  bytes.Buffer
}

type line struct {
	*io.PipeReader
	m *machine
}

func (l line) Write(b []byte) (int, error) {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	return l.m.typed.Write(b)
}

func (m *machine) OpenConsole(context.Context) (io.ReadWriteCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.opened++
	if m.fail != nil {
		return nil, m.fail
	}
	r, w := io.Pipe()
	m.print = w
	return line{r, m}, nil
}

func (m *machine) set(fail error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = fail
}

func (m *machine) opens() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.opened
}

// prints returns when the recorder has read it.
func (m *machine) prints(t *testing.T, text string) {
	t.Helper()
	m.mu.Lock()
	w := m.print
	m.mu.Unlock()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) breaks(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.print.CloseWithError(err)
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// record runs a recorder of m for the time of the test.
func record(t *testing.T, m *machine, o Options) (*Recorder, context.CancelFunc) {
	t.Helper()
	o.Jitter = func() float64 { return 0 }
	if o.Pause == 0 {
		o.Pause = time.Millisecond
	}
	r := New(m, o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return r, cancel
}

func connected(t *testing.T, r *Recorder) {
	t.Helper()
	waitFor(t, "connected", func() bool { return r.Status().Connected })
}

func recorded(t *testing.T, r *Recorder, n int) {
	t.Helper()
	waitFor(t, fmt.Sprint(n, " bytes recorded"), func() bool { return r.Status().Bytes == int64(n) })
}

func TestRecords(t *testing.T) {
	m := &machine{}
	r, stop := record(t, m, Options{})
	connected(t, r)
	live := r.Follow(t.Context(), 10)
	defer live.Close()
	m.prints(t, "one\ntwo\n")
	recorded(t, r, 8)
	r.Mark("attempt 1")
	m.prints(t, "three\r\n\x1b[31mfour")
	recorded(t, r, 24)
	for _, tc := range []struct {
		lines int
		want  string
	}{{0, ""}, {1, "\x1b[31mfour"}, {2, "three\r\n\x1b[31mfour"}, {3, "two\nthree\r\n\x1b[31mfour"}, {99, "one\ntwo\nthree\r\n\x1b[31mfour"}} {
		if got := string(r.Tail(tc.lines)); got != tc.want {
			t.Errorf("last %d lines %q, want %q", tc.lines, got, tc.want)
		}
	}
	got, ok := r.Since("attempt 1", 200)
	if diff := cmp.Diff([]string{"three", "four"}, Lines(got)); diff != "" || !ok {
		t.Errorf("since the mark (-want +got):\n%s", diff)
	}
	if got, _ := r.Since("attempt 1", 1); string(got) != "\x1b[31mfour" {
		t.Errorf("last line since the mark %q", got)
	}
	r.Mark("attempt 1") // again
	if got, ok := r.Since("attempt 1", 9); len(got) != 0 || !ok {
		t.Errorf("since now: %q, %v", got, ok)
	}
	if _, ok := r.Since("attempt 2", 9); ok {
		t.Error("found a mark that nobody made")
	}
	late := r.Follow(t.Context(), 1)
	stop()
	for f, want := range map[*Reader]string{live: "one\ntwo\nthree\r\n\x1b[31mfour", late: "\x1b[31mfour"} {
		if got, err := io.ReadAll(f); err != nil || string(got) != want || f.Missed() != 0 {
			t.Errorf("followed %q, %v; want %q", got, err, want)
		}
	}
	if s := r.Status(); s.Connected || s.Err == nil {
		t.Errorf("status after the end: %v", s)
	}
}

func TestReconnects(t *testing.T) {
	m := &machine{}
	r, _ := record(t, m, Options{})
	connected(t, r)
	live := r.Follow(t.Context(), 0)
	m.prints(t, "before ")
	m.set(&bmc.Error{Class: bmc.Unreachable, Op: "open the console", Detail: "no answer"})
	m.breaks(io.EOF)
	waitFor(t, "some tries", func() bool { return r.Status().Tries >= 4 })
	s := r.Status()
	if s.Connected || s.Err == nil || !strings.Contains(s.String(), "no answer") {
		t.Errorf("status %v", s)
	}
	m.set(nil)
	connected(t, r)
	m.prints(t, "after")
	got := make([]byte, 12)
	if _, err := io.ReadFull(live, got); err != nil || string(got) != "before after" {
		t.Errorf("followed %q, %v", got, err)
	}
}

func TestPausesGrow(t *testing.T) {
	r := New(nil, Options{Jitter: func() float64 { return 0.5 }})
	busy := &bmc.Error{Class: bmc.Busy, RetryAfter: 5 * time.Minute}
	for _, tc := range []struct {
		err   error
		tries int
		want  time.Duration
	}{
		{err: io.EOF, tries: 0, want: 1100 * time.Millisecond},
		{err: io.EOF, tries: 3, want: 8800 * time.Millisecond},
		{err: io.EOF, tries: 6, want: 66 * time.Second},
		{err: io.EOF, tries: 1 << 30, want: 66 * time.Second},
		{err: &bmc.Error{Class: bmc.Auth}, want: 66 * time.Minute},
		{err: fmt.Errorf("wrapped: %w", &bmc.Error{Class: bmc.TLSIdentity}), want: 66 * time.Minute},
		{err: &bmc.Error{Class: bmc.Unsupported}, want: 66 * time.Minute},
		{err: busy, want: 330 * time.Second},
	} {
		if got := r.pause(tc.err, tc.tries); got != tc.want {
			t.Errorf("%v, try %d: %v, want %v", tc.err, tc.tries, got, tc.want)
		}
	}
}

func TestRefusedCredentialsWaitForRetry(t *testing.T) {
	m := &machine{fail: &bmc.Error{Class: bmc.Auth, Op: "log in", Detail: "wrong password"}}
	r, _ := record(t, m, Options{})
	waitFor(t, "a refusal", func() bool { return !r.Status().Next.IsZero() })
	if s := r.Status(); time.Until(s.Next) < 50*time.Minute || !strings.Contains(s.String(), "next try at") {
		t.Errorf("status %v", s)
	}
	if n := m.opens(); n != 1 {
		t.Errorf("offered %d times", n)
	}
	m.set(nil)
	r.Retry()
	connected(t, r)
	if n := m.opens(); n != 2 {
		t.Errorf("opened %d times", n)
	}
}

func TestOneWriter(t *testing.T) {
	m := &machine{}
	r, _ := record(t, m, Options{})
	connected(t, r)
	w, err := r.Writer()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Writer(); !errors.Is(err, ErrTaken) {
		t.Errorf("a second writer: %v", err)
	}
	if _, err := io.WriteString(w, "root\n"); err != nil {
		t.Error(err)
	}
	m.set(io.ErrUnexpectedEOF)
	m.breaks(io.EOF)
	waitFor(t, "disconnected", func() bool { return !r.Status().Connected })
	if _, err := io.WriteString(w, "lost"); !errors.Is(err, ErrNotConnected) {
		t.Errorf("typed into nothing: %v", err)
	}
	m.set(nil)
	connected(t, r)
	if _, err := io.WriteString(w, "again\n"); err != nil { // the same keyboard, the next connection
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if _, err := io.WriteString(w, "x"); err == nil {
		t.Error("typed after close")
	}
	second, err := r.Writer()
	if err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil { // closing twice takes nobody's keyboard
		t.Error(err)
	}
	if _, err := io.WriteString(second, "!"); err != nil {
		t.Error(err)
	}
	if m.typed.String() != "root\nagain\n!" {
		t.Errorf("typed %q", m.typed.String())
	}
}

func TestSlowReaderMissesAndIsTold(t *testing.T) {
	m := &machine{}
	r, _ := record(t, m, Options{Bytes: 1000})
	connected(t, r)
	slow := r.Follow(t.Context(), 0)
	m.prints(t, strings.Repeat("x", 4096))
	recorded(t, r, 4096)
	b := make([]byte, 8192)
	if n, err := slow.Read(b); n != 1000 || err != nil || slow.Missed() != 3096 {
		t.Errorf("read %d, %v, missed %d", n, err, slow.Missed())
	}
	if err := slow.Close(); err != nil {
		t.Error(err)
	}
	if _, err := slow.Read(b); !errors.Is(err, io.EOF) {
		t.Errorf("read after close: %v", err)
	}
}

func TestManyReadersSeeTheSame(t *testing.T) {
	m := &machine{}
	r, stop := record(t, m, Options{})
	connected(t, r)
	var wg sync.WaitGroup
	got := make([]string, 16)
	for i := range got {
		f := r.Follow(t.Context(), 0)
		wg.Go(func() { b, _ := io.ReadAll(f); got[i] = string(b) })
	}
	want := strings.Repeat("0123456789abcde\n", 512)
	m.prints(t, want)
	recorded(t, r, len(want))
	stop()
	wg.Wait()
	for i, s := range got {
		if s != want {
			t.Errorf("reader %d: %d bytes, want %d", i, len(s), len(want))
		}
	}
}

// FuzzRing compares the ring with the plain thing.
func FuzzRing(f *testing.F) {
	f.Add([]byte("a\nbb\nccc\n"), 7, 2, 3)
	f.Add([]byte(strings.Repeat("line\n", 40)), 50, 5, 9)
	f.Add([]byte("no newline at all"), 4, 1, 5)
	f.Fuzz(func(t *testing.T, stream []byte, maxBytes, maxLines, piece int) {
		if maxBytes < 1 || maxBytes > 4096 || maxLines < 1 || piece < 1 {
			t.Skip()
		}
		r := ring{maxBytes: maxBytes, maxLines: maxLines}
		for rest := stream; len(rest) > 0; {
			n := min(piece, len(rest))
			r.write(rest[:n])
			rest = rest[n:]
			r.place("now")
			kept := r.data[r.head:]
			done := stream[:len(stream)-len(rest)]
			if r.end() != int64(len(done)) || !bytes.HasSuffix(done, kept) {
				t.Fatalf("kept %q of %q", kept, done)
			}
			if len(kept) > maxBytes || r.lines > maxLines || r.lines != bytes.Count(kept, []byte("\n")) || cap(r.data) > 8*(maxBytes+piece)+64 {
				t.Fatalf("%d bytes (room for %d), %d lines", len(kept), cap(r.data), r.lines)
			}
			all := r.tail(0, maxLines+2)
			if !bytes.Equal(all, kept) {
				t.Fatalf("tail %q of %q", all, kept)
			}
			if at, ok := r.marked("now"); !ok || len(r.tail(at, 5)) != 0 {
				t.Fatal("something is behind the end")
			}
		}
	})
}

func TestLines(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   string
		want []string
	}{
		{name: "colours", in: "\x1b[1;31mred\x1b[0m text\r\n", want: []string{"red text"}},
		{name: "carriage return", in: "10%\r20%\r100% done\r\nnext", want: []string{"100% done", "next"}},
		{name: "erase to the end", in: "loading....\r\x1b[KOK\n", want: []string{"OK"}},
		{name: "backspace", in: "roor\bt\n", want: []string{"root"}},
		{name: "menu", in: "\x1b[2J\x1b[1;1HGNU GRUB\x1b[4;2H*Debian\x1b[5;2H Memtest", want: []string{"GNU GRUB", "*Debian", " Memtest"}},
		{name: "title and charset", in: "\x1b]0;title\x07\x1b(Bshell$ ", want: []string{"shell$"}},
		{name: "string ended by ST", in: "\x1bPq#0\x1b\\after", want: []string{"after"}},
		{name: "unfinished string", in: "\x1b]0;never ended\nnext\n", want: []string{"", "next"}[1:]},
		{name: "cut sequence", in: "text\x1b[3", want: []string{"text"}},
		{name: "noise", in: "\x00\x07ok\xff\x7f\n", want: []string{"ok\ufffd"}},
		{name: "blank ends", in: "\r\n\n  \na\n\nb\n\n", want: []string{"a", "", "b"}},
		{name: "UTF-8", in: "Gerät läuft\n", want: []string{"Gerät läuft"}},
		{name: "nothing", in: ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, Lines([]byte(tc.in))); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("\x1b[1;31mred\x1b[0m\r\n\x1b]0;t\x07x\b\x1b(B"))
	f.Add([]byte("\x1b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, s := range Lines(b) {
			if len(s) > 4*maxLine || strings.ContainsFunc(s, unicode.IsControl) {
				t.Fatalf("%q", s)
			}
		}
	})
}
