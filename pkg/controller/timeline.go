package controller

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/explain"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/record"
)

// remember notes what ended: a state that was left, or a try that failed. It is
// written when the host comes to rest or fails, several entries at once: a person
// reads it then, and each write costs.
func (c *Hosts) remember(ctx context.Context, l *live, before host.Host) {
	h := l.h
	if before.StateSince.IsZero() {
		return // its beginning was not seen by this process
	}
	failed := h.Problem != nil && (before.Problem == nil || before.Problem.Since != h.Problem.Since)
	e := v1alpha1.TimelineEntry{At: metav1.NewMicroTime(before.StateSince), Phase: string(before.State)}
	switch {
	case failed:
		e.Outcome = v1alpha1.OutcomeFailed
		e.Detail = explain.Tried(h.Problem.Code, h.Problem.Attempts)
		e.Took = &metav1.Duration{Duration: h.Problem.Since.Sub(before.StateSince)}
	case before.State != h.State && before.State != host.None:
		e.Outcome = v1alpha1.OutcomeOK
		if before.Problem != nil || h.State == host.Deprovisioning && before.State == host.Provisioning {
			e.Outcome = v1alpha1.OutcomeAborted
		}
		e.Took = &metav1.Duration{Duration: h.StateSince.Sub(before.StateSince)}
	default:
		return
	}
	l.past = append(l.past, e)
	if h.Op != nil && h.Problem == nil {
		return
	}
	if err := c.writeTimeline(ctx, l); err != nil {
		c.Log.Warn("the timeline was not written; it comes with the next entry", "host", h.Key, "err", err)
		return
	}
	l.past = nil
}

func (c *Hosts) writeTimeline(ctx context.Context, l *live) error {
	b := l.objs.BMH
	t := l.timeline
	if t == nil {
		// Most often this is the first: then no read is needed.
		t = &v1alpha1.HostTimeline{
			ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: b.Name, OwnerReferences: []metav1.OwnerReference{record.Owner(b)}},
			Entries:    l.past,
		}
		err := c.Client.Create(ctx, t, record.FieldOwner)
		if err == nil {
			l.timeline = t
			return nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return err
		}
		t = &v1alpha1.HostTimeline{}
		if err := c.Reader.Get(ctx, client.ObjectKeyFromObject(b), t); err != nil {
			return err
		}
	}
	next := t.DeepCopy()
	next.Entries = append(next.Entries, l.past...)
	if n := len(next.Entries) - v1alpha1.MaxTimelineEntries; n > 0 {
		next.Entries = next.Entries[n:]
	}
	err := c.Client.Update(ctx, next, record.FieldOwner)
	if err != nil {
		l.timeline = nil // read again what is there
		return err
	}
	l.timeline = next
	return nil
}
