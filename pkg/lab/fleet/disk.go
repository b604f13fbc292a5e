package fleet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

// pageSize is the grain in which disks share what they hold.
const pageSize = 256 << 10

// errDead is what a disk answers to an agent whose machine has been switched off.
var errDead = errors.New("the machine is off")

type pageID [sha256.Size]byte

// pages holds the content of all disks of a fleet, each distinct page once: a
// thousand machines with one image take the memory of one.
type pages struct {
	mu      sync.Mutex
	data    map[pageID]*page
	digests map[pageID]string // by content list: the digest of a whole disk
}

type page struct {
	bytes []byte
	uses  int
}

func newPages() *pages {
	return &pages{data: map[pageID]*page{}, digests: map[pageID]string{}}
}

// put keeps a copy of p and counts one use.
func (s *pages) put(p []byte) pageID {
	id := pageID(sha256.Sum256(p))
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.data[id]; known != nil {
		known.uses++
	} else {
		s.data[id] = &page{bytes: bytes.Clone(p), uses: 1}
	}
	return id
}

func (s *pages) get(id pageID) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data[id].bytes // never changed once it is stored
}

func (s *pages) drop(id pageID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.data[id]
	if known.uses--; known.uses == 0 {
		delete(s.data, id)
	}
}

// disk is the content of one pretended disk. Pages that were never written, or
// written with zeros, read as zero and take no memory.
type disk struct {
	size  int64
	store *pages

	mu      sync.Mutex
	content map[int64]pageID // by page number
	image   string           // digest of the image that was written whole, or empty
	drive   []byte           // the config drive behind it
}

func newDisk(store *pages, size int64) *disk {
	return &disk{size: size, store: store, content: map[int64]pageID{}}
}

// writeAt writes p at off unless ctx, the run of the machine, has ended.
func (d *disk) writeAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > d.size {
		return 0, fmt.Errorf("write of %d bytes at %d: the disk ends at %d", len(p), off, d.size)
	}
	done := 0
	for done < len(p) {
		number, within := (off+int64(done))/pageSize, (off+int64(done))%pageSize
		n := min(len(p)-done, pageSize-int(within))
		if err := d.writePage(ctx, number, int(within), p[done:done+n]); err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

func (d *disk) writePage(ctx context.Context, number int64, within int, p []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if ctx.Err() != nil { // under the lock: after a power-off nothing more arrives
		return errDead
	}
	old, had := d.content[number]
	if len(p) < pageSize {
		whole := make([]byte, pageSize)
		if had {
			copy(whole, d.store.get(old))
		}
		copy(whole[within:], p)
		p = whole
	}
	if isZero(p) {
		delete(d.content, number)
	} else {
		d.content[number] = d.store.put(p)
	}
	if had {
		d.store.drop(old)
	}
	return nil
}

func isZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}

// readAt fills p from off.
func (d *disk) readAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= d.size {
		return 0, io.EOF
	}
	var err error
	if rest := d.size - off; int64(len(p)) > rest {
		p, err = p[:rest], io.EOF
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for done := 0; done < len(p); {
		number, within := (off+int64(done))/pageSize, int((off+int64(done))%pageSize)
		n := min(len(p)-done, pageSize-within)
		if id, ok := d.content[number]; ok {
			copy(p[done:done+n], d.store.get(id)[within:])
		} else {
			clear(p[done : done+n])
		}
		done += n
	}
	return len(p), err
}

// erase empties the disk.
func (d *disk) erase(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if ctx.Err() != nil {
		return errDead
	}
	for _, id := range d.content {
		d.store.drop(id)
	}
	clear(d.content)
	d.image, d.drive = "", nil
	return nil
}

// setImage says which image the disk holds; empty while one is being written.
func (d *disk) setImage(ctx context.Context, digest string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if ctx.Err() != nil {
		return errDead
	}
	d.image = digest
	return nil
}

// setDrive says which config drive stands behind the image.
func (d *disk) setDrive(ctx context.Context, drive []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if ctx.Err() != nil {
		return errDead
	}
	d.drive = drive
	return nil
}

func (d *disk) bootable() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.image
}

// digest returns the SHA-256 of the first size bytes, computed from what was
// written and remembered for other disks with the same content.
func (d *disk) digest(size int64) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	numbers := make([]int64, 0, len(d.content))
	for n := range d.content {
		if n*pageSize < size {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	list := sha256.New()
	_ = binary.Write(list, binary.BigEndian, size)
	for _, n := range numbers {
		_ = binary.Write(list, binary.BigEndian, n)
		id := d.content[n]
		list.Write(id[:])
	}
	key := pageID(list.Sum(nil))
	d.store.mu.Lock()
	known := d.store.digests[key]
	d.store.mu.Unlock()
	if known != "" {
		return known
	}
	sum := sha256.New()
	zero := make([]byte, pageSize)
	for n := int64(0); n*pageSize < size; n++ {
		text := zero
		if id, ok := d.content[n]; ok {
			text = d.store.get(id)
		}
		sum.Write(text[:min(pageSize, size-n*pageSize)])
	}
	found := hex.EncodeToString(sum.Sum(nil))
	d.store.mu.Lock()
	d.store.digests[key] = found
	d.store.mu.Unlock()
	return found
}
