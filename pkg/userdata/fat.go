package userdata

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
)

// A small writer of FAT12 and FAT16 (Microsoft's FAT specification 1.03) with
// sectors and clusters of 4,096 bytes, for disks whose own sectors are that
// large: Linux mounts no ISO 9660 from them, since its 2,048-byte blocks are
// smaller than the device's.
const (
	fatSector  = 4096
	fatRoot    = fatSector / 32 // entries of the root directory: one sector
	fatMax12   = 4084           // clusters; more makes it FAT16 (section 3.5)
	fatMinimum = 64             // clusters, so that tools take it for a file system
)

// fat is a file system being laid out.
type fat struct {
	chains [][2]int // first and last cluster of each file and directory
	data   []byte   // the cluster area; its first byte is cluster 2
}

// writeFAT lays the tree out. Files that share bytes are stored once each: a
// cluster chain belongs to one name.
func writeFAT(label string, root *directory) []byte {
	f := &fat{}
	rootDir := append(f.entry(label, 0x08, 0, 0), f.directory(root, 0)...)

	clusters := max(len(f.data)/fatSector, fatMinimum)
	bits := 12
	if clusters > fatMax12 {
		bits = 16
	}
	tableSectors := ((clusters+2)*bits/8 + fatSector) / fatSector
	total := 1 + 2*tableSectors + 1 + clusters

	image := make([]byte, total*fatSector)
	le := binary.LittleEndian
	copy(image, "\xeb\x3c\x90MSWIN4.1")
	le.PutUint16(image[11:], fatSector)
	image[13] = 1               // sectors per cluster
	le.PutUint16(image[14:], 1) // reserved sectors
	image[16] = 2               // FATs
	le.PutUint16(image[17:], fatRoot)
	le.PutUint16(image[19:], uint16(total)) // at most 64 MiB: it fits
	image[21] = 0xf8
	le.PutUint16(image[22:], uint16(tableSectors))
	le.PutUint16(image[24:], 32) // geometry, which nobody uses
	le.PutUint16(image[26:], 64)
	image[36], image[38] = 0x80, 0x29
	le.PutUint32(image[39:], 0x696e676f) // volume id: always the same
	copy(image[43:54], padded(label, 11))
	copy(image[54:62], padded(fmt.Sprintf("FAT%d", bits), 8))
	image[510], image[511] = 0x55, 0xaa

	for n := range 2 {
		table := image[(1+n*tableSectors)*fatSector:][:tableSectors*fatSector]
		set := func(cluster, value int) { setFAT(table, bits, cluster, value) }
		set(0, 0xfff8)
		set(1, 0xffff)
		for _, c := range f.chains {
			for i := c[0]; i < c[1]; i++ {
				set(i, i+1)
			}
			set(c[1], 0xffff)
		}
	}
	copy(image[(1+2*tableSectors)*fatSector:], rootDir)
	copy(image[(2+2*tableSectors)*fatSector:], f.data)
	return image
}

func setFAT(table []byte, bits, cluster, value int) {
	if bits == 16 {
		binary.LittleEndian.PutUint16(table[2*cluster:], uint16(value))
		return
	}
	// Two entries of 12 bits share three bytes (section 4.1).
	at := cluster * 3 / 2
	if cluster%2 == 0 {
		table[at] = byte(value)
		table[at+1] = table[at+1]&0xf0 | byte(value>>8)&0x0f
	} else {
		table[at] = table[at]&0x0f | byte(value<<4)
		table[at+1] = byte(value >> 4)
	}
}

// reserve takes n clusters in a row and returns the first.
func (f *fat) reserve(n int) int {
	first := 2 + len(f.data)/fatSector
	f.data = append(f.data, make([]byte, n*fatSector)...)
	f.chains = append(f.chains, [2]int{first, first + n - 1})
	return first
}

func (f *fat) write(cluster int, b []byte) { copy(f.data[(cluster-2)*fatSector:], b) }

// directory stores what is below d and returns its entries; self is d's own
// cluster, 0 for the root.
func (f *fat) directory(d *directory, self int) []byte {
	var b []byte
	for _, sub := range d.subdirs {
		at := f.reserve(1)
		dots := append(f.entry(".", 0x10, at, 0), f.entry("..", 0x10, self, 0)...)
		f.write(at, append(dots, f.directory(sub, at)...))
		b = append(b, f.named(sub.name, 0x10, at, 0, len(b))...)
	}
	for _, file := range d.files {
		at := 0
		if len(file.data) > 0 {
			at = f.reserve((len(file.data) + fatSector - 1) / fatSector)
			f.write(at, file.data)
		}
		b = append(b, f.named(file.name, 0x01, at, len(file.data), len(b))...)
	}
	return b
}

// entry is a directory entry with a name of 8.3 or a label (section 6).
func (f *fat) entry(name string, attr byte, cluster, size int) []byte {
	b := make([]byte, 32)
	copy(b, padded(name, 11))
	b[11] = attr
	const date = 20<<9 | 1<<5 | 1 // 2000-01-01, always the same
	for _, at := range []int{16, 18, 24} {
		binary.LittleEndian.PutUint16(b[at:], date)
	}
	binary.LittleEndian.PutUint16(b[26:], uint16(cluster))
	binary.LittleEndian.PutUint32(b[28:], uint32(size))
	return b
}

// named is an entry with its long name before it (section 7). at makes the
// short names of one directory differ.
func (f *fat) named(name string, attr byte, cluster, size, at int) []byte {
	short := fmt.Sprintf("INGOT%03d   ", at/32)
	var sum byte
	for i := range 11 {
		sum = sum>>1 | sum<<7 + short[i]
	}
	units := utf16.Encode([]rune(name))
	parts := (len(units) + 12) / 13
	if len(units)%13 != 0 {
		units = append(units, 0)
	}
	for len(units) < 13*parts {
		units = append(units, 0xffff)
	}
	var b []byte
	for i := parts; i > 0; i-- {
		e := make([]byte, 32)
		e[0], e[11], e[13] = byte(i), 0x0f, sum
		if i == parts {
			e[0] |= 0x40
		}
		for j, u := range units[13*(i-1) : 13*i] {
			binary.LittleEndian.PutUint16(e[[13]int{1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30}[j]:], u)
		}
		b = append(b, e...)
	}
	return append(b, f.entry(short, attr, cluster, size)...)
}

func padded(s string, n int) string { return (s + strings.Repeat(" ", n))[:n] }
