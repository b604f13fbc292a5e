package image

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/md5" //nolint:gosec // tested as such
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/blob"
)

// testChunk keeps the images of the tests small.
const testChunk = 256 << 10

// disk is a raw image with a chunk of data, one of zeros and an odd tail.
func disk() []byte {
	b := make([]byte, 2*testChunk+3*512)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := 0; i < 150_000; i++ {
		b[i] = byte(rng.Uint32())
	}
	copy(b[len(b)-600:], "the end")
	return b
}

func sha(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }

// rig is a resolver beside a web server whose files a test sets.
type rig struct {
	*Resolver
	store *blob.Store
	base  string
	mu    sync.Mutex
	files map[string]http.HandlerFunc
	hits  atomic.Int64
}

func newRig(t testing.TB, change func(*Options)) *rig {
	t.Helper()
	r := &rig{files: map[string]http.HandlerFunc{}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.hits.Add(1)
		r.mu.Lock()
		h := r.files[req.URL.Path]
		r.mu.Unlock()
		if h == nil {
			http.NotFound(w, req)
			return
		}
		h(w, req)
	}))
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	store, err := blob.Open(filepath.Join(dir, "blobs"), blob.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Store: store, Index: filepath.Join(dir, "index"), Own: []string{"http://10.0.0.1:6180"}, Loopback: []string{strings.TrimPrefix(srv.URL, "http://")}}
	if change != nil {
		change(&o)
	}
	if r.Resolver, err = New(o); err != nil {
		t.Fatal(err)
	}
	r.chunkSize = testChunk
	r.store, r.base = o.Store, srv.URL
	return r
}

func (r *rig) serve(path string, h http.HandlerFunc) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files[path] = h
	return r.base + path
}

func (r *rig) file(path string, b []byte) string {
	return r.serve(path, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		_, _ = w.Write(b)
	})
}

// restore does what an agent does with a manifest.
func restore(t testing.TB, store *blob.Store, m *agent.Manifest) []byte {
	t.Helper()
	out := make([]byte, m.Size)
	dec, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	for _, c := range m.Chunks {
		f, n, err := store.Open(t.Context(), blob.Digest(c.Digest))
		if err != nil {
			t.Fatal(err)
		}
		frame, err := io.ReadAll(f)
		_ = f.Close()
		if err != nil || n != c.Stored || sha(frame) != c.Digest {
			t.Fatalf("chunk at %d: %d bytes stored, want %d, error %v", c.Offset, n, c.Stored, err)
		}
		data, err := dec.DecodeAll(frame, nil)
		if err != nil || int64(len(data)) != c.Length || c.Length > m.ChunkSize || c.Offset%m.ChunkSize != 0 {
			t.Fatalf("chunk at %d: %d bytes decoded, want %d, error %v", c.Offset, len(data), c.Length, err)
		}
		copy(out[c.Offset:], data)
	}
	return out
}

func gz(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

func xzip(t testing.TB, b []byte) []byte {
	var out bytes.Buffer
	w, err := xz.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

func zst(t testing.TB, b []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(b, nil)
}

func TestPrepare(t *testing.T) {
	raw := disk()
	qcow := handmade(raw)
	tests := []struct {
		name   string
		served []byte
		format string
	}{
		{"raw", raw, FormatRaw},
		{"raw, not declared", raw, ""},
		{"gzip", gz(raw), FormatRaw},
		{"xz", xzip(t, raw), FormatRaw},
		{"zstd", zst(t, raw), ""},
		{"qcow2", qcow, FormatQCOW2},
		{"qcow2, not declared", qcow, ""},
		{"qcow2 in gzip", gz(qcow), FormatQCOW2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, nil)
			var done atomic.Int64
			src := Source{URL: r.file("/disk.img", tt.served), Checksum: sha(tt.served), Format: tt.format}
			m, d, err := r.Prepare(t.Context(), src, func(n, _ int64) { done.Store(n) })
			if err != nil {
				t.Fatal(err)
			}
			if m.Size != int64(len(raw)) || m.SHA256 != sha(raw) || m.ChunkSize != testChunk {
				t.Errorf("manifest of %d bytes, sha256 %s", m.Size, m.SHA256)
			}
			if len(m.Chunks) != 2 || m.Chunks[1].Offset != 2*testChunk {
				t.Errorf("chunks %+v, want the first and the third", m.Chunks)
			}
			if !bytes.Equal(restore(t, r.store, m), raw) {
				t.Error("the chunks do not make the image")
			}
			if done.Load() != m.Size {
				t.Errorf("progress ended at %d of %d", done.Load(), m.Size)
			}
			refs, err := References(t.Context(), r.store, d)
			if err != nil || len(refs) != 3 {
				t.Errorf("references %v, %v", refs, err)
			}
			// Nothing but the manifest and its chunks is kept.
			var kept int
			_ = r.store.Walk(t.Context(), func(blob.Digest, blob.Info) error { kept++; return nil })
			if kept != 3 {
				t.Errorf("%d blobs kept, want 3", kept)
			}
		})
	}
}

