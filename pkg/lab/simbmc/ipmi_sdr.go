package simbmc

import (
	"context"
	"time"

	"github.com/bougou/go-ipmi/pkg/hal"
	"github.com/bougou/go-ipmi/pkg/handlers"
	"github.com/bougou/go-ipmi/pkg/types"
)

// simSensor is a sensor of the simulated machine, with the reading that it gives.
type simSensor struct {
	number, kind byte
	event        byte // event/reading type: 0x01 measures, 0x6f has states
	unit         byte // table 43-15
	entity       byte // table 43-13
	m            byte // value = m × raw × 10^exponent
	exponent     int8
	raw          byte // reading, or states of a discrete one
	idle         bool // reads with the machine off, too
	name         string
	high, higher byte // thresholds, upper non-critical and critical; 0: none
}

// simSensors is what every simulated machine has.
func simSensors() []simSensor {
	return []simSensor{
		{number: 1, kind: 0x01, event: 0x01, unit: 1, entity: 0x03, m: 1, raw: 42, high: 85, higher: 95, name: "CPU Temp"},
		{number: 2, kind: 0x01, event: 0x01, unit: 1, entity: 0x37, m: 1, raw: 24, high: 40, higher: 45, idle: true, name: "Inlet Temp"},
		{number: 3, kind: 0x04, event: 0x01, unit: 18, entity: 0x1d, m: 75, raw: 64, name: "Fan 1"},
		{number: 4, kind: 0x04, event: 0x01, unit: 18, entity: 0x1d, m: 75, raw: 62, name: "Fan 2"},
		{number: 5, kind: 0x02, event: 0x01, unit: 4, entity: 0x07, m: 63, exponent: -3, raw: 191, name: "12V"},
		{number: 6, kind: 0x0b, event: 0x01, unit: 6, entity: 0x0a, m: 4, raw: 55, name: "Power Draw"},
		{number: 7, kind: 0x08, event: 0x6f, entity: 0x0a, raw: 0x01, idle: true, name: "PSU 1"}, // presence
	}
}

// record packs the sensor's record (IPMI 2.0 tables 43-1 and 43-2).
func (s simSensor) record(id uint16) []byte {
	size := 27 // bytes behind the header, up to the name's length
	kind := byte(0x02)
	if s.event == 0x01 {
		size, kind = 43, 0x01
	}
	b := make([]byte, size, size+len(s.name))
	b[0], b[2] = 0x20, s.number
	b[3], b[4] = s.entity, 1
	b[5] = 0x63 // initialised and scanning
	b[6] = 0x40 // re-arms itself
	b[7], b[8] = s.kind, s.event
	b[16] = s.unit
	if s.event == 0x01 {
		b[6] |= 0x04 // thresholds are readable
		b[13] = s.mask()
		b[19] = s.m
		b[24] = byte(s.exponent) << 4
		b[32], b[33] = s.higher, s.high
	} else {
		b[13], b[15] = 0x0f, 0xc0 // states that it reads; no analogue reading
	}
	b[size-1] = 0xc0 | byte(len(s.name))
	b = append(b, s.name...)
	return append([]byte{byte(id), byte(id >> 8), 0x51, kind, byte(len(b))}, b...)
}

// mask says which thresholds there are.
func (s simSensor) mask() byte {
	if s.high == 0 {
		return 0
	}
	return 0x18 // upper critical, upper non-critical
}

// reading is Get Sensor Reading's answer (§35.14).
func (s simSensor) reading(on bool) []byte {
	const enabled, unavailable = 0xc0, 0x20
	switch {
	case !on && !s.idle:
		return []byte{0, enabled | unavailable, 0xc0}
	case s.event != 0x01:
		return []byte{0, enabled, s.raw, 0x80}
	}
	status := byte(0xc0)
	if s.high > 0 && s.raw >= s.high {
		status |= 0x08
	}
	if s.higher > 0 && s.raw >= s.higher {
		status |= 0x10
	}
	return []byte{s.raw, enabled, status}
}

// sdrHAL is the sensor data repository that the library serves.
type sdrHAL struct{}

func (sdrHAL) Read(_ context.Context, id uint16) ([]byte, error) {
	all := simSensors()
	if id == 0 || int(id) > len(all) {
		return nil, hal.ErrNotFound
	}
	return all[id-1].record(id), nil
}

func (sdrHAL) RecordIDs(context.Context) ([]uint16, error) {
	ids := make([]uint16, len(simSensors()))
	for i := range ids {
		ids[i] = uint16(i + 1)
	}
	return ids, nil
}

func (sdrHAL) Write(context.Context, uint16, []byte) error { return hal.ErrNotSupported }
func (sdrHAL) Delete(context.Context, uint16) error        { return hal.ErrNotSupported }

// registerSensors adds what the library lacks. Its own repository information
// says "changed just now" each time, which no client can cache.
func (f *ipmiFace) registerSensors(r *handlers.Registry) {
	made := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	r.RegisterFunc(types.CommandGetSDRRepoInfo, func(context.Context, *handlers.HandlerContext, []byte) ([]byte, types.CompletionCode, error) {
		n := len(simSensors())
		out := []byte{0x51, byte(n), byte(n >> 8), 0xff, 0xff}
		out = append(append(out, stamp(made)...), stamp(made)...)
		return append(out, 0x02), types.CodeOK, nil // Reserve SDR Repository
	})
	r.RegisterFunc(types.CommandGetSensorReading, func(ctx context.Context, _ *handlers.HandlerContext, data []byte) ([]byte, types.CompletionCode, error) {
		s, code := sensorOf(data)
		if code != types.CodeOK {
			return nil, code, nil
		}
		on, err := f.b.body.Power(ctx)
		if err != nil {
			return nil, completion(err), nil
		}
		return s.reading(on), types.CodeOK, nil
	})
	r.RegisterFunc(types.CommandGetSensorThresholds, func(_ context.Context, _ *handlers.HandlerContext, data []byte) ([]byte, types.CompletionCode, error) {
		s, code := sensorOf(data)
		if code != types.CodeOK {
			return nil, code, nil
		}
		return []byte{s.mask(), 0, 0, 0, s.high, s.higher, 0}, types.CodeOK, nil
	})
}

func sensorOf(data []byte) (simSensor, types.CompletionCode) {
	if len(data) < 1 {
		return simSensor{}, types.CodeRequestDataTruncated
	}
	for _, s := range simSensors() {
		if s.number == data[0] {
			return s, types.CodeOK
		}
	}
	return simSensor{}, types.CodeRequestedDataNotPresent
}
