package blob

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"os"
	"path/filepath"
)

// Spool is a temporary file on the store's disk that counts against its quota:
// room for bytes that are not believed yet. Close removes it.
type Spool struct {
	store *Store
	f     *os.File
	h     hash.Hash
	size  int64
	kept  bool // renamed into place
}

// NewSpool makes an empty spool.
func (s *Store) NewSpool() (*Spool, error) {
	f, err := os.CreateTemp(filepath.Join(s.dir, tmpDir), "spool-")
	if err != nil {
		return nil, fmt.Errorf("make spool: %w", err)
	}
	return &Spool{store: s, f: f, h: sha256.New()}, nil
}

// Write appends p. It fails with a *QuotaError where p does not fit.
func (sp *Spool) Write(p []byte) (int, error) {
	if err := sp.store.reserve(int64(len(p))); err != nil {
		return 0, err
	}
	n, err := sp.f.Write(p)
	sp.size += int64(n)
	sp.h.Write(p[:n])
	sp.store.used.Add(int64(n - len(p)))
	return n, err
}

// ReadAt reads what was written.
func (sp *Spool) ReadAt(p []byte, off int64) (int, error) { return sp.f.ReadAt(p, off) }

// Size is the number of bytes written.
func (sp *Spool) Size() int64 { return sp.size }

// Digest is the digest of what was written so far.
func (sp *Spool) Digest() Digest { return Digest(hex.EncodeToString(sp.h.Sum(nil))) }

// Close removes the spool and gives its bytes back to the quota. It may be
// called twice.
func (sp *Spool) Close() error {
	if sp.f == nil {
		return nil
	}
	name := sp.f.Name()
	err := sp.f.Close()
	sp.f = nil
	if sp.kept {
		return err
	}
	sp.store.used.Add(-sp.size)
	if rerr := os.Remove(name); err == nil {
		err = rerr
	}
	return err
}

// commit makes the spool's content the file at path: whole and on stable
// storage, or not there at all.
func (sp *Spool) commit(path string) error {
	if err := sp.f.Sync(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	now := sp.store.opts.Now()
	if err := os.Chtimes(sp.f.Name(), now, now); err != nil {
		return err
	}
	dir := filepath.Dir(path)
	made, err := sp.place(dir, path)
	if err != nil {
		return err
	}
	if made {
		if err := syncDir(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	// Synced even where another Put placed the file: that one may not have come
	// to its own sync yet, and our caller is promised a file that survives.
	return syncDir(dir)
}

// place renames the spool to path unless the content is there already. It
// reports whether it made the directory.
func (sp *Spool) place(dir, path string) (made bool, err error) {
	s := sp.store
	s.names.Lock()
	defer s.names.Unlock()
	if s.touch(path) == nil {
		return false, nil
	}
	if err := os.Mkdir(dir, 0o700); err == nil {
		made = true
	} else if !os.IsExist(err) {
		return false, err
	}
	if err := os.Rename(sp.f.Name(), path); err != nil {
		return made, err
	}
	sp.kept = true
	return made, nil
}