func TestPrepareQEMU(t *testing.T) {
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("qemu-img is not installed")
	}
	raw := disk()
	dir := t.TempDir()
	in := filepath.Join(dir, "in.raw")
	if err := os.WriteFile(in, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, args, code string }{
		{"v3", "-O qcow2", ""},
		{"v2", "-O qcow2 -o compat=0.10", ""},
		{"deflate", "-O qcow2 -c", ""},
		{"zstd", "-O qcow2 -c -o compression_type=zstd", ""},
		{"large clusters", "-O qcow2 -c -o cluster_size=2M", ""},
		{"small clusters", "-O qcow2 -c -o cluster_size=512", ""},
		{"extended L2", "-O qcow2 -o extended_l2=on", CodeFormat},
		{"data file", "-O qcow2 -o data_file=" + filepath.Join(dir, "data"), CodeFormat},
		{"VMDK", "-O vmdk", CodeFormat},
		{"VDI", "-O vdi", CodeFormat},
		{"VHDX", "-O vhdx", CodeFormat},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := filepath.Join(dir, "out")
			args := append([]string{"convert", "-f", "raw"}, strings.Fields(tt.args)...)
			if b, err := exec.CommandContext(t.Context(), "qemu-img", append(args, in, out)...).CombinedOutput(); err != nil {
				t.Fatalf("qemu-img: %v: %s", err, b)
			}
			b, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			r := newRig(t, nil)
			if tt.name == "v3" {
				r.chunkSize = agent.MaxChunk // as it is outside of tests
			}
			m, _, err := r.Prepare(t.Context(), Source{URL: r.file("/d", b), Checksum: sha(b)}, nil)
			if tt.code != "" {
				wantError(t, err, tt.code, false, "")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if m.SHA256 != sha(raw) || !bytes.Equal(restore(t, r.store, m), raw) {
				t.Error("the chunks do not make the image")
			}
		})
	}
}

func wantError(t *testing.T, err error, code string, retry bool, part string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v, want code %s", err, code)
	}
	if e.Code != code || e.Retryable != retry || !strings.Contains(e.Message, part) {
		t.Errorf("error %s (retryable %t): %s\nwant %s (retryable %t): …%s…", e.Code, e.Retryable, e.Message, code, retry, part)
	}
}

