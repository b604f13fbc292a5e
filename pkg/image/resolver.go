package image

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/blob"
)

// Options of a Resolver. Store and Index are required.
type Options struct {
	Store *blob.Store
	// Index is a directory for the memory of what was prepared. Losing it costs
	// time, nothing else.
	Index string
	// Own are base URLs of our own boot door (http://10.0.0.1:6180): images
	// under them are read from the store.
	Own []string
	// Loopback lists the host:port on this machine that images may be fetched
	// from; without an entry loopback is refused.
	Loopback []string
	TLS      *tls.Config // trust for https; nil: the system's

	MaxDownload int64         // bytes of a file as served; 0: 64 GiB
	MaxDecoded  int64         // bytes of a raw image; 0: 256 GiB
	Timeout     time.Duration // of one fetch; 0: two hours
	Stall       time.Duration // without a byte; 0: one minute
}

// Resolver prepares images. Its methods may be called at the same time.
type Resolver struct {
	opts     Options
	client   *http.Client
	own      map[string]bool // host:port
	loopback map[string]bool
	flights  flights
	slots    chan struct{} // conversions under way
	// chunkSize is agent.MaxChunk but in tests, which use small images.
	chunkSize int
}

// conversions bounds how many images are fetched and converted at a time: each
// keeps two cores and a disk busy.
const conversions = 2

// New makes a Resolver.
func New(o Options) (*Resolver, error) {
	if o.Store == nil || o.Index == "" {
		return nil, errors.New("image resolver needs a store and an index directory")
	}
	if o.MaxDownload == 0 {
		o.MaxDownload = 64 << 30
	}
	if o.MaxDecoded == 0 {
		o.MaxDecoded = 256 << 30
	}
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Hour
	}
	if o.Stall == 0 {
		o.Stall = time.Minute
	}
	r := &Resolver{opts: o, own: map[string]bool{}, loopback: map[string]bool{}, slots: make(chan struct{}, conversions), chunkSize: agent.MaxChunk}
	for _, base := range o.Own {
		u, err := url.Parse(base)
		if err != nil || u.Hostname() == "" {
			return nil, fmt.Errorf("own URL %q does not parse", base)
		}
		r.own[hostPort(u)] = true
	}
	for _, l := range o.Loopback {
		r.loopback[strings.ToLower(l)] = true
	}
	r.client = r.newClient()
	if err := makeIndex(o.Index); err != nil {
		return nil, err
	}
	return r, nil
}

// Prepare returns the manifest of the image and the digest under which the
// manifest itself lies in the store. Callers that ask for the same source share
// the work, which ends when the last of them gives up. progress is called from
// another goroutine, first with the bytes fetched, then, starting again at 0,
// with the bytes converted; a total of -1 is not known. It must not block.
//
// Errors are *Error, a context's, or those of a failing disk.
func (r *Resolver) Prepare(ctx context.Context, s Source, progress func(done, total int64)) (*agent.Manifest, blob.Digest, error) {
	u, err := s.validate()
	if err != nil {
		return nil, "", err
	}
	if progress == nil {
		progress = func(int64, int64) {}
	}
	p, err := r.flights.do(ctx, s, progress, func(ctx context.Context, progress func(done, total int64)) (prepared, error) {
		return r.prepare(ctx, s, u, progress)
	})
	if err != nil {
		return nil, "", err
	}
	return p.manifest, p.digest, nil
}

// prepared is the outcome of a conversion. It is shared and never changed.
type prepared struct {
	manifest *agent.Manifest
	digest   blob.Digest
}

