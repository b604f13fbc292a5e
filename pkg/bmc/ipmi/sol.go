package ipmi

import (
	"fmt"
	"time"
)

// Operation and status bits of a SOL packet (table 15-2).
const (
	solNACK        = 0x40
	solUnavailable = 0x20 // from the BMC: the serial line is not to be had, the machine is off
	solDeactivated = 0x10 // from the BMC: the console was taken away
)

const (
	solHeader  = 4
	solMaxSeq  = 0x0f
	solMaxChar = 0xff // an accepted count is one byte
	solRetries = 16   // of a packet
	solBuffer  = 64 << 10
)

// solPacket is table 15-2. Sequence number 0 says that there are no characters
// to be acknowledged, acknowledge number 0 that none are.
type solPacket struct {
	seq, ack, accepted, control byte
	data                        []byte
}

func parseSOL(b []byte) (solPacket, error) {
	if len(b) < solHeader {
		return solPacket{}, fmt.Errorf("%w: SOL packet of %d bytes", errPacket, len(b))
	}
	return solPacket{seq: b[0] & 0x0f, ack: b[1] & 0x0f, accepted: b[2], control: b[3], data: b[solHeader:]}, nil
}

func (p solPacket) pack() []byte {
	return append([]byte{p.seq, p.ack, p.accepted, p.control}, p.data...)
}

// solLink is the state of chapter 15.9 to 15.11's exchange, without I/O: one
// packet under way in each direction, acknowledged or sent again.
type solLink struct {
	retry, pause time.Duration // between sends of a packet: unheard, refused

	// To the machine.
	seq     byte   // of out, or of what was sent last
	out     []byte // under way; nil: nothing is
	sent    time.Time
	sends   int
	refused bool // the BMC heard and did not want them

	// From the machine.
	buffer []byte // taken and not read
	last   byte   // sequence number of the packet taken last
	taken  int    // characters of it
	choked bool   // it was refused for want of room
	ended  bool   // the BMC says that it is over
}

// send puts characters under way; the last ones have been acknowledged.
func (l *solLink) send(now time.Time, data []byte) solPacket {
	l.out, l.sends = data, 0
	l.advance()
	return l.again(now)
}

func (l *solLink) advance() { l.seq = l.seq%solMaxSeq + 1 }

func (l *solLink) again(now time.Time) solPacket {
	l.sent, l.refused = now, false
	l.sends++
	return solPacket{seq: l.seq, data: l.out}
}

// due returns when something is to be sent again.
func (l *solLink) due() (time.Time, bool) {
	if l.out == nil {
		return time.Time{}, false
	}
	if l.refused {
		return l.sent.Add(l.pause), true
	}
	return l.sent.Add(l.retry), true
}

// tick sends again what is due. spent says that it has been sent often enough.
func (l *solLink) tick(now time.Time) (p solPacket, send, spent bool) {
	at, ok := l.due()
	if !ok || now.Before(at) {
		return solPacket{}, false, false
	}
	if l.sends >= solRetries {
		l.out = nil
		return solPacket{}, false, true
	}
	return l.again(now), true, false
}

// receive takes a packet of the BMC's and returns what is to be answered.
func (l *solLink) receive(now time.Time, p solPacket) []solPacket {
	var answers []solPacket
	if p.control&solDeactivated != 0 {
		l.ended = true
	}
	if p.ack != 0 && p.ack == l.seq && l.out != nil && !l.refused {
		answers = l.acknowledged(now, p, answers)
	}
	if p.seq != 0 {
		answers = append(answers, l.take(p))
	}
	return answers
}

// acknowledged drops what the BMC has accepted. The rest goes as a packet of its
// own: with the old number it would be taken for a repetition (chapter 15.11).
func (l *solLink) acknowledged(now time.Time, p solPacket, answers []solPacket) []solPacket {
	n := min(int(p.accepted), len(l.out))
	if l.out = l.out[n:]; len(l.out) == 0 {
		l.out = nil
		return answers
	}
	l.advance()
	if n > 0 {
		l.sends = 0
		return append(answers, l.again(now))
	}
	l.refused = true
	l.sent = now
	return answers
}

// take accepts characters. A repetition is acknowledged again; if it holds more
// than the first time, the rest is new. What there is no room for is refused
// whole: the BMC waits until it is told to go on (table 15-3).
func (l *solLink) take(p solPacket) solPacket {
	if p.seq != l.last {
		l.last, l.taken = p.seq, 0
	}
	data := p.data[:min(len(p.data), solMaxChar)]
	fresh := data[min(l.taken, len(data)):]
	if l.choked = len(l.buffer)+len(fresh) > solBuffer; l.choked {
		return solPacket{ack: p.seq, control: solNACK}
	}
	l.buffer = append(l.buffer, fresh...)
	l.taken = max(l.taken, len(data))
	return solPacket{ack: p.seq, accepted: byte(len(data))}
}

// read hands out what was taken. resume says that the BMC is to go on.
func (l *solLink) read(b []byte) (n int, answer solPacket, resume bool) {
	n = copy(b, l.buffer)
	if l.buffer = l.buffer[n:]; len(l.buffer) == 0 {
		l.buffer = nil
	}
	if l.choked && len(l.buffer) <= solBuffer/2 {
		l.choked = false
		return n, solPacket{ack: l.last}, true
	}
	return n, solPacket{}, false
}

// replays tells datagrams that were seen before from new ones, by their number
// in the session (chapter 6.12.13's sliding window).
type replays struct {
	highest uint32
	seen    uint64 // bit i: highest-i
}

// fresh reports whether number is new, and notes it.
func (r *replays) fresh(number uint32) bool {
	if number > r.highest {
		r.seen = r.seen<<min(number-r.highest, 64) | 1
		r.highest = number
		return true
	}
	back := r.highest - number
	if back >= 64 || r.seen&(1<<back) != 0 {
		return false
	}
	r.seen |= 1 << back
	return true
}
