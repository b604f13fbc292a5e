package deploy

import (
	"bytes"
	"strings"
	"sync"
)

const (
	keepLines = 12
	keepBytes = 200 // of a line
)

// tail keeps the last lines of what is written to it.
type tail struct {
	say func(line string)

	mu    sync.Mutex
	part  []byte // of a line that has not ended
	lines []string
}

// Write takes what a method prints, and never fails: a method is not to be ended
// by its own words.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for rest := b; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		if room := keepBytes - len(t.part); room > 0 {
			t.part = append(t.part, line[:min(len(line), room)]...)
		}
		if ended {
			t.end()
		}
		rest = after
	}
	return len(b), nil
}

// end closes a line.
func (t *tail) end() {
	line := strings.TrimRight(strings.Map(printable, strings.ToValidUTF8(string(t.part), "?")), " ")
	t.part = t.part[:0]
	if line == "" {
		return
	}
	if t.lines = append(t.lines, line); len(t.lines) > keepLines {
		t.lines = t.lines[1:]
	}
	t.say(line)
}

func printable(r rune) rune {
	if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
		return ' '
	}
	return r
}

func (t *tail) flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end()
}

func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "\n")
}
