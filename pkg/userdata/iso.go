package userdata

import (
	"encoding/binary"
	"slices"
	"strings"
	"unicode/utf16"
)

// A small writer of ISO 9660 (ECMA-119) with Rock Ridge names for Linux and a
// Joliet tree for Windows. The ready-made writers need a work directory and
// stamp the time of the day; this one yields the same bytes for the same input.
//
// Sectors: 16 primary descriptor, 17 Joliet descriptor, 18 terminator, 19-22
// path tables, then one sector per directory of either tree, then the files. A
// directory fits one sector because a config drive has few entries each.
const (
	sector          = 2048
	firstDescriptor = 16
	firstDirectory  = 23
)

type file struct {
	name string
	data []byte
}

type directory struct {
	name    string
	files   []file // sorted by name
	subdirs []*directory
}

// node is a directory with its place in one of the two trees.
type node struct {
	dir     *directory
	parent  *node
	number  uint16 // in the path table, from 1
	sector  uint32
	subdirs []*node
}

// tree lists the directories in path table order: by level, then by name
// (ECMA-119, 6.9.1).
func tree(root *directory, first uint32) []*node {
	nodes := []*node{{dir: root}}
	nodes[0].parent = nodes[0]
	for i := 0; i < len(nodes); i++ {
		n := nodes[i]
		n.number, n.sector = uint16(i+1), first+uint32(i)
		for _, d := range n.dir.subdirs {
			child := &node{dir: d, parent: n}
			n.subdirs = append(n.subdirs, child)
			nodes = append(nodes, child)
		}
	}
	return nodes
}

// naming is what differs between the two trees.
type naming struct {
	identifier func(name string, dir bool) []byte
	rockRidge  bool
}

// dchars turns a name into one of the primary tree (ECMA-119, 7.4 and 7.5):
// capitals, digits and underscores, here up to 31 characters (level 2).
func dchars(name string, dir bool) []byte {
	base, ext, hasExt := strings.Cut(strings.ToUpper(name), ".")
	clean := func(s string) string {
		return strings.Map(func(r rune) rune {
			if (r >= 'A' && r <= 'Z') || (r >= '0' && r <= '9') {
				return r
			}
			return '_'
		}, s)
	}
	if dir {
		return []byte(clean(base))
	}
	if !hasExt {
		ext = ""
	}
	return []byte(clean(base) + "." + clean(ext) + ";1")
}

// ucs2 turns a name into one of the Joliet tree.
func ucs2(name string, dir bool) []byte {
	if !dir {
		name += ";1"
	}
	var b []byte
	for _, u := range utf16.Encode([]rune(name)) {
		b = binary.BigEndian.AppendUint16(b, u)
	}
	return b
}

// writeISO lays the tree out. Files that share a slice of bytes share sectors.
func writeISO(label string, root *directory) []byte {
	primary := tree(root, firstDirectory)
	joliet := tree(root, firstDirectory+uint32(len(primary)))
	next := firstDirectory + uint32(len(primary)+len(joliet))

	place := map[*byte]uint32{}
	var contents [][]byte
	for _, n := range primary {
		for _, f := range n.dir.files {
			if len(f.data) == 0 || place[&f.data[0]] != 0 {
				continue
			}
			place[&f.data[0]] = next
			contents = append(contents, f.data)
			next += sectors(len(f.data))
		}
	}
	image := make([]byte, int(next)*sector)

	iso := naming{identifier: dchars, rockRidge: true}
	win := naming{identifier: ucs2}
	descriptor(at(image, firstDescriptor), 1, []byte(label), ' ', primary, iso, firstDescriptor+3, next)
	d := at(image, firstDescriptor+1)
	descriptor(d, 2, ucs2(label, true), 0, joliet, win, firstDescriptor+5, next)
	copy(d[88:], "%/E") // UCS-2 level 3 (Joliet specification, section 3)
	end := at(image, firstDescriptor+2)
	end[0], end[6] = 255, 1
	copy(end[1:], "CD001")

	writeTree(image, primary, iso, firstDescriptor+3, place)
	writeTree(image, joliet, win, firstDescriptor+5, place)
	for _, data := range contents {
		copy(at(image, place[&data[0]]), data)
	}
	return image
}

func at(image []byte, s uint32) []byte { return image[int(s)*sector:] }

func sectors(n int) uint32 { return uint32((n + sector - 1) / sector) }

