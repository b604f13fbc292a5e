package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"unicode/utf16"

	"github.com/ingot-metal/ingot/agent/fault"
)

var le = binary.LittleEndian

// Type GUIDs as they lie on disk: the first three fields are little-endian
// (UEFI 2.10, appendix A).
var (
	typeLinux = guid{0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4}
	typeESP   = guid{0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b}
)

type guid [16]byte

// GPT is a partition table (UEFI 2.10, §5.3), as much of it as moving it to
// another disk needs.
type GPT struct {
	sector      int64
	disk        int64 // bytes
	header      []byte
	entries     []byte // number times size
	size        int64  // of an entry
	firstUsable int64
	lastUsable  int64
}

// Partition of a GPT.
type Partition struct {
	Number int // from 1
	GUID   [16]byte
	First  int64 // sector
	Last   int64
}

const (
	gptSignature  = "EFI PART"
	gptHeaderSize = 92
	maxEntries    = 1 << 20 // bytes; the usual table has 16 KiB
)

// IsGPT tells whether b, the start of a disk with such sectors, has the
// signature.
func IsGPT(b []byte, sector int) bool {
	return len(b) >= sector+gptHeaderSize && string(b[sector:sector+8]) == gptSignature
}

// ReadGPT reads and verifies the primary table at the start of a disk.
func ReadGPT(b []byte, sector int) (*GPT, error) {
	if !IsGPT(b, sector) {
		return nil, errors.New("no GPT")
	}
	h := bytes.Clone(b[sector : sector+gptHeaderSize])
	if n := le.Uint32(h[12:]); n < gptHeaderSize || int(n) > sector || len(b) < sector+int(n) {
		return nil, fmt.Errorf("header of %d bytes", n)
	}
	full := bytes.Clone(b[sector : sector+int(le.Uint32(h[12:]))])
	want := le.Uint32(full[16:])
	le.PutUint32(full[16:], 0)
	if crc32.ChecksumIEEE(full) != want {
		return nil, errors.New("checksum of the header is wrong")
	}
	at, num, size := le.Uint64(h[72:]), int64(le.Uint32(h[80:])), int64(le.Uint32(h[84:]))
	total := num * size
	if size < 128 || size%128 != 0 || num < 1 || total > maxEntries || size > maxEntries {
		return nil, fmt.Errorf("%d entries of %d bytes", num, size)
	}
	if at < 2 || at > uint64(len(b)) || int64(at)*int64(sector)+total > int64(len(b)) {
		return nil, fmt.Errorf("entries at sector %d, outside the first chunk", at)
	}
	entries := bytes.Clone(b[int64(at)*int64(sector):][:total])
	if crc32.ChecksumIEEE(entries) != le.Uint32(h[88:]) {
		return nil, errors.New("checksum of the entries is wrong")
	}
	g := &GPT{sector: int64(sector), header: h, entries: entries, size: size, firstUsable: int64(le.Uint64(h[40:])), lastUsable: int64(le.Uint64(h[48:]))}
	for _, p := range g.Partitions() {
		if p.First < g.firstUsable || p.Last < p.First || p.Last > g.lastUsable {
			return nil, fmt.Errorf("partition %d from sector %d to %d is outside the disk", p.Number, p.First, p.Last)
		}
	}
	return g, nil
}

// Partitions in order of number.
func (g *GPT) Partitions() (out []Partition) {
	for i := range len(g.entries) / int(g.size) {
		e := g.entries[i*int(g.size):]
		if guid(e[:16]) == (guid{}) {
			continue
		}
		out = append(out, Partition{Number: i + 1, GUID: guid(e[16:32]), First: int64(le.Uint64(e[32:])), Last: int64(le.Uint64(e[40:]))})
	}
	return out
}

// ESP is the EFI system partition.
func (g *GPT) ESP() (Partition, bool) {
	for _, p := range g.Partitions() {
		if guid(g.entries[(p.Number-1)*int(g.size):][:16]) == typeESP {
			return p, true
		}
	}
	return Partition{}, false
}

// Resize fits the table to a disk: the backup moves to its end.
func (g *GPT) Resize(disk int64) error {
	g.disk = disk / g.sector * g.sector
	g.lastUsable = g.backupEntries() - 1
	for _, p := range g.Partitions() {
		if p.Last > g.lastUsable {
			return fmt.Errorf("partition %d ends at byte %d, the disk's last usable one is %d", p.Number, (p.Last+1)*g.sector, (g.lastUsable+1)*g.sector)
		}
	}
	if g.lastUsable < g.firstUsable {
		return fmt.Errorf("no usable sector on %d bytes", disk)
	}
	return nil
}

