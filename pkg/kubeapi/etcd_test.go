package kubeapi

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
)

func TestSocketDir(t *testing.T) {
	run := t.TempDir()
	short, err := os.MkdirTemp("", "k") // t.TempDir's may be long already
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(short) })
	long := filepath.Join(short, strings.Repeat("x", 100))

	for _, tc := range []struct {
		name, data, parent string
	}{
		{name: "short path", data: short, parent: short},
		{name: "long path", data: long, parent: run},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir, err := makeSocketDir(tc.data, run)
			if err != nil {
				t.Fatal(err)
			}
			if filepath.Dir(dir) != tc.parent {
				t.Errorf("got %s, want it in %s", dir, tc.parent)
			}
			if err := os.WriteFile(filepath.Join(dir, "client"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			again, err := makeSocketDir(tc.data, run)
			if err != nil || again != dir {
				t.Fatalf("again: %s, %v", again, err)
			}
			if !missing(filepath.Join(dir, "client")) {
				t.Error("the stale socket is still there")
			}
			info, err := os.Stat(dir)
			if err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
		})
	}

	t.Run("a link in a shared directory is refused", func(t *testing.T) {
		dir, err := makeSocketDir(long, run)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(short, dir); err != nil {
			t.Fatal(err)
		}
		if _, err := makeSocketDir(long, run); err == nil || !strings.Contains(err.Error(), "is not ours") {
			t.Errorf("got %v", err)
		}
	})
}

func TestLogLevels(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for _, tc := range []struct {
		name string
		log  func(etcd *zap.Logger, klog *slog.Logger)
		want string
	}{
		{name: "etcd info", log: func(e *zap.Logger, _ *slog.Logger) { e.Info("m", zap.Int("n", 1)) }, want: "level=DEBUG msg=m n=1"},
		{name: "etcd warning", log: func(e *zap.Logger, _ *slog.Logger) { e.Warn("m") }, want: "level=DEBUG"},
		{name: "etcd error", log: func(e *zap.Logger, _ *slog.Logger) { e.With(zap.String("a", "b")).Error("m") }, want: "level=WARN msg=m a=b"},
		{name: "etcd harmless", log: func(e *zap.Logger, _ *slog.Logger) { e.Error("failed to update storage version") }, want: "level=DEBUG"},
		{name: "klog info", log: func(_ *zap.Logger, k *slog.Logger) { k.Info("m") }, want: "level=DEBUG msg=m"},
		{name: "klog error", log: func(_ *zap.Logger, k *slog.Logger) { k.With("a", "b").Error("m") }, want: "level=WARN msg=m a=b"},
		{name: "klog harmless", log: func(_ *zap.Logger, k *slog.Logger) {
			k.Error("Unhandled Error", "err", `namespaces "kube-system" not found`)
		}, want: "level=DEBUG"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out.Reset()
			tc.log(zap.New(&zapToSlog{log: log}), slog.New(&quietHandler{log.Handler()}))
			if !strings.Contains(out.String(), tc.want) {
				t.Errorf("got %q, want %q", out.String(), tc.want)
			}
		})
	}
}

// A server that loses its database says so, and can still be stopped.
func TestEndsByItself(t *testing.T) {
	dir, err := os.MkdirTemp("", "k")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeBusy(dir) })
	s, err := Start(t.Context(), Options{DataDir: dir, Address: "127.0.0.1:0", NoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	s.etcd.Server.Stop()
	select {
	case <-s.Done():
	case <-time.After(time.Minute):
		t.Error("Done is not closed")
	}
	if err := s.Err(); err == nil || !strings.Contains(err.Error(), "etcd ended") {
		t.Errorf("got %v", err)
	}
	// Nobody answers the API's last requests any more, so it would be late.
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	began := time.Now()
	t.Logf("stop: %v", s.Stop(ctx))
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("stopping took %v, though its context ended after one second", took)
	}
}

// removeBusy removes what etcd may still be closing.
func removeBusy(dir string) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 100 {
		<-tick.C
		if err := os.RemoveAll(dir); err == nil && missing(dir) {
			return
		}
	}
}
