package console

import "bytes"

// maxMarks bounds the marks; the oldest goes first.
const maxMarks = 64

// ring keeps the last bytes of a stream, bounded in bytes and in lines. Places in
// the stream are counted from its beginning.
type ring struct {
	maxBytes, maxLines int

	data  []byte // data[head:] is kept
	head  int
	start int64 // place of data[head]
	lines int   // newlines in data[head:]
	marks []mark
}

type mark struct {
	name string
	at   int64
}

func (r *ring) end() int64 { return r.start + int64(len(r.data)-r.head) }

func (r *ring) write(b []byte) {
	if over := len(b) - r.maxBytes; over > 0 { // only the end can stay
		r.drop(len(r.data) - r.head)
		r.start += int64(over)
		b = b[over:]
	}
	r.data = append(r.data, b...)
	r.lines += bytes.Count(b, []byte{'\n'})
	if over := len(r.data) - r.head - r.maxBytes; over > 0 {
		r.drop(over)
	}
	for r.lines > r.maxLines {
		r.drop(bytes.IndexByte(r.data[r.head:], '\n') + 1)
	}
	if r.head > r.maxBytes { // as much room wasted as used: move
		r.data = append(r.data[:0], r.data[r.head:]...)
		r.head = 0
	}
}

// drop lets n bytes go.
func (r *ring) drop(n int) {
	r.lines -= bytes.Count(r.data[r.head:r.head+n], []byte{'\n'})
	r.head += n
	r.start += int64(n)
}

// from copies what is kept from a place on into b, and says from where really.
func (r *ring) from(at int64, b []byte) (n int, real int64) {
	real = max(at, r.start)
	if real >= r.end() {
		return 0, real
	}
	return copy(b, r.data[r.head+int(real-r.start):]), real
}

// tail returns the last n lines from a place on; an unfinished one counts.
func (r *ring) tail(at int64, n int) []byte {
	kept := r.data[r.head+int(max(at, r.start)-r.start):]
	i := len(kept)
	if i > 0 && kept[i-1] == '\n' {
		i--
	}
	for range max(n, 0) {
		if i = bytes.LastIndexByte(kept[:i], '\n'); i < 0 {
			return bytes.Clone(kept)
		}
	}
	if n <= 0 {
		return nil
	}
	return bytes.Clone(kept[i+1:])
}

// place notes the end of the stream under a name.
func (r *ring) place(name string) {
	for i, m := range r.marks {
		if m.name == name {
			r.marks = append(r.marks[:i], r.marks[i+1:]...)
			break
		}
	}
	if len(r.marks) == maxMarks {
		r.marks = append(r.marks[:0], r.marks[1:]...)
	}
	r.marks = append(r.marks, mark{name: name, at: r.end()})
}

func (r *ring) marked(name string) (int64, bool) {
	for _, m := range r.marks {
		if m.name == name {
			return m.at, true
		}
	}
	return 0, false
}
