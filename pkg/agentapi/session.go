package agentapi

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ingot-metal/ingot/api/agent"
)

// ErrLost says that an agent has not called for longer than Server.Silence.
var ErrLost = errors.New("the agent fell silent")

// session is the conversation with one agent.
type session struct {
	mu       sync.Mutex
	host     string
	step     *agent.Step
	outcome  chan agent.Result // of step; buffered, one result
	secrets  map[string][]byte // by hex digest, for step alone
	lastSeen time.Time
	localIP  string        // our address as the agent sees it
	changed  chan struct{} // closed when step changes
	handed   bool          // step was handed out by this process
	ended    bool
}

func newSession(host string, now time.Time) *session {
	return &session{host: host, lastSeen: now, changed: make(chan struct{})}
}

// set replaces the step; nil ends the work.
func (s *session) set(step *agent.Step, secrets map[string][]byte) chan agent.Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.step, s.secrets, s.handed = step, secrets, false
	s.outcome = make(chan agent.Result, 1)
	close(s.changed)
	s.changed = make(chan struct{})
	return s.outcome
}

func (s *session) seen(now time.Time, localIP string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastSeen = now
	if localIP != "" {
		s.localIP = localIP
	}
}

// deliver takes a result. One for another step is an old one that the agent
// repeats, and is let go.
func (s *session) deliver(r agent.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.step == nil || s.step.ID != r.StepID {
		return
	}
	select {
	case s.outcome <- r:
	default: // delivered before
	}
	s.step = nil
}

// next waits until there is a step that the agent does not run yet. One that it
// runs is handed out once more by a process that takes the agent over: what the
// step names may be somewhere else now.
func (s *session) next(ctx context.Context, running string) *agent.Step {
	for {
		s.mu.Lock()
		step, changed, ended := s.step, s.changed, s.ended
		hand := step != nil && (step.ID != running || !s.handed)
		s.handed = s.handed || hand
		s.mu.Unlock()
		if ended || hand {
			return step
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *session) secret(digest string) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.secrets[digest]
	return b, ok
}

// Run hands a step to the agent of a boot and waits for its result. It returns
// ErrLost when the agent has been silent for too long. The step's secrets are
// served to this agent alone while it runs.
func (s *Server) Run(ctx context.Context, bootID, host string, step agent.Step, secrets map[string][]byte) (agent.Result, error) {
	ses := s.session(bootID, host)
	outcome := ses.set(&step, secrets)
	defer func() {
		ses.mu.Lock()
		// A later Run, perhaps of the same step, has a channel of its own: this
		// one, cancelled late, leaves what is that one's alone.
		if ses.outcome == outcome {
			ses.step, ses.secrets = nil, nil
		}
		ses.mu.Unlock()
	}()
	tick := time.NewTicker(s.Silence / 8)
	defer tick.Stop()
	for {
		select {
		case r := <-outcome:
			return r, nil
		case <-tick.C:
			ses.mu.Lock()
			silent := s.Now().Sub(ses.lastSeen)
			ses.mu.Unlock()
			if silent > s.Silence {
				return agent.Result{}, ErrLost
			}
		case <-ctx.Done():
			return agent.Result{}, ctx.Err()
		}
	}
}

// LocalIP is our address as the agent of a boot sees it; empty before its first
// call.
func (s *Server) LocalIP(bootID string) string {
	s.mu.Lock()
	ses := s.sessions[bootID]
	s.mu.Unlock()
	if ses == nil {
		return ""
	}
	ses.mu.Lock()
	defer ses.mu.Unlock()
	return ses.localIP
}

// WaitCalled waits until the agent of a boot has called this process, so that
// LocalIP is known.
func (s *Server) WaitCalled(ctx context.Context, bootID, host string) error {
	ses := s.session(bootID, host)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		ses.mu.Lock()
		called, silent := ses.localIP != "", s.Now().Sub(ses.lastSeen)
		ses.mu.Unlock()
		switch {
		case called:
			return nil
		case silent > s.Silence:
			return ErrLost
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// End forgets the agent of a boot. Its next call is answered with gone, which
// powers it off.
func (s *Server) End(bootID string) {
	s.mu.Lock()
	ses := s.sessions[bootID]
	delete(s.sessions, bootID)
	s.mu.Unlock()
	if ses != nil {
		ses.mu.Lock()
		ses.ended, ses.step, ses.secrets = true, nil, nil
		close(ses.changed)
		ses.changed = make(chan struct{})
		ses.mu.Unlock()
	}
}

// session finds or makes the session of a boot. A new one counts as heard of
// now: after a restart, the agent has Silence to call again.
func (s *Server) session(bootID, host string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	ses, ok := s.sessions[bootID]
	if !ok {
		ses = newSession(host, s.Now())
		s.sessions[bootID] = ses
	}
	return ses
}

// Silent lists the boots whose agent has been silent for too long.
func (s *Server) Silent() []string {
	now := s.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for id, ses := range s.sessions {
		ses.mu.Lock()
		if now.Sub(ses.lastSeen) > s.Silence {
			ids = append(ids, id)
		}
		ses.mu.Unlock()
	}
	return ids
}
