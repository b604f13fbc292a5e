package explain

import (
	"fmt"
	"strings"
)

// Problem is one occurrence of a diagnosis.
type Problem struct {
	Code  string            `json:"code"`
	Seen  []string          `json:"seen,omitempty"`  // evidence, one clause each, nothing secret
	Facts map[string]string `json:"facts,omitempty"` // what the remedy speaks of
}

// Message is the problem in one line, for a BareMetalHost's errorMessage, a
// condition, or REST's last_error:
//
//	boot-other-dhcp: the machine booted somebody else's loader (offer from 10.0.0.9 before ours); stop DHCP on 10.0.0.9
//
// It opens with the code, so that a script can cut it off at the colon. It never
// is empty: an empty errorMessage means that a host is fine (Cluster API's Metal3
// provider takes hosts by that).
func (p Problem) Message() string {
	var b strings.Builder
	code := clean(p.Code)
	if code == "" {
		code = "unknown"
	}
	b.WriteString(code)
	b.WriteString(": ")
	b.WriteString(p.So())
	if seen := p.seen(); len(seen) > 0 {
		b.WriteString(" (" + strings.Join(seen, "; ") + ")")
	}
	if do := p.Remedy(); len(do) > 0 {
		b.WriteString("; " + do[0])
	}
	return b.String()
}

// So is the conclusion drawn from what was seen.
func (p Problem) So() string {
	if d, ok := Lookup(p.Code); ok {
		return d.Cause
	}
	return "this is not in the catalogue of diagnoses"
}

// Remedy is what a person should do, the best first.
func (p Problem) Remedy() []string {
	d, ok := Lookup(p.Code)
	if !ok {
		return []string{"read the log of ingot for this host, and report the code: the catalogue lacks it"}
	}
	return fill(d.Remedy, p.Facts)
}

// Class of the problem. A code that the catalogue lacks is tried again.
func (p Problem) Class() Class {
	if d, ok := Lookup(p.Code); ok {
		return d.Class
	}
	return Retry
}

// maxSeen bounds the evidence shown.
const maxSeen = 12

func (p Problem) seen() []string {
	var out []string
	for _, s := range p.Seen {
		if s = clean(s); s != "" && len(out) < maxSeen {
			out = append(out, s)
		}
	}
	return out
}

// docs is the path of the page about the problem; empty: the catalogue lacks it.
func (p Problem) docs() string {
	if d, ok := Lookup(p.Code); ok {
		return d.Docs()
	}
	return ""
}

// Tried is how a HostTimeline notes a try that failed: what ended it, and which it was.
func Tried(code string, try int) string { return fmt.Sprintf("%s, try %d", code, try) }

// triedCode reads the code back from Tried.
func triedCode(text string) string {
	code, _, _ := strings.Cut(text, ",")
	return code
}

// ParseCode reads the code back from a [Problem.Message]. It answers false for a
// text that does not open with a code of the catalogue, such as the message of
// another controller.
func ParseCode(message string) (string, bool) {
	code, _, found := strings.Cut(message, ":")
	if !found {
		return "", false
	}
	_, known := Lookup(code)
	return code, known
}
