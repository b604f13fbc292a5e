package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// rack is the machines of a Keeper, by name.
type rack struct {
	mu       sync.Mutex
	machines map[string]*machine
}

func (r *rack) machine(name string) *machine {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.machines == nil {
		r.machines = map[string]*machine{}
	}
	if r.machines[name] == nil {
		r.machines[name] = &machine{}
	}
	return r.machines[name]
}

func newKeeper(t *testing.T, o KeeperOptions) (*Keeper, *rack) {
	t.Helper()
	r := &rack{}
	o.Open = func(ctx context.Context, name string) (io.ReadWriteCloser, error) {
		return r.machine(name).OpenConsole(ctx)
	}
	o.Recorder.Pause, o.Recorder.Jitter = time.Millisecond, func() float64 { return 0 }
	k := NewKeeper(o)
	t.Cleanup(func() {
		k.Close()
		if n, waiting := k.Count(); n != 0 || waiting != 0 {
			t.Errorf("%d recordings and %d waiting are left after the end", n, waiting)
		}
	})
	return k, r
}

// on waits until a console is connected.
func (k *Keeper) on(t *testing.T, name string) {
	t.Helper()
	waitFor(t, name+" connected", func() bool {
		_, s := k.Tail(name, 0)
		return strings.HasPrefix(s, "connected")
	})
}

func (k *Keeper) until(t *testing.T, running, waiting int) {
	t.Helper()
	waitFor(t, fmt.Sprintf("%d recorded, %d waiting", running, waiting), func() bool {
		r, w := k.Count()
		return r == running && w == waiting
	})
}

func TestKeeperRecordsAnOperation(t *testing.T) {
	k, r := newKeeper(t, KeeperOptions{Linger: -1})
	if _, none := k.Since("w1", 9); none != "it was not recorded" {
		t.Errorf("before: %q", none)
	}
	k.Record("w1", "id", "inspect")
	k.on(t, "w1")
	if _, none := k.Since("w1", 9); !strings.Contains(none, "printed nothing") {
		t.Errorf("silent: %q", none)
	}
	say := func(text string) {
		t.Helper()
		r.machine("w1").prints(t, text)
		waitFor(t, text, func() bool {
			b, _ := k.Tail("w1", 1)
			return strings.HasSuffix(strings.TrimSpace(text), string(b)) || strings.HasSuffix(string(b), text)
		})
	}
	say("one\n")
	k.Record("w1", "id", "inspect") // again: nothing new
	say("two\n")
	if got, none := k.Since("w1", 9); string(got) != "one\ntwo\n" || none != "" {
		t.Errorf("since the operation began: %q, %q", got, none)
	}
	k.Record("w1", "id", "prepare")
	say("three\n")
	k.Record("w1", "id", "") // goes on
	if got, _ := k.Since("w1", 9); string(got) != "three\n" {
		t.Errorf("since the next began: %q", got)
	}
	k.Release("w1")
	k.until(t, 0, 0)
	if got, status := k.Tail("w1", 2); string(got) != "two\nthree\n" || status != "" {
		t.Errorf("after the end %q, %q", got, status)
	}
	if n := r.machine("w1").opens(); n != 1 {
		t.Errorf("opened %d times", n)
	}
	k.Forget("w1")
	if got, _ := k.Tail("w1", 2); len(got) != 0 {
		t.Errorf("after it was forgotten: %q", got)
	}
}

// What is wanted again soon has kept its session; what is not gives it back.
func TestKeeperLingers(t *testing.T) {
	k, r := newKeeper(t, KeeperOptions{Linger: 50 * time.Millisecond})
	k.Record("w1", "id", "a")
	k.on(t, "w1")
	k.Release("w1")
	k.Record("w1", "id", "b")
	k.Release("w1")
	k.until(t, 0, 0)
	if n := r.machine("w1").opens(); n != 1 {
		t.Errorf("opened %d times", n)
	}
}

