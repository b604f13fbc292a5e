package explain

import (
	"fmt"
	"strings"
	"time"
)

// Input is what is known about a host, as plain facts. Zero values mean "not
// known"; whatever is missing, there is an answer.
type Input struct {
	Host      string
	Namespace string
	State     string    // provisioning state of the BareMetalHost
	Since     time.Time // when it entered the state
	Now       time.Time

	ErrorType    string // of the BareMetalHost, for problems without a code
	ErrorMessage string
	Problem      *Occurrence
	WaitsFor     string     // what the life cycle says it waits for
	Operation    *Operation // what is being done now

	Power     string // "on", "off" or "": not known
	Online    bool   // the power that is wanted
	Image     string // URL of the image that is wanted; empty: none
	Paused    string // value of the paused annotation, or "yes"; empty: not paused
	Detached  bool
	Consumer  string // kind name of the object that holds the host; empty: nobody
	Deleting  bool
	Hold      string // Ironic's state that the REST door has the host rest in; empty: none
	NoBMC     bool   // neither address nor credentials are given
	Earlier   []Phase
	NextEvent string // what happens at NextTry; empty: "next try"
}

// Occurrence is a problem as it stands.
type Occurrence struct {
	Problem
	Since       time.Time
	NextTry     time.Time // zero: none is planned
	Attempts    int
	MaxAttempts int // 0: no limit
}

// Phase is a part of the journey that is behind the host.
type Phase struct {
	Name   string        `json:"phase"`
	Took   time.Duration `json:"nanoseconds"`
	Failed string        `json:"failed,omitempty"` // as Tried has it; empty: it did not

	Aborted bool `json:"aborted,omitempty"` // it was left unfinished, after a failure or without
}

// Report is the answer. Its fields are what [Report.Text] prints.
type Report struct {
	Host     string    `json:"host"`
	State    string    `json:"state"`
	Since    time.Time `json:"since,omitzero"`
	For      string    `json:"for,omitempty"` // how long, for people
	Code     string    `json:"code,omitempty"`
	Class    Class     `json:"class,omitempty"`
	Doing    string    `json:"doing,omitempty"`
	WaitsFor string    `json:"waitsFor,omitempty"`
	Last     string    `json:"last,omitempty"` // how the try before this one ended
	Seen     []string  `json:"seen,omitempty"`
	So       string    `json:"so,omitempty"`
	Do       []string  `json:"do,omitempty"`
	// Console is what the machine printed last before it failed; NoConsole is why
	// there is nothing of it.
	Console   []string `json:"console,omitempty"`
	NoConsole string   `json:"noConsole,omitempty"`

	Next   string    `json:"next,omitempty"`
	NextAt time.Time `json:"nextAt,omitzero"`
	Before []Phase   `json:"before,omitempty"`
	Docs   string    `json:"docs,omitempty"`
}

// Explain answers for one host.
func Explain(in Input) Report {
	r := Report{Host: in.Host, State: in.State, Since: in.Since, Before: in.Earlier}
	if r.State == "" {
		r.State = "new"
	}
	if !in.Since.IsZero() {
		r.For = Duration(in.Now.Sub(in.Since))
	}
	rest := restOf(in)
	r.Doing = rest.doing
	if in.Operation != nil {
		r.Doing = in.Operation.text(in.Now)
	}
	r.WaitsFor, r.Do, r.Next = rest.waits, rest.do, rest.next
	if in.WaitsFor != "" {
		r.WaitsFor = clean(in.WaitsFor)
	}
	switch {
	case in.Detached, in.Paused != "":
		standStill(in, &r)
	case in.Problem != nil:
		troubled(in, &r)
	case in.ErrorType != "" || in.ErrorMessage != "":
		r.Seen = []string{clean(strings.TrimSpace(in.ErrorType + ": " + in.ErrorMessage))}
		r.So = "the last try failed; no diagnosis was recorded with it"
		r.Do = []string{"read the log of the controller that manages this host (ingot serve or ingot manager)"}
		r.Next = "tried again by itself"
	}
	if in.Hold != "" && !in.Detached && in.Paused == "" && !in.Deleting {
		// Whatever its state does otherwise, nothing is begun.
		r.Doing, r.Next = idle, "goes on when the REST client asks for it; until then it rests in "+clean(in.Hold)
		if in.Problem == nil {
			r.Do = nil
		}
	}
	if r.Code == "" && in.Operation != nil {
		in.lastTry(&r)
	}
	if in.Consumer != "" && r.Code == "" {
		r.Seen = append(r.Seen, "held by "+clean(in.Consumer))
	}
	return r
}

