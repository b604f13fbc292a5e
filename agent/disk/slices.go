package disk

import (
	"fmt"
	"io"
)

// typeRAID is the type of a partition that is part of an array
// (A19D880F-05FC-4D3B-A006-743F0F84911E).
var typeRAID = guid{0x0f, 0x88, 0x9d, 0xa1, 0xfc, 0x05, 0x3b, 0x4d, 0xa0, 0x06, 0x74, 0x3f, 0x0f, 0x84, 0x91, 0x1e}

// Slice is a partition to be made, in bytes.
type Slice struct {
	Number       int // from 1
	Offset, Size int64
}

// tableEntries is what the usual GPT has room for.
const tableEntries = 128

// blank is a GPT with the partitions of a software RAID.
func blank(sector, disk int64, slices []Slice, rand io.Reader) (*GPT, error) {
	h := make([]byte, gptHeaderSize)
	copy(h, gptSignature)
	le.PutUint32(h[8:], 0x00010000)
	first := 2 + tableEntries*128/sector
	le.PutUint64(h[40:], uint64(first))
	le.PutUint64(h[72:], 2)
	le.PutUint32(h[80:], tableEntries)
	le.PutUint32(h[84:], 128)
	id, err := newGUID(rand)
	if err != nil {
		return nil, err
	}
	copy(h[56:], id[:])
	g := &GPT{sector: sector, header: h, entries: make([]byte, tableEntries*128), size: 128, firstUsable: first}
	for _, s := range slices {
		if s.Number < 1 || s.Number > tableEntries || s.Offset%MiB != 0 || s.Size%sector != 0 || s.Size <= 0 {
			return nil, fmt.Errorf("partition %d of %d bytes at %d", s.Number, s.Size, s.Offset)
		}
		if id, err = newGUID(rand); err != nil {
			return nil, err
		}
		e := g.entries[(s.Number-1)*128:][:128]
		copy(e, typeRAID[:])
		copy(e[16:], id[:])
		le.PutUint64(e[32:], uint64(s.Offset/sector))
		le.PutUint64(e[40:], uint64((s.Offset+s.Size)/sector-1))
	}
	return g, g.Resize(disk)
}

func newGUID(rand io.Reader) (id guid, err error) {
	_, err = io.ReadFull(rand, id[:])
	id[7], id[8] = id[7]&0x0f|0x40, id[8]&0x3f|0x80 // RFC 9562, version 4
	return id, err
}

// Partitioned gives the disk a new partition table of parts of software RAID.
func (d *Disk) Partitioned(slices []Slice, rand io.Reader) error {
	g, err := blank(int64(d.Info.SectorSize), d.Info.Size, slices, rand)
	if err != nil {
		return err
	}
	head := Buffer(MiB)
	if err := g.Primary(head); err != nil {
		return err
	}
	b, off := g.Backup()
	if err := d.WriteAt(b, off); err != nil {
		return err
	}
	if err := d.WriteAt(head, 0); err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		return err
	}
	return d.Reread()
}
