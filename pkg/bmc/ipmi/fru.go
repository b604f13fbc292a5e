package ipmi

import (
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
	info, err := m.read(ctx, op, request{netFn: netFnStorage, cmd: 0x10, data: []byte{0}}, 3)
	if err != nil {
		return id, optional(err)
	}
	size := min(int(info[0])|int(info[1])<<8, maxFRU)
	if info[2]&1 != 0 { // counted in words
		return id, nil // no BMC on record does so
	}
	var data []byte
	for len(data) < size {
		const chunk = 32 // what all BMCs can answer (chapter 34.2)
		n := byte(min(chunk, size-len(data)))
		part, err := m.read(ctx, op, request{netFn: netFnStorage, cmd: 0x11, data: []byte{0, byte(len(data)), byte(len(data) >> 8), n}}, 2)
		if err != nil {
			return id, optional(err)
		}
		if part[0] == 0 || part[0] > n || len(part) <= int(part[0]) {
			return id, classify(ctx, op, fmt.Errorf("%w: inventory of %d bytes", errPacket, len(part)))
		}
		data = append(data, part[1:1+part[0]]...)
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
	for len(area) > 0 && area[0] != 0xc1 {
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
