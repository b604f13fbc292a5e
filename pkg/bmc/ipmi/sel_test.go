package ipmi

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/bougou/go-ipmi/pkg/types"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// selAnswers plays a BMC's SEL.
type selAnswers struct {
	entries  []logRecord
	step     uint16 // between the ids
	reserves bool   // wants a reservation for everything
	erasing  int    // status requests until the erasure is over
	reads    int
	valid    byte
	lose     int
}

func (s *selAnswers) add(n int) {
	for range n {
		id := s.step * uint16(len(s.entries)+1)
		r := logRecord{byte(id), byte(id >> 8), 0x02, 0, 0x78, 0xe0, 0x65, 0x20, 0, 4, 0x08, 0x10, 0x6f, 0x01, 0xff, 0xff}
		binary.LittleEndian.PutUint32(r[3:], 1700000000+uint32(id))
		s.entries = append(s.entries, r)
	}
}

func (s *selAnswers) answer(netFn, cmd byte, data []byte) ([]byte, types.CompletionCode, bool) {
	if netFn != netFnStorage {
		return nil, 0, false
	}
	switch cmd {
	case 0x40:
		n := len(s.entries)
		return []byte{0x51, byte(n), byte(n >> 8), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}, 0, true
	case 0x42:
		s.valid++
		return []byte{s.valid, 0}, 0, true
	case 0x43:
		s.reads++
		if s.lose > 0 {
			s.lose--
			s.valid++
		}
		if s.reserves && data[0] != s.valid {
			return nil, 0xc5, true
		}
		return s.entry(binary.LittleEndian.Uint16(data[2:]))
	case 0x47:
		if data[0] != s.valid {
			return nil, 0xc5, true
		}
		if string(data[2:5]) != "CLR" {
			return nil, 0xcc, true
		}
		if data[5] == 0xaa {
			s.entries = nil
		} else {
			s.erasing--
		}
		if s.erasing > 0 {
			return []byte{0}, 0, true
		}
		return []byte{1}, 0, true
	}
	return nil, 0, false
}

func (s *selAnswers) entry(id uint16) ([]byte, types.CompletionCode, bool) {
	for i, r := range s.entries {
		last := i == len(s.entries)-1
		if r.id() != id && (id != firstRecord || i > 0) && (id != lastRecord || !last) {
			continue
		}
		next := uint16(lastRecord)
		if !last {
			next = s.entries[i+1].id()
		}
		return append(binary.LittleEndian.AppendUint16(nil, next), r[:]...), 0, true
	}
	return nil, 0xcb, true
}

func TestEventLog(t *testing.T) {
	for _, tc := range []struct {
		name        string
		step        uint16
		entries     int
		limit       int
		change      func(*selAnswers)
		first, last string
		want, reads int
	}{
		{name: "empty", step: 1, limit: 10},
		{name: "all", step: 1, entries: 5, limit: 10, want: 5, reads: 5, first: "1", last: "5"},
		{name: "newest of many", step: 1, entries: 500, limit: 20, want: 20, reads: 21, first: "481", last: "500"},
		{name: "ids far apart", step: 24, entries: 50, limit: 20, want: 20, reads: 52, first: "744", last: "1200"},
		{name: "no limit", step: 1, entries: 30, want: 30, reads: 30, first: "1", last: "30"},
		{name: "reservations", step: 1, entries: 5, limit: 10, want: 5, reads: 10, first: "1", last: "5", change: func(s *selAnswers) { s.reserves = true; s.valid = 7 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, addr := goServer(t)
			s := &selAnswers{step: tc.step}
			s.add(tc.entries)
			if tc.change != nil {
				tc.change(s)
			}
			b.intercept(s.answer)
			m, err := open(t, addr, admin)
			if err != nil {
				t.Fatal(err)
			}
			got, err := m.EventLog(t.Context(), tc.limit)
			if err != nil || len(got) != tc.want {
				t.Fatalf("%d entries, %v; want %d", len(got), err, tc.want)
			}
			b.look(func() {
				if s.reads != tc.reads {
					t.Errorf("%d requests for entries, want %d", s.reads, tc.reads)
				}
			})
			if tc.want > 0 && (got[0].ID != tc.first || got[len(got)-1].ID != tc.last) {
				t.Errorf("from %s to %s, want %s to %s", got[0].ID, got[len(got)-1].ID, tc.first, tc.last)
			}
		})
	}
}

