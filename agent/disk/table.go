package disk

import (
	"fmt"
	"io"

	"github.com/ingot-metal/ingot/agent/fault"
	api "github.com/ingot-metal/ingot/api/agent"
)

// MiB is what partitions are aligned to.
const MiB = 1 << 20

// layout is what will be written beside the image's own bytes. Plan has already
// changed the image's first chunk to match.
type layout struct {
	gpt          *GPT
	backup       []byte // entries and header for the end of the disk; aligned
	backupOffset int64
	confOffset   int64
	confSize     int64
}

// plan decides where all goes, and changes head (the first chunk) to say so. It
// touches no disk.
func plan(head []byte, d api.Disk, image, conf int64, rand io.Reader) (layout, error) {
	room := (conf + MiB - 1) &^ (MiB - 1)
	other := 512 + 4096 - d.SectorSize
	switch {
	case IsGPT(head, d.SectorSize):
		return planGPT(head, d, room, rand)
	case IsGPT(head, other):
		return layout{}, fault.New(fault.Disk4K, "the image's partition table is for sectors of %d bytes, %s has sectors of %d", other, d.Name, d.SectorSize)
	case conf == 0:
		return layout{}, nil
	case !isMBR(head):
		return layout{}, fault.New(fault.ImageFormat, "the image has no partition table to which a config drive could be added")
	}
	off, err := addMBR(head, d, image, room)
	return layout{confOffset: off, confSize: room}, err
}

func planGPT(head []byte, d api.Disk, room int64, rand io.Reader) (layout, error) {
	g, err := ReadGPT(head, d.SectorSize)
	if err != nil {
		return layout{}, fault.New(fault.ImageFormat, "the image's partition table: %w", err)
	}
	if err := g.Resize(d.Size); err != nil {
		return layout{}, fault.New(fault.DiskSmall, "%w", err)
	}
	lay := layout{gpt: g, confSize: room}
	if room > 0 {
		if lay.confOffset, err = g.Append(ConfigDriveLabel, room, rand); err != nil {
			return layout{}, err
		}
	}
	if err := g.Primary(head); err != nil {
		return layout{}, fault.New(fault.ImageFormat, "the image's partition table: %w", err)
	}
	lay.backup, lay.backupOffset = g.Backup()
	return lay, nil
}

// ConfigDriveLabel names the partition as cloud-init looks for it.
const ConfigDriveLabel = "config-2"

// Master boot record: four entries of 16 bytes (UEFI 2.10, table 5.1).
const (
	mbrEntries   = 446
	mbrEntrySize = 16
	mbrLinux     = 0x83
	mbrProtected = 0xee
)

func isMBR(b []byte) bool {
	if len(b) < 512 || b[510] != 0x55 || b[511] != 0xaa {
		return false
	}
	for i := range 4 {
		// A boot sector of a file system has the same signature, but no entries
		// with these states.
		if s := b[mbrEntries+i*mbrEntrySize]; s != 0 && s != 0x80 {
			return false
		}
	}
	return b[mbrEntries+4] != 0 || b[mbrEntries+mbrEntrySize+4] != 0
}

// addMBR puts a partition at the end of what an MBR can address.
func addMBR(head []byte, d api.Disk, image, room int64) (off int64, err error) {
	sector := int64(d.SectorSize)
	limit := min(d.Size, int64(1)<<32*sector)
	off = (limit - room) &^ (MiB - 1)
	if off < image {
		return 0, fault.New(fault.DiskSmall, "the image has %d bytes and the config drive %d, %s has %d", image, room, d.Name, d.Size)
	}
	for i := range 4 {
		e := head[mbrEntries+i*mbrEntrySize:][:mbrEntrySize]
		if e[4] != 0 {
			continue
		}
		clear(e)
		// Cylinders mean nothing on such disks: FE FF FF as everyone writes.
		copy(e[1:], []byte{0xfe, 0xff, 0xff, mbrLinux, 0xfe, 0xff, 0xff})
		le.PutUint32(e[8:], uint32(off/sector))
		le.PutUint32(e[12:], uint32(room/sector))
		return off, nil
	}
	return 0, fault.New(fault.ImageFormat, "%w", fmt.Errorf("all four partitions of the image's MBR are taken: no room for a config drive"))
}
