package raid

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Super is a version 1 superblock (include/uapi/linux/raid/md_p.h, struct
// mdp_superblock_1), as much of it as a new array has. Lengths are in units of
// 512 bytes.
type Super struct {
	Minor      int // 0: at the end of the device; 2: 4 KiB from its start
	UUID       [16]byte
	Name       string
	Created    time.Time
	Level      int // 0, 1, 10
	Layout     uint32
	Chunk      uint32
	Size       uint64 // used of each member; 0 in RAID 0
	Disks      int
	DataOffset uint64
	DataSize   uint64
	At         uint64 // of the superblock on its device
	Number     int    // of this member
	Device     [16]byte
	Events     uint64
	Resync     uint64 // in sync up to here; Synced: all
}

// Synced is Super.Resync of an array whose members need no first synchronisation.
const Synced = ^uint64(0)

// Layouts and the feature that says that RAID 0 has one.
const (
	layoutNear2    = 0x102 // RAID 10: two copies, side by side
	layoutRAID0    = 2     // RAID0_ALT_MULTIZONE_LAYOUT; for equal members all are the same
	featureLayout0 = 1 << 12
)

const (
	superMagic = 0xa92b4efc
	superFixed = 256
	superSize  = 4096 // of the block that holds it
	maxRoles   = 128  // as many as we make room for
	mostRoles  = (superSize - superFixed) / 2
	roleSpare  = 0xffff
	unit       = 512
)

var le = binary.LittleEndian

// superAt is where the superblock of a device with so many units lies
// (drivers/md/md.c, super_1_load).
func superAt(minor int, units uint64) uint64 {
	if minor == 0 {
		return (units - 16) &^ 7
	}
	return 8
}

// Encode writes the block. Member n of the array has role n.
func (s Super) Encode() []byte {
	b := make([]byte, superSize)
	le.PutUint32(b[0:], superMagic)
	le.PutUint32(b[4:], 1)
	if s.Level == 0 {
		le.PutUint32(b[8:], featureLayout0)
	}
	copy(b[16:32], s.UUID[:])
	copy(b[32:64], s.Name)
	le.PutUint64(b[64:], uint64(s.Created.Unix()))
	le.PutUint32(b[72:], uint32(s.Level))
	le.PutUint32(b[76:], s.Layout)
	le.PutUint64(b[80:], s.Size)
	le.PutUint32(b[88:], s.Chunk)
	le.PutUint32(b[92:], uint32(s.Disks))
	le.PutUint64(b[128:], s.DataOffset)
	le.PutUint64(b[136:], s.DataSize)
	le.PutUint64(b[144:], s.At)
	le.PutUint32(b[160:], uint32(s.Number))
	copy(b[168:184], s.Device[:])
	le.PutUint64(b[192:], uint64(s.Created.Unix()))
	le.PutUint64(b[200:], s.Events)
	le.PutUint64(b[208:], s.Resync)
	le.PutUint32(b[220:], maxRoles)
	for i := range maxRoles {
		role := uint16(roleSpare)
		if i < s.Disks {
			role = uint16(i)
		}
		le.PutUint16(b[superFixed+2*i:], role)
	}
	le.PutUint32(b[216:], checksum(b[:superFixed+2*maxRoles]))
	return b
}

// checksum is calc_sb_1_csum: the sum of 32 bit words, folded once.
func checksum(b []byte) uint32 {
	var sum uint64
	for i := 0; i+4 <= len(b); i += 4 {
		if i != 216 {
			sum += uint64(le.Uint32(b[i:]))
		}
	}
	if len(b)%4 == 2 {
		sum += uint64(le.Uint16(b[len(b)-2:]))
	}
	return uint32(sum&0xffffffff) + uint32(sum>>32)
}

// errNone says that there is no superblock.
var errNone = errors.New("no md superblock")

// Parse reads the superblock in block b of a device with so many units. What does
// not belong there (it was copied, or is of a partition that ends where its disk
// does) is refused.
func Parse(b []byte, minor int, units uint64) (Super, error) {
	if len(b) < superSize || le.Uint32(b) != superMagic || le.Uint32(b[4:]) != 1 {
		return Super{}, errNone
	}
	roles := le.Uint32(b[220:])
	if roles > mostRoles {
		return Super{}, fmt.Errorf("%d roles: want at most %d", roles, mostRoles)
	}
	if got, want := le.Uint32(b[216:]), checksum(b[:superFixed+2*int(roles)]); got != want {
		return Super{}, fmt.Errorf("checksum %08x: want %08x", got, want)
	}
	name, _, _ := bytes.Cut(b[32:64], []byte{0})
	s := Super{
		Minor: minor, UUID: [16]byte(b[16:32]), Name: string(name),
		Created: time.Unix(int64(le.Uint64(b[64:])&(1<<40-1)), 0),
		Level:   int(int32(le.Uint32(b[72:]))), Layout: le.Uint32(b[76:]), Size: le.Uint64(b[80:]),
		Chunk: le.Uint32(b[88:]), DataOffset: le.Uint64(b[128:]), DataSize: le.Uint64(b[136:]), At: le.Uint64(b[144:]),
		Device: [16]byte(b[168:184]), Events: le.Uint64(b[200:]), Resync: le.Uint64(b[208:]),
	}
	disks, number := le.Uint32(b[92:]), le.Uint32(b[160:])
	switch {
	case units < 64 || s.At != superAt(minor, units):
		return Super{}, fmt.Errorf("superblock for sector %d, not for here", s.At)
	case disks > mostRoles || number >= roles:
		return Super{}, fmt.Errorf("member %d of %d, with %d roles", number, disks, roles)
	case s.DataOffset > units || s.DataSize > units-s.DataOffset:
		return Super{}, fmt.Errorf("%d sectors of data from sector %d on a device of %d", s.DataSize, s.DataOffset, units)
	}
	s.Disks, s.Number = int(disks), int(number)
	return s, nil
}
