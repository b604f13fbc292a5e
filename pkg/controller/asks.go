package controller

import (
	"context"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/record"
)

// recordAsks has a host of ours reconciled whose record has another ask than before.
func (c *Hosts) recordAsks(was, is client.Object, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	hr, ok := is.(*v1alpha1.HostRecord)
	k := client.ObjectKeyFromObject(is)
	if !ok || hr.Spec.Ask == nil || !c.Owns(k) {
		return
	}
	if old, ok := was.(*v1alpha1.HostRecord); ok && old.Spec.Ask != nil && *old.Spec.Ask == *hr.Spec.Ask {
		return
	}
	l := c.live(k)
	l.mu.Lock()
	l.heard = hr
	l.mu.Unlock()
	q.Add(reconcile.Request{NamespacedName: k})
}

// heed takes up what the REST door asked for last. It is called once the host is
// loaded.
func (c *Hosts) heed(l *live, w *host.Wants) {
	l.mu.Lock()
	hr := l.heard
	if l.objs.HR != nil {
		l.heard = nil
	}
	l.mu.Unlock()
	if hr != nil {
		l.objs.Heed(hr)
	}
	w.Ask = record.AskOf(l.objs.HR)
	// The door writes the firmware that these verbs are about before it asks.
	l.firmware.behind = l.firmware.behind || hr != nil && w.Ask != nil && (w.Ask.Verb == host.VerbClean || w.Ask.Verb == host.VerbService)
}

// followPower has spec.online say of a node that is merely enrolled, about to be
// adopted, or switched off softly, what its machine's power is: then nobody finds it
// switched when it goes on. It does so when one of the two has changed, not while the
// REST door declares what goes with its next ask.
func (c *Hosts) followPower(ctx context.Context, l *live, before host.Host) {
	h := &l.h
	if !h.FollowsPower() || !h.Node.AwaitsOnline() && before.Power == h.Power && before.Node == h.Node {
		return
	}
	b := l.objs.BMH.DeepCopy()
	b.Spec.Online = h.Power == host.PowerOn
	err := c.apply(ctx, l, b, client.MergeFromWithOptions(l.objs.BMH, client.MergeFromWithOptimisticLock{}))
	if err == nil {
		return
	}
	c.Log.Warn("spec.online does not follow the machine's power yet", "host", h.Key, "err", err)
	if h.Node.AwaitsOnline() { // the verb waits for that
		k := client.ObjectKeyFromObject(l.objs.BMH)
		time.AfterFunc(time.Second, func() { c.enqueue(k) })
	}
}
