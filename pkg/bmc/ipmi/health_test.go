package ipmi

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/bougou/go-ipmi/pkg/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// record packs a sensor record (chapter 43).
func record(id uint16, kind byte, body []byte) []byte {
	return append([]byte{byte(id), byte(id >> 8), 0x51, kind, byte(len(body))}, body...)
}

// fullRecord describes a measuring sensor.
func fullRecord(id uint16, number, kind, unit byte, name string, change func(b []byte)) []byte {
	b := make([]byte, 43)
	b[0], b[2], b[7], b[8] = addressBMC, number, kind, 0x01
	b[16] = unit
	b[19] = 1 // M
	b[42] = 0xc0 | byte(len(name))
	if change != nil {
		change(b)
	}
	return record(id, sdrFull, append(b, name...))
}

func compactRecord(id uint16, number, kind, event, share, offset byte, name string) []byte {
	b := make([]byte, 27)
	b[0], b[2], b[7], b[8] = addressBMC, number, kind, event
	b[18], b[19] = share, offset
	b[26] = 0xc0 | byte(len(name))
	return record(id, sdrCompact, append(b, name...))
}

func eventRecord(id uint16, number, kind, event byte, name string) []byte {
	b := make([]byte, 12)
	b[0], b[2], b[5], b[6] = addressBMC, number, kind, event
	b[11] = 0xc0 | byte(len(name))
	return record(id, sdrEventOnly, append(b, name...))
}

func exponents(r, b int) byte { return byte(r&0x0f)<<4 | byte(b&0x0f) }

// shelf is the sensors of the tests below, with the answers to Get Sensor
// Reading.
func shelf() (records [][]byte, readings map[byte][]byte) {
	return [][]byte{
		fullRecord(1, 1, 0x01, 1, "CPU Temp", func(b []byte) { // two's complement
			b[15] = 0x80
			b[13] = 0b011000 // readable: upper non-critical and critical
			b[33], b[32] = 80, 90
		}),
		fullRecord(2, 2, 0x04, 18, "Fan 1", func(b []byte) { b[19] = 75 }),
		fullRecord(3, 3, 0x02, 4, "12V", func(b []byte) { b[19], b[21], b[24] = 63, 5, exponents(-3, 1) }),
		fullRecord(4, 4, 0x0b, 6, "PSU Power", func(b []byte) { b[19] = 4 }),
		compactRecord(5, 0x10, 0x08, 0x6f, 0x02, 1, "PSU "),
		compactRecord(6, 0x20, 0x0d, 0x6f, 0x01, 0, "Bay"),
		eventRecord(7, 0x30, 0x0c, 0x6f, "DIMM A1"),
		fullRecord(8, 5, 0x04, 0, "Fan duty", func(b []byte) { b[15] |= 1 }),
		fullRecord(9, 6, 0x01, 1, "Inlet", nil), // does not answer
		fullRecord(10, 7, 0x01, 1, "Managed elsewhere", func(b []byte) { b[0] = 0x2c }),
		fullRecord(11, 8, 0x02, 4, "Curved", func(b []byte) { b[18] = 0x70 }),
		record(12, 0xc0, []byte("OEM record")),
	}, map[byte][]byte{
		1: {0xf6, 0xc0, 0xc0}, 2: {100, 0xc0, 0xc1}, 3: {0xba, 0xc0}, 4: {60, 0xc0, 0xc0},
		0x10: {0, 0xc0, 0x01}, 0x11: {0, 0xc0, 0x09, 0x80}, 0x20: {0, 0xe0, 0x01}, 5: {40, 0xc0, 0xc0}, 8: {9, 0xc0, 0xc0},
	}
}

// repositoryAnswers plays the storage and sensor commands of a BMC.
type repositoryAnswers struct {
	records  [][]byte
	readings map[byte][]byte
	most     int // bytes it can return; 0: the whole record
	lose     int // reservations that it loses
	noRepo   bool
	stamp    byte
	asked    map[string]int
	valid    byte
}

