package controller

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/engine"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/metric"
	"github.com/ingot-metal/ingot/pkg/record"
)

// Hosts reconciles BareMetalHosts. Its fields are set before SetupWithManager.
type Hosts struct {
	Client    client.Client // reads from the cache
	Reader    client.Reader // reads past the cache
	Machine   host.Machine
	Store     record.Store
	Engine    *engine.Engine
	Shares    Shares // which hosts are this replica's
	Events    EventSink
	Consoles  Consoles    // may be nil
	Metrics   *metric.Set // may be nil
	Log       *slog.Logger
	NewID     func() string // of a host
	Now       func() time.Time
	Workers   int
	PollEvery time.Duration // of the power state, with ±20 % jitter
	// EventsAt is where the BMC at an address reaches our door for events; empty:
	// it does not. Nil: no BMC is asked for events.
	EventsAt func(context.Context, bmc.Address) string
	// Subscriptions are the users' own; may be nil.
	Subscriptions *Subscriptions
	// FirmwareEvery is how often the firmware of a host at rest is read, with ±20 %
	// jitter; zero: never.
	FirmwareEvery time.Duration
	// BuildRamdisks asks an external builder for each host's ramdisk
	// (PreprovisioningImage) before it is booted.
	BuildRamdisks bool
	// Forward tells the replica at a door what our boot servers saw of the machine
	// of a host of its. It must not block; nil: nobody is told.
	Forward func(door string, k types.NamespacedName, seen host.Seen)

	polls *engine.Poller
	reads *engine.Reader
	ears  *engine.Ears
	mu    sync.Mutex
	hosts map[types.NamespacedName]*live
	index index
	wake  chan event.GenericEvent
	base  context.Context // of actions, which outlive a reconcile

	restored chan struct{} // closed when the index knows all hosts
}

// live is one host in memory. Only its reconcile touches it, save the inbox.
type live struct {
	objs     record.Objects
	loaded   bool
	waited   bool  // for the REST door to make its record
	reread   bool  // past the cache, whatever the claim
	epoch    int64 // that it was loaded under
	h        host.Host
	firmware companions
	data     *metal3.DataImage // of the host; nil: there is none
	todo     []host.Action     // decided, not yet carried out: the save comes first
	extra    record.Extra
	acks     []chan struct{}
	facts    facts

	shown host.Host // as people were last told of; behind h while a write fails
	told  told      // what else they were told

	past     []v1alpha1.TimelineEntry // not written yet
	timeline *v1alpha1.HostTimeline   // as last written; nil: not known
	mu       sync.Mutex
	inbox    []post
	heard    *v1alpha1.HostRecord // with an ask of the REST door's
}

type post struct {
	engine.Post
	ack chan struct{}
}

// SetupWithManager registers the controller. Actions end with ctx.
func (c *Hosts) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	c.base = ctx
	c.hosts = map[types.NamespacedName]*live{}
	c.index = newIndex()
	c.restored = make(chan struct{})
	c.wake = make(chan event.GenericEvent, 1024)
	c.polls = engine.NewPoller(ctx, c.Engine, c.PollEvery, c.powerFound, c.bmcSilent)
	c.polls.Healths = c.healthFound
	c.ears = engine.NewEars(ctx, c.Engine, c.EventsAt, c.bmcHeard)
	c.reads = engine.NewReader(ctx, c.Engine, c.FirmwareEvery, c.firmwareRead)
	c.Engine.Post = func(k types.NamespacedName, p engine.Post) { c.post(k, post{Post: p}) }
	if err := mgr.Add(replicaRunnable(c.restore)); err != nil {
		return err
	}
	hosts := ctrl.NewControllerManagedBy(mgr)
	for _, kind := range companionKinds() {
		hosts = hosts.Watches(kind, c.companionChanged())
	}
	if c.BuildRamdisks {
		hosts = hosts.Watches(&metal3.PreprovisioningImage{}, &handler.EnqueueRequestForObject{})
	}
	return hosts.
		Named("baremetalhost").
		For(&metal3.BareMetalHost{}).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(c.usersOf)).
		Watches(&metal3.DataImage{}, &handler.EnqueueRequestForObject{}). // has its host's name
		WatchesMetadata(&metal3.HardwareData{}, handler.EnqueueRequestsFromMapFunc(c.hostOfHardware)).
		Watches(&v1alpha1.HostRecord{}, c.records()).
		WatchesRawSource(source.Channel(c.wake, &handler.EnqueueRequestForObject{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: c.Workers, NeedLeaderElection: new(false)}).
		Complete(reconcile.Func(c.counted))
}

