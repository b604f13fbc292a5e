package simbmc

import (
	"sync"
	"time"
)

// Faults are what is wrong with a BMC. The zero value is a BMC that works.
// Counters count down as they are used.
type Faults struct {
	// WrongPassword refuses every credential and every open session.
	WrongPassword bool
	// Refuse cuts Redfish connections without an answer and drops IPMI packets.
	Refuse bool
	// Hang takes requests and does not answer until the fault is changed.
	Hang bool
	// Busy answers the next n requests with 503 and Retry-After (IPMI: node
	// busy, C0h, once a session is open).
	Busy int
	// RetryAfter is what a busy Redfish face asks for, in whole seconds.
	RetryAfter time.Duration
	// PowerIgnored accepts power actions and drops them.
	PowerIgnored bool
	// BootIgnored accepts boot overrides and drops them.
	BootIgnored bool
	// SessionsFull refuses new sessions as if others held all of them.
	SessionsFull bool
	// Malformed cuts every Redfish answer in the middle of its JSON.
	Malformed bool
}

// faultSwitch holds the present faults of one BMC.
type faultSwitch struct {
	mu      sync.Mutex
	now     Faults
	changed chan struct{} // closed and replaced when the faults are set
}

func (s *faultSwitch) set(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = f
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

func (s *faultSwitch) get() Faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// wait returns the faults and a channel that is closed when they are replaced.
func (s *faultSwitch) wait() (Faults, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.now, s.changed
}

// takeBusy uses up one busy answer.
func (s *faultSwitch) takeBusy() (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.Busy <= 0 {
		return 0, false
	}
	s.now.Busy--
	return s.now.RetryAfter, true
}