func TestPrepareRefuses(t *testing.T) {
	raw := disk()
	small := raw[:4096]
	backed := handmade(raw)
	backed[15] = 104 // backing file offset
	iso := make([]byte, 64<<10)
	copy(iso[32769:], "CD001")
	sum := sha(small)
	tests := []struct {
		name  string
		src   func(r *rig) Source
		code  string
		retry bool
		part  string
	}{
		{"wrong checksum", func(r *rig) Source { return Source{URL: r.file("/d", small), Checksum: sha(raw)} }, CodeChecksum, false, "the file is sha256 " + sum + ", the checksum says " + sha(raw)},
		{"checksum of the decompressed form", func(r *rig) Source { return Source{URL: r.file("/d.gz", gz(small)), Checksum: sum} }, CodeChecksum, false, "that is the checksum of the decompressed file"},
		{"no checksum", func(r *rig) Source { return Source{URL: r.file("/d", small)} }, CodeChecksum, false, "has no checksum"},
		{"odd checksum", func(r *rig) Source { return Source{URL: r.file("/d", small), Checksum: "abcd"} }, CodeChecksum, false, "has 4 hex digits: md5 has 32"},
		{"checksum of another type", func(r *rig) Source {
			return Source{URL: r.file("/d", small), Checksum: sum, ChecksumType: ChecksumSHA512}
		}, CodeChecksum, false, "has 64 hex digits, sha512 has 128"},
		{"checksum type", func(r *rig) Source { return Source{URL: r.file("/d", small), Checksum: sum, ChecksumType: "crc"} }, CodeChecksum, false, "unknown"},
		{"format vmdk", func(r *rig) Source { return Source{URL: r.file("/d", small), Checksum: sum, Format: "vmdk"} }, CodeFormat, false, "qemu-img convert"},
		{"format live-iso", func(r *rig) Source { return Source{URL: r.file("/d", small), Checksum: sum, Format: "live-iso"} }, CodeFormat, false, "booted, not written"},
		{"declared raw, is qcow2", func(r *rig) Source {
			b := handmade(raw)
			return Source{URL: r.file("/d", b), Checksum: sha(b), Format: FormatRaw}
		}, CodeFormat, false, "declared raw but is qcow2"},
		{"declared qcow2, is raw", func(r *rig) Source { return Source{URL: r.file("/d", small), Checksum: sum, Format: FormatQCOW2} }, CodeFormat, false, "declared qcow2 but is raw"},
		{"backing file", func(r *rig) Source { return Source{URL: r.file("/d", backed), Checksum: sha(backed)} }, CodeFormat, false, "backing file"},
		{"qcow2 cut short", func(r *rig) Source {
			b := handmade(raw)
			b = b[:len(b)-100<<10]
			return Source{URL: r.file("/d", b), Checksum: sha(b)}
		}, CodeFormat, false, "ends in the middle"},
		{"gzip cut short", func(r *rig) Source {
			b := gz(raw)
			b = b[:len(b)/2]
			return Source{URL: r.file("/d", b), Checksum: sha(b)}
		}, CodeFormat, false, "the gzip file ends in the middle"},
		{"zstd cut short", func(r *rig) Source {
			b := zst(t, raw)
			b = b[:len(b)/2]
			return Source{URL: r.file("/d", b), Checksum: sha(b)}
		}, CodeFormat, false, "the zstd file ends in the middle"},
		{"xz cut short", func(r *rig) Source {
			b := xzip(t, raw)
			b = b[:len(b)/2]
			return Source{URL: r.file("/d", b), Checksum: sha(b)}
		}, CodeFormat, false, "the xz file ends in the middle"},
		{"gzip damaged", func(r *rig) Source {
			b := gz(raw)
			b[len(b)/2] ^= 0xff
			return Source{URL: r.file("/d", b), Checksum: sha(b)}
		}, CodeFormat, false, "damaged"},
		{"compressed twice", func(r *rig) Source {
			b := gz(gz(small))
			return Source{URL: r.file("/d", b), Checksum: sha(b)}
		}, CodeFormat, false, "twice"},
		{"bzip2", func(r *rig) Source {
			return Source{URL: r.file("/d", []byte("BZh9xxx")), Checksum: sha([]byte("BZh9xxx"))}
		}, CodeFormat, false, "bzip2"},
		{"ISO", func(r *rig) Source { return Source{URL: r.file("/d", iso), Checksum: sha(iso)} }, CodeFormat, false, "ISO"},
		{"web page", func(r *rig) Source {
			return Source{URL: r.file("/d", []byte("<html>log in")), Checksum: sha([]byte("<html>log in"))}
		}, CodeFormat, false, "web page"},
		{"empty", func(r *rig) Source { return Source{URL: r.file("/d", nil), Checksum: sha(nil)} }, CodeFormat, false, "empty"},
		{"not found, secrets stay hidden", func(r *rig) Source {
			return Source{URL: strings.Replace(r.base, "//", "//user:hunter2@", 1) + "/none?sig=hunter2", Checksum: sum}
		}, CodeUnreachable, false, "/none: the server answers 404 Not Found"},
		{"server error", func(r *rig) Source {
			return Source{URL: r.serve("/d", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }), Checksum: sum}
		}, CodeUnreachable, true, "503"},
		{"truncated", func(r *rig) Source {
			return Source{URL: r.serve("/d", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "9000")
				_, _ = w.Write(small)
			}), Checksum: sum}
		}, CodeTruncated, true, "the connection ended after 4096 of 9000 bytes"},
		{"too large by its header", func(r *rig) Source { return Source{URL: r.file("/d", raw), Checksum: sha(raw)} }, CodeTooLarge, false, "at most 100000"},
		{"too large in truth", func(r *rig) Source {
			return Source{URL: r.serve("/d", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, bytes.NewReader(raw)) }), Checksum: sha(raw)}
		}, CodeTooLarge, false, "at most"},
		{"too large decoded", func(r *rig) Source {
			b := gz(make([]byte, 4<<20))
			return Source{URL: r.file("/d", b), Checksum: sha(b)}
		}, CodeTooLarge, false, "decompressed"},
		{"redirects without end", func(r *rig) Source {
			return Source{URL: r.serve("/loop", func(w http.ResponseWriter, q *http.Request) { http.Redirect(w, q, "/loop", http.StatusFound) }), Checksum: sum}
		}, CodeUnreachable, false, "more than 5 redirects"},
		{"redirect to metadata", func(r *rig) Source {
			return Source{URL: r.serve("/m", func(w http.ResponseWriter, q *http.Request) {
				http.Redirect(w, q, "http://169.254.169.254/latest", http.StatusFound)
			}), Checksum: sum}
		}, CodeUnreachable, false, "link-local or metadata"},
		{"scheme", func(*rig) Source { return Source{URL: "file:///etc/passwd", Checksum: sum} }, CodeUnreachable, false, "only http and https"},
		{"loopback that is not allowed", func(*rig) Source { return Source{URL: "http://localhost:9/x", Checksum: sum} }, CodeUnreachable, false, "this server itself"},
		{"stalled", func(r *rig) Source {
			return Source{URL: r.serve("/d", func(w http.ResponseWriter, q *http.Request) {
				_, _ = w.Write(small)
				w.(http.Flusher).Flush()
				<-q.Context().Done()
			}), Checksum: sum}
		}, CodeUnreachable, true, "nothing was received for"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, func(o *Options) { o.Stall = 100 * time.Millisecond; o.MaxDecoded = 2 << 20 })
			if strings.HasPrefix(tt.name, "too large") {
				r.opts.MaxDownload = 100_000
			}
			_, _, err := r.Prepare(t.Context(), tt.src(r), nil)
			wantError(t, err, tt.code, tt.retry, tt.part)
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error tells a secret: %v", err)
			}
			n := 0
			_ = r.store.Walk(t.Context(), func(blob.Digest, blob.Info) error { n++; return nil })
			if tt.code == CodeChecksum && n != 0 {
				t.Errorf("%d blobs of an image that did not verify", n)
			}
		})
	}
}