// usersOf finds the hosts that use a Secret, by the owner references that a
// claim leaves, and by name before that.
func (c *Hosts) usersOf(_ context.Context, o client.Object) []reconcile.Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	var reqs []reconcile.Request
	for k := range c.index.secrets[client.ObjectKeyFromObject(o)] {
		reqs = append(reqs, reconcile.Request{NamespacedName: k})
	}
	return reqs
}

// post puts something into a host's inbox and has it reconciled. What comes for a
// host of another replica is let go.
func (c *Hosts) post(k types.NamespacedName, p post) {
	if !c.Owns(k) {
		return
	}
	l := c.live(k)
	l.mu.Lock()
	l.inbox = append(l.inbox, p)
	l.mu.Unlock()
	c.enqueue(k)
}

func (c *Hosts) enqueue(k types.NamespacedName) {
	b := &metal3.BareMetalHost{}
	b.Namespace, b.Name = k.Namespace, k.Name
	select {
	case c.wake <- event.GenericEvent{Object: b}:
	case <-c.base.Done():
	}
}

func (c *Hosts) live(k types.NamespacedName) *live {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, ok := c.hosts[k]
	if !ok {
		l = &live{}
		c.hosts[k] = l
	}
	return l
}

func (c *Hosts) forget(k types.NamespacedName) {
	c.mu.Lock()
	l := c.hosts[k]
	delete(c.hosts, k)
	c.index.forget(k)
	c.mu.Unlock()
	c.Engine.Cancel(k)
	c.polls.Forget(k)
	c.reads.Forget(k)
	c.ears.Forget(k)
	c.Metrics.Forget(k.Namespace, k.Name)
	if l != nil {
		c.consoleGone(k, l)
		for _, a := range l.acks {
			close(a)
		}
	}
}

// counted is reconcile, counted. A host that turns out to be gone leaves no count
// behind.
func (c *Hosts) counted(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	c.Metrics.Reconciling(req.Namespace, req.Name)
	res, err := c.reconcile(ctx, req)
	if err != nil {
		c.Metrics.ReconcileFailed()
	}
	return res, err
}

// reconcile brings one host a step on: read, step, write, act.
func (c *Hosts) reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	b := &metal3.BareMetalHost{}
	err := c.Client.Get(ctx, req.NamespacedName, b)
	if apierrors.IsNotFound(err) {
		c.forget(req.NamespacedName)
		return ctrl.Result{}, c.orphan(ctx, req.NamespacedName)
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	claim, ours := c.Shares.Claim(req.String())
	if !ours {
		return ctrl.Result{}, c.foreign(ctx, b)
	}
	l := c.live(req.NamespacedName)
	if l.objs.BMH != nil && l.objs.BMH.UID != b.UID {
		c.forget(req.NamespacedName)
		l = c.live(req.NamespacedName)
	}
	if l.loaded && l.epoch != claim.Epoch {
		c.leave(req.NamespacedName)
		l = c.live(req.NamespacedName)
	}
	l.epoch = claim.Epoch
	if !l.loaded && (l.reread || !claim.First) {
		l.reread = true
		b = &metal3.BareMetalHost{}
		if err := c.Reader.Get(ctx, req.NamespacedName, b); err != nil {
			return ctrl.Result{}, client.IgnoreNotFound(err)
		}
	}
	if l.objs.BMH == nil || newer(b, l.objs.BMH) {
		l.objs.BMH = b
	}
	if paused(l.objs.BMH) {
		c.leaveAlone(req.NamespacedName, l)
		return ctrl.Result{}, nil
	}
	if wait, err := c.restoreStatus(ctx, l); wait || err != nil {
		return ctrl.Result{}, err
	}
	if done, err := c.hold(ctx, l); done || err != nil {
		return ctrl.Result{}, err
	}
	w, creds, err := c.wants(ctx, l)
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := c.declared(ctx, l, &w); err != nil {
		return ctrl.Result{}, err
	}
	switch err := c.load(ctx, l, w); {
	case errors.Is(err, errBirth):
		return ctrl.Result{RequeueAfter: birthWait}, nil
	case err != nil:
		return ctrl.Result{}, err
	}
	c.heed(l, &w)
	if l.firmware.behind {
		if err := c.declared(ctx, l, &w); err != nil {
			return ctrl.Result{}, err
		}
	}
	if w.DataImage, err = c.dataImage(ctx, l); err != nil {
		return ctrl.Result{}, err
	}
	if err := c.hardwareGiven(ctx, l); err != nil {
		return ctrl.Result{}, err
	}
	before := l.h
	c.step(l, w)
	c.consolePrinted(ctx, req.NamespacedName, l, before)
	switch err := c.save(ctx, req.NamespacedName, l); {
	case errors.Is(err, errLost):
		return ctrl.Result{RequeueAfter: time.Millisecond}, nil
	case err != nil:
		// What was decided stays decided; it is carried out once it is written.
		return ctrl.Result{}, err
	}
	if err := c.showDataImage(ctx, l); err != nil {
		return ctrl.Result{}, err
	}
	shown := l.shown
	l.shown = l.h
	c.tell(l, shown)
	c.act(ctx, req.NamespacedName, l, creds)
	c.followPower(ctx, l, shown)
	c.fillArchitecture(ctx, l)
	c.remember(ctx, l, shown)
	return ctrl.Result{RequeueAfter: c.rest(req.NamespacedName, l, creds)}, nil
}