// lastTry tells, while something is tried again, how that ended the last time.
func (in Input) lastTry(r *Report) {
	for i := len(in.Earlier) - 1; i >= 0; i-- {
		p := in.Earlier[i]
		if p.Name != in.State || p.Aborted {
			continue // a failed provisioning is left, and undone, in between
		}
		if p.Failed == "" {
			return
		}
		last := Problem{Code: triedCode(p.Failed), Facts: in.facts(nil)}
		r.Last, r.Docs = clean(p.Failed)+": "+last.So(), last.docs()
		if len(r.Do) == 0 {
			r.Do = last.Remedy()
		}
		return
	}
}

// standStill explains a host that is left alone on purpose, and keeps an older
// problem in sight: it will be there when the host goes on.
func standStill(in Input, r *Report) {
	p := Problem{Code: "paused", Facts: in.facts(nil)}
	if in.Detached {
		p.Code = "detached"
	} else if in.Paused != "yes" {
		p.Seen = append(p.Seen, "paused by "+clean(in.Paused))
	}
	if in.Problem != nil {
		p.Seen = append(p.Seen, "before that: "+in.Problem.Message())
	}
	apply(r, p)
	r.Doing, r.WaitsFor = idle, "the annotation to be removed"
	r.Next = "goes on as soon as the annotation is gone"
}

func troubled(in Input, r *Report) {
	p := in.Problem.Problem
	p.Facts = in.facts(p.Facts)
	apply(r, p)
	o := in.Problem
	if in.Operation == nil {
		r.Doing = idle
	}
	if in.WaitsFor == "" {
		r.WaitsFor = p.Class().waits()
	}
	if o.NextTry.IsZero() {
		r.Next = p.Class().next()
		return
	}
	event := in.NextEvent
	if event == "" {
		event = "next try"
	}
	r.NextAt = o.NextTry
	r.Next = event + " at " + clock(o.NextTry, in.Now)
	switch {
	case o.MaxAttempts > 0:
		r.Next += fmt.Sprintf(", try %d of %d", o.Attempts+1, o.MaxAttempts)
	case o.Attempts > 0:
		r.Next += fmt.Sprintf(", try %d", o.Attempts+1)
	}
}

func apply(r *Report, p Problem) {
	r.Code, r.Class, r.So, r.Seen, r.Do, r.Docs = p.Code, p.Class(), p.So(), p.seen(), p.Remedy(), p.docs()
}

// facts adds the names that every host has to those of the problem.
func (in Input) facts(own map[string]string) map[string]string {
	all := map[string]string{"host": in.Host, "namespace": in.Namespace, "consumer": in.Consumer}
	for k, v := range own {
		all[k] = v
	}
	return all
}

// idle is what a host does that stands still.
const idle = "nothing"

func (c Class) waits() string {
	switch c {
	case Retry:
		return "the next try"
	case Wait:
		return "what is said under do"
	default:
		return "the host to be changed"
	}
}

func (c Class) next() string {
	switch c {
	case Retry:
		return "tried again by itself"
	case Wait:
		return "goes on by itself once that is done"
	default:
		return "nothing until the host is changed"
	}
}