func (r *repositoryAnswers) answer(netFn, cmd byte, data []byte) ([]byte, types.CompletionCode, bool) {
	if netFn != netFnStorage && netFn != netFnSensor {
		return nil, 0, false
	}
	r.asked[fmt.Sprintf("%02x %02x", netFn, cmd)]++
	if r.noRepo && netFn == netFnStorage && cmd >= 0x20 && cmd < 0x30 {
		return nil, 0xc1, true
	}
	switch {
	case netFn == netFnStorage && cmd == 0x20:
		return []byte{0x51, byte(len(r.records)), 0, 0xff, 0xff, r.stamp, 0, 0, 0, 0, 0, 0, 0, 2}, 0, true
	case netFn == netFnSensor && cmd == 0x20:
		return []byte{byte(len(r.records)), 1}, 0, true
	case cmd == 0x22:
		r.valid++
		return []byte{r.valid, 0}, 0, true
	case netFn == netFnStorage && cmd == 0x23 || netFn == netFnSensor && cmd == 0x21:
		return r.get(data)
	case netFn == netFnSensor && cmd == 0x23:
		return []byte{0, 2, 0, 3, 0, 0, 0}, 0, true // 2x + 3
	case netFn == netFnSensor && cmd == 0x2d:
		if b := r.readings[data[0]]; b != nil {
			return b, 0, true
		}
		return nil, 0xcb, true
	}
	return nil, 0, false
}

func (r *repositoryAnswers) get(data []byte) ([]byte, types.CompletionCode, bool) {
	offset, n := int(data[4]), int(data[5])
	if r.lose > 0 && offset > 0 {
		r.lose--
		r.valid++
	}
	if offset > 0 && data[0] != r.valid {
		return nil, 0xc5, true
	}
	id := int(binary.LittleEndian.Uint16(data[2:]))
	for i, rec := range r.records {
		if own := int(binary.LittleEndian.Uint16(rec)); own != id && (id != 0 || i > 0) {
			continue
		}
		next := []byte{0xff, 0xff}
		if i+1 < len(r.records) {
			next = bytes.Clone(r.records[i+1][:2])
		}
		if n = min(n, len(rec)-offset); r.most > 0 && n > r.most {
			return nil, 0xca, true
		}
		return append(next, rec[offset:offset+n]...), 0, true
	}
	return nil, 0xcb, true
}

