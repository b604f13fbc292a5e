package vm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// logOf is a log of the entries given, as QEMU 7.2 writes it: without guest
// flushes the superblock stays empty.
func logOf(entries ...[3]uint64) []byte {
	b := make([]byte, sectorSize)
	for _, e := range entries {
		head := make([]byte, sectorSize)
		binary.LittleEndian.PutUint64(head[0:], e[0])
		binary.LittleEndian.PutUint64(head[8:], e[1])
		binary.LittleEndian.PutUint64(head[16:], e[2])
		b = append(b, head...)
		if e[2]&logDiscard == 0 && e[1] < 1<<20 {
			b = append(b, bytes.Repeat([]byte{0xab}, int(e[1])*sectorSize)...)
		}
	}
	return b
}

const testDisk = 64 << 20

func TestParseWriteLog(t *testing.T) {
	tests := []struct {
		name string
		in   []byte
		want []WriteRange
		err  error
	}{
		{name: "no run", in: nil},
		{name: "nothing written", in: make([]byte, 4096)},
		{
			name: "as recorded from QEMU 7.2.22", // write, zeroes, discard, flush, write
			in:   logOf([3]uint64{8, 0x800, 0}, [3]uint64{0x4000, 0x2000, 0}, [3]uint64{0x8000, 0x2000, logDiscard}, [3]uint64{0, 0, logFlush}, [3]uint64{0, 1, logFUA}),
			want: []WriteRange{
				{Run: 3, Op: OpWrite, Offset: 4096, Length: 1 << 20, Count: 1},
				{Run: 3, Op: OpWrite, Offset: 8 << 20, Length: 4 << 20, Count: 1},
				{Run: 3, Op: OpDiscard, Offset: 16 << 20, Length: 4 << 20, Count: 1},
				{Run: 3, Op: OpWrite, Offset: 0, Length: 512, Count: 1},
			},
		},
		{
			name: "what goes on is joined, what is repeated is not",
			in:   logOf([3]uint64{0, 8, 0}, [3]uint64{8, 8, 0}, [3]uint64{8, 8, 0}),
			want: []WriteRange{
				{Run: 3, Op: OpWrite, Offset: 0, Length: 8192, Count: 2},
				{Run: 3, Op: OpWrite, Offset: 4096, Length: 4096, Count: 1},
			},
		},
		{
			name: "data not yet whole", in: logOf([3]uint64{0, 8, 0})[:1100],
			want: []WriteRange{{Run: 3, Op: OpWrite, Offset: 0, Length: 4096, Count: 1}},
		},
		{name: "beyond the disk", in: logOf([3]uint64{testDisk / sectorSize, 1, 0}), err: errWriteLog},
		{name: "sum that overflows", in: logOf([3]uint64{1<<64 - 1, 2, 0}), err: errWriteLog},
		{name: "unknown flags", in: logOf([3]uint64{0, 1, 1 << 40}), err: errWriteLog},
		{name: "length that overflows", in: logOf([3]uint64{0, 1 << 62, logDiscard}), err: errWriteLog},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseWriteLog(bytes.NewReader(tt.in), int64(len(tt.in)), testDisk, 3)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestFold(t *testing.T) {
	d := &diskLog{dir: t.TempDir(), size: testDisk}
	write := func(run int, entries ...[3]uint64) {
		t.Helper()
		if err := d.begin(run); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(liveLogFile(d.dir, 0, run), logOf(entries...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(run int, want ...WriteRange) {
		t.Helper()
		got, err := d.ranges(run)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	first := WriteRange{Run: 1, Op: OpWrite, Offset: 0, Length: 4096, Count: 1}
	second := WriteRange{Run: 2, Op: OpWrite, Offset: 4096, Length: 4096, Count: 1}
	check(0)
	write(1, [3]uint64{0, 8, 0})
	check(1, first) // while it runs
	for range 2 {
		if err := d.fold(1); err != nil {
			t.Fatal(err)
		}
		check(1, first)
	}
	// A lab that died between keeping the ranges and removing the log.
	write(1, [3]uint64{0, 8, 0})
	if err := d.fold(1); err != nil {
		t.Fatal(err)
	}
	check(1, first)
	write(2, [3]uint64{8, 8, 0})
	check(2, first, second)
	if count, bytes := WriteTotals([]WriteRange{first, second, {Op: OpDiscard, Length: 1, Count: 1}}); count != 2 || bytes != 8192 {
		t.Errorf("totals %d, %d", count, bytes)
	}
	// A damaged log is kept, and what was read of it.
	write(3, [3]uint64{8, 8, 0}, [3]uint64{0, 1, 1 << 40})
	if err := d.fold(3); !errors.Is(err, errWriteLog) {
		t.Errorf("fold of a damaged log: %v", err)
	}
	if _, err := os.Stat(liveLogFile(d.dir, 0, 3)); err != nil {
		t.Error(err)
	}
}

func FuzzParseWriteLog(f *testing.F) {
	f.Add(logOf([3]uint64{8, 8, 0}, [3]uint64{16, 8, logDiscard}))
	f.Add(logOf([3]uint64{1 << 63, 1 << 63, 0}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, in []byte) {
		ranges, _ := parseWriteLog(bytes.NewReader(in), int64(len(in)), testDisk, 1)
		for _, r := range ranges {
			if r.Offset < 0 || r.Length <= 0 || r.Offset+r.Length > testDisk {
				t.Fatalf("range %+v", r)
			}
		}
	})
}
