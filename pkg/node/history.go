package node

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/api/v1alpha1"
)

// History is what happened to a node, the oldest first, as its timeline has it.
func (s *Store) History(ctx context.Context, n *Node) ([]ironic.HistoryEntry, error) {
	t := &v1alpha1.HostTimeline{}
	err := s.Reader.Get(ctx, n.Key, t)
	if apierrors.IsNotFound(err) {
		return []ironic.HistoryEntry{}, nil
	}
	if err != nil {
		return nil, wrap(err, "reading the history of node %s", n.UUID)
	}
	within, err := uuid.Parse(n.UUID)
	if err != nil {
		within = uuid.NameSpaceOID
	}
	out := make([]ironic.HistoryEntry, 0, len(t.Entries))
	for _, e := range t.Entries {
		h := ironic.HistoryEntry{
			UUID:     uuid.NewSHA1(within, []byte(e.At.UTC().Format(time.RFC3339Nano)+" "+e.Phase+" "+e.Outcome)).String(),
			NodeUUID: n.UUID, Conductor: s.Conductor, Severity: "INFO", EventType: eventType(e.Phase), Event: e.Phase,
		}
		at := e.At.Time
		if e.Took != nil {
			took := e.Took.Seconds()
			h.Duration = &took
			at = at.Add(e.Took.Duration)
		}
		h.CreatedAt = *stamp(at)
		if e.Outcome != "" {
			h.Event += ": " + e.Outcome
		}
		if e.Detail != "" {
			h.Event += " (" + e.Detail + ")"
		}
		if e.Outcome != "" && e.Outcome != v1alpha1.OutcomeOK {
			h.Severity = "ERROR"
		}
		if st := stateOfPhase(e.Phase); st != "" {
			h.State = &st
		}
		out = append(out, h)
	}
	slices.SortStableFunc(out, func(a, b ironic.HistoryEntry) int { return strings.Compare(a.CreatedAt, b.CreatedAt) })
	return out, nil
}

// eventType is Ironic's kind of event (ironic/common/states.py).
func eventType(phase string) string {
	switch phase {
	case "registering":
		return "verify"
	case "inspecting":
		return "introspection"
	case "preparing":
		return "cleaning"
	case "provisioning":
		return "deploying"
	case "deprovisioning":
		return "unprovision"
	case "externally provisioned":
		return "adoption"
	}
	return "transition"
}

// stateOfPhase is the provision state that a phase went with.
func stateOfPhase(phase string) string {
	for _, r := range rows {
		if !r.Rests && len(r.Host) > 0 && r.Host[0] == phase {
			return string(r.State)
		}
	}
	return ""
}