func TestHealth(t *testing.T) {
	want := bmc.HealthReport{Status: "Critical", State: "Enabled", Sensors: []bmc.Sensor{
		{Name: "CPU Temp", Kind: "temperature", Value: -10, Unit: "Cel", Health: "OK"},
		{Name: "Fan 1", Kind: "fan", Value: 7500, Unit: "RPM", Health: "Warning"},
		{Name: "12V", Kind: "voltage", Value: 11.768, Unit: "V", Health: "OK"},
		{Name: "PSU Power", Kind: "power", Value: 240, Unit: "W", Health: "OK"},
		{Name: "PSU 1", Kind: "other", State: "presence detected", Health: "OK"},
		{Name: "PSU 2", Kind: "other", State: "presence detected, input lost", Health: "Critical"},
		{Name: "Bay", Kind: "other", Absent: true},
		{Name: "Fan duty", Kind: "fan", Value: 40, Unit: "%", Health: "OK"},
		{Name: "Inlet", Kind: "temperature", Unit: "Cel", Absent: true},
		{Name: "Managed elsewhere", Kind: "temperature", Unit: "Cel", Absent: true},
		{Name: "Curved", Kind: "voltage", Value: 21, Unit: "V", Health: "OK"},
	}}
	for _, tc := range []struct {
		name   string
		change func(r *repositoryAnswers)
	}{
		{name: "whole records", change: func(*repositoryAnswers) {}},
		{name: "16 bytes at a time", change: func(r *repositoryAnswers) { r.most = 16 }},
		{name: "reservations lost", change: func(r *repositoryAnswers) { r.most, r.lose = 8, 5 }},
		{name: "device records", change: func(r *repositoryAnswers) { r.noRepo = true }},
		{name: "no time of change", change: func(r *repositoryAnswers) { r.stamp = 0 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, addr := goServer(t)
			r := &repositoryAnswers{asked: map[string]int{}, stamp: 9}
			r.records, r.readings = shelf()
			tc.change(r)
			b.intercept(r.answer)
			m, err := open(t, addr, admin)
			if err != nil {
				t.Fatal(err)
			}
			if err := m.SetPower(t.Context(), bmc.ActionOn); err != nil {
				t.Fatal(err)
			}
			var reads []int
			for range 2 {
				got, err := m.Health(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				b.look(func() { reads = append(reads, r.asked["0a 23"]+r.asked["04 21"]) })
				if diff := cmp.Diff(want, got, cmpopts.EquateApprox(0, 1e-9)); diff != "" {
					t.Errorf("health (-want +got):\n%s", diff)
				}
			}
			if reads[0] != reads[1] {
				t.Errorf("records read %v: what has not changed was read again", reads)
			}
			b.look(func() { // somebody changed the repository
				r.stamp = 77
				r.records = r.records[:1]
			})
			got, err := m.Health(t.Context())
			if err != nil || len(got.Sensors) != 1 {
				t.Errorf("after a change: %+v, %v", got, err)
			}
		})
	}
}

func TestHealthWithoutSensors(t *testing.T) {
	b, addr := goServer(t)
	m, err := open(t, addr, admin)
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Health(t.Context()) // go-ipmi's own empty repository
	if err != nil || got.Status != "OK" || got.State != "StandbyOffline" || len(got.Sensors) != 0 {
		t.Errorf("empty repository: %+v, %v", got, err)
	}
	b.intercept(func(netFn, _ byte, _ []byte) ([]byte, types.CompletionCode, bool) {
		return nil, 0xc1, netFn == netFnStorage || netFn == netFnSensor
	})
	_, err = m.Health(t.Context())
	wantError(t, err, bmc.Unsupported, "", "no sensor records")
	// A repository without end, and one that goes in circles.
	for _, next := range []func(id uint16) uint16{
		func(id uint16) uint16 { return id + 1 },
		func(id uint16) uint16 { return (id + 1) % 5 },
	} {
		b.intercept(func(netFn, cmd byte, data []byte) ([]byte, types.CompletionCode, bool) {
			switch {
			case netFn == netFnStorage && cmd == 0x20:
				return []byte{0x51, 1, 0}, 0, true
			case netFn == netFnStorage && cmd == 0x23:
				id := binary.LittleEndian.Uint16(data[2:])
				return append(binary.LittleEndian.AppendUint16(nil, next(id)), record(id, 0xc0, nil)...), 0, true
			}
			return nil, 0, false
		})
		if got, err := m.Health(t.Context()); err != nil || len(got.Sensors) != 0 {
			t.Errorf("endless repository: %+v, %v", got, err)
		}
	}
}

func TestScale(t *testing.T) {
	for _, tc := range []struct {
		name  string
		scale scale
		raw   byte
		want  float64
	}{
		{name: "linear", scale: scale{m: 1}, raw: 200, want: 200},
		{name: "ones' complement", scale: scale{format: 1, m: 1}, raw: 0xfe, want: -1},
		{name: "two's complement", scale: scale{format: 2, m: 1}, raw: 0xfe, want: -2},
		{name: "offset", scale: scale{m: -2, b: 3, bexp: 2, rexp: -1}, raw: 10, want: 28},
		{name: "kelvin", scale: scale{m: 1, b: 200, unit: 3}, raw: 100, want: 26.85},
		{name: "fahrenheit", scale: scale{m: 1, unit: 2}, raw: 212, want: 100},
		{name: "ln", scale: scale{m: 1, linear: 1}, raw: 1, want: 0},
		{name: "log10", scale: scale{m: 1, linear: 2}, raw: 100, want: 2},
		{name: "log2", scale: scale{m: 1, linear: 3}, raw: 8, want: 3},
		{name: "e", scale: scale{m: 1, linear: 4}, raw: 1, want: math.E},
		{name: "exp10", scale: scale{m: 1, linear: 5}, raw: 2, want: 100},
		{name: "exp2", scale: scale{m: 1, linear: 6}, raw: 5, want: 32},
		{name: "inverse", scale: scale{m: 1, linear: 7}, raw: 4, want: 0.25},
		{name: "square", scale: scale{m: 1, linear: 8}, raw: 5, want: 25},
		{name: "cube", scale: scale{m: 1, linear: 9}, raw: 3, want: 27},
		{name: "square root", scale: scale{m: 1, linear: 10}, raw: 49, want: 7},
		{name: "cube root", scale: scale{m: 1, linear: 11}, raw: 27, want: 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, ok := tc.scale.value(tc.raw); !ok || math.Abs(got-tc.want) > 1e-9 {
				t.Errorf("value %v, %v; want %v", got, ok, tc.want)
			}
		})
	}
	for _, s := range []scale{{format: 3}, {m: 1, linear: 7}, {m: 0, linear: 1}} {
		if got, ok := s.value(0); ok {
			t.Errorf("%+v has the value %v of 0", s, got)
		}
	}
	var s scale
	s.factors([]byte{0xff, 0xc0, 0x01, 0x80, 0, 0xf8})
	if s.m != -1 || s.b != -511 || s.rexp != -1 || s.bexp != -8 {
		t.Errorf("factors %+v", s)
	}
}

