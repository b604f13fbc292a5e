package ipmi

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// Bounds of the sensors' repository. The largest servers have some 400 records.
const (
	maxRecords  = 1024
	maxSensors  = 1024
	maxLosses   = 16 // reservations that others may take away during one walk
	wholeRecord = 0xff
)

// sensors is what the repository held.
type sensors struct {
	stamp []byte   // the repository's state then: Get SDR Repository Info's answer
	only  *session // unless nil, the stamp says nothing: good for this session alone
	list  []sensor
}

// find returns the sensor that an event came from.
func (s *sensors) find(owner, lun, number byte) (sensor, bool) {
	if s == nil {
		return sensor{}, false
	}
	for _, c := range s.list {
		if c.owner == owner && c.lun == lun && c.number == number {
			return c, true
		}
	}
	return sensor{}, false
}

// repository is where a BMC keeps its sensor records: the SDR repository, or for
// one that has none the device SDRs (chapters 33.9 and 35.2).
type repository struct {
	netFn, info, reserve, get byte
}

var repositories = [...]repository{
	{netFn: netFnStorage, info: 0x20, reserve: 0x22, get: 0x23},
	{netFn: netFnSensor, info: 0x20, reserve: 0x22, get: 0x21},
}

// Health reads all sensors: one request each, and the walk through the
// repository if it has changed since the last time.
func (m *Machine) Health(ctx context.Context) (bmc.HealthReport, error) {
	const op = "read health"
	status, err := m.read(ctx, op, request{netFn: netFnChassis, cmd: 0x01}, 3)
	if err != nil {
		return bmc.HealthReport{}, err
	}
	report := bmc.HealthReport{Status: chassisVerdict(status), State: "StandbyOffline"}
	if status[0]&1 != 0 {
		report.State = "Enabled"
	}
	known, err := m.known(ctx, op)
	if err != nil {
		return bmc.HealthReport{}, err
	}
	for _, s := range known.list {
		if s.silent {
			continue
		}
		reading, err := m.reading(ctx, op, s)
		if err != nil {
			return bmc.HealthReport{}, err
		}
		report.Sensors = append(report.Sensors, reading)
		report.Status = worse(report.Status, reading.Health)
	}
	return report, nil
}

// chassisVerdict reads the faults of Get Chassis Status (chapter 28.2).
func chassisVerdict(status []byte) string {
	const powerFaults, driveAndFan = 0x1a, 0x0c // overload, fault, control fault; drive, cooling
	if status[0]&powerFaults != 0 || status[2]&driveAndFan != 0 {
		return critical
	}
	return healthy
}

// known returns the sensors, read again if the repository says that it changed.
func (m *Machine) known(ctx context.Context, op string) (*sensors, error) {
	select {
	case m.walking <- struct{}{}:
		defer func() { <-m.walking }()
	case <-ctx.Done():
		return nil, &bmc.Error{Class: bmc.Busy, Code: bmc.CodeSlow, Op: op, Detail: "the sensors were being read by another", Err: ctx.Err()}
	}
	for i, repo := range repositories {
		stamp, err := m.read(ctx, op, request{netFn: repo.netFn, cmd: repo.info}, 2)
		if err != nil && bmc.ClassOf(err) == bmc.Unsupported && i == 0 {
			continue
		}
		if err != nil {
			return nil, absent(err)
		}
		fresh := &sensors{stamp: stamp, only: m.stampless(ctx, repo, stamp)}
		if old := m.sensors.Load(); old != nil && string(old.stamp) == string(stamp) && old.only == fresh.only {
			return old, nil
		}
		if fresh.list, err = m.walk(ctx, op, repo); err != nil {
			return nil, err
		}
		m.sensors.Store(fresh)
		return fresh, nil
	}
	return &sensors{}, nil
}

// absent says of a BMC without any sensor records what the error means.
func absent(err error) error {
	if bmc.ClassOf(err) == bmc.Unsupported {
		return &bmc.Error{Class: bmc.Unsupported, Op: "read health", Detail: "the BMC has no sensor records", Err: err}
	}
	return err
}

// stampless returns the session if the repository does not say when it was
// changed (chapter 33.9: FFFFFFFFh is unspecified; device SDRs have no time).
func (m *Machine) stampless(ctx context.Context, repo repository, stamp []byte) (only *session) {
	if repo.netFn == netFnStorage && len(stamp) >= 13 {
		added, erased := binary.LittleEndian.Uint32(stamp[5:]), binary.LittleEndian.Uint32(stamp[9:])
		said := func(t uint32) bool { return t != 0 && t != 0xffffffff }
		if said(added) || said(erased) {
			return nil
		}
	}
	_ = m.use(ctx, "read health", func(s *session) error { only = s; return nil })
	return only
}

// walk reads every record.
func (m *Machine) walk(ctx context.Context, op string, repo repository) ([]sensor, error) {
	w := walker{m: m, op: op, repo: repo, chunk: wholeRecord}
	var out []sensor
	seen := map[uint16]bool{}
	for id := uint16(0); id != 0xffff && !seen[id] && len(seen) < maxRecords; {
		seen[id] = true
		next, record, err := w.record(ctx, id)
		if has(err, 0xcb) { // nothing there, or no more
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, parseSDR(record)...)
		id = next
	}
	return out[:min(len(out), maxSensors)], nil
}

