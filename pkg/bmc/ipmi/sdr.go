package ipmi

import (
	"math"
	"strings"
)

// Record types of the sensor data repository (chapter 43).
const (
	sdrFull      = 0x01
	sdrCompact   = 0x02
	sdrEventOnly = 0x03
)

// sensor is what a record says of one sensor.
type sensor struct {
	name    string
	owner   byte // IPMB address; 20h is the BMC itself
	channel byte
	lun     byte
	number  byte
	kind    byte // sensor type code (table 42-3)
	event   byte // event/reading type code (table 42-1)
	silent  bool // makes events only
	scale   scale
	limits  limits
}

// threshold reports whether the sensor measures; all others are discrete.
func (s sensor) threshold() bool { return s.event == 0x01 }

// scale turns a raw reading into a value (chapter 36.3).
type scale struct {
	format      byte // 0 unsigned, 1 ones' complement, 2 two's complement, 3 not numeric
	linear      byte
	m, b        int
	rexp, bexp  int
	percentage  bool
	unit        byte // table 43-15
	denominated bool // per second or such: not the bare unit
}

// limits are the raw thresholds of a full record, those that the mask names, in
// the order of Get Sensor Reading's comparison bits.
type limits struct {
	mask byte // lower non-critical, critical, non-recoverable, then upper
	raw  [6]byte
}

// parseSDR reads a record; a compact one may stand for several sensors. What is
// no sensor gives none; so does damage.
func parseSDR(b []byte) []sensor {
	if len(b) < 5 || len(b) < 5+int(b[4]) {
		return nil
	}
	b = b[:5+int(b[4])]
	switch {
	case b[3] == sdrFull && len(b) >= 48:
		s := common(b)
		s.kind, s.event = b[12], b[13]
		s.scale = scale{
			format: b[20] >> 6, linear: b[23] & 0x7f, percentage: b[20]&1 != 0, unit: b[21],
			denominated: b[20]&0x3e != 0,
		}
		s.scale.factors(b[24:30])
		s.limits = limits{mask: b[18] & 0x3f, raw: [6]byte{b[41], b[40], b[39], b[38], b[37], b[36]}}
		s.name = strings.TrimSpace(nameOf(b[47:]))
		return []sensor{s}
	case b[3] == sdrCompact && len(b) >= 32:
		s := common(b)
		s.kind, s.event = b[12], b[13]
		// No factors: the record is for sensors without a value (chapter 43.2).
		s.scale = scale{format: 3}
		return shared(s, nameOf(b[31:]), b[23], b[24])
	case b[3] == sdrEventOnly && len(b) >= 17:
		s := common(b)
		s.kind, s.event, s.silent = b[10], b[11], true
		return shared(s, nameOf(b[16:]), b[12], b[13])
	}
	return nil
}

func common(b []byte) sensor {
	return sensor{owner: b[5], channel: b[6] >> 4, lun: b[6] & 3, number: b[7]}
}

// factors reads M, B and the exponents as records and Get Sensor Reading Factors
// both lay them out (chapters 43.1 and 35.5).
func (s *scale) factors(b []byte) {
	s.m = signed(int(b[0])|int(b[1]&0xc0)<<2, 10)
	s.b = signed(int(b[2])|int(b[3]&0xc0)<<2, 10)
	s.rexp = signed(int(b[5]>>4), 4)
	s.bexp = signed(int(b[5]&0x0f), 4)
}

// signed reads v as two's complement of so many bits.
func signed(v, bits int) int {
	if v >= 1<<(bits-1) {
		v -= 1 << bits
	}
	return v
}

// shared spreads a record over the sensors that share it (chapter 43.2).
func shared(s sensor, name string, sharing, offset byte) []sensor {
	n := int(sharing & 0x0f)
	if n < 2 {
		s.name = strings.TrimSpace(name)
		return []sensor{s}
	}
	out := make([]sensor, n)
	for i := range out {
		out[i] = s
		out[i].number = s.number + byte(i)
		out[i].name = name + modifier(sharing>>4&3, int(offset&0x7f)+i)
	}
	return out
}

// modifier is the numeral, or letter, that tells sharing sensors apart.
func modifier(kind byte, n int) string {
	if kind == 1 {
		s := string(rune('A' + n%26))
		for n = n/26 - 1; n >= 0; n = n/26 - 1 {
			s = string(rune('A'+n%26)) + s
		}
		return s
	}
	var digits []byte
	for {
		digits = append([]byte{byte('0' + n%10)}, digits...)
		if n /= 10; n == 0 {
			return string(digits)
		}
	}
}