// newer compares resource versions, which Kubernetes 1.35 declares to be
// comparable numbers.
func newer(a, b client.Object) bool {
	x, errX := strconv.ParseUint(a.GetResourceVersion(), 10, 64)
	y, errY := strconv.ParseUint(b.GetResourceVersion(), 10, 64)
	return errX != nil || errY != nil || x > y
}

// save writes what must be known before the decided actions begin, and shows the
// doors what they may answer from now on.
func (c *Hosts) save(ctx context.Context, k types.NamespacedName, l *live) error {
	if l.h.Gone {
		return nil
	}
	unknown := l.objs.HR == nil
	if err := c.Store.EnsureRecord(ctx, &l.objs, c.NewID()); err != nil {
		return err
	}
	if unknown && l.objs.HR.Status.Seq != 0 {
		// An earlier owner's, which our cache lacked when the host was loaded.
		c.reread(k)
		return errLost
	}
	if !c.still(k, l) {
		return errLost
	}
	if err := c.showHardware(ctx, l); err != nil {
		return err
	}
	if err := c.showFirmware(ctx, l); err != nil {
		return err
	}
	l.extra.Epoch = l.epoch
	if !c.still(k, l) {
		return errLost
	}
	if err := c.Store.Save(ctx, &l.objs, l.h, l.extra); err != nil {
		if apierrors.IsConflict(err) {
			// Somebody else wrote, who had the right before us, or a person: what
			// is stored counts.
			c.reread(k)
		}
		return err
	}
	l.extra = record.Extra{}
	c.tellHardware(l)
	c.mu.Lock()
	c.index.set(k, l)
	c.mu.Unlock()
	for _, a := range l.acks {
		close(a)
	}
	l.acks = nil
	return nil
}

// input is what an action works on as of now.
func (c *Hosts) input(k types.NamespacedName, l *live, creds bmc.Credentials) engine.Input {
	in := engine.Input{Key: k, Host: l.h, BMH: l.objs.BMH, HR: l.objs.HR, Creds: creds}
	if f := &l.firmware; f.hfs != nil {
		in.HFS = f.hfs.DeepCopy()
	}
	if f := &l.firmware; f.hfc != nil {
		in.HFC = f.hfc.DeepCopy()
	}
	return in
}

// errLost ends a reconcile whose host went to another replica in the course of it.
var errLost = errors.New("the host is another replica's now")

// still reports whether a host is ours as it was when it was loaded.
func (c *Hosts) still(k types.NamespacedName, l *live) bool {
	claim, ours := c.Shares.Claim(k.String())
	return ours && claim.Epoch == l.epoch
}