// walker reads records, in parts if the BMC cannot do it in one.
type walker struct {
	m           *Machine
	op          string
	repo        repository
	chunk       int // bytes asked for
	reservation [2]byte
	reserved    bool
	losses      int
}

// record reads one. A reservation that another lost us is taken again, and the
// record from its beginning (chapter 33.11).
func (w *walker) record(ctx context.Context, id uint16) (next uint16, record []byte, err error) {
	for {
		if err := w.reserve(ctx); err != nil {
			return 0, nil, err
		}
		next, record, err = w.parts(ctx, id)
		switch {
		case has(err, 0xc5) && w.losses < maxLosses:
			w.losses++
			w.reserved = false
		case w.chunk > 4 && (tooMuch(err) || has(err, 0xff, 0xcc, 0xc9) && w.chunk == wholeRecord):
			// FFh, C9h and CCh: a BMC that does not know "the whole record".
			if w.chunk /= 2; w.chunk > 32 {
				w.chunk = 32
			}
		default:
			return next, record, err
		}
	}
}

func (w *walker) reserve(ctx context.Context) error {
	if w.reserved {
		return nil
	}
	data, err := w.m.read(ctx, w.op, request{netFn: w.repo.netFn, cmd: w.repo.reserve}, 2)
	if err != nil && bmc.ClassOf(err) == bmc.Unsupported {
		w.reserved = true // reservations are optional; zero goes without (chapter 33.12)
		return nil
	}
	if err != nil {
		return err
	}
	copy(w.reservation[:], data)
	w.reserved = true
	return nil
}

func (w *walker) parts(ctx context.Context, id uint16) (next uint16, record []byte, err error) {
	const header = 5
	size := header
	for len(record) < size {
		n := min(w.chunk, size-len(record))
		if w.chunk == wholeRecord && len(record) == 0 {
			n = wholeRecord
		}
		data, err := w.m.read(ctx, w.op, request{netFn: w.repo.netFn, cmd: w.repo.get, data: []byte{
			w.reservation[0], w.reservation[1], byte(id), byte(id >> 8), byte(len(record)), byte(n),
		}}, 3)
		if err != nil {
			return 0, nil, err
		}
		next = binary.LittleEndian.Uint16(data)
		record = append(record, data[2:]...)
		if len(record) >= header {
			size = header + int(record[4])
		}
		if len(record) > 0xff+header {
			return 0, nil, classify(ctx, w.op, fmt.Errorf("%w: sensor record of %d bytes", errPacket, len(record)))
		}
	}
	return next, record, nil
}

// reading reads one sensor. One that does not answer is absent: only silence of
// the BMC is an error.
func (m *Machine) reading(ctx context.Context, op string, s sensor) (bmc.Sensor, error) {
	out := bmc.Sensor{Name: s.name, Kind: s.kindOf(), Absent: true}
	if out.Name == "" {
		out.Name = fmt.Sprintf("%s #%#02x", kindName(s.kind), s.number)
	}
	_, out.Unit = s.scale.convert(0)
	if s.owner != addressBMC || s.channel != 0 {
		return out, nil // another controller's: its messages would have to be bridged
	}
	data, err := m.read(ctx, op, request{netFn: netFnSensor, cmd: 0x2d, lun: s.lun, data: []byte{s.number}}, 2)
	if err != nil {
		return out, fatal(err)
	}
	// Chapter 35.14: scanning disabled, or reading unavailable.
	if data[1]&0x40 == 0 || data[1]&0x20 != 0 {
		return out, nil
	}
	if !s.threshold() {
		return discrete(s, data, out), nil
	}
	if s.scale.ownFactors() {
		factors, err := m.read(ctx, op, request{netFn: netFnSensor, cmd: 0x23, lun: s.lun, data: []byte{s.number, data[0]}}, 7)
		if err != nil {
			return out, fatal(err)
		}
		s.scale.factors(factors[1:7])
	}
	value, ok := s.scale.value(data[0])
	out.Value, out.Absent = value, !ok
	if len(data) >= 3 {
		out.Health = verdict(data[2])
	} else if ok {
		out.Health = verdict(s.compare(data[0]))
	}
	return out, nil
}

// discrete says in which states a sensor without a value is.
func discrete(s sensor, data []byte, out bmc.Sensor) bmc.Sensor {
	var bits uint16
	if len(data) >= 3 {
		bits = uint16(data[2])
	}
	if len(data) >= 4 {
		bits |= uint16(data[3]&0x7f) << 8
	}
	out.State, out.Health = states(s.kind, s.event, bits)
	out.Absent = false
	return out
}

// fatal keeps the errors that end a walk over sensors.
func fatal(err error) error {
	switch bmc.ClassOf(err) {
	case bmc.Unreachable, bmc.Auth, bmc.Forbidden, bmc.TLSIdentity:
		return err
	case bmc.Transient:
		if !isCompletion(err) {
			return err // a context that ended
		}
	}
	return nil
}
