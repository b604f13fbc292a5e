package ipmi

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

const (
	maxLog      = 4096  // entries returned
	maxLogWalk  = 16384 // entries read; BMCs keep 512 to 4,000
	maxPolls    = 240   // of an erasure, a quarter of a pause apart
	firstRecord = 0x0000
	lastRecord  = 0xffff
	recordSize  = 16
)

// logRecord is an entry of the SEL as it came (table 32-1).
type logRecord [recordSize]byte

func (r logRecord) id() uint16 { return binary.LittleEndian.Uint16(r[:]) }

// EventLog reads the newest entries of the SEL. Where ids follow one another, as
// they nearly always do, the walk begins at the first that is wanted.
func (m *Machine) EventLog(ctx context.Context, limit int) ([]bmc.LogEntry, error) {
	const op = "read event log"
	if limit <= 0 || limit > maxLog {
		limit = maxLog
	}
	info, err := m.read(ctx, op, request{netFn: netFnStorage, cmd: 0x40}, 3)
	if err != nil {
		return nil, err
	}
	count := int(binary.LittleEndian.Uint16(info[1:]))
	var records []logRecord
	if count > limit {
		if records, err = m.newest(ctx, op, limit); err != nil {
			return nil, err
		}
	}
	if records == nil && count > 0 {
		if records, err = m.walkLog(ctx, op, firstRecord, limit); err != nil {
			return nil, err
		}
	}
	known := m.sensors.Load()
	out := make([]bmc.LogEntry, len(records))
	for i, r := range records {
		out[i] = r.entry(known)
	}
	return out, nil
}

// newest guesses the id of the first wanted entry from the last one's. A guess
// that does not lead to limit entries gives none.
func (m *Machine) newest(ctx context.Context, op string, limit int) ([]logRecord, error) {
	_, last, err := m.logRecord(ctx, op, lastRecord)
	if err != nil || int(last.id()) < limit {
		return nil, missing(err)
	}
	records, err := m.walkLog(ctx, op, last.id()-uint16(limit)+1, limit)
	if err != nil || len(records) != limit || records[limit-1] != last {
		return nil, missing(err)
	}
	return records, nil
}

// missing forgives an entry that is not there.
func missing(err error) error {
	if has(err, 0xcb) {
		return nil
	}
	return err
}

// walkLog reads from id to the end and keeps the last limit entries.
func (m *Machine) walkLog(ctx context.Context, op string, id uint16, limit int) ([]logRecord, error) {
	var out []logRecord
	seen := map[uint16]bool{}
	for id != lastRecord && !seen[id] && len(seen) < maxLogWalk {
		seen[id] = true
		next, r, err := m.logRecord(ctx, op, id)
		if has(err, 0xcb) { // cleared meanwhile, or no such entry
			break
		}
		if err != nil {
			return nil, err
		}
		out = append(out, r)
		id = next
	}
	return out[max(0, len(out)-limit):], nil
}

// logRecord reads one entry. Whole entries need no reservation (chapter 31.5);
// a BMC that wants one nevertheless gets it.
func (m *Machine) logRecord(ctx context.Context, op string, id uint16) (uint16, logRecord, error) {
	var reservation [2]byte
	for try := 0; ; try++ {
		data, err := m.read(ctx, op, request{netFn: netFnStorage, cmd: 0x43, data: []byte{
			reservation[0], reservation[1], byte(id), byte(id >> 8), 0, wholeRecord,
		}}, 2+recordSize)
		if has(err, 0xc5) && try < maxLosses {
			if reservation, err = m.reserveLog(ctx, op); err != nil {
				return 0, logRecord{}, err
			}
			continue
		}
		if err != nil {
			return 0, logRecord{}, err
		}
		return binary.LittleEndian.Uint16(data), logRecord(data[2 : 2+recordSize]), nil
	}
}

