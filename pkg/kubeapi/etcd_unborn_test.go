package kubeapi

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
)

// A first start that was killed before etcd had committed anything would leave
// what no later one gets over.
func TestUnbornEtcd(t *testing.T) {
	data := t.TempDir()
	logs := filepath.Join(data, "etcd", "member", "wal")
	if err := os.MkdirAll(filepath.Dir(logs), 0o700); err != nil {
		t.Fatal(err)
	}
	w, err := wal.Create(zap.NewNop(), logs, []byte("no member yet"))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if err := dropUnborn(filepath.Join(data, "etcd"), log); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(logs); err == nil {
		t.Fatal("the log of a member that never was is still there")
	}
	// What was committed stays, whatever of it has been written out.
	for range 2 {
		began := time.Now()
		e, _, _, err := startEtcd(t.Context(), data, Options{NoFsync: true}, log)
		if err != nil {
			t.Fatal(err)
		}
		e.Close()
		if err := dropUnborn(filepath.Join(data, "etcd"), log); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(logs); err != nil {
			t.Fatalf("a member that had begun is gone after %s: %v", time.Since(began), err)
		}
	}
	if err := dropUnborn(t.TempDir(), log); err != nil {
		t.Errorf("nothing there: %v", err)
	}
}
