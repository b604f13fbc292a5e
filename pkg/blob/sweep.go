package blob

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Swept says what a sweep did.
type Swept struct {
	Removed    int
	Bytes      int64
	Kept       int
	Unreadable int // secret blobs sealed with another key; left alone
}

// Sweep removes every blob, public and secret, that keep does not want and that
// was last put at least olderThan ago. The age covers what was put but is not
// referenced yet, so it must exceed the longest time between the two.
func (s *Store) Sweep(ctx context.Context, keep func(Digest) bool, olderThan time.Duration) (Swept, error) {
	var done Swept
	before := s.opts.Now().Add(-olderThan)
	sweep := func(path string, d Digest, i fs.FileInfo) error {
		if keep(d) || i.ModTime().After(before) {
			done.Kept++
			return nil
		}
		removed, err := s.removeOld(path, before)
		if err != nil {
			return err
		}
		if !removed {
			done.Kept++
			return nil
		}
		done.Removed++
		done.Bytes += i.Size()
		return nil
	}
	err := s.walk(ctx, publicDir, func(p string, i fs.FileInfo) error {
		return sweep(p, Digest(filepath.Base(p)), i)
	})
	if err != nil || s.seal == nil {
		return done, err
	}
	err = s.walk(ctx, secretDir, func(p string, i fs.FileInfo) error {
		d, err := s.secretDigest(p)
		if err != nil {
			done.Unreadable++
			return nil
		}
		return sweep(p, d, i)
	})
	return done, err
}

// removeOld removes the file unless it was put again since before.
func (s *Store) removeOld(path string, before time.Time) (bool, error) {
	s.names.Lock()
	defer s.names.Unlock()
	i, err := os.Stat(path)
	if err != nil || i.ModTime().After(before) {
		return false, err
	}
	return true, s.remove(path)
}
