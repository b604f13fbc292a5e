package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of times in /proc.
const tick = 10 * time.Millisecond

// stat is what /proc/PID/stat says.
type stat struct {
	pid, parent int
	cpu         time.Duration // with children that were waited for
	rss         int64
}

// parseStat reads fields 4, 14 to 17 and 24 of proc_pid_stat(5). The name, field 2,
// may hold spaces and parentheses.
func parseStat(raw string) (stat, error) {
	open, end := strings.IndexByte(raw, ' '), strings.LastIndexByte(raw, ')')
	fields := strings.Fields(raw[end+1:])
	if open < 0 || end < 0 || len(fields) < 22 {
		return stat{}, fmt.Errorf("not a line of /proc/PID/stat: %q", raw)
	}
	var n [22]int64
	for _, i := range []int{1, 11, 12, 13, 14, 21} {
		v, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return stat{}, fmt.Errorf("/proc/PID/stat: %w", err)
		}
		n[i] = v
	}
	pid, err := strconv.Atoi(raw[:open])
	if err != nil {
		return stat{}, fmt.Errorf("/proc/PID/stat: %w", err)
	}
	return stat{pid: pid, parent: int(n[1]), cpu: time.Duration(n[11]+n[12]+n[13]+n[14]) * tick, rss: n[21] * int64(os.Getpagesize())}, nil
}

// family is processes and their descendants.
func family(pids []int) ([]stat, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	all := map[int]stat{}
	for _, p := range paths {
		raw, err := os.ReadFile(p)
		if errors.Is(err, fs.ErrNotExist) || err != nil && strings.Contains(err.Error(), "no such process") {
			continue // it ended meanwhile
		}
		if err != nil {
			return nil, err
		}
		s, err := parseStat(string(raw))
		if err != nil {
			return nil, err
		}
		all[s.pid] = s
	}
	in := map[int]bool{}
	for _, pid := range pids {
		if _, ok := all[pid]; !ok {
			return nil, fmt.Errorf("there is no process %d", pid)
		}
		in[pid] = true
	}
	for more := true; more; {
		more = false
		for pid, s := range all {
			if !in[pid] && in[s.parent] {
				in[pid], more = true, true
			}
		}
	}
	var out []stat
	for pid := range in {
		out = append(out, all[pid])
	}
	return out, nil
}

// cpu is the time that processes and their descendants spent so far.
func cpu(pids []int) (time.Duration, error) {
	all, err := family(pids)
	var sum time.Duration
	for _, s := range all {
		sum += s.cpu
	}
	return sum, err
}

// memory is what they have in memory; pages that they share count for each.
func memory(pids []int) (int64, error) {
	all, err := family(pids)
	var sum int64
	for _, s := range all {
		sum += s.rss
	}
	return sum, err
}
