//go:build e2e

package kill

import (
	"context"
	"os"
	"strconv"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// settings are the seed and the number of kills.
func settings(t *testing.T, kills int) (uint64, int) {
	t.Helper()
	seed := uint64(time.Now().UnixNano() % 1_000_000)
	if v := os.Getenv("INGOT_SEED"); v != "" {
		n, err := strconv.ParseUint(v, 10, 64)
		must(t, err)
		seed = n
	}
	if v := os.Getenv("INGOT_KILLS"); v != "" {
		n, err := strconv.Atoi(v)
		must(t, err)
		kills = n
	}
	t.Logf("INGOT_SEED=%d INGOT_KILLS=%d", seed, kills)
	return seed, kills
}

// keptDir is a directory that stays if the test fails.
func keptDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ingot-kill-")
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the server's log, the journal and the data are in %s", dir)
			return
		}
		_ = os.RemoveAll(dir)
	})
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// begin kills the first starts of an empty directory, starts the server for good
// and follows its hosts until the test ends.
func (d *driver) begin(t *testing.T, kubeconfig string) client.WithWatch {
	t.Helper()
	must(t, d.startKilled(t.Context(), min(5, d.kills/5)))
	must(t, d.s.waitReady(t.Context()))
	c, err := newClient(kubeconfig)
	must(t, err)
	d.v = newView(c)
	ctx, cancel := context.WithCancel(t.Context())
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		d.v.follow(ctx)
	}()
	t.Cleanup(func() { cancel(); <-followed })
	return c
}

// upAgain waits until the server is up after the last kill and has had the time
// to do what it should not.
func (d *driver) upAgain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	starts := d.started()
	for d.started() == starts {
		select {
		case <-d.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	pause(ctx, 400*time.Millisecond)
	return nil
}

// started is how many starts came to be ready.
func (d *driver) started() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.ready)
}
