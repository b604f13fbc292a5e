package ipmi

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// maxFRU bounds what is read of the field replaceable unit 0, the machine; the
// board and product areas stand at its beginning.
const maxFRU = 2048

// Details reads the maker, model and serial number from the machine's inventory
// area. A BMC without one leaves them empty.
func (m *Machine) Details(ctx context.Context, id bmc.Identity) (bmc.Identity, error) {
	const op = "read details"
	data, err := m.inventory(ctx, op)
	if err != nil {
		return id, optional(err)
	}
	f := parseFRU(data)
	for _, v := range []struct {
		field *string
		value string
	}{{&id.Manufacturer, f.manufacturer}, {&id.Model, f.product}, {&id.Serial, f.serial}} {
		if *v.field == "" {
			*v.field = v.value
		}
	}
	return id, nil
}

// inventory reads the beginning of device 0's inventory area. Nothing there is
// no error.
func (m *Machine) inventory(ctx context.Context, op string) ([]byte, error) {
	info, err := m.read(ctx, op, request{netFn: netFnStorage, cmd: 0x10, data: []byte{0}}, 3)
	if err != nil {
		return nil, err
	}
	size := min(int(info[0])|int(info[1])<<8, maxFRU)
	unit := 1 + int(info[2]&1) // addressed in bytes or in words (chapter 34.1)
	var data []byte
	for chunk := 32; len(data) < size; { // 32: what all BMCs can answer (chapter 34.2), almost
		n := byte(min(chunk, size-len(data)+unit-1) / unit)
		at := len(data) / unit
		part, err := m.read(ctx, op, request{netFn: netFnStorage, cmd: 0x11, data: []byte{0, byte(at), byte(at >> 8), n}}, 2)
		if tooMuch(err) && chunk > 8 {
			chunk /= 2
			continue
		}
		if err != nil {
			return nil, err
		}
		got := int(part[0]) * unit
		if got == 0 || part[0] > n || len(part) <= got {
			return nil, classify(ctx, op, fmt.Errorf("%w: inventory of %d bytes", errPacket, len(part)))
		}
		data = append(data, part[1:1+got]...)
	}
	return data, nil
}

// optional forgives a BMC that has no inventory.
func optional(err error) error {
	switch bmc.ClassOf(err) {
	case bmc.Unreachable, bmc.Auth, bmc.Protocol:
		return err
	}
	return nil
}

type fru struct{ manufacturer, product, serial string }

// parseFRU reads the product area, and for what it lacks the board area, of an
// inventory as Intel's FRU specification 1.0, revision 1.3 lays it out. Damage
// reads as absence.
func parseFRU(b []byte) fru {
	if len(b) < 8 || checksum(b[:8]) != 0 {
		return fru{}
	}
	// Chapters 11 and 12: the fields follow the language, and for a board its date.
	board := fields(b, int(b[3])*8, 6)
	product := fields(b, int(b[4])*8, 3)
	pick := func(i, j int) string {
		if i < len(product) && product[i] != "" {
			return product[i]
		}
		if j < len(board) {
			return board[j]
		}
		return ""
	}
	// Product: maker, name, part number, version, serial. Board: maker, name, serial.
	return fru{manufacturer: pick(0, 0), product: pick(1, 1), serial: pick(4, 2)}
}

// fields reads the type/length encoded fields of an area (chapter 13).
func fields(b []byte, at, skip int) []string {
	if at == 0 || at+2 > len(b) {
		return nil
	}
	end := at + int(b[at+1])*8
	if end > len(b) || end-at < 8 || checksum(b[at:end]) != 0 {
		return nil
	}
	var out []string
	area := b[at+skip : end-1]
	for len(area) > 0 && !ends(area, len(out)) {
		kind, n := area[0]>>6, int(area[0]&0x3f)
		area = area[1:]
		if n > len(area) {
			break
		}
		out = append(out, fieldText(kind, area[:n]))
		area = area[n:]
	}
	return out
}

// ends reports whether an area's fields are over. C1h says so, but is also how
// careless makers write a field of one letter: it is one if there are fields that
// every area has still to come, and more than padding follows.
func ends(area []byte, have int) bool {
	const always = 5 // of a board; a product has two more, of no use here
	return area[0] == 0xc1 && (have >= always || len(bytes.Trim(area[1:], "\x00")) == 0)
}

func fieldText(kind byte, b []byte) string {
	switch kind {
	case 1: // BCD plus: digits, space, dash, point
		const digits = "0123456789 -.???"
		var s strings.Builder
		for _, c := range b {
			s.WriteByte(digits[c>>4])
			s.WriteByte(digits[c&0x0f])
		}
		return strings.TrimSpace(s.String())
	case 2: // 6-bit ASCII, packed from the least significant bit on
		var s strings.Builder
		var bits, have uint
		for _, c := range b {
			bits |= uint(c) << have
			for have += 8; have >= 6; have -= 6 {
				s.WriteByte(byte(bits&0x3f) + ' ')
				bits >>= 6
			}
		}
		return strings.TrimSpace(s.String())
	case 3:
		return strings.TrimSpace(strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return -1
			}
			return r
		}, string(b)))
	}
	return fmt.Sprintf("%x", b)
}