// act carries out what was decided.
func (c *Hosts) act(ctx context.Context, k types.NamespacedName, l *live, creds bmc.Credentials) {
	todo := l.todo
	l.todo = nil
	in := c.input(k, l, creds)
	if c.Consoles != nil {
		c.Consoles.Follow(k, l.objs.BMH, l.h)
	}
	for _, a := range todo {
		var err error
		switch a.Verb {
		case host.Cancel:
			c.Engine.Cancel(k)
		case host.EndAgent:
			c.Engine.Agents.End(a.BootID)
		case host.AskRamdisk:
			err = c.askRamdisk(ctx, l)
		case host.Unannotate:
			err = c.unannotate(ctx, l, a.Annotation)
		case host.Release:
			c.ears.Release(in)
			if c.Subscriptions != nil {
				c.Subscriptions.Leave(in)
			}
			err = c.release(ctx, l)
		default:
			if a.Seq != l.h.Seq {
				continue // a later event of the same round overtook it
			}
			if a.Verb == host.OrderBoot {
				if p := c.sharedMAC(l.objs.BMH); p != nil {
					c.post(k, post{Post: engine.Post{Event: host.Outcome{Seq: a.Seq, Problem: p}}})
					continue
				}
			}
			c.Engine.Do(c.base, in, a)
		}
		if err != nil {
			// Tried again at the next reconcile, which the queue's back-off orders.
			l.todo = append(l.todo, a)
			c.Log.Warn("will be tried again", "host", k.String(), "op", a.Verb, "err", err)
			time.AfterFunc(time.Second, func() { c.enqueue(k) })
		}
	}
}

// rest has a host that nothing is done to polled and listened to, and says when
// it must be looked at again.
func (c *Hosts) rest(k types.NamespacedName, l *live, creds bmc.Credentials) time.Duration {
	h := l.h
	in := c.input(k, l, creds)
	switch {
	case !c.still(k, l):
		c.enqueue(k)
	case h.Op == nil && h.Node.Hold != "" && h.Polled() && !h.Wants.Paused && !h.Detached && !h.Gone:
		c.polls.Watch(in) // and nothing else is done to it
		c.reads.Busy(k)
	case h.Op == nil && h.Polled() && !h.Wants.Paused && !h.Detached && !h.Gone:
		c.polls.Watch(in)
		c.ears.Listen(in)
		c.reads.Watch(in, l.firmwareKnown())
	case h.Detached && !h.Gone:
		c.polls.Forget(k)
		c.reads.Forget(k)
		c.ears.Release(in)
	default:
		c.polls.Forget(k)
		c.reads.Busy(k)
	}
	t := h.Wake()
	if t.IsZero() {
		return 0
	}
	return max(t.Sub(c.Now()), time.Millisecond)
}

// powerFound tells a host of a power that is not the one last known.
func (c *Hosts) powerFound(k types.NamespacedName, p host.Power) {
	c.post(k, post{Post: engine.Post{Event: host.PowerRead{Power: p}}})
}

// healthFound tells a host of a health that is not the one last known.
func (c *Hosts) healthFound(k types.NamespacedName, h host.Health) {
	c.post(k, post{Post: engine.Post{Event: host.PowerRead{Health: h}}})
}

// bmcSilent has a BMC verified that polls do not reach. It may have been
// restarted, and forgotten what it was asked for.
func (c *Hosts) bmcSilent(k types.NamespacedName) {
	c.ears.Doubt(k)
	if c.Subscriptions != nil {
		c.Subscriptions.Doubt(k)
	}
	c.post(k, post{Post: engine.Post{Event: host.BMCSilent{}}})
}

// bmcHeard reads a machine's power at once, or brings on the next try to verify
// its BMC.
func (c *Hosts) bmcHeard(k types.NamespacedName) {
	if !c.polls.Wake(k) {
		c.post(k, post{Post: engine.Post{Event: host.BMCHeard{}}})
	}
}

// MakeRoom ends our own subscription to a host's BMC, for a user's to find room. It
// returns how ours comes back, or nil if there was none.
func (c *Hosts) MakeRoom(ctx context.Context, k types.NamespacedName) func() {
	if !c.ears.Yield(ctx, k) {
		return nil
	}
	return func() { c.ears.Doubt(k) }
}

// Heard takes what a BMC pushed, known by the context that it was given. It
// reports whether that is a host's; nothing else of it counts.
func (c *Hosts) Heard(eventContext string) bool { return c.ears.Heard(eventContext) }