func (r *Resolver) prepare(ctx context.Context, s Source, u *url.URL, progress func(done, total int64)) (prepared, error) {
	own, isOwn := r.ownBlob(u)
	if !isOwn && r.own[hostPort(u)] {
		return prepared{}, terminal(CodeUnreachable, "%s: this server's images are under %sDIGEST", show(u), imagesPath)
	}
	sum := checksum{ChecksumSHA256, string(own)}
	var err error
	switch {
	case s.Checksum != "":
		if sum, err = r.checksum(ctx, s, u); err != nil {
			return prepared{}, err
		}
	case !isOwn:
		return prepared{}, terminal(CodeChecksum, "the image has no checksum: give its sha256 or the URL of a checksum file")
	}
	key := indexKey(s, sum)
	if p, ok := r.recall(ctx, key); ok {
		return p, nil
	}
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return prepared{}, ctx.Err()
	}
	var src source
	if isOwn {
		src, err = r.openOwn(ctx, own, sum)
	} else {
		src, err = r.download(ctx, u, sum, progress)
	}
	if err != nil {
		return prepared{}, err
	}
	defer src.Close()
	m, err := r.convert(ctx, src, s.Format, progress)
	if err != nil {
		return prepared{}, err
	}
	return r.remember(ctx, key, m)
}

// source is a verified file.
type source struct {
	io.ReaderAt
	io.Closer
	size int64
}

// download spools the file and verifies all of it.
func (r *Resolver) download(ctx context.Context, u *url.URL, want checksum, progress func(done, total int64)) (source, error) {
	spool, err := r.opts.Store.NewSpool()
	if err != nil {
		return source{}, storeError(err)
	}
	src := source{spool, spool, 0}
	var w io.Writer = spool
	digest := func() string { return string(spool.Digest()) } // SHA-256, computed anyway
	if want.kind != ChecksumSHA256 {
		h := newHash(want.kind)
		w = io.MultiWriter(spool, h)
		digest = func() string { return fmt.Sprintf("%x", h.Sum(nil)) }
	}
	if err := r.fetch(ctx, u, w, r.opts.MaxDownload, progress); err != nil {
		_ = spool.Close()
		return source{}, err
	}
	src.size = spool.Size()
	if got := digest(); got != want.hex {
		err := r.mismatch(ctx, src, show(u), got, want)
		_ = spool.Close()
		return source{}, err
	}
	return src, nil
}

// openOwn opens a blob of ours, which is what its name says; only another kind
// of checksum costs reading it.
func (r *Resolver) openOwn(ctx context.Context, d blob.Digest, want checksum) (source, error) {
	f, size, err := r.opts.Store.Open(ctx, d)
	if errors.Is(err, blob.ErrNotExist) {
		return source{}, terminal(CodeUnreachable, "this server has no image sha256 %s: upload it again", d)
	}
	if err != nil {
		return source{}, err
	}
	ra, ok := f.(io.ReaderAt)
	if !ok {
		_ = f.Close()
		return source{}, errors.New("blob cannot be read at an offset")
	}
	src := source{ra, f, size}
	got := string(d)
	if want.kind != ChecksumSHA256 {
		h := newHash(want.kind)
		if _, err := io.Copy(h, blob.Reader(ctx, f)); err != nil {
			_ = f.Close()
			return source{}, err
		}
		got = fmt.Sprintf("%x", h.Sum(nil))
	}
	if got != want.hex {
		err := r.mismatch(ctx, src, imagesPath+string(d), got, want)
		_ = f.Close()
		return source{}, err
	}
	return src, nil
}

// mismatch says what was found and, the commonest mistake, whether the checksum
// is that of the decompressed file.
func (r *Resolver) mismatch(ctx context.Context, src source, what, got string, want checksum) error {
	// Not retried at once: mirrors change rarely, and a person has to look.
	e := terminal(CodeChecksum, "%s: the file is %s %s, the checksum says %s", what, want.kind, got, want.hex)
	e.Facts = map[string]string{"got": got}
	kind, err := sniffCompression(head(src))
	if err != nil || kind == "" {
		return e
	}
	d, err := decompress(kind, io.NewSectionReader(src, 0, src.size), r.opts.MaxDecoded)
	if err != nil {
		return e
	}
	defer d.Close()
	h := newHash(want.kind)
	if _, err := io.Copy(h, blob.Reader(ctx, d)); err == nil && fmt.Sprintf("%x", h.Sum(nil)) == want.hex {
		e.Message += fmt.Sprintf("; that is the checksum of the decompressed file: give the one of the %s file as it is served", kind)
		e.Facts["form"] = "decompressed"
	}
	return e
}

