package vm

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// WriteOp is what was done to a range of a disk.
type WriteOp string

// Operations. Zeroes written as such by a guest are OpWrite.
const (
	OpWrite   WriteOp = "write"
	OpDiscard WriteOp = "discard"
)

// WriteRange is one write, or several that followed each other without a gap.
type WriteRange struct {
	Run    int     `json:"run"` // the start of QEMU it belongs to, from 1
	Op     WriteOp `json:"op"`
	Offset int64   `json:"offset"`
	Length int64   `json:"length"`
	Count  int     `json:"count"` // requests of the guest
}

// sectorSize is that of the log and of every disk of the lab.
const sectorSize = 512

// Flags of an entry, from Linux' drivers/md/dm-log-writes.c, whose format QEMU's
// blklogwrites driver keeps: a superblock of one sector; then per request one
// sector with sector, number of sectors, flags and length of inline data (four
// little-endian 64-bit numbers), followed by the data unless it is a discard.
const (
	logFlush   = 1 << 0
	logFUA     = 1 << 1
	logDiscard = 1 << 2
	logMark    = 1 << 3
	logKnown   = logFlush | logFUA | logDiscard | logMark
)

// maxRanges bounds what one run is believed to have done.
const maxRanges = 1 << 22

var errWriteLog = errors.New("write log")

// parseWriteLog reads the requests of one run from a log of size bytes for a
// disk of diskSize bytes. QEMU 7.2 brings the superblock's count up to date at
// a guest's flush only, and not at all without flushes, so the entries
// themselves tell the end: it is the first that is empty or not yet whole.
func parseWriteLog(log io.ReaderAt, size, diskSize int64, run int) ([]WriteRange, error) {
	var ranges []WriteRange
	var entry [32]byte
	for at := int64(sectorSize); at+sectorSize <= size; {
		if _, err := log.ReadAt(entry[:], at); err != nil {
			return ranges, fmt.Errorf("%w: entry at %d: %w", errWriteLog, at, err)
		}
		sector := binary.LittleEndian.Uint64(entry[0:])
		sectors := binary.LittleEndian.Uint64(entry[8:])
		flags := binary.LittleEndian.Uint64(entry[16:])
		inline := binary.LittleEndian.Uint64(entry[24:])
		if sectors == 0 && flags == 0 {
			return ranges, nil
		}
		limit := uint64(diskSize / sectorSize)
		if flags&^logKnown != 0 || inline != 0 || sectors > limit || sector > limit-sectors {
			return ranges, fmt.Errorf("%w: entry at %d is damaged: sector %d, %d sectors, flags %#x", errWriteLog, at, sector, sectors, flags)
		}
		at += sectorSize
		op := OpWrite
		if flags&logDiscard != 0 {
			op = OpDiscard
		} else {
			at += int64(sectors) * sectorSize
		}
		if sectors == 0 { // a flush
			continue
		}
		ranges = merge(ranges, WriteRange{Run: run, Op: op, Offset: int64(sector) * sectorSize, Length: int64(sectors) * sectorSize, Count: 1})
		if len(ranges) > maxRanges {
			return ranges, fmt.Errorf("%w: more than %d ranges in one run", errWriteLog, maxRanges)
		}
	}
	return ranges, nil
}

// merge appends r, joining it to the last range if it goes on from there.
func merge(ranges []WriteRange, r WriteRange) []WriteRange {
	if n := len(ranges); n > 0 {
		last := &ranges[n-1]
		if last.Run == r.Run && last.Op == r.Op && last.Offset+last.Length == r.Offset {
			last.Length += r.Length
			last.Count += r.Count
			return ranges
		}
	}
	return append(ranges, r)
}

// WriteTotals are the number of write requests and the bytes in them, without
// discards.
func WriteTotals(ranges []WriteRange) (count int, bytes int64) {
	for _, r := range ranges {
		if r.Op == OpWrite {
			count += r.Count
			bytes += r.Length
		}
	}
	return count, bytes
}

// diskLog keeps what was written to one disk. QEMU's own log of a run holds the
// data too; when the run ends only the ranges are kept.
type diskLog struct {
	dir   string
	index int
	size  int64

	mu sync.Mutex
}

func (d *diskLog) foldedFile() string {
	return filepath.Join(d.dir, fmt.Sprintf("disk%d.writes", d.index))
}

// begin makes the log of a run.
func (d *diskLog) begin(run int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return os.WriteFile(liveLogFile(d.dir, d.index, run), nil, 0o600)
}

// fold keeps the ranges of a run that has ended and removes its log. It may be
// repeated.
func (d *diskLog) fold(run int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	live, err := d.live(run)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	damaged := err
	folded, err := d.folded()
	if err != nil {
		return err
	}
	seen := slices.ContainsFunc(folded, func(r WriteRange) bool { return r.Run == run })
	if !seen && len(live) > 0 {
		if err := appendRanges(d.foldedFile(), live); err != nil {
			return err
		}
	}
	if damaged != nil {
		return damaged // the log stays, as evidence
	}
	return os.Remove(liveLogFile(d.dir, d.index, run))
}

// ranges is everything that was written, of ended runs and of this one.
func (d *diskLog) ranges(run int) ([]WriteRange, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all, err := d.folded()
	if err != nil {
		return nil, err
	}
	live, err := d.live(run)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return append(all, live...), nil
}

func (d *diskLog) live(run int) ([]WriteRange, error) {
	f, err := os.Open(liveLogFile(d.dir, d.index, run))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return parseWriteLog(f, fi.Size(), d.size, run)
}

func (d *diskLog) folded() ([]WriteRange, error) {
	f, err := os.Open(d.foldedFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var all []WriteRange
	for in := json.NewDecoder(bufio.NewReader(f)); ; {
		var r WriteRange
		switch err := in.Decode(&r); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("%w: %s: %w", errWriteLog, d.foldedFile(), err)
		}
		all = append(all, r)
	}
}

func appendRanges(path string, ranges []WriteRange) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("%w: %w", errWriteLog, err)
	}
	out := bufio.NewWriter(f)
	lines := json.NewEncoder(out)
	for _, r := range ranges {
		err = errors.Join(err, lines.Encode(r))
	}
	return errors.Join(err, out.Flush(), f.Close())
}
