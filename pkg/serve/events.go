package serve

import (
	"context"
	"hash/fnv"
	"log/slog"
	"strings"
	"sync"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// eventWriters write at the same time: the API takes its time when much goes
	// on, which is when people want to read. One host's events keep their order.
	eventWriters = 8
	// maxEvents wait for each to be written. What comes on top is dropped: events
	// are for people, and hosts do not wait for them.
	maxEvents = 1024
	// maxEventMessage is core/v1 Event's limit.
	maxEventMessage = 1024
	// eventBurst is how many events of one host are written in a row; then one a
	// minute is. A whole life has about twenty.
	eventBurst = 100
	// eventTimeout bounds one write, lastEvents what is written while we end.
	eventTimeout = 10 * time.Second
	eventTries   = 5
	lastEvents   = 2 * time.Second
)

// events writes Kubernetes events as Metal3 does, component, controller and
// related object included. client-go's recorder can set neither of the latter;
// its correlator counts repeats here too, so that they are no objects of their
// own.
type events struct {
	client     client.Client
	correlator *record.EventCorrelator
	queues     [eventWriters]chan *corev1.Event
	log        *slog.Logger
}

func newEvents(c client.Client, log *slog.Logger) *events {
	e := &events{
		client: c, log: log,
		correlator: record.NewEventCorrelatorWithOptions(record.CorrelatorOptions{BurstSize: eventBurst, QPS: 1. / 60}),
	}
	for i := range e.queues {
		e.queues[i] = make(chan *corev1.Event, maxEvents)
	}
	return e
}

// Event is part of controller.EventSink. It does not block.
func (e *events) Event(b *metal3.BareMetalHost, kind, reason, message string) {
	ev := b.NewEvent(reason, strings.ToValidUTF8(message[:min(len(message), maxEventMessage)], ""))
	ev.Type, ev.Related = kind, b.Spec.ConsumerRef.DeepCopy()
	e.queue(&ev)
}

// ObjectEvent is Event of another object than a host.
func (e *events) ObjectEvent(o client.Object, kind, reason, message string) {
	gvk, err := e.client.GroupVersionKindFor(o)
	if err != nil {
		e.log.Warn("no event", "reason", reason, "err", err)
		return
	}
	// Metal3's form of an event, about another object.
	like := &metal3.BareMetalHost{}
	like.Namespace, like.Name, like.UID = o.GetNamespace(), o.GetName(), o.GetUID()
	ev := like.NewEvent(reason, strings.ToValidUTF8(message[:min(len(message), maxEventMessage)], ""))
	ev.Type = kind
	ev.InvolvedObject.Kind, ev.InvolvedObject.APIVersion = gvk.Kind, gvk.GroupVersion().String()
	e.queue(&ev)
}

// queue has an event written in the order of its object's.
func (e *events) queue(ev *corev1.Event) {
	h := fnv.New32a()
	h.Write([]byte(ev.InvolvedObject.UID))
	select {
	case e.queues[h.Sum32()%eventWriters] <- ev:
	default:
		e.log.Warn("an event was dropped: too many wait", "host", ev.InvolvedObject.Namespace+"/"+ev.InvolvedObject.Name, "reason", ev.Reason)
	}
}

// run writes events until ctx is done, and then those that wait.
func (e *events) run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, q := range e.queues {
		wg.Go(func() { e.writeAll(ctx, q) })
	}
	wg.Wait()
}

func (e *events) writeAll(ctx context.Context, queue <-chan *corev1.Event) {
	for {
		select {
		case ev := <-queue:
			e.write(ctx, ev)
			continue
		case <-ctx.Done():
		}
		break
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastEvents)
	defer cancel()
	for ctx.Err() == nil {
		select {
		case ev := <-queue:
			e.write(ctx, ev)
		default:
			return
		}
	}
}

func (e *events) write(ctx context.Context, ev *corev1.Event) {
	seen, err := e.correlator.EventCorrelate(ev)
	if err != nil || seen.Skip {
		return
	}
	ev = seen.Event
	for try := 1; ; try++ {
		err := e.put(ctx, ev, seen.Patch)
		if err == nil {
			e.correlator.UpdateState(ev)
			return
		}
		final := apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || apierrors.IsInvalid(err) // the namespace goes, or the like
		if final || try == eventTries || ctx.Err() != nil {
			e.log.Info("an event was not written", "reason", ev.Reason, "host", ev.InvolvedObject.Namespace+"/"+ev.InvolvedObject.Name, "err", err)
			return
		}
		select {
		case <-time.After(time.Duration(try) * time.Second):
		case <-ctx.Done():
		}
	}
}

// put makes an event, or counts it on. An event that was written though its answer
// was lost is made twice: that harms nobody.
func (e *events) put(ctx context.Context, ev *corev1.Event, patch []byte) error {
	ctx, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	if ev.Count > 1 && ev.Name != "" {
		err := e.client.Patch(ctx, ev, client.RawPatch(types.StrategicMergePatchType, patch))
		if !apierrors.IsNotFound(err) { // events expire
			return err
		}
	}
	ev.Name, ev.ResourceVersion, ev.UID = "", "", ""
	return e.client.Create(ctx, ev)
}