func TestThresholdsOfTheRecord(t *testing.T) {
	s := parseSDR(fullRecord(1, 1, 0x01, 1, "T", func(b []byte) {
		b[13] = 0x3f
		b[31], b[32], b[33], b[34], b[35], b[36] = 95, 90, 80, 2, 5, 10
	}))[0]
	for raw, want := range map[byte]string{50: "OK", 10: "Warning", 5: "Critical", 2: "Critical", 80: "Warning", 90: "Critical", 200: "Critical"} {
		if got := verdict(s.compare(raw)); got != want {
			t.Errorf("%d is %s, want %s", raw, got, want)
		}
	}
	s.limits.mask = 0
	if got := s.compare(200); got != 0 {
		t.Errorf("unreadable thresholds compare to %#x", got)
	}
}

func TestSharedNames(t *testing.T) {
	var got []string
	for _, rec := range [][]byte{
		compactRecord(1, 250, 0x0d, 0x6f, 0x03, 9, "Bay "),
		compactRecord(2, 1, 0x0d, 0x6f, 0x12, 25, "Slot "),
		compactRecord(3, 1, 0x0d, 0x6f, 0, 0, "One"),
	} {
		for _, s := range parseSDR(rec) {
			got = append(got, fmt.Sprint(s.name, s.number))
		}
	}
	want := []string{"Bay 9250", "Bay 10251", "Bay 11252", "Slot Z1", "Slot AA2", "One1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func FuzzSDR(f *testing.F) {
	records, _ := shelf()
	for _, r := range records {
		f.Add(r, byte(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, raw byte) {
		for _, s := range parseSDR(b) {
			if v, ok := s.scale.value(raw); ok && (math.IsNaN(v) || math.IsInf(v, 0)) {
				t.Fatalf("%+v: %v", s, v)
			}
			if s.kindOf() == "" || verdict(s.compare(raw)) == "" {
				t.Fatalf("%+v", s)
			}
			if strings.ContainsFunc(s.name, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Fatalf("name %q", s.name)
			}
		}
	})
}

// TestSensorsAsIPMItoolSeesThem compares Health on ipmi_sim with what ipmitool
// reads there.
func TestSensorsAsIPMItoolSeesThem(t *testing.T) {
	tool, err := exec.LookPath("ipmitool")
	if err != nil {
		t.Skip("ipmitool is not installed")
	}
	records, readings := shelf()
	var emu strings.Builder
	for _, r := range records[:4] {
		fmt.Fprintf(&emu, "main_sdr_add 0x20")
		for _, c := range r {
			fmt.Fprintf(&emu, " 0x%02x", c)
		}
		emu.WriteByte('\n')
	}
	for number, kind := range map[byte]byte{1: 0x01, 2: 0x04, 3: 0x02, 4: 0x0b} {
		fmt.Fprintf(&emu, "sensor_add 0x20 0 %d 0x%02x 0x01\n", number, kind)
		fmt.Fprintf(&emu, "sensor_set_event_support 0x20 0 %d enable scanning per-state 000000000000000 000000000000000 000000000000000 000000000000000\n", number)
		fmt.Fprintf(&emu, "sensor_set_value 0x20 0 %d %d 0\n", number, readings[number][0])
	}
	addr := simulator(t, emu.String())
	m := openSimulator(t, addr)
	report, err := m.Health(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, tool, "-I", "lanplus", "-C", "3", "-H", addr.Host, "-p", fmt.Sprint(addr.Port), "-U", admin.Username, "-E", "-c", "sdr", "list", "full")
	cmd.Env = append(os.Environ(), "IPMI_PASSWORD="+admin.Password)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	units := map[string]string{"Cel": "degrees C", "RPM": "RPM", "V": "Volts", "W": "Watts"}
	var got strings.Builder
	for _, s := range report.Sensors {
		value := strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.3f", s.Value), "0"), ".")
		fmt.Fprintf(&got, "%s,%s,%s,ok\n", s.Name, value, units[s.Unit])
	}
	if diff := cmp.Diff(string(out), got.String()); diff != "" {
		t.Errorf("sensors (-ipmitool +ours):\n%s", diff)
	}
}