// descriptor writes a primary (kind 1) or supplementary (kind 2) volume
// descriptor (ECMA-119, 8.4 and 8.5). Text fields are filled with blanks, which
// are two bytes wide in the Joliet one.
func descriptor(b []byte, kind byte, label []byte, pad byte, nodes []*node, nm naming, pathTable, total uint32) {
	b[0], b[6] = kind, 1
	copy(b[1:], "CD001")
	fill := func(from, to int) {
		for i := from; i < to; i++ {
			b[i] = ' '
			if pad == 0 && (i-from)%2 == 0 {
				b[i] = 0
			}
		}
	}
	fill(8, 40)
	fill(40, 72)
	copy(b[40:], label)
	both32(b[80:], total)
	both16(b[120:], 1) // volume set size
	both16(b[124:], 1) // volume sequence number
	both16(b[128:], sector)
	both32(b[132:], uint32(len(pathTableBytes(nodes, nm, binary.LittleEndian))))
	binary.LittleEndian.PutUint32(b[140:], pathTable)
	binary.BigEndian.PutUint32(b[148:], pathTable+1)
	copy(b[156:190], record([]byte{0}, nodes[0].sector, sector, true, nil))
	// The set, publisher, preparer and application names, then the three file
	// names of 37 bytes: all blank.
	fill(190, 702)
	fill(702, 739)
	fill(739, 776)
	fill(776, 813)
	for i := 0; i < 4; i++ { // creation, modification, expiration, effective: not given (8.4.26.1)
		date := b[813+17*i:]
		copy(date[:16], "0000000000000000")
	}
	b[881] = 1 // file structure version
}

func writeTree(image []byte, nodes []*node, nm naming, pathTable uint32, place map[*byte]uint32) {
	copy(at(image, pathTable), pathTableBytes(nodes, nm, binary.LittleEndian))
	copy(at(image, pathTable+1), pathTableBytes(nodes, nm, binary.BigEndian))
	for _, n := range nodes {
		b := at(image, n.sector)[:0]
		b = append(b, record([]byte{0}, n.sector, sector, true, nm.selfFields(n))...)
		b = append(b, record([]byte{1}, n.parent.sector, sector, true, nm.fields("", n.parent, true))...)
		// Directories and files in one order (9.3); ours never mix.
		for _, c := range n.subdirs {
			b = append(b, record(nm.identifier(c.dir.name, true), c.sector, sector, true, nm.fields(c.dir.name, c, true))...)
		}
		for _, f := range n.dir.files {
			var s uint32
			if len(f.data) > 0 {
				s = place[&f.data[0]]
			}
			b = append(b, record(nm.identifier(f.name, false), s, uint32(len(f.data)), false, nm.fields(f.name, nil, false))...)
		}
	}
}

// pathTableBytes lists the directories (ECMA-119, 9.4).
func pathTableBytes(nodes []*node, nm naming, order binary.AppendByteOrder) []byte {
	var b []byte
	for i, n := range nodes {
		id := []byte{0}
		if i > 0 {
			id = nm.identifier(n.dir.name, true)
		}
		b = append(b, byte(len(id)), 0)
		b = order.AppendUint32(b, n.sector)
		b = order.AppendUint16(b, n.parent.number)
		b = append(b, id...)
		if len(id)%2 == 1 {
			b = append(b, 0)
		}
	}
	return b
}

// record is a directory record (ECMA-119, 9.1) with system use fields.
func record(id []byte, at, size uint32, dir bool, use []byte) []byte {
	b := make([]byte, 33, 128)
	both32(b[2:], at)
	both32(b[10:], size)
	b[18], b[19], b[20] = 100, 1, 1 // 2000-01-01: a date that is always the same
	if dir {
		b[25] = 2
	}
	both16(b[28:], 1)
	b[32] = byte(len(id))
	b = append(b, id...)
	if len(b)%2 == 1 {
		b = append(b, 0)
	}
	b = append(b, use...)
	if len(b)%2 == 1 {
		b = append(b, 0)
	}
	b[0] = byte(len(b))
	return b
}

// selfFields are those of a directory's own entry. The root's begins with SP
// and has ER, by which a reader knows that there is Rock Ridge (SUSP 5.3, 5.5).
func (nm naming) selfFields(n *node) []byte {
	use := nm.fields("", n, true)
	if !nm.rockRidge || n.parent != n {
		return use
	}
	const rrip = "RRIP_1991A"
	sp := []byte{'S', 'P', 7, 1, 0xbe, 0xef, 0}
	er := append([]byte{'E', 'R', byte(8 + len(rrip)), 1, byte(len(rrip)), 0, 0, 1}, rrip...)
	return append(append(sp, use...), er...)
}

// fields are the Rock Ridge PX (mode, links, owner; RRIP 4.1.1) and NM (name;
// 4.1.4) entries. Only root may read: the drive stays in the installed system
// and may hold secrets.
func (nm naming) fields(name string, n *node, dir bool) []byte {
	if !nm.rockRidge {
		return nil
	}
	mode, links := uint32(0o100400), uint32(1)
	if dir {
		mode, links = 0o040500, uint32(2+len(n.subdirs))
	}
	px := make([]byte, 36)
	copy(px, []byte{'P', 'X', 36, 1})
	both32(px[4:], mode)
	both32(px[12:], links)
	if name == "" {
		return px
	}
	return slices.Concat(px, []byte{'N', 'M', byte(5 + len(name)), 1, 0}, []byte(name))
}

// both16 and both32 write a number in both byte orders (ECMA-119, 7.2.3, 7.3.3).
func both16(b []byte, v uint16) {
	binary.LittleEndian.PutUint16(b, v)
	binary.BigEndian.PutUint16(b[2:], v)
}

func both32(b []byte, v uint32) {
	binary.LittleEndian.PutUint32(b, v)
	binary.BigEndian.PutUint32(b[4:], v)
}
