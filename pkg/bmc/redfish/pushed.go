package redfish

import (
	"encoding/json"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// Event is what a BMC pushes to a subscriber (DSP0268 Event).
type Event struct {
	Context string // of the subscription
	Records []EventRecord
}

// EventRecord is one thing that happened.
type EventRecord struct {
	MessageID string // registry, version and name: ResourceEvent.1.0.ResourceChanged
	Message   string
	Severity  string // OK, Warning, Critical
	Origin    string // URI of what it happened to
	Time      time.Time
}

const (
	// MaxEventBody bounds a pushed event.
	MaxEventBody = 1 << 20
	// maxEventRecords bounds what is kept of one.
	maxEventRecords = 256
)

// ParseEvent reads the body that a BMC pushed. It comes from whoever reaches our
// door: what it says is a hint to look, never the truth. A metric report is no
// event.
func ParseEvent(body []byte) (Event, error) {
	const op = "read a pushed event"
	if len(body) > MaxEventBody {
		return Event{}, &bmc.Error{Class: bmc.Protocol, Op: op, Detail: "it is longer than 1 MiB"}
	}
	var doc struct {
		Context text `json:"Context"`
		Events  *list[struct {
			ID        text `json:"MessageId"`
			Message   text `json:"Message"`
			Severity  text `json:"Severity"`
			Severity2 text `json:"MessageSeverity"` // v1.5 renamed it
			Origin    link `json:"OriginOfCondition"`
			Time      text `json:"EventTimestamp"`
			Context   text `json:"Context"` // v1.0 had it here
		}] `json:"Events"`
	}
	if err := lenient(json.Unmarshal(body, &doc)); err != nil {
		return Event{}, &bmc.Error{Class: bmc.Protocol, Op: op, Detail: "it is no JSON", Err: err}
	}
	if doc.Events == nil {
		return Event{}, &bmc.Error{Class: bmc.Protocol, Op: op, Detail: "it holds no Events"}
	}
	out := Event{Context: clean(doc.Context)}
	for i, r := range *doc.Events {
		if i == maxEventRecords {
			break
		}
		severity := clean(r.Severity2)
		if severity == "" {
			severity = clean(r.Severity)
		}
		if out.Context == "" {
			out.Context = clean(r.Context)
		}
		out.Records = append(out.Records, EventRecord{
			MessageID: clean(r.ID), Message: clean(r.Message), Severity: severity,
			Origin: clean(text(r.Origin)), Time: instant(r.Time),
		})
	}
	return out, nil
}