func TestQuota(t *testing.T) {
	store, err := blob.Open(t.TempDir(), blob.Options{Quota: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(o *Options) { o.Store = store })
	_, _, err = r.Prepare(t.Context(), Source{URL: r.file("/d", disk()), Checksum: sha(disk())}, nil)
	wantError(t, err, CodeDiskFull, true, "of 100000 bytes used")
	if store.Used() != 0 {
		t.Errorf("%d bytes are still used", store.Used())
	}
}

func TestChecksumFile(t *testing.T) {
	raw := disk()[:8192]
	s512 := fmt.Sprintf("%x", sha512.Sum512(raw))
	m5 := fmt.Sprintf("%x", md5.Sum(raw)) //nolint:gosec // tested as such
	wrong := sha([]byte("other"))
	tests := []struct {
		name, kind, file, part string // part of the error
	}{
		{"sha256sum", "", wrong + "  other.img\n" + sha(raw) + "  disk.img\n", ""},
		{"binary mark and path", "sha256", sha(raw) + " *./out/disk.img\n", ""},
		{"BSD", "", "# comment\nSHA256 (disk.img) = " + sha(raw) + "\nSHA256 (x) = " + wrong + "\n", ""},
		{"signed message", "", "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nSHA512 (disk.img) = " + s512 + "\n-----BEGIN PGP SIGNATURE-----\n", ""},
		{"digest alone", "", sha(raw) + "\n", ""},
		{"md5", "md5", m5 + "  disk.img\n", ""},
		{"two algorithms, one asked for", "sha512", sha(raw) + "  disk.img\n" + s512 + "  disk.img\n", ""},
		{"two algorithms, the stronger", "auto", wrong + "  disk.img\n" + s512 + "  disk.img\n", ""},
		{"the same line twice", "", sha(raw) + "  disk.img\n" + sha(raw) + "  ./disk.img\n", ""},
		{"no line", "sha256", wrong + "  other.img\n", `has no line with a sha256 digest for "disk.img"`},
		{"several digests alone", "", wrong + "\n" + sha(raw) + "\n", "has no line"},
		{"contradiction", "", wrong + "  a/disk.img\n" + sha(raw) + "  b/disk.img\n", `has 2 different md5, sha256 or sha512 digests for "disk.img"`},
		{"wrong algorithm", "sha512", sha(raw) + "  disk.img\n", "has no line with a sha512"},
		{"html", "", "<html>not found</html>", "has no line"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, nil)
			s := Source{URL: r.file("/pub/disk.img", raw), Checksum: r.file("/pub/SUMS", []byte(tt.file)), ChecksumType: tt.kind}
			_, _, err := r.Prepare(t.Context(), s, nil)
			if tt.part != "" {
				wantError(t, err, CodeChecksumFile, false, tt.part)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("not there", func(t *testing.T) {
		r := newRig(t, nil)
		_, _, err := r.Prepare(t.Context(), Source{URL: r.file("/disk.img", raw), Checksum: r.base + "/SUMS"}, nil)
		wantError(t, err, CodeChecksumFile, false, "/SUMS: the server answers 404")
	})
	t.Run("too large", func(t *testing.T) {
		r := newRig(t, nil)
		_, _, err := r.Prepare(t.Context(), Source{URL: r.file("/disk.img", raw), Checksum: r.file("/S", make([]byte, maxChecksumFile+1))}, nil)
		wantError(t, err, CodeChecksumFile, false, "at most")
	})
}

func TestWeak(t *testing.T) {
	for _, tt := range []struct {
		s    Source
		want bool
	}{
		{Source{Checksum: strings.Repeat("a", 32)}, true},
		{Source{Checksum: "http://x/SUMS", ChecksumType: "md5"}, true},
		{Source{Checksum: sha(nil)}, false},
		{Source{Checksum: "http://x/12345678901234567890.sums"}, false},
	} {
		if got := tt.s.Weak(); got != tt.want {
			t.Errorf("%+v: %t", tt.s, got)
		}
	}
}

// A redirect must not take the check off a connection that had one.
func TestRedirectToPlainHTTP(t *testing.T) {
	r := newRig(t, nil)
	raw := disk()
	plain := r.file("/d", raw)
	srv := httptest.NewTLSServer(http.RedirectHandler(plain, http.StatusFound))
	defer srv.Close()
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	o := r.opts
	o.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	o.Loopback = append(o.Loopback, strings.TrimPrefix(srv.URL, "https://"))
	res, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = res.Prepare(t.Context(), Source{URL: srv.URL + "/x", Checksum: sha(raw)}, nil)
	wantError(t, err, CodeUnreachable, false, "redirect from https to http")

	o.TLS = nil
	if res, err = New(o); err != nil {
		t.Fatal(err)
	}
	_, _, err = res.Prepare(t.Context(), Source{URL: srv.URL + "/x", Checksum: sha(raw)}, nil)
	wantError(t, err, CodeUnreachable, false, "certificate signed by unknown authority")
}

func TestOwnDoor(t *testing.T) {
	r := newRig(t, nil)
	raw := disk()
	d, _, err := r.store.Put(t.Context(), bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	own := "http://10.0.0.1:6180/images/sha256/"
	for _, s := range []Source{
		{URL: own + string(d)},
		{URL: own + string(d), Checksum: string(d)},
		{URL: own + string(d), Checksum: fmt.Sprintf("%x", sha512.Sum512(raw)), Format: FormatRaw},
	} {
		m, _, err := r.Prepare(t.Context(), s, nil)
		if err != nil {
			t.Fatal(err)
		}
		if m.SHA256 != string(d) {
			t.Errorf("sha256 %s", m.SHA256)
		}
	}
	_, _, err = r.Prepare(t.Context(), Source{URL: own + sha(nil)}, nil)
	wantError(t, err, CodeUnreachable, false, "upload it again")
	_, _, err = r.Prepare(t.Context(), Source{URL: own + string(d), Checksum: sha(nil)}, nil)
	wantError(t, err, CodeChecksum, false, "the checksum says")
	_, _, err = r.Prepare(t.Context(), Source{URL: "http://10.0.0.1:6180/boot/ipxe", Checksum: sha(nil)}, nil)
	wantError(t, err, CodeUnreachable, false, "images are under")
}

func TestSecondHostCostsNothing(t *testing.T) {
	r := newRig(t, nil)
	raw := disk()
	s := Source{URL: r.file("/d", raw), Checksum: sha(raw)}
	first, d1, err := r.Prepare(t.Context(), s, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.URL = r.base + "/mirror/that/is/never/asked"
	_, d2, err := r.Prepare(t.Context(), s, nil)
	if err != nil || d1 != d2 || r.hits.Load() != 1 {
		t.Errorf("second: digest %s, want %s; %d requests, error %v", d2, d1, r.hits.Load(), err)
	}
	// A chunk that was lost is made again.
	if err := r.store.Delete(t.Context(), blob.Digest(first.Chunks[1].Digest)); err != nil {
		t.Fatal(err)
	}
	s.URL = r.base + "/d"
	if _, _, err := r.Prepare(t.Context(), s, nil); err != nil || r.hits.Load() != 2 {
		t.Errorf("after a loss: %d requests, error %v", r.hits.Load(), err)
	}
}

func TestSingleFlight(t *testing.T) {
	r := newRig(t, nil)
	raw := disk()
	begun, release := make(chan struct{}), make(chan struct{})
	s := Source{URL: r.serve("/d", func(w http.ResponseWriter, _ *http.Request) {
		close(begun) // a second request would panic
		<-release
		_, _ = w.Write(raw)
	}), Checksum: sha(raw)}

	first, giveUp := context.WithCancel(t.Context())
	quit := make(chan error, 1)
	go func() { _, _, err := r.Prepare(first, s, nil); quit <- err }()
	<-begun
	joined := make(chan struct{}, 1)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			_, _, err := r.Prepare(t.Context(), s, func(int64, int64) {
				select {
				case joined <- struct{}{}:
				default:
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	waitFor(t, func() bool { return r.flights.waiters(s) == 4 })
	giveUp() // the work goes on for the others
	if err := <-quit; !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up got %v", err)
	}
	close(release)
	wg.Wait()
	<-joined
}

func TestLastCallerEndsTheWork(t *testing.T) {
	r := newRig(t, nil)
	begun, ended := make(chan struct{}), make(chan struct{})
	s := Source{URL: r.serve("/d", func(w http.ResponseWriter, q *http.Request) {
		_, _ = w.Write([]byte("x"))
		w.(http.Flusher).Flush()
		close(begun)
		<-q.Context().Done()
		close(ended)
	}), Checksum: sha(nil)}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	if _, _, err := r.Prepare(ctx, s, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("the fetch goes on though nobody waits")
	}
	waitFor(t, func() bool { return r.store.Used() == 0 })
}

func (fs *flights) waiters(s Source) int {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f := fs.m[s]; f != nil {
		return len(f.waiting)
	}
	return 0
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("condition never held")
		}
	}
}