// convert decodes a verified file into chunks.
func (r *Resolver) convert(ctx context.Context, src source, declared string, progress func(done, total int64)) (*agent.Manifest, error) {
	first := head(src)
	kind, err := sniffCompression(first)
	if err != nil {
		return nil, err
	}
	if kind == "" {
		return r.cutDisk(ctx, src, src.size, first, declared, progress)
	}
	d, err := decompress(kind, io.NewSectionReader(src, 0, src.size), r.opts.MaxDecoded)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	first = make([]byte, headSize)
	n, err := io.ReadFull(d, first)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	first = first[:n]
	if again, err := sniffCompression(first); err != nil || again != "" {
		return nil, terminal(CodeFormat, "the image is compressed twice: publish it compressed once")
	}
	format, err := sniffFormat(first, declared)
	if err != nil {
		return nil, err
	}
	rest := io.MultiReader(strings.NewReader(string(first)), d)
	if format == FormatRaw {
		return cut(ctx, r.opts.Store, rest, r.chunkSize, -1, progress)
	}
	// qcow2 is read at offsets, so it is spooled once more.
	spool, err := r.opts.Store.NewSpool()
	if err != nil {
		return nil, storeError(err)
	}
	defer spool.Close()
	if _, err := io.Copy(spool, blob.Reader(ctx, rest)); err != nil {
		return nil, storeError(err)
	}
	return r.cutDisk(ctx, spool, spool.Size(), first, declared, progress)
}

// cutDisk cuts a file that is not compressed.
func (r *Resolver) cutDisk(ctx context.Context, ra io.ReaderAt, size int64, first []byte, declared string, progress func(done, total int64)) (*agent.Manifest, error) {
	format, err := sniffFormat(first, declared)
	if err != nil {
		return nil, err
	}
	var raw io.Reader = io.NewSectionReader(ra, 0, size)
	if format == FormatQCOW2 {
		if raw, size, err = openQCOW2(ra, size, r.opts.MaxDecoded); err != nil {
			return nil, err
		}
	}
	if size > r.opts.MaxDecoded {
		return nil, terminal(CodeTooLarge, "the image has %d bytes, at most %d are allowed", size, r.opts.MaxDecoded)
	}
	return cut(ctx, r.opts.Store, raw, r.chunkSize, size, progress)
}

// head is what a file begins with.
func head(src source) []byte {
	b := make([]byte, headSize)
	n, _ := src.ReadAt(b, 0) // a short or failing read shows when the file is read
	return b[:n]
}

// References lists the manifest and the chunks it needs, for blob.Store.Sweep.
func References(ctx context.Context, store *blob.Store, manifest blob.Digest) ([]blob.Digest, error) {
	m, err := readManifest(ctx, store, manifest)
	if err != nil {
		return nil, err
	}
	out := []blob.Digest{manifest}
	for _, c := range m.Chunks {
		out = append(out, blob.Digest(c.Digest))
	}
	return out, nil
}

func readManifest(ctx context.Context, store *blob.Store, d blob.Digest) (*agent.Manifest, error) {
	f, _, err := store.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var m agent.Manifest
	if err := json.NewDecoder(f).Decode(&m); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d, err)
	}
	return &m, nil
}

// Chunks are the blobs of which the image with a manifest consists.
func Chunks(ctx context.Context, store *blob.Store, manifest blob.Digest) ([]blob.Digest, error) {
	m, err := readManifest(ctx, store, manifest)
	if err != nil {
		return nil, err
	}
	chunks := make([]blob.Digest, len(m.Chunks))
	for i, c := range m.Chunks {
		chunks[i] = blob.Digest(c.Digest)
	}
	return chunks, nil
}
