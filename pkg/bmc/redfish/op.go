package redfish

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// Kinds of Op, each with a read-back of its own.
const (
	opBIOS       = "bios"
	opBootOrder  = "boot-order"
	opSecureBoot = "secure-boot"
	opFirmware   = "firmware"
	opVolume     = "volume"
)

var _ bmc.Ops = (*System)(nil)

// has reports whether the machine's BMC has a quirk.
func (s *System) has(n quirk.Name) bool { return s.quirkSet().Has(n) }

// begin sends a write that the BMC may carry out over time, and completes o with
// the task it named (DSP0266 §13.2: 202 with Location; some put it in the body).
func (s *System) begin(ctx context.Context, c call, o bmc.Op) (bmc.Op, error) {
	a, err := s.e.do(ctx, c)
	if err != nil {
		return bmc.Op{}, err
	}
	o.Task = s.taskOf(a)
	return o, nil
}

// taskOf finds the task in an answer.
func (s *System) taskOf(a *answer) string {
	if uri := a.header.Get("Location"); uri != "" && a.status == http.StatusAccepted {
		return uri
	}
	if a.status != http.StatusAccepted && !s.has(quirk.TaskInBody) {
		return ""
	}
	var body struct {
		ID   text `json:"@odata.id"`
		Type text `json:"@odata.type"`
	}
	if json.Unmarshal(a.body, &body) == nil && strings.HasPrefix(string(body.Type), "#Task.") {
		return string(body.ID)
	}
	return ""
}

// patch reads uri for its ETag, then writes body there.
func (s *System) patch(ctx context.Context, op, uri string, body any) (*answer, error) {
	var current struct {
		ETag text `json:"@odata.etag"`
	}
	a, err := s.e.get(ctx, op, uri, &current)
	if err != nil {
		return nil, err
	}
	return s.e.do(ctx, call{op: op, method: http.MethodPatch, uri: uri, body: body, match: a.etag(current.ETag)})
}

// task is DSP0268 Task, as far as it is used.
type task struct {
	State    text `json:"TaskState"`
	Status   text `json:"TaskStatus"`
	Percent  *int `json:"PercentComplete"`
	Messages list[struct {
		ID      text `json:"MessageId"`
		Message text `json:"Message"`
	}] `json:"Messages"`
}

// Poll implements bmc.Ops.
func (s *System) Poll(ctx context.Context, o bmc.Op) (bmc.Progress, error) {
	op := "poll " + o.Kind
	if o.Task != "" {
		var t task
		a, err := s.e.get(ctx, op, o.Task, &t)
		switch {
		case unsupported(err): // forgotten: the resource decides
		case err != nil:
			return bmc.Progress{}, err
		default:
			if p, err := t.progress(op, a.status); err != nil || !p.Done {
				return p, err
			}
		}
	}
	return s.readBack(ctx, op, o)
}

// progress of a task; an error if it failed.
func (t task) progress(op string, status int) (bmc.Progress, error) {
	p := bmc.Progress{Percent: -1, State: clean(t.State)}
	if t.Percent != nil {
		p.Percent = min(max(*t.Percent, 0), 100)
	}
	if len(t.Messages) > 0 {
		p.Message = clean(t.Messages[len(t.Messages)-1].Message)
	}
	switch strings.ToLower(p.State) {
	case "completed":
		p.Done = true
	case "exception", "killed", "cancelled", "canceled":
		return p, &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: "the task ended as " + p.State + ": " + p.Message}
	case "": // a task monitor: 202 while it works, then the answer itself
		p.Done = status != http.StatusAccepted
	}
	return p, nil
}

// readBack looks at the resource whether it is as wanted.
func (s *System) readBack(ctx context.Context, op string, o bmc.Op) (bmc.Progress, error) {
	switch o.Kind {
	case opBIOS:
		return s.readBackBIOS(ctx, op, o)
	case opBIOSReset:
		return s.readBackBIOSReset(ctx, op, o)
	case opDellBoot:
		return s.readBackDellBoot(ctx, op, o)
	case opBootOrder:
		return s.readBackBootOrder(ctx, op, o)
	case opSecureBoot:
		return s.readBackSecureBoot(ctx, op, o)
	case opFirmware:
		return s.readBackFirmware(ctx, op, o)
	case opVolume:
		return s.readBackVolume(ctx, op, o)
	}
	return bmc.Progress{}, &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: "no such kind of operation: " + clip(o.Kind)}
}
