package kubeapi

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.uber.org/zap"
)

// dropUnborn removes what a very first start left that was killed before etcd had
// committed anything: a log (WAL) in which there is no member yet. etcd takes it
// for a member that restarts, and waits for ever for a leader that nobody can be.
// A log in which anything was committed is not touched; before that, nothing can
// have been stored.
func dropUnborn(dir string, log *slog.Logger) error {
	member := filepath.Join(dir, "member")
	logs, err := filepath.Glob(filepath.Join(member, "wal", "*.wal"))
	if err != nil || len(logs) != 1 || !brief(logs[0]) {
		return nil // none, or one that has been written for long
	}
	if snapshots, err := filepath.Glob(filepath.Join(member, "snap", "*.snap")); err != nil || len(snapshots) > 0 {
		return nil
	}
	w, err := wal.OpenForRead(zap.NewNop(), filepath.Join(member, "wal"), &walpb.Snapshot{})
	if err != nil {
		return nil // etcd says what is wrong with it
	}
	_, state, _, err := w.ReadAll()
	_ = w.Close() // it was only read
	if err != nil || state.GetCommit() > 0 {
		return nil
	}
	log.Warn("the first start of etcd was cut off before anything was stored: it begins anew")
	if err := os.RemoveAll(member); err != nil {
		return fmt.Errorf("remove the remains of etcd's first start: %w", err)
	}
	return nil
}

// logPage is how etcd's log grows, in a file that was filled with zeros before.
const logPage = 4096

// brief reports whether a log ends within its first page, as that of a member
// that is not born yet does. Others need not be read at every start: they may
// have 60 MB.
func brief(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	page := make([]byte, logPage)
	n, err := f.ReadAt(page, logPage)
	return (err == nil || errors.Is(err, io.EOF)) && !slices.ContainsFunc(page[:n], func(b byte) bool { return b != 0 })
}
