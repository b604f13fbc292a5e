package fleet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"testing"
)

func TestDiskHoldsWhatWasWritten(t *testing.T) {
	ctx := t.Context()
	const size = 3*pageSize + 1000
	r := rand.New(rand.NewPCG(1, 2))
	store := newPages()
	d, want := newDisk(store, size), make([]byte, size)
	for range 40 {
		off := r.IntN(size)
		p := make([]byte, min(size-off, r.IntN(pageSize*3/2)))
		if r.IntN(3) > 0 {
			copy(p, bytesOf(r, len(p)))
		}
		copy(want[off:], p)
		if _, err := d.writeAt(ctx, p, int64(off)); err != nil {
			t.Fatal(err)
		}
	}
	got := make([]byte, size)
	if _, err := d.readAt(got, 0); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("reads differ from writes")
	}
	for _, n := range []int64{size, size - 1, pageSize, 1} {
		sum := sha256.Sum256(want[:n])
		if got := d.digest(n); got != hex.EncodeToString(sum[:]) {
			t.Errorf("digest of %d bytes is wrong", n)
		}
	}
	if err := d.erase(ctx); err != nil {
		t.Fatal(err)
	}
	if len(store.data) != 0 {
		t.Errorf("%d pages are left after the erase", len(store.data))
	}
}

func TestDisksShareContent(t *testing.T) {
	store := newPages()
	image := bytesOf(rand.New(rand.NewPCG(3, 4)), 2*pageSize)
	var digests []string
	for range 10 {
		d := newDisk(store, tb)
		if _, err := d.writeAt(t.Context(), image, 0); err != nil {
			t.Fatal(err)
		}
		digests = append(digests, d.digest(int64(len(image))))
	}
	if len(store.data) != 2 || len(store.digests) != 1 {
		t.Errorf("%d pages, %d digests for ten equal disks", len(store.data), len(store.digests))
	}
	for _, d := range digests {
		if d != digests[0] {
			t.Error("equal disks have different digests")
		}
	}
}

func TestDiskOfDeadMachineIsNotWritten(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	d := newDisk(newPages(), tb)
	cancel()
	if _, err := d.writeAt(ctx, []byte("x"), 0); !errors.Is(err, errDead) {
		t.Errorf("write: %v", err)
	}
	if err := d.erase(ctx); !errors.Is(err, errDead) {
		t.Errorf("erase: %v", err)
	}
	if _, err := d.writeAt(t.Context(), []byte("x"), tb); err == nil {
		t.Error("wrote past the end")
	}
}
