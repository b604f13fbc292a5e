package image

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
	"github.com/lima-vm/go-qcow2reader/image/qcow2"
)

const (
	qcow2Magic = "QFI\xfb"
	maxL1      = 32 << 20 // bytes of the L1 table, as in QEMU
)

// Incompatible features (docs/interop/qcow2.txt in QEMU's source).
const (
	featureDirty = 1 << iota
	featureCorrupt
	featureExternalData
	featureCompression
	featureExtendedL2
)

// checkQCOW2 judges the header before any library sees it: what leads out of
// the file (backing and data files), what would make the reader allocate
// without bound, and what it reads only on trial. It returns the disk's size.
func checkQCOW2(ra io.ReaderAt, fileSize, limit int64) (int64, error) {
	h := make([]byte, 104)
	n, err := ra.ReadAt(h, 0)
	if n < 72 {
		return 0, terminal(CodeFormat, "the qcow2 header is cut short: %v", err)
	}
	be := binary.BigEndian
	var features uint64
	switch version := be.Uint32(h[4:]); version {
	case 2:
	case 3:
		features = be.Uint64(h[72:])
	default:
		return 0, terminal(CodeFormat, "qcow2 version %d is unknown", version)
	}
	size, l1Entries, l1Offset := be.Uint64(h[24:]), uint64(be.Uint32(h[36:])), be.Uint64(h[40:])
	bits := be.Uint32(h[20:])
	flatten := "flatten it once (qemu-img convert -O qcow2)"
	switch {
	case be.Uint64(h[8:]) != 0:
		return 0, terminal(CodeFormat, "the qcow2 image needs a backing file: %s", flatten)
	case features&featureExternalData != 0:
		return 0, terminal(CodeFormat, "the qcow2 image keeps its data in another file: %s", flatten)
	case be.Uint32(h[32:]) != 0:
		return 0, terminal(CodeFormat, "the qcow2 image is encrypted: decrypt it once (qemu-img convert)")
	case features&(featureDirty|featureCorrupt) != 0:
		return 0, terminal(CodeFormat, "the qcow2 image was not closed cleanly: repair it (qemu-img check -r all)")
	case features&featureExtendedL2 != 0:
		return 0, terminal(CodeFormat, "the qcow2 image has extended L2 entries: %s", flatten)
	case features>>5 != 0:
		return 0, terminal(CodeFormat, "the qcow2 image uses unknown features %#x: %s", features, flatten)
	case bits < 9 || bits > 21:
		return 0, terminal(CodeFormat, "the qcow2 image has clusters of 2^%d bytes", bits)
	case size == 0:
		return 0, terminal(CodeFormat, "the qcow2 image is of an empty disk")
	case size > uint64(limit):
		return 0, terminal(CodeTooLarge, "the qcow2 image is of a disk of %d bytes, at most %d are allowed", size, limit)
	}
	// One L1 entry covers one table of 8-byte entries, each one cluster.
	perEntry := uint64(1) << (bits + bits - 3)
	if need := (size + perEntry - 1) / perEntry; l1Entries < need || l1Entries*8 > maxL1 {
		return 0, terminal(CodeFormat, "the qcow2 image has an L1 table of %d entries", l1Entries)
	}
	if l1Offset > uint64(fileSize) || l1Offset+l1Entries*8 > uint64(fileSize) {
		return 0, terminal(CodeFormat, "the qcow2 file ends in the middle: it was published incomplete")
	}
	return int64(size), nil
}

// openQCOW2 returns the disk inside a qcow2 file.
func openQCOW2(ra io.ReaderAt, fileSize, limit int64) (io.Reader, int64, error) {
	size, err := checkQCOW2(ra, fileSize, limit)
	if err != nil {
		return nil, 0, err
	}
	registerDecompressors()
	disk := &qcow2Disk{}
	err = disk.guard(func() error {
		// Hidden behind a plain ReaderAt: the library opens backing files of
		// what has a Name. None is left at this point anyway.
		img, err := qcow2.Open(struct{ io.ReaderAt }{ra}, nil)
		if err != nil {
			return err
		}
		disk.img = img
		return img.Readable()
	})
	if err != nil {
		return nil, 0, err
	}
	return io.NewSectionReader(disk, 0, size), size, nil
}

// qcow2Disk gives the reader's errors a type.
type qcow2Disk struct{ img *qcow2.Qcow2 }

// ReadAt reads from the disk inside the image.
func (d *qcow2Disk) ReadAt(p []byte, off int64) (n int, err error) {
	err = d.guard(func() error {
		n, err = d.img.ReadAt(p, off)
		if errors.Is(err, io.EOF) && n == len(p) {
			return nil
		}
		return err
	})
	return n, err
}

// guard turns a panic of the library on a malformed file into an error: a
// file from the network must not end the server.
func (d *qcow2Disk) guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = terminal(CodeFormat, "the qcow2 image is malformed: %v", r)
		}
	}()
	if err := f(); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return terminal(CodeFormat, "the qcow2 file ends in the middle: it was published incomplete")
		}
		return terminal(CodeFormat, "the qcow2 image cannot be read: %v", err)
	}
	return nil
}

// registerDecompressors hands the library our decoders, once per process since
// its table is global: zstd, for which it has none, and a deflate that fills
// the buffer, where the library's would start the cluster over for every read.
var registerDecompressors = sync.OnceFunc(func() {
	zstds := &sync.Pool{}
	qcow2.SetDecompressor(qcow2.CompressionTypeZstd, func(r io.Reader) (io.ReadCloser, error) {
		d, ok := zstds.Get().(*zstd.Decoder)
		if !ok {
			var err error
			// A cluster is at most 2 MiB, and so is what its frame refers back to.
			if d, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20)); err != nil {
				return nil, fmt.Errorf("zstd: %w", err)
			}
		}
		if err := d.Reset(r); err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
		return &clusterReader{r: d, free: func() { _ = d.Reset(nil); zstds.Put(d) }}, nil
	})
	flates := &sync.Pool{}
	qcow2.SetDecompressor(qcow2.CompressionTypeZlib, func(r io.Reader) (io.ReadCloser, error) {
		d, ok := flates.Get().(io.Reader)
		if !ok {
			d = flate.NewReader(nil)
		}
		if err := d.(flate.Resetter).Reset(r, nil); err != nil {
			return nil, fmt.Errorf("deflate: %w", err)
		}
		return &clusterReader{r: d, free: func() { flates.Put(d) }}, nil
	})
})

// clusterReader yields a cluster in one Read.
type clusterReader struct {
	r    io.Reader
	free func()
}

func (c *clusterReader) Read(p []byte) (int, error) {
	n, err := io.ReadFull(c.r, p)
	if n > 0 {
		return n, nil
	}
	return n, err
}

func (c *clusterReader) Close() error {
	c.free()
	return nil
}
