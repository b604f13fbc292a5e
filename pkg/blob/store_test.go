package blob

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func open(t *testing.T, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, s *Store, content string) Digest {
	t.Helper()
	d, n, err := s.Put(t.Context(), strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if n != int64(len(content)) || d != DigestOf([]byte(content)) {
		t.Fatalf("put %q: got %s of %d bytes", content, d, n)
	}
	return d
}

func tmpFiles(t *testing.T, dir string) int {
	t.Helper()
	e, err := os.ReadDir(filepath.Join(dir, tmpDir))
	if err != nil {
		t.Fatal(err)
	}
	return len(e)
}

func TestPutSurvivesReopen(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	d := put(t, s, "hello")
	put(t, s, "hello") // the same content is kept once
	put(t, s, "")
	if got := s.Used(); got != 5 {
		t.Errorf("used %d, want 5", got)
	}

	s = open(t, dir, Options{})
	if got := s.Used(); got != 5 {
		t.Errorf("used %d after reopen, want 5", got)
	}
	f, n, err := s.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, ok := f.(io.ReaderAt); !ok {
		t.Error("reader is no io.ReaderAt")
	}
	got, err := io.ReadAll(f)
	if err != nil || string(got) != "hello" || n != 5 {
		t.Errorf("got %q of %d bytes, error %v", got, n, err)
	}

	var walked []Digest
	if err := s.Walk(t.Context(), func(d Digest, _ Info) error { walked = append(walked, d); return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Digest{d, DigestOf(nil)}, walked); diff != "" {
		t.Errorf("walk (-want +got):\n%s", diff)
	}
	for range 2 {
		if err := s.Delete(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	if s.Has(t.Context(), d) || s.Used() != 0 {
		t.Errorf("after delete: has %t, used %d", s.Has(t.Context(), d), s.Used())
	}
	if _, _, err := s.Open(t.Context(), d); !errors.Is(err, ErrNotExist) {
		t.Errorf("open after delete: %v", err)
	}
}

// A process that dies inside Put leaves a temporary file; the next one removes
// it and does not count it.
func TestLeftoversAreSwept(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	spool, err := s.NewSpool()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := spool.Write([]byte("half a blob")); err != nil {
		t.Fatal(err)
	}
	if s.Used() != 11 {
		t.Errorf("used %d while spooling, want 11", s.Used())
	}
	s = open(t, dir, Options{}) // the first store was killed
	if n := tmpFiles(t, dir); n != 0 || s.Used() != 0 {
		t.Errorf("%d leftovers, used %d", n, s.Used())
	}
}

func TestFailedPutKeepsNothing(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	bad := errors.New("network fell over")
	tests := []struct {
		name string
		put  func(*Store) error
		want string
	}{
		{"reader fails", func(s *Store) error {
			_, _, err := s.Put(t.Context(), io.MultiReader(strings.NewReader("abc"), errReader{bad}))
			return err
		}, "network fell over"},
		{"other content", func(s *Store) error {
			_, err := s.PutAs(t.Context(), DigestOf([]byte("x")), strings.NewReader("y"))
			return err
		}, "want " + string(DigestOf([]byte("x")))},
		{"cancelled", func(s *Store) error {
			_, _, err := s.Put(cancelled, strings.NewReader("abc"))
			return err
		}, "canceled"},
		{"over quota", func(s *Store) error {
			_, _, err := s.Put(t.Context(), strings.NewReader("0123456789abcdef"))
			return err
		}, "blob store is full: 4 of 10 bytes used"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, Options{Quota: 10})
			put(t, s, "kept")
			err := tt.put(s)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if s.Used() != 4 || tmpFiles(t, dir) != 0 {
				t.Errorf("used %d, %d temporary files", s.Used(), tmpFiles(t, dir))
			}
		})
	}
	s := open(t, t.TempDir(), Options{Quota: 1})
	if _, _, err := s.Put(t.Context(), strings.NewReader("ab")); !errors.Is(err, ErrQuota) {
		t.Errorf("got %v, want ErrQuota", err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestParseDigest(t *testing.T) {
	good := string(DigestOf(nil))
	tests := []struct {
		name, in string
		ok       bool
	}{
		{"good", good, true},
		{"empty", "", false},
		{"short", good[1:], false},
		{"upper case", strings.ToUpper(good), false},
		{"a path", "../" + good[3:], false},
	}
	for _, tt := range tests {
		if _, err := ParseDigest(tt.in); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	s := open(t, t.TempDir(), Options{})
	if _, _, err := s.Open(t.Context(), "../../etc/passwd"); err == nil {
		t.Error("open took a path for a digest")
	}
}

func TestConcurrentPuts(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			if _, _, err := s.Put(t.Context(), strings.NewReader(strings.Repeat("x", i%4+1))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s.Used() != 1+2+3+4 {
		t.Errorf("used %d, want 10", s.Used())
	}
}

func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	key := bytes.Repeat([]byte{7}, 32)
	s := open(t, dir, Options{Key: key})
	content := []byte("password: hunter2")
	d, err := s.PutSecret(t.Context(), content)
	if err != nil {
		t.Fatal(err)
	}
	if d != DigestOf(content) {
		t.Errorf("digest %s, want that of the content", d)
	}
	got, err := s.OpenSecret(t.Context(), d)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("got %q, %v", got, err)
	}
	if s.Has(t.Context(), d) {
		t.Error("a secret is visible as a public blob")
	}

	var path string
	_ = filepath.Walk(dir, func(p string, i os.FileInfo, _ error) error {
		if i.Mode().IsRegular() {
			path = p
			b, _ := os.ReadFile(p)
			if bytes.Contains(b, []byte("hunter2")) {
				t.Error("content lies in the clear")
			}
			if strings.Contains(p, string(d)) {
				t.Error("file name tells the digest")
			}
		}
		return nil
	})

	if other := open(t, dir, Options{Key: bytes.Repeat([]byte{8}, 32)}); other != nil {
		if _, err := other.OpenSecret(t.Context(), d); !errors.Is(err, ErrNotExist) {
			t.Errorf("with another key: %v", err)
		}
		swept, err := other.Sweep(t.Context(), func(Digest) bool { return false }, -time.Hour)
		if err != nil || swept.Unreadable != 1 || swept.Removed != 0 {
			t.Errorf("sweep with another key: %+v, %v", swept, err)
		}
	}
	if _, err := open(t, dir, Options{}).PutSecret(t.Context(), content); !errors.Is(err, ErrNoKey) {
		t.Errorf("without a key: %v", err)
	}

	sealed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{0, 10, headerSize, len(sealed) - 1} {
		if err := os.WriteFile(path, sealed[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.OpenSecret(t.Context(), d); err == nil {
			t.Errorf("a blob cut to %d bytes was believed", cut)
		}
	}
	sealed[len(sealed)-1] ^= 1
	if err := os.WriteFile(path, sealed, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.OpenSecret(t.Context(), d); err == nil {
		t.Error("a changed blob was believed")
	}
	if err := s.DeleteSecret(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if s.Used() != 0 {
		t.Errorf("used %d after delete", s.Used())
	}
}

func TestSweep(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := open(t, t.TempDir(), Options{Key: make([]byte, 32), Now: func() time.Time { return now }})
	wanted := put(t, s, "wanted")
	old := put(t, s, "old")
	again := put(t, s, "again")
	touched := put(t, s, "touched")
	secret, err := s.PutSecret(t.Context(), []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Hour)
	young := put(t, s, "young")
	put(t, s, "again")
	if !s.Touch(t.Context(), touched) {
		t.Error("touch did not find its blob")
	}

	swept, err := s.Sweep(t.Context(), func(d Digest) bool { return d == wanted }, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if swept.Removed != 2 || swept.Kept != 4 {
		t.Errorf("swept %+v", swept)
	}
	for _, d := range []Digest{wanted, again, touched, young} {
		if !s.Has(t.Context(), d) {
			t.Errorf("%s was removed", d)
		}
	}
	if s.Has(t.Context(), old) {
		t.Error("an old blob that nobody wants is still there")
	}
	if _, err := s.OpenSecret(t.Context(), secret); !errors.Is(err, ErrNotExist) {
		t.Errorf("secret: %v", err)
	}
}
