package engine

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/firmware"
)

// tells is a BMC that tells settings and firmware when it is let.
type tells struct {
	mute
	mu    sync.Mutex
	reads int
	err   error
	let   chan struct{} // nil: at once
}

func (b *tells) BIOS(ctx context.Context) (bmc.BIOS, error) {
	b.mu.Lock()
	b.reads++
	err, let := b.err, b.let
	b.mu.Unlock()
	if let != nil {
		select {
		case <-let:
		case <-ctx.Done():
			return bmc.BIOS{}, ctx.Err()
		}
	}
	return bmc.BIOS{Attributes: map[string]any{"A": "b"}}, err
}

func (*tells) StageBIOS(context.Context, map[string]any, bmc.ApplyTime) (bmc.Op, error) {
	return bmc.Op{}, errors.New("not asked for")
}

func (*tells) ResetBIOS(context.Context) (bmc.Op, error) {
	return bmc.Op{}, errors.New("not asked for")
}

func (b *tells) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.reads
}

func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not %s", what)
		}
	}
}

// A host is read while it rests, and not while something is done to it: what was
// under way then ends, is not told, and is made up for.
func TestReaderLeavesBusyHostsAlone(t *testing.T) {
	r := newRig(t)
	b := &tells{let: make(chan struct{})}
	r.BMCs = bmcs{conn: b}
	found := make(chan *firmware.Reading, 64)
	reader := NewReader(t.Context(), r.Engine, 20*time.Millisecond, func(_ types.NamespacedName, f *firmware.Reading) { found <- f })
	reader.Watch(r.in, false)
	within(t, "read", func() bool { return b.count() == 1 })
	reader.Busy(r.in.Key) // which ends it
	within(t, "due", func() bool {
		reader.mu.Lock()
		defer reader.mu.Unlock()
		return reader.hosts[r.in.Key].due
	})
	if len(found) != 0 || b.count() != 1 {
		t.Fatalf("%d readings told, %d begun", len(found), b.count())
	}
	close(b.let)
	reader.Watch(r.in, false)
	for range 2 {
		select {
		case f := <-found:
			if f.BIOS == nil || f.BIOS.Attributes["A"] != "b" || f.NoComponents == "" {
				t.Fatalf("read %+v", f)
			}
		case <-time.After(time.Minute):
			t.Fatal("not read again")
		}
	}
	reader.Forget(r.in.Key)
	reader.mu.Lock()
	left := len(reader.hosts)
	reader.mu.Unlock()
	if left != 0 {
		t.Errorf("%d hosts are watched", left)
	}
}

// A reading that failed is told nobody, and is tried again.
func TestReaderTriesAgain(t *testing.T) {
	r := newRig(t)
	b := &tells{err: &bmc.Error{Class: bmc.Transient, Op: "read BIOS"}}
	r.BMCs = bmcs{conn: b}
	found := make(chan *firmware.Reading, 64)
	reader := NewReader(t.Context(), r.Engine, 10*time.Millisecond, func(_ types.NamespacedName, f *firmware.Reading) { found <- f })
	reader.Watch(r.in, true)
	within(t, "tried again", func() bool { return b.count() > 2 })
	if len(found) != 0 {
		t.Error("a failed reading is told")
	}
	NewReader(t.Context(), r.Engine, 0, nil).Watch(r.in, false) // reads nothing
	reader.Forget(types.NamespacedName{Name: "nobody"})
	reader.Busy(types.NamespacedName{Name: "nobody"})
}
