package enroll

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Problem is one thing wrong in a list.
type Problem struct {
	Line   int // 0: the file as a whole
	Column string
	Value  string // never of a password
	What   string // what is wrong
	Do     string // what would be right
}

// String is the problem in one line:
//
//	line 3, column mac: "52:54:zz": is no MAC address: write six pairs of hex digits, like 52:54:00:12:34:56
func (p Problem) String() string {
	var b strings.Builder
	if p.Line > 0 {
		fmt.Fprintf(&b, "line %d", p.Line)
	} else {
		b.WriteString("the file")
	}
	if p.Column != "" {
		fmt.Fprintf(&b, ", column %s", p.Column)
	}
	b.WriteString(": ")
	if p.Value != "" {
		fmt.Fprintf(&b, "%q ", shorten(p.Value))
	}
	b.WriteString(p.What)
	if p.Do != "" {
		b.WriteString(": " + p.Do)
	}
	return oneLine(b.String())
}

// oneLine keeps what a file holds from moving the cursor.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
}

// Problems are all that is wrong in a list. As an error it has a line for each.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// sort by line, and within a line as they were found.
func (ps Problems) sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int { return a.Line - b.Line })
}

func shorten(s string) string {
	const limit = 80
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
