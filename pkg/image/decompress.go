package image

import (
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// The ratio guard: past ratioFrom bytes, decoded data may not be ratioMax times
// what it was made of. Disks that are mostly empty reach a few thousand.
const (
	ratioFrom = 4 << 30
	ratioMax  = 20_000
)

// maxWindow bounds the memory of a zstd decoder; zstd --long=27 needs as much.
const maxWindow = 128 << 20

// decompress undoes one compression. Close frees the decoder.
func decompress(kind string, compressed io.Reader, limit int64) (io.ReadCloser, error) {
	in := &countingReader{r: compressed}
	out := &decodedReader{kind: kind, in: in, limit: limit, close: func() {}}
	switch kind {
	case compressGzip:
		r, err := gzip.NewReader(in)
		if err != nil {
			return nil, out.damaged(err)
		}
		out.r = r
	case compressXZ:
		r, err := xz.NewReader(in)
		if err != nil {
			return nil, out.damaged(err)
		}
		out.r = r
	case compressZstd:
		r, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, out.damaged(err)
		}
		out.r, out.close = r, r.Close
	}
	return out, nil
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// decodedReader bounds what a decoder yields and gives its errors a type. A
// stream that ends early must not look like one that ends.
type decodedReader struct {
	kind  string
	in    *countingReader
	r     io.Reader
	n     int64
	limit int64
	close func()
}

func (d *decodedReader) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	d.n += int64(n)
	switch {
	case d.n > d.limit:
		return 0, terminal(CodeTooLarge, "the decompressed image has more than the %d bytes that are allowed", d.limit)
	case d.n > ratioFrom && d.n/ratioMax > d.in.n:
		return 0, terminal(CodeTooLarge, "%d bytes of %s grew to %d: this is no image", d.in.n, d.kind, d.n)
	case err != nil && !errors.Is(err, io.EOF):
		return 0, d.damaged(err)
	case err != nil:
		return n, io.EOF
	}
	return n, nil
}

// Close frees the decoder.
func (d *decodedReader) Close() error {
	d.close()
	return nil
}

func (d *decodedReader) damaged(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return terminal(CodeFormat, "the %s file ends in the middle: it was published incomplete", d.kind)
	}
	return terminal(CodeFormat, "the %s file is damaged: %v", d.kind, err)
}