// backupEntries is the sector of the backup's entries. They begin on a 4 KiB
// boundary, so that they can be written with O_DIRECT as they are.
func (g *GPT) backupEntries() int64 {
	bytes := g.disk - g.sector - (int64(len(g.entries))+g.sector-1)/g.sector*g.sector
	return (bytes &^ (Align - 1)) / g.sector
}

// Append adds a partition of Linux data at the end of the disk and returns its
// offset in bytes.
func (g *GPT) Append(label string, size int64, rand io.Reader) (int64, error) {
	off := ((g.lastUsable+1)*g.sector - size) &^ (MiB - 1)
	end := g.firstUsable * g.sector
	free := -1
	for i := range len(g.entries) / int(g.size) {
		e := g.entries[i*int(g.size):]
		if guid(e[:16]) != (guid{}) {
			end = max(end, (int64(le.Uint64(e[40:]))+1)*g.sector)
		} else if free < 0 {
			free = i
		}
	}
	if off < end {
		return 0, fault.New(fault.DiskSmall, "the partitions end at byte %d: no room for a config drive of %d bytes before %d", end, size, (g.lastUsable+1)*g.sector)
	}
	if free < 0 {
		return 0, fault.New(fault.ImageFormat, "the image's partition table is full: no entry for a config drive")
	}
	var id guid
	if _, err := io.ReadFull(rand, id[:]); err != nil {
		return 0, err
	}
	id[7], id[8] = id[7]&0x0f|0x40, id[8]&0x3f|0x80 // RFC 9562, version 4
	e := g.entries[free*int(g.size):][:g.size]
	clear(e)
	copy(e, typeLinux[:])
	copy(e[16:], id[:])
	le.PutUint64(e[32:], uint64(off/g.sector))
	le.PutUint64(e[40:], uint64((off+size)/g.sector-1))
	for i, c := range utf16.Encode([]rune(label)) {
		le.PutUint16(e[56+2*i:], c)
	}
	return off, nil
}

// Primary writes the table into b, the start of the disk, and fits the
// protective MBR.
func (g *GPT) Primary(b []byte) error {
	at := int64(le.Uint64(g.header[72:]))
	copy(b[at*g.sector:], g.entries)
	sector := b[g.sector : 2*g.sector]
	clear(sector)
	copy(sector, g.head(1, g.disk/g.sector-1, at))
	// UEFI 2.10, table 5.4. Other entries (a hybrid MBR) are the image's.
	last := min(g.disk/g.sector-1, 0xffffffff)
	b[510], b[511] = 0x55, 0xaa
	for i := range 4 {
		if e := b[mbrEntries+i*mbrEntrySize:]; e[4] == mbrProtected {
			first := int64(le.Uint32(e[8:]))
			if first < 1 || first > last {
				return fmt.Errorf("protective MBR begins at sector %d", first)
			}
			le.PutUint32(e[12:], uint32(min(last-first+1, 0xffffffff)))
			return nil
		}
	}
	e := b[mbrEntries:][:mbrEntrySize]
	if e[4] != 0 {
		return nil // a hybrid MBR without protection; leave it be
	}
	copy(e, []byte{0, 0, 2, 0, mbrProtected, 0xff, 0xff, 0xff, 1, 0, 0, 0})
	le.PutUint32(e[12:], uint32(last))
	return nil
}

// Backup is the table's second copy, and where it goes.
func (g *GPT) Backup() ([]byte, int64) {
	off := g.backupEntries() * g.sector
	b := Buffer(int(g.disk - off))[:g.disk-off]
	copy(b, g.entries)
	copy(b[int64(len(b))-g.sector:], g.head(g.disk/g.sector-1, 1, g.backupEntries()))
	return b, off
}

// head is the header for one of the two places.
func (g *GPT) head(mine, other, entries int64) []byte {
	h := bytes.Clone(g.header)
	le.PutUint32(h[12:], gptHeaderSize)
	le.PutUint64(h[24:], uint64(mine))
	le.PutUint64(h[32:], uint64(other))
	le.PutUint64(h[48:], uint64(g.lastUsable))
	le.PutUint64(h[72:], uint64(entries))
	le.PutUint32(h[88:], crc32.ChecksumIEEE(g.entries))
	le.PutUint32(h[16:], 0)
	le.PutUint32(h[16:], crc32.ChecksumIEEE(h))
	return h
}
