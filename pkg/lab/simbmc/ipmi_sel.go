package simbmc

import (
	"context"
	"encoding/binary"
	"sync"
	"time"

	"github.com/bougou/go-ipmi/pkg/handlers"
	"github.com/bougou/go-ipmi/pkg/types"
)

const (
	selEntries = 256 // kept; the oldest go first, as in a circular log
	selRecord  = 16
	selFirst   = 0x0000
	selLast    = 0xffff
	selLogType = 0x10 // sensor type "event logging disabled"
)

// Sensors that make events and have no reading.
const (
	sensorLog   = 0x40
	sensorACPI  = 0x41
	sensorBoot  = 0x42
	sensorPower = 0x43
	sensorNMI   = 0x44
)

// selLog is the system event log (IPMI 2.0 chapter 31): what happened to the
// machine, whichever face was asked for it.
type selLog struct {
	now func() time.Time

	mu          sync.Mutex
	entries     [][selRecord]byte
	id          uint16
	added       time.Time
	erased      time.Time
	reservation uint16
	overflow    bool
}

func newSEL(now func() time.Time) *selLog {
	l := &selLog{now: now}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(selLogType, sensorLog, 2) // log cleared
	return l
}

// add appends a sensor-specific event (table 42-3). The caller holds mu.
func (l *selLog) add(kind, sensor, offset byte) {
	if l.id++; l.id == selLast {
		l.id = 1
	}
	l.added = l.now()
	e := [selRecord]byte{2: 0x02, 7: 0x20, 9: 0x04, 10: kind, 11: sensor, 12: 0x6f, 13: offset, 14: 0xff, 15: 0xff}
	binary.LittleEndian.PutUint16(e[:], l.id)
	binary.LittleEndian.PutUint32(e[3:], uint32(l.added.Unix()))
	l.entries = append(l.entries, e)
	if len(l.entries) > selEntries {
		l.entries, l.overflow = l.entries[1:], true
	}
}

// power notes an action that was carried out.
func (l *selLog) power(a PowerAction) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch a {
	case PowerOn:
		l.add(0x22, sensorACPI, 0) // S0/G0 working
	case ForceOff, GracefulShutdown:
		l.add(0x22, sensorACPI, 5) // S5/G2 soft off
	case PowerCycle:
		l.add(0x09, sensorPower, 1)
	case ForceRestart:
		l.add(0x1d, sensorBoot, 1) // hard reset
	case GracefulRestart:
		l.add(0x1d, sensorBoot, 2) // warm reset
	case NMI:
		l.add(0x13, sensorNMI, 0) // front panel NMI
	}
}

func (l *selLog) register(r *handlers.Registry) {
	for command, f := range map[types.Command]func([]byte) ([]byte, types.CompletionCode){
		types.CommandGetSELInfo:  l.info,
		types.CommandReserveSEL:  l.reserve,
		types.CommandGetSELEntry: l.get,
		types.CommandClearSEL:    l.clear,
		types.CommandGetSELTime:  l.time,
	} {
		r.RegisterFunc(command, func(_ context.Context, _ *handlers.HandlerContext, data []byte) ([]byte, types.CompletionCode, error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			out, code := f(data)
			return out, code, nil
		})
	}
}

// stamp is a time as IPMI writes it; the zero time is unspecified (chapter 37).
func stamp(t time.Time) []byte {
	if t.IsZero() {
		return []byte{0xff, 0xff, 0xff, 0xff}
	}
	return binary.LittleEndian.AppendUint32(nil, uint32(t.Unix()))
}

// info is IPMI 2.0 §31.2.
func (l *selLog) info([]byte) ([]byte, types.CompletionCode) {
	free := (selEntries - len(l.entries)) * selRecord
	out := []byte{0x51, byte(len(l.entries)), byte(len(l.entries) >> 8), byte(free), byte(free >> 8)}
	out = append(append(out, stamp(l.added)...), stamp(l.erased)...)
	support := byte(0x02) // Reserve SEL
	if l.overflow {
		support |= 0x80
	}
	return append(out, support), types.CodeOK
}

// reserve is §31.4.
func (l *selLog) reserve([]byte) ([]byte, types.CompletionCode) {
	if l.reservation++; l.reservation == 0 {
		l.reservation = 1
	}
	return binary.LittleEndian.AppendUint16(nil, l.reservation), types.CodeOK
}

// get is §31.5.
func (l *selLog) get(data []byte) ([]byte, types.CompletionCode) {
	if len(data) < 6 {
		return nil, types.CodeRequestDataTruncated
	}
	offset, n := int(data[4]), int(data[5])
	if offset > 0 && binary.LittleEndian.Uint16(data) != l.reservation {
		return nil, types.CodeReservationCanceled
	}
	if offset >= selRecord {
		return nil, types.CodeParameterOutOfRange
	}
	id := binary.LittleEndian.Uint16(data[2:])
	for i, e := range l.entries {
		last := i == len(l.entries)-1
		if binary.LittleEndian.Uint16(e[:]) != id && (id != selFirst || i > 0) && (id != selLast || !last) {
			continue
		}
		next := []byte{0xff, 0xff}
		if !last {
			next = l.entries[i+1][:2]
		}
		return append(append([]byte(nil), next...), e[offset:min(offset+n, selRecord)]...), types.CodeOK
	}
	return nil, types.CodeRequestedDataNotPresent
}

// clear is §31.9. The log says of itself that it was cleared.
func (l *selLog) clear(data []byte) ([]byte, types.CompletionCode) {
	const initiate, status, done = 0xaa, 0x00, 0x01
	switch {
	case len(data) < 6:
		return nil, types.CodeRequestDataTruncated
	case binary.LittleEndian.Uint16(data) != l.reservation:
		return nil, types.CodeReservationCanceled
	case string(data[2:5]) != "CLR", data[5] != initiate && data[5] != status:
		return nil, types.CodeRequestDataFieldInvalid
	}
	if data[5] == initiate {
		l.entries, l.overflow, l.erased = nil, false, l.now()
		l.add(selLogType, sensorLog, 2)
	}
	return []byte{done}, types.CodeOK
}

// time is §31.10.
func (l *selLog) time([]byte) ([]byte, types.CompletionCode) {
	return stamp(l.now()), types.CodeOK
}