func TestClearEventLog(t *testing.T) {
	b, addr := goServer(t)
	s := &selAnswers{step: 1, erasing: 3}
	s.add(9)
	b.intercept(s.answer)
	m, err := open(t, addr, admin)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.ClearEventLog(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := m.EventLog(t.Context(), 9); err != nil || len(got) != 0 {
		t.Errorf("after clearing: %v, %v", got, err)
	}
	b.look(func() {
		if s.erasing != 0 {
			t.Errorf("did not wait for the erasure: %d", s.erasing)
		}
	})
	b.intercept(nil)
	_, err = m.EventLog(t.Context(), 9) // go-ipmi's server has no SEL
	wantError(t, err, bmc.Unsupported, "", "")
	wantError(t, m.ClearEventLog(t.Context()), bmc.Unsupported, "", "")
}

func TestLogEntry(t *testing.T) {
	records, _ := shelf()
	known := &sensors{}
	for _, r := range records {
		known.list = append(known.list, parseSDR(r)...)
	}
	const noon = "\x40\x2e\x5e\x65" // 2023-11-22 16:36:48, little-endian
	for _, tc := range []struct {
		name   string
		record string
		want   string
	}{
		{name: "threshold", record: "\x01\x00\x02" + noon + "\x20\x00\x04\x01\x01\x01\x59\x5c\x50", want: "1 2023 Critical [CPU Temp] upper critical, going high: 92 Cel (threshold 80 Cel)"},
		{name: "threshold gone", record: "\x02\x00\x02" + noon + "\x20\x00\x04\x01\x01\x81\x59\x5c\x50", want: "2 2023 OK [CPU Temp] upper critical, going high: 92 Cel (threshold 80 Cel) (no longer)"},
		{name: "specific", record: "\x03\x00\x02" + noon + "\x20\x00\x04\x08\x11\x6f\x03\xff\xff", want: "3 2023 Critical [PSU 2] input lost"},
		{name: "event only", record: "\x04\x00\x02" + noon + "\x20\x00\x04\x0c\x30\x6f\xa0\x00\x01", want: "4 2023 Warning [DIMM A1] correctable error"},
		{name: "unknown sensor", record: "\x05\x00\x02" + noon + "\x41\x00\x04\x0c\x30\x6f\x01\xff\xff", want: "5 2023 Critical [memory #0x30] uncorrectable error"},
		{name: "generic", record: "\x06\x00\x02" + noon + "\x20\x00\x04\x0b\x99\x0b\x01\xff\xff", want: "6 2023 Warning [other units #0x99] redundancy lost"},
		{name: "OEM event", record: "\x07\x00\x02" + noon + "\x20\x00\x04\xc5\x99\x72\x02\xff\xff", want: "7 2023 OK [OEM sensor type 0xc5 #0x99] OEM event 0x72, offset 2"},
		{name: "beyond the table", record: "\x08\x00\x02" + noon + "\x20\x00\x04\x29\x99\x6f\x0e\xff\xff", want: "8 2023 OK [battery #0x99] event 0x6f, offset 14"},
		{name: "gap in the table", record: "\x08\x00\x02" + noon + "\x20\x00\x04\x23\x99\x6f\x05\xff\xff", want: "8 2023 OK [watchdog 2 #0x99] event 0x6f, offset 5"},
		{name: "time unknown", record: "\x09\x00\x02\xff\xff\xff\xff\x20\x00\x04\x10\x99\x6f\x02\xff\xff", want: "9 1 OK [event logging #0x99] log cleared"},
		{name: "time since start", record: "\x0a\x00\x02\x10\x00\x00\x00\x20\x00\x04\x10\x99\x6f\x02\xff\xff", want: "10 1 OK [event logging #0x99] log cleared"},
		{name: "OEM with time", record: "\x0b\x00\xc1" + noon + "\xa2\x02\x00\x01\x02\x03\x04\x05\x06", want: "11 2023 OK [] OEM record 0xc1 of maker 674: 01 02 03 04 05 06"},
		{name: "OEM", record: "\x0c\x00\xe0\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d", want: "12 1 OK [] OEM record 0xe0: 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d"},
		{name: "reserved", record: "\xff\xff\x03" + strings.Repeat("\x00", 13), want: "65535 1 OK [] record 0x03: 00 00 00 00 00 00 00 00 00 00 00 00 00"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := logRecord([]byte(tc.record)).entry(known)
			if got := fmt.Sprintf("%s %d %s [%s] %s", e.ID, e.Time.Year(), e.Severity, e.Sensor, e.Message); got != tc.want {
				t.Errorf("entry\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

func FuzzSEL(f *testing.F) {
	s := selAnswers{step: 1}
	s.add(1)
	f.Add(s.entries[0][:], []byte{})
	records, _ := shelf()
	for kind := range byte(255) {
		f.Add([]byte{1, 0, 2, 1, 2, 3, 0x60, 0x20, 0, 4, kind, 1, kind, 0x5f, 2, 3}, records[int(kind)%len(records)])
	}
	f.Fuzz(func(t *testing.T, b, sdr []byte) {
		var r logRecord
		copy(r[:], b)
		for _, known := range []*sensors{nil, {list: parseSDR(sdr)}} {
			e := r.entry(known)
			if e.Message == "" || len(e.Message) > 300 || e.Severity != healthy && e.Severity != warning && e.Severity != critical {
				t.Fatalf("%+v", e)
			}
		}
		for i := 0; i+3 < len(b); i += 4 {
			states(b[i], b[i+1], binary.LittleEndian.Uint16(b[i+2:]))
		}
	})
}

// TestLogAsIPMItoolSeesIt compares the log of ipmi_sim with what ipmitool makes of
// it, and clears it.
func TestLogAsIPMItoolSeesIt(t *testing.T) {
	tool, err := exec.LookPath("ipmitool")
	if err != nil {
		t.Skip("ipmitool is not installed")
	}
	addr := simulator(t,
		// The simulator wants the 13 bytes behind the record's type.
		"sel_add 0x20 0x02 0x40 0x2e 0x5e 0x65 0x20 0x00 0x04 0x08 0x11 0x6f 0x01 0xff 0xff\n",
		"sel_add 0x20 0x02 0x41 0x2e 0x5e 0x65 0x20 0x00 0x04 0x0c 0x30 0x6f 0x01 0xff 0xff\n",
		"sel_add 0x20 0x02 0x42 0x2e 0x5e 0x65 0x20 0x00 0x04 0x05 0x31 0x6f 0x00 0xff 0xff\n")
	m := openSimulator(t, addr)
	got, err := m.EventLog(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, tool, "-I", "lanplus", "-C", "3", "-H", addr.Host, "-p", fmt.Sprint(addr.Port), "-U", admin.Username, "-E", "-c", "sel", "list")
	cmd.Env = append(os.Environ(), "IPMI_PASSWORD="+admin.Password, "TZ=UTC")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// id in hexadecimal, date, time, sensor, event, direction. The simulator puts
	// the time since its start into entries, "Pre-Init" to ipmitool.
	var theirs, ours []string
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		f := strings.Split(line, ",")
		if len(f) < 5 {
			t.Fatalf("ipmitool says %q", line)
		}
		theirs = append(theirs, fmt.Sprintf("%s %v %s", strings.TrimSpace(f[0]), strings.Contains(f[1], "Pre-Init"), strings.ToLower(f[3])))
	}
	theirs = []string{theirs[0], theirs[1], strings.ReplaceAll(theirs[2], "physical security", "chassis intrusion")}
	for i, e := range got {
		ours = append(ours, fmt.Sprintf("%d %v %s", i+1, e.Time.IsZero(), e.Sensor))
	}
	if diff := cmp.Diff(theirs, ours); diff != "" {
		t.Errorf("log (-ipmitool +ours):\n%s\nipmitool:\n%s", diff, out)
	}
	for i, want := range []string{"failure detected", "uncorrectable error", "chassis opened"} {
		if i < len(got) && got[i].Message != want {
			t.Errorf("entry %d is %q, want %q; ipmitool:\n%s", i, got[i].Message, want, out)
		}
	}
	if err := m.ClearEventLog(t.Context()); err != nil {
		t.Error(err)
	}
	if got, err := m.EventLog(t.Context(), 10); err != nil || len(got) != 0 {
		t.Errorf("cleared: %v, %v", got, err)
	}
}
