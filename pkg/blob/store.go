package blob

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// ErrNotExist is wrapped by the errors about blobs that are not there.
var ErrNotExist = fs.ErrNotExist

// ErrQuota is wrapped by the *QuotaError of a write that did not fit.
var ErrQuota = errors.New("blob store is full")

// QuotaError says by how much a write did not fit.
type QuotaError struct {
	Used, Limit int64 // bytes
}

// Error names what is used and what is allowed.
func (e *QuotaError) Error() string {
	return fmt.Sprintf("%v: %d of %d bytes used", ErrQuota, e.Used, e.Limit)
}

// Unwrap makes errors.Is(err, ErrQuota) hold.
func (e *QuotaError) Unwrap() error { return ErrQuota }

// Options of a Store. The zero value has no quota and refuses secrets.
type Options struct {
	Quota int64            // bytes in all; 0: no limit but the disk's
	Key   []byte           // 32 bytes that seal secret blobs; nil: PutSecret fails
	Rand  io.Reader        // nil: crypto/rand
	Now   func() time.Time // nil: time.Now; only Sweep's ages depend on it
}

// Store is a directory of blobs. Its methods may be called at the same time.
type Store struct {
	dir   string
	opts  Options
	seal  *sealer // nil without a key
	quota int64
	used  atomic.Int64
	// names guards the pair "is it there" and "rename, touch or remove it", so
	// that Sweep never removes a blob that a Put has just found present.
	names sync.Mutex
}

const (
	publicDir = "sha256"
	secretDir = "secret"
	tmpDir    = "tmp"
)

// Open makes dir if needed, removes what an interrupted write left behind and
// counts what is there.
func Open(dir string, o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	s := &Store{dir: dir, opts: o, quota: o.Quota}
	if o.Key != nil {
		seal, err := newSealer(o.Key, o.Rand)
		if err != nil {
			return nil, err
		}
		s.seal = seal
	}
	if err := os.RemoveAll(filepath.Join(dir, tmpDir)); err != nil {
		return nil, fmt.Errorf("remove leftovers: %w", err)
	}
	for _, sub := range []string{publicDir, secretDir, tmpDir} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, fmt.Errorf("open blob store: %w", err)
		}
	}
	if err := syncDir(dir); err != nil {
		return nil, err
	}
	for _, sub := range []string{publicDir, secretDir} {
		err := s.walk(context.Background(), sub, func(_ string, i fs.FileInfo) error {
			s.used.Add(i.Size())
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("count blobs: %w", err)
		}
	}
	return s, nil
}

// Used is the number of bytes kept, unfinished writes included.
func (s *Store) Used() int64 { return s.used.Load() }

// Put keeps everything that r yields and returns its digest and size. Content
// that is already there is not written twice.
func (s *Store) Put(ctx context.Context, r io.Reader) (Digest, int64, error) {
	return s.put(ctx, "", r)
}

// PutAs is Put for content whose digest is known: anything else is refused and
// nothing is kept.
func (s *Store) PutAs(ctx context.Context, want Digest, r io.Reader) (int64, error) {
	_, n, err := s.put(ctx, want, r)
	return n, err
}

func (s *Store) put(ctx context.Context, want Digest, r io.Reader) (Digest, int64, error) {
	spool, err := s.NewSpool()
	if err != nil {
		return "", 0, err
	}
	defer spool.Close()
	if _, err := io.Copy(spool, Reader(ctx, r)); err != nil {
		return "", 0, fmt.Errorf("put blob: %w", err)
	}
	d := spool.Digest()
	if want != "" && d != want {
		return "", 0, fmt.Errorf("put blob: content is sha256 %s, want %s", d, want)
	}
	n := spool.Size()
	if err := spool.commit(s.path(publicDir, string(d))); err != nil {
		return "", 0, fmt.Errorf("put blob: %w", err)
	}
	return d, n, nil
}

// Open returns the blob and its size. The reader is also an io.ReaderAt.
func (s *Store) Open(_ context.Context, d Digest) (io.ReadSeekCloser, int64, error) {
	if _, err := ParseDigest(string(d)); err != nil {
		return nil, 0, err
	}
	f, err := os.Open(s.path(publicDir, string(d)))
	if err != nil {
		return nil, 0, notExist(d, err)
	}
	i, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, 0, fmt.Errorf("blob %s: %w", d, err)
	}
	return f, i.Size(), nil
}

// Info describes a blob.
type Info struct {
	Size int64
	Time time.Time // when it was last put
}

// Stat describes the blob d.
func (s *Store) Stat(_ context.Context, d Digest) (Info, error) {
	if _, err := ParseDigest(string(d)); err != nil {
		return Info{}, err
	}
	i, err := os.Stat(s.path(publicDir, string(d)))
	if err != nil {
		return Info{}, notExist(d, err)
	}
	return Info{Size: i.Size(), Time: i.ModTime()}, nil
}

// Has reports whether the blob is there.
func (s *Store) Has(ctx context.Context, d Digest) bool {
	_, err := s.Stat(ctx, d)
	return err == nil
}

// Touch makes the blob as young as one that was put now, so that Sweep spares
// it. It reports whether the blob is there.
func (s *Store) Touch(_ context.Context, d Digest) bool {
	if _, err := ParseDigest(string(d)); err != nil {
		return false
	}
	s.names.Lock()
	defer s.names.Unlock()
	return s.touch(s.path(publicDir, string(d))) == nil
}

// Delete removes the blob; one that is not there is no error.
func (s *Store) Delete(_ context.Context, d Digest) error {
	if _, err := ParseDigest(string(d)); err != nil {
		return err
	}
	s.names.Lock()
	defer s.names.Unlock()
	return s.remove(s.path(publicDir, string(d)))
}

// Walk calls fn for every public blob, in order of digest, until it fails.
func (s *Store) Walk(ctx context.Context, fn func(Digest, Info) error) error {
	return s.walk(ctx, publicDir, func(p string, i fs.FileInfo) error {
		return fn(Digest(filepath.Base(p)), Info{Size: i.Size(), Time: i.ModTime()})
	})
}

// path spreads names over 256 directories, so that none grows too long to scan.
func (s *Store) path(sub, name string) string {
	return filepath.Join(s.dir, sub, name[:2], name)
}

// walk visits the files whose names are digests and passes over anything else.
func (s *Store) walk(ctx context.Context, sub string, fn func(string, fs.FileInfo) error) error {
	return filepath.WalkDir(filepath.Join(s.dir, sub), func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, bad := ParseDigest(e.Name()); bad != nil || !e.Type().IsRegular() {
			return nil
		}
		i, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil {
			return err
		}
		return fn(p, i)
	})
}

// remove is called with names held.
func (s *Store) remove(path string) error {
	i, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	s.used.Add(-i.Size())
	return nil
}

// touch is called with names held.
func (s *Store) touch(path string) error {
	now := s.opts.Now()
	return os.Chtimes(path, now, now)
}

// reserve takes n bytes of the quota.
func (s *Store) reserve(n int64) error {
	used := s.used.Add(n)
	if s.quota > 0 && used > s.quota {
		s.used.Add(-n)
		return &QuotaError{Used: used - n, Limit: s.quota}
	}
	return nil
}

func notExist(d Digest, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("blob %s: %w", d, ErrNotExist)
	}
	return fmt.Errorf("blob %s: %w", d, err)
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}

// Reader reads r until ctx ends, which ends a long copy.
func Reader(ctx context.Context, r io.Reader) io.Reader { return &ctxReader{ctx, r} }

type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
