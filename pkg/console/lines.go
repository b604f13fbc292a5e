package console

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxLine bounds one cleaned line, in bytes.
const maxLine = 1024

// Lines makes text for people of what a console printed: control sequences
// (ECMA-48) and control characters are taken out, a carriage return begins its
// line anew as on a screen, a backspace takes a character back. Text that a menu
// puts elsewhere on the screen is a line of its own. Empty lines are left out at
// both ends.
func Lines(b []byte) []string {
	var out []string
	var c cleaner
	for len(b) > 0 {
		if n := escape(b); n > 0 {
			if c.sequence(b[:n]) {
				out = append(out, c.line())
			}
			b = b[n:]
			continue
		}
		r, size := utf8.DecodeRune(b)
		if r == '\n' {
			out = append(out, c.line())
		} else {
			c.take(r, b[:size])
		}
		b = b[size:]
	}
	if last := c.line(); last != "" {
		out = append(out, last)
	}
	for len(out) > 0 && out[0] == "" {
		out = out[1:]
	}
	for len(out) > 0 && out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}

// cleaner makes one line. What follows a carriage return writes over what stands
// there.
type cleaner struct {
	text []rune
	at   int
}

func (c *cleaner) take(r rune, raw []byte) {
	switch {
	case r == '\r':
		c.at = 0
		return
	case r == '\b':
		c.at = max(c.at-1, 0)
		return
	case r == '\t':
		r = ' '
	case r == utf8.RuneError && len(raw) == 1:
		r = '\ufffd' // no UTF-8: line noise, or another character set
	case r < ' ', r >= 0x7f && r < 0xa0, unicode.Is(unicode.Cf, r): // Cf: what turns writing around, and such
		return
	}
	switch {
	case c.at < len(c.text):
		c.text[c.at] = r
	case len(c.text) < maxLine:
		c.text = append(c.text, r)
	default:
		return
	}
	c.at++
}

// sequence obeys what matters to the text of a line: erasing to its end or all of
// it. It reports whether the cursor left the line.
func (c *cleaner) sequence(b []byte) (left bool) {
	if len(b) < 3 || b[1] != '[' {
		return false
	}
	switch parameter := string(b[2 : len(b)-1]); b[len(b)-1] {
	case 'K':
		switch parameter {
		case "", "0":
			c.text = c.text[:min(c.at, len(c.text))]
		case "2":
			c.text, c.at = c.text[:0], 0
		}
	case 'H', 'f':
		return len(c.text) > 0
	}
	return false
}

func (c *cleaner) line() string {
	s := strings.TrimRight(string(c.text), " ")
	c.text, c.at = c.text[:0], 0
	return s
}

// escape returns the length of the control sequence that b begins with, or 0.
// One that is cut off takes all that is left of it.
func escape(b []byte) int {
	if b[0] != 0x1b {
		return 0
	}
	if len(b) == 1 {
		return 1
	}
	switch b[1] {
	case '[': // CSI: parameters, then one final byte
		for i := 2; i < len(b); i++ {
			switch {
			case b[i] >= 0x40 && b[i] <= 0x7e:
				return i + 1
			case b[i] < 0x20 || b[i] > 0x7e: // no sequence after all
				return i
			}
		}
		return len(b)
	case ']', 'P', 'X', '^', '_': // a string, up to BEL or ST
		for i := 2; i < len(b); i++ {
			switch {
			case b[i] == 0x07:
				return i + 1
			case b[i] == 0x1b:
				if i+1 < len(b) && b[i+1] == '\\' {
					return i + 2
				}
				return i
			case b[i] == '\n': // unfinished: it shall not eat the rest
				return i
			}
		}
		return len(b)
	}
	for i := 1; i < len(b); i++ { // intermediates, then one final byte
		if b[i] < 0x20 || b[i] > 0x2f {
			if b[i] >= 0x30 && b[i] <= 0x7e {
				return i + 1
			}
			return i
		}
	}
	return len(b)
}
