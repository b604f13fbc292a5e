package simbmc

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"
)

// Kinds of journal entry. A lab may write others.
const (
	KindPower      = "power"       // a power action was carried out; detail: the action
	KindPowerError = "power-error" // a power action was accepted and failed
	KindBoot       = "boot"        // the override was changed; detail: target, enabled, mode
	KindMedia      = "media"       // virtual media; detail: insert URL, or eject
	KindAuth       = "auth-failed" // a request with wrong credentials; detail: how they came
	KindPanel      = "panel"       // a power action at the machine itself; detail: the action
	KindEvent      = "event"       // a subscriber took an event; detail: what
	KindEventLost  = "event-lost"  // a subscriber did not; detail: why
	KindIgnored    = "ignored"     // accepted and dropped by a fault; detail: what
)

// journalKeep bounds what a journal holds in memory; the file has everything.
const journalKeep = 1 << 17

// Entry is one thing that happened to a machine, seen from outside of it.
type Entry struct {
	Time    time.Time `json:"time"`
	Machine string    `json:"machine"`
	Kind    string    `json:"kind"`
	Detail  string    `json:"detail"`
}

// Journal is the lab's own record of what was done to its machines: the proof
// that tests read, because neither the server nor the agent can write to it.
// A nil Journal records nothing.
type Journal struct {
	now func() time.Time

	mu      sync.Mutex
	entries []Entry
	changed chan struct{} // closed and replaced at every entry
	out     *json.Encoder // nil: memory only
	err     error         // the first failure to write to out
}

// NewJournal returns an empty journal. A nil now is the wall clock; a non-nil
// out gets every entry as one line of JSON.
func NewJournal(out io.Writer, now func() time.Time) *Journal {
	if now == nil {
		now = time.Now
	}
	j := &Journal{now: now, changed: make(chan struct{})}
	if out != nil {
		j.out = json.NewEncoder(out)
	}
	return j
}

// OpenJournal appends to the JSON-lines file at path. The caller closes the file.
func OpenJournal(path string, now func() time.Time) (*Journal, io.Closer, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, nil, fmt.Errorf("open journal: %w", err)
	}
	return NewJournal(f, now), f, nil
}

// Add records one entry.
func (j *Journal) Add(machine, kind, detail string) {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	e := Entry{Time: j.now(), Machine: machine, Kind: kind, Detail: detail}
	if len(j.entries) >= journalKeep {
		j.entries = append(j.entries[:0:0], j.entries[journalKeep/2:]...)
	}
	j.entries = append(j.entries, e)
	if j.out != nil {
		if err := j.out.Encode(e); err != nil && j.err == nil {
			j.err = fmt.Errorf("write journal: %w", err)
		}
	}
	close(j.changed)
	j.changed = make(chan struct{})
}

// Err returns the first failure to write to the file: proof that has a gap is
// none.
func (j *Journal) Err() error {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// Entries returns what was recorded for machine, of the kinds given, in order.
// An empty machine is all of them, and so is no kind.
func (j *Journal) Entries(machine string, kinds ...string) []Entry {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	var found []Entry
	for _, e := range j.entries {
		if (machine == "" || e.Machine == machine) && (len(kinds) == 0 || slices.Contains(kinds, e.Kind)) {
			found = append(found, e)
		}
	}
	return found
}

// Wait returns the first entry that match accepts, recorded before or after the
// call, or the context's error.
func (j *Journal) Wait(ctx context.Context, match func(Entry) bool) (Entry, error) {
	seen := 0
	for {
		j.mu.Lock()
		if seen > len(j.entries) { // the oldest half was dropped
			seen = 0
		}
		fresh := j.entries[seen:]
		seen = len(j.entries)
		changed := j.changed
		j.mu.Unlock()
		for _, e := range fresh {
			if match(e) {
				return e, nil
			}
		}
		select {
		case <-ctx.Done():
			return Entry{}, ctx.Err()
		case <-changed:
		}
	}
}
