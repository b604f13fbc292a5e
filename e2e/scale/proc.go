package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of times in /proc; Linux has shown hundredths of a second to
// every program on every architecture that we build for.
const tick = 10 * time.Millisecond

// cpu is the time that a process spent on all cores so far.
func cpu(pid int) (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseStat(string(raw))
}

// parseStat adds utime and stime of /proc/PID/stat, fields 14 and 15 of
// proc_pid_stat(5). The name, field 2, may hold spaces and parentheses.
func parseStat(raw string) (time.Duration, error) {
	i := strings.LastIndexByte(raw, ')')
	fields := strings.Fields(raw[i+1:])
	if i < 0 || len(fields) < 13 {
		return 0, fmt.Errorf("not a line of /proc/PID/stat: %q", raw)
	}
	var sum time.Duration
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/PID/stat: %w", err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// busy is the time that this machine's cores spent on anything so far.
func busy() (time.Duration, error) {
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return parseBusy(string(raw))
}

// parseBusy adds up the first line of /proc/stat but idle and iowait, fields 4
// and 5 of proc_stat(5), and the guests, which are part of user and nice.
func parseBusy(raw string) (time.Duration, error) {
	line, _, _ := strings.Cut(raw, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, fmt.Errorf("not the first line of /proc/stat: %q", line)
	}
	var sum time.Duration
	for i, f := range fields[1:9] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		if i != 3 && i != 4 {
			sum += time.Duration(n) * tick
		}
	}
	return sum, nil
}

// memory of a process, in bytes.
type memory struct{ rss, anon int64 }

func memoryOf(pid int) (memory, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return memory{}, err
	}
	return parseStatus(string(raw))
}

func parseStatus(raw string) (memory, error) {
	var m memory
	for line := range strings.Lines(raw) {
		name, value, _ := strings.Cut(line, ":")
		to := map[string]*int64{"VmRSS": &m.rss, "RssAnon": &m.anon}[name]
		if to == nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return m, fmt.Errorf("/proc/PID/status: %s: %w", name, err)
		}
		*to = n << 10
	}
	return m, nil
}
