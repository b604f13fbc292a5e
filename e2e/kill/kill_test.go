//go:build e2e

package kill

import (
	"context"
	"os"
	"strconv"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/e2e/rig"
)

// seeded is the seed of what is drawn.
func seeded(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano() % 1_000_000)
	if v := os.Getenv("INGOT_SEED"); v != "" {
		n, err := strconv.ParseUint(v, 10, 64)
		must(t, err)
		seed = n
	}
	t.Logf("INGOT_SEED=%d", seed)
	return seed
}

// killsOf is how many kills the simulated journey gets.
func killsOf(t *testing.T) int {
	t.Helper()
	kills := 200
	if v := os.Getenv("INGOT_KILLS"); v != "" {
		n, err := strconv.Atoi(v)
		must(t, err)
		kills = n
	}
	return kills
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

// newServer prepares a server below dir that ends with the test.
func newServer(t *testing.T, dir string, p rig.Ports, more ...string) *rig.Server {
	t.Helper()
	binary, err := rig.Binary(t.TempDir())
	must(t, err)
	s, err := rig.NewServer(binary, dir, p, more...)
	must(t, err)
	t.Cleanup(func() {
		s.Kill()
		_ = s.Close()
	})
	return s
}

// begin kills the first starts of an empty directory, so many of them, starts the
// server for good and follows its hosts until the test ends.
func (d *driver) begin(t *testing.T, starts int) client.WithWatch {
	t.Helper()
	must(t, d.startKilled(t.Context(), starts))
	must(t, d.s.WaitReady(t.Context()))
	c, err := d.s.Client()
	must(t, err)
	d.v = newView(c, t.Logf)
	ctx, cancel := context.WithCancel(t.Context())
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		d.v.follow(ctx)
	}()
	t.Cleanup(func() { cancel(); <-followed })
	return c
}