// nameOf reads a type/length byte and the string behind it (chapter 43.15). Its
// types differ from the inventory's in one: 0 is Unicode.
func nameOf(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	kind, n := b[0]>>6, int(b[0]&0x1f)
	if n > len(b)-1 {
		n = len(b) - 1
	}
	text := b[1 : 1+n]
	if kind == 0 {
		kind = 3 // in practice ASCII by a careless maker; real Unicode has its letters picked out
	}
	name := fieldText(kind, text)
	if kind == 3 && n > 0 && text[n-1] == ' ' {
		name += " " // before the number of a sensor that shares the record
	}
	return name
}

// value is chapter 36.3's formula, L[(Mx + B·10^K1)·10^K2]; false if the reading
// is no number.
func (s scale) value(raw byte) (float64, bool) {
	x := float64(raw)
	switch s.format {
	case 1:
		if raw&0x80 != 0 {
			x = -float64(^raw)
		}
	case 2:
		x = float64(int8(raw))
	case 3:
		return 0, false
	}
	v := s.curve((float64(s.m)*x + float64(s.b)*math.Pow10(s.bexp)) * math.Pow10(s.rexp))
	v, _ = s.convert(v)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, false
	}
	return v, true
}

// curve is the linearisation (table 43-1, byte 24). 70h to 7Fh need factors for
// each reading, and are linear then.
func (s scale) curve(v float64) float64 {
	switch s.linear {
	case 1:
		return math.Log(v)
	case 2:
		return math.Log10(v)
	case 3:
		return math.Log2(v)
	case 4:
		return math.Exp(v)
	case 5:
		return math.Pow(10, v)
	case 6:
		return math.Exp2(v)
	case 7:
		return 1 / v
	case 8:
		return v * v
	case 9:
		return v * v * v
	case 10:
		return math.Sqrt(v)
	case 11:
		return math.Cbrt(v)
	}
	return v
}

// ownFactors reports whether each reading has factors of its own.
func (s scale) ownFactors() bool { return s.linear >= 0x70 }

// convert names the unit (table 43-15) and brings temperatures to degrees
// Celsius.
func (s scale) convert(v float64) (float64, string) {
	if s.percentage {
		return v, "%"
	}
	if s.denominated {
		return v, ""
	}
	switch s.unit {
	case 1:
		return v, "Cel"
	case 2:
		return (v - 32) * 5 / 9, "Cel"
	case 3:
		return v - 273.15, "Cel"
	case 4:
		return v, "V"
	case 5:
		return v, "A"
	case 6:
		return v, "W"
	case 7:
		return v, "J"
	case 17:
		return v, "CFM"
	case 18:
		return v, "RPM"
	case 19:
		return v, "Hz"
	}
	return v, ""
}

// kindOf is what bmc.Sensor calls the kind: by sensor type, or by unit for the
// types that are not one quantity.
func (s sensor) kindOf() string {
	switch s.kind {
	case 0x01:
		return "temperature"
	case 0x02:
		return "voltage"
	case 0x03:
		return "current"
	case 0x04:
		return "fan"
	}
	if s.threshold() {
		switch _, unit := s.scale.convert(0); unit {
		case "Cel":
			return "temperature"
		case "V":
			return "voltage"
		case "A":
			return "current"
		case "RPM", "CFM":
			return "fan"
		case "W":
			return "power"
		}
	}
	return "other"
}

// compare makes of a reading the comparison bits of Get Sensor Reading (chapter
// 35.14), for BMCs that leave them out.
func (s sensor) compare(raw byte) byte {
	v, ok := s.scale.value(raw)
	if !ok || s.scale.ownFactors() {
		return 0
	}
	var status byte
	for i, r := range s.limits.raw {
		if s.limits.mask&(1<<i) == 0 {
			continue
		}
		limit, ok := s.scale.value(r)
		if ok && (i < 3 && v <= limit || i >= 3 && v >= limit) {
			status |= 1 << i
		}
	}
	return status
}

// verdict says what comparison bits mean for the machine's health.
func verdict(status byte) string {
	switch {
	case status&0b110110 != 0:
		return critical
	case status&0b001001 != 0:
		return warning
	}
	return healthy
}