func TestKeeperIsBounded(t *testing.T) {
	k, _ := newKeeper(t, KeeperOptions{Limit: 2, Viewers: 1, Linger: time.Hour})
	for i := range 5 {
		k.Record(fmt.Sprint("w", i), "id", "op")
	}
	k.until(t, 2, 3)
	if _, none := k.Since("w4", 9); !strings.Contains(none, "as many consoles as may be") {
		t.Errorf("one that waits: %q", none)
	}
	if _, s := k.Tail("w4", 9); !strings.HasPrefix(s, "waits") {
		t.Errorf("one that waits is %q", s)
	}
	// Somebody who watches does not wait.
	rec, leave, err := k.Watch("w4", "id")
	if err != nil {
		t.Fatal(err)
	}
	connected(t, rec)
	k.until(t, 3, 2)
	if _, _, err := k.Watch("w9", "id"); !errors.Is(err, ErrFull) {
		t.Errorf("one too many: %v", err)
	}
	k.Release("w2") // never began
	k.until(t, 3, 1)
	k.Release("w4")
	leave()
	k.until(t, 2, 1)
	k.Release("w0") // somebody waits: nobody lingers
	k.until(t, 2, 0)
	k.on(t, "w3")
	// One that lingers makes room for one that is wanted.
	k.on(t, "w1")
	k.Release("w1")
	k.Record("w5", "id", "op")
	k.until(t, 2, 0)
	k.on(t, "w5")
}

func TestKeeperWatch(t *testing.T) {
	k, r := newKeeper(t, KeeperOptions{Linger: -1})
	k.Record("w1", "id", "op")
	k.on(t, "w1")
	rec, leave, err := k.Watch("w1", "id")
	if err != nil {
		t.Fatal(err)
	}
	k.Release("w1") // the operation is over, and somebody watches
	live := rec.Follow(t.Context(), 0)
	r.machine("w1").prints(t, "still here")
	b := make([]byte, 99)
	if n, err := live.Read(b); string(b[:n]) != "still here" || err != nil {
		t.Errorf("read %q, %v", b[:n], err)
	}
	leave()
	leave() // once more does nothing
	k.until(t, 0, 0)
	if _, err := live.Read(b); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}

	// Paused, detached: nobody goes on.
	rec, leave, err = k.Watch("w1", "id")
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	connected(t, rec)
	k.End("w1")
	k.until(t, 0, 0)
	if n := r.machine("w1").opens(); n != 2 {
		t.Errorf("opened %d times", n)
	}
}

// Credentials that were refused are offered again when they have changed or when a
// person asks, whatever begins and ends in between.
func TestKeeperRemembersARefusal(t *testing.T) {
	k, r := newKeeper(t, KeeperOptions{Linger: -1})
	m := r.machine("w1")
	m.set(&bmc.Error{Class: bmc.Unsupported, Op: "open the console", Detail: "none here"})
	for i := range 3 {
		k.Record("w1", "id", fmt.Sprint(i))
		waitFor(t, "an answer", func() bool {
			_, none := k.Since("w1", 9)
			return strings.Contains(none, "none here")
		})
		k.Release("w1")
		k.until(t, 0, 0)
	}
	if n := m.opens(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	_, leave, err := k.Watch("w1", "id")
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a person's try", func() bool { return m.opens() == 2 })
	leave()
	k.until(t, 0, 0)
	m.set(nil)
	k.Record("w1", "other", "op")
	k.on(t, "w1")
}

// Another address or other credentials: what was recorded by the old ends first.
func TestKeeperAnotherWay(t *testing.T) {
	k, r := newKeeper(t, KeeperOptions{})
	k.Record("w1", "old", "op")
	k.on(t, "w1")
	k.Record("w1", "new", "op")
	waitFor(t, "opened anew", func() bool { return r.machine("w1").opens() == 2 })
	k.on(t, "w1")
	k.until(t, 1, 0)
}

// A console that another took is left to him.
func TestKeeperYields(t *testing.T) {
	k, r := newKeeper(t, KeeperOptions{Yield: time.Hour})
	k.Record("w1", "id", "op")
	k.on(t, "w1")
	r.machine("w1").breaks(&bmc.Error{Class: bmc.Busy, Op: "use the console", Detail: "taken by another"})
	waitFor(t, "yielded", func() bool {
		_, s := k.Tail("w1", 0)
		return strings.Contains(s, "taken by another") && strings.Contains(s, "next try")
	})
	if n := r.machine("w1").opens(); n != 1 {
		t.Errorf("opened %d times", n)
	}
	rec, leave, err := k.Watch("w1", "id") // a person takes it back
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	connected(t, rec)
}

func TestKeeperClosed(t *testing.T) {
	k, _ := newKeeper(t, KeeperOptions{})
	k.Record("w1", "id", "op")
	k.Close()
	k.Record("w2", "id", "op")
	if _, _, err := k.Watch("w2", "id"); err == nil {
		t.Error("opened after the end")
	}
	k.Release("w1")
	k.End("w2")
}