// reserveLog is Reserve SEL (chapter 31.4); it is optional, and zero does where
// it is not known.
func (m *Machine) reserveLog(ctx context.Context, op string) (id [2]byte, err error) {
	data, err := m.read(ctx, op, request{netFn: netFnStorage, cmd: 0x42}, 2)
	if err != nil {
		if bmc.ClassOf(err) == bmc.Unsupported {
			return id, nil
		}
		return id, err
	}
	copy(id[:], data)
	return id, nil
}

// ClearEventLog erases the SEL and waits for the erasure to end (chapter 31.9).
func (m *Machine) ClearEventLog(ctx context.Context) error {
	const op = "clear event log"
	const begin, status, erased = 0xaa, 0x00, 0x01
	reservation, err := m.reserveLog(ctx, op)
	if err != nil {
		return err
	}
	action := byte(begin)
	for losses, polls := 0, 0; ; polls++ {
		data, err := m.read(ctx, op, request{netFn: netFnStorage, cmd: 0x47, data: []byte{
			reservation[0], reservation[1], 'C', 'L', 'R', action,
		}}, 1)
		switch {
		case has(err, 0xc5) && losses < maxLosses:
			losses++
			if reservation, err = m.reserveLog(ctx, op); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		case data[0]&0x0f == erased:
			return nil
		case polls == maxPolls:
			return &bmc.Error{Class: bmc.Busy, Op: op, Detail: "the BMC is still erasing its log"}
		}
		action = status
		select {
		case <-time.After(m.o.Pause / 4):
		case <-ctx.Done():
			return classify(ctx, op, ctx.Err())
		}
	}
}

// entry decodes a record. known may be nil; it gives sensors their names.
func (r logRecord) entry(known *sensors) bmc.LogEntry {
	e := bmc.LogEntry{ID: strconv.Itoa(int(r.id())), Severity: healthy}
	switch kind := r[2]; {
	case kind >= 0xe0:
		e.Message = fmt.Sprintf("OEM record %#02x: % x", kind, r[3:])
		return e
	case kind >= 0xc0:
		e.Time = selTime(r[3:])
		e.Message = fmt.Sprintf("OEM record %#02x of maker %d: % x", kind, int(r[7])|int(r[8])<<8|int(r[9])<<16, r[10:])
		return e
	case kind != 0x02:
		e.Message = fmt.Sprintf("record %#02x: % x", kind, r[3:])
		return e
	}
	e.Time = selTime(r[3:])
	s, found := known.find(r[7], r[8]&3, r[11])
	s.kind, s.event = r[10], r[12]&0x7f
	e.Sensor = s.name
	if !found || s.name == "" {
		e.Sensor = fmt.Sprintf("%s #%#02x", kindName(r[10]), r[11])
	}
	e.Message, e.Severity = eventText(s.kind, s.event, r[13]&0x0f)
	if s.event == 0x01 && found {
		e.Message += measured(s, r[13], r[14], r[15])
	}
	if r[12]&0x80 != 0 {
		e.Message, e.Severity = e.Message+" (no longer)", healthy
	}
	return e
}

// measured says what the event data of a threshold event hold: the reading and
// the threshold (table 29-6).
func measured(s sensor, flags, reading, threshold byte) (text string) {
	if s.scale.ownFactors() {
		return ""
	}
	_, unit := s.scale.convert(0)
	if flags>>6 == 1 {
		if v, ok := s.scale.value(reading); ok {
			text = fmt.Sprintf(": %.4g %s", v, unit)
		}
	}
	if v, ok := s.scale.value(threshold); ok && flags>>4&3 == 1 {
		text += fmt.Sprintf(" (threshold %.4g %s)", v, unit)
	}
	return text
}

// selTime reads a time stamp; up to 20000000h they count from the BMC's own start
// and FFFFFFFFh is none (chapter 37).
func selTime(b []byte) time.Time {
	t := binary.LittleEndian.Uint32(b)
	if t <= 0x20000000 || t == 0xffffffff {
		return time.Time{}
	}
	return time.Unix(int64(t), 0).UTC()
}
