package controller

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"golang.org/x/net/http/httpguts"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/engine"
	"github.com/ingot-metal/ingot/pkg/record"
)

const (
	// resubscribeFirst is the wait after the first failure; it doubles up to
	// Metal3's ten minutes.
	resubscribeFirst, resubscribeLast = 10 * time.Second, 10 * time.Minute
	// resubscribeRate of BMCs a second are read back after a start.
	resubscribeRate = 20
	// leaveTimeout bounds what is done for a host that goes: it waits for nobody.
	leaveTimeout = 15 * time.Second
	// alert is the kind of event that Metal3 asks for (Ironic's default).
	alert = "Alert"
)

// fields of BMCEventSubscription that the cache is indexed by.
const (
	byHost    = "spec.hostName"
	byHeaders = "spec.httpHeadersRef.name"
)

// Subscriptions carries BMCEventSubscriptions over to the hosts' BMCs. It works
// host by host, so that two objects that ask for the same make one subscription.
// Its fields are set before SetupWithManager.
//
// It does not go through the hosts' life cycle: a subscription changes nothing
// about a machine, and is made beside whatever its host is in. A host that is
// paused, detached, or whose BMC is in doubt is left alone.
type Subscriptions struct {
	Client client.Client // reads from the cache
	Engine *engine.Engine
	// MakeRoom frees a place on a BMC that takes no more subscriptions. It returns
	// how that is undone, or nil if there was nothing to free; it may be nil.
	MakeRoom func(ctx context.Context, host types.NamespacedName) (undo func())
	// Owns reports whether a host is this process's to act on; nil: all are.
	Owns    func(host types.NamespacedName) bool
	Log     *slog.Logger
	Now     func() time.Time
	Workers int

	base   context.Context
	wake   chan event.GenericEvent
	visits *rate.Limiter
	mu     sync.Mutex
	known  map[types.NamespacedName]map[types.UID]*subscribed // by host
	wg     sync.WaitGroup
}

// subscribed is what this process knows of a subscription.
type subscribed struct {
	way   string // to the BMC that it was last seen on; empty: not seen yet
	stuck string // the way on which trying again is of no use
	tries int
	next  time.Time
	asked bool // our own subscription was to make room for it
}

// SetupWithManager registers the controller. What outlives a reconcile ends with
// ctx.
func (c *Subscriptions) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	c.prepare(ctx)
	for field, value := range subscriptionFields() {
		if err := mgr.GetFieldIndexer().IndexField(ctx, &metal3.BMCEventSubscription{}, field, value); err != nil {
			return err
		}
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("bmceventsubscription").
		Watches(&metal3.BMCEventSubscription{}, handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
			return []reconcile.Request{{NamespacedName: hostOf(o.(*metal3.BMCEventSubscription))}}
		})).
		Watches(&metal3.BareMetalHost{}, &handler.EnqueueRequestForObject{}).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(c.usersOf)).
		WatchesRawSource(source.Channel(c.wake, &handler.EnqueueRequestForObject{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: c.Workers, NeedLeaderElection: new(false)}).
		Complete(reconcile.Func(c.reconcile))
}

func (c *Subscriptions) prepare(ctx context.Context) {
	c.base, c.known = ctx, map[types.NamespacedName]map[types.UID]*subscribed{}
	c.wake = make(chan event.GenericEvent, 1024)
	c.visits = rate.NewLimiter(resubscribeRate, resubscribeRate)
}

// Gained has the subscriptions of a host looked at that has become ours.
func (c *Subscriptions) Gained(host types.NamespacedName) {
	b := &metal3.BareMetalHost{}
	b.Namespace, b.Name = host.Namespace, host.Name
	select {
	case c.wake <- event.GenericEvent{Object: b}:
	case <-c.base.Done():
	}
}

// Wait returns when nothing is done any more for hosts that went.
func (c *Subscriptions) Wait() { c.wg.Wait() }

func subscriptionFields() map[string]client.IndexerFunc {
	return map[string]client.IndexerFunc{
		byHost: func(o client.Object) []string { return []string{o.(*metal3.BMCEventSubscription).Spec.HostName} },
		byHeaders: func(o client.Object) []string {
			if r := o.(*metal3.BMCEventSubscription).Spec.HTTPHeadersRef; r != nil {
				return []string{r.Name}
			}
			return nil
		},
	}
}

func hostOf(s *metal3.BMCEventSubscription) types.NamespacedName {
	return types.NamespacedName{Namespace: s.Namespace, Name: s.Spec.HostName}
}

// usersOf finds the hosts with a subscription that waits for a Secret.
func (c *Subscriptions) usersOf(ctx context.Context, o client.Object) []reconcile.Request {
	var list metal3.BMCEventSubscriptionList
	if err := c.Client.List(ctx, &list, client.InNamespace(o.GetNamespace()), client.MatchingFields{byHeaders: o.GetName()}); err != nil {
		return nil
	}
	var reqs []reconcile.Request
	for i := range list.Items {
		reqs = append(reqs, reconcile.Request{NamespacedName: hostOf(&list.Items[i])})
	}
	return reqs
}

func (c *Subscriptions) of(ctx context.Context, host types.NamespacedName) ([]metal3.BMCEventSubscription, error) {
	var list metal3.BMCEventSubscriptionList
	err := c.Client.List(ctx, &list, client.InNamespace(host.Namespace), client.MatchingFields{byHost: host.Name})
	return list.Items, err
}

// reconcile brings all subscriptions of a host about.
func (c *Subscriptions) reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	if c.Owns != nil && !c.Owns(req.NamespacedName) {
		c.keep(req.NamespacedName, nil)
		return ctrl.Result{}, nil
	}
	all, err := c.of(ctx, req.NamespacedName)
	if err != nil {
		return ctrl.Result{}, err
	}
	c.keep(req.NamespacedName, all)
	if len(all) == 0 {
		return ctrl.Result{}, nil
	}
	b := &metal3.BareMetalHost{}
	if err := c.Client.Get(ctx, req.NamespacedName, b); apierrors.IsNotFound(err) {
		b = nil
	} else if err != nil {
		return ctrl.Result{}, err
	}
	in, waits, err := c.way(ctx, b)
	if err != nil {
		return ctrl.Result{}, err
	}
	var next time.Duration
	for i := range all {
		s := &all[i]
		var after time.Duration
		if s.DeletionTimestamp.IsZero() {
			after, err = c.bring(ctx, s, b, in, waits)
		} else {
			after, err = c.end(ctx, s, all, b, in, waits)
		}
		if err != nil {
			return ctrl.Result{}, client.IgnoreNotFound(err)
		}
		if after > 0 && (next == 0 || after < next) {
			next = after
		}
	}
	return ctrl.Result{RequeueAfter: next}, nil
}

// way is how a host's BMC is reached, or what is waited for until it may be. What
// is waited for is seen at the host, whose changes wake this controller.
func (c *Subscriptions) way(ctx context.Context, b *metal3.BareMetalHost) (engine.Input, string, error) {
	if b == nil {
		return engine.Input{}, "there is no BareMetalHost of that name: waits for it to be made", nil
	}
	if _, paused := b.Annotations[metal3.PausedAnnotation]; paused {
		return engine.Input{}, "the host is paused: waits for its annotation " + metal3.PausedAnnotation + " to be removed", nil
	}
	if _, detached := b.Annotations[metal3.DetachedAnnotation]; detached || b.Status.OperationalStatus == metal3.OperationalStatusDetached {
		return engine.Input{}, "the host is detached: waits for its annotation " + metal3.DetachedAnnotation + " to be removed", nil
	}
	switch b.Status.Provisioning.State {
	case metal3.StateNone, metal3.StateUnmanaged, metal3.StateRegistering:
		return engine.Input{}, "the host is not registered yet: waits for it", nil
	}
	switch b.Status.ErrorType {
	case metal3.RegistrationError, metal3.ProvisionedRegistrationError:
		return engine.Input{}, "the host's BMC is in trouble (ingot explain " + b.Name + "): waits for it", nil
	}
	secret, err := c.Engine.Secrets.Secret(ctx, b.Namespace, b.Spec.BMC.CredentialsName)
	if err != nil {
		return engine.Input{}, "", err
	}
	in := engine.Input{Key: client.ObjectKeyFromObject(b), BMH: b}
	in.Host.Wants = record.Wants(b, secret)
	good := b.Status.GoodCredentials
	if secret == nil || in.Host.Wants.SecretVersion == "" || good.Version != secret.ResourceVersion {
		return engine.Input{}, "the host's credentials are not verified yet: waits for it", nil
	}
	in.Creds = record.Credentials(secret)
	return in, "", nil
}

// wayID tells one BMC, and one way to it, from another.
func wayID(in engine.Input) string {
	w := in.Host.Wants
	return strings.Join([]string{string(in.BMH.UID), w.Address, w.SecretVersion, w.BMCOptions}, " ")
}

// knows is what is known of a subscription. Only its host's reconcile touches it.
func (c *Subscriptions) knows(s *metal3.BMCEventSubscription) *subscribed {
	c.mu.Lock()
	defer c.mu.Unlock()
	host := hostOf(s)
	if c.known[host] == nil {
		c.known[host] = map[types.UID]*subscribed{}
	}
	k := c.known[host][s.UID]
	if k == nil {
		k = &subscribed{}
		c.known[host][s.UID] = k
	}
	return k
}

// keep forgets what is known of objects that are gone.
func (c *Subscriptions) keep(host types.NamespacedName, all []metal3.BMCEventSubscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.known[host], func(uid types.UID, _ *subscribed) bool {
		return !slices.ContainsFunc(all, func(s metal3.BMCEventSubscription) bool { return s.UID == uid })
	})
	if len(all) == 0 {
		delete(c.known, host)
	}
}

// bring makes a subscription, unless it was seen to be there.
func (c *Subscriptions) bring(ctx context.Context, s *metal3.BMCEventSubscription, b *metal3.BareMetalHost, in engine.Input, waits string) (time.Duration, error) {
	switch {
	case b == nil:
	case !b.DeletionTimestamp.IsZero():
		return 0, nil // Leave takes leave of the BMC; then the host's objects are collected
	default:
		if err := c.hold(ctx, s, b); err != nil {
			return 0, err
		}
	}
	if waits != "" {
		if s.Status.SubscriptionID != "" {
			return 0, nil // it is there, and its host's trouble is the host's
		}
		return 0, c.tell(ctx, s, "", waits)
	}
	k, id := c.knows(s), wayID(in)
	switch {
	case k.way == id || k.stuck == id:
		return 0, nil
	case k.next.After(c.Now()):
		return k.next.Sub(c.Now()), nil
	}
	want, waits, err := c.wanted(ctx, s)
	if err != nil {
		return 0, err
	}
	if waits != "" {
		return 0, c.tell(ctx, s, s.Status.SubscriptionID, waits)
	}
	if err := c.visits.Wait(ctx); err != nil {
		return 0, err
	}
	made, err := c.Engine.Subscribe(ctx, in, s.Status.SubscriptionID, want, func() func() {
		if c.MakeRoom == nil || k.asked {
			return nil // what is refused for another reason would flutter ours
		}
		k.asked = true
		return c.MakeRoom(ctx, in.Key)
	})
	if err != nil {
		return c.failed(ctx, s, k, in, "subscribing", err)
	}
	*k = subscribed{way: id}
	if made != s.Status.SubscriptionID {
		c.Log.Info("subscribed to events of the BMC", "host", in.Key.String(), "subscription", s.Name, "id", made)
	}
	return 0, c.tell(ctx, s, made, "")
}

// failed says what went wrong, and when it is tried again.
func (c *Subscriptions) failed(ctx context.Context, s *metal3.BMCEventSubscription, k *subscribed, in engine.Input, what string, err error) (time.Duration, error) {
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	text := what + ": " + record.Message(engine.BMCProblem(ctx, in.BMH, err))
	switch bmc.ClassOf(err) {
	case bmc.Auth, bmc.TLSIdentity:
		// Tried no more: an account may be locked.
		k.stuck = wayID(in)
		return 0, c.tell(ctx, s, s.Status.SubscriptionID, text+"; waits for the host's Secret or address to change")
	}
	wait := min(resubscribeFirst<<min(k.tries, 10), resubscribeLast)
	k.tries++
	k.next = c.Now().Add(wait)
	c.Log.Info("an event subscription is tried again", "host", in.Key.String(), "subscription", s.Name, "attempt", k.tries, "err", err)
	return wait, c.tell(ctx, s, s.Status.SubscriptionID, text+"; next try at "+k.next.UTC().Format(time.RFC3339))
}

// end takes a subscription from the BMC and lets go of its object.
func (c *Subscriptions) end(ctx context.Context, s *metal3.BMCEventSubscription, all []metal3.BMCEventSubscription, b *metal3.BareMetalHost, in engine.Input, waits string) (time.Duration, error) {
	if !controllerutil.ContainsFinalizer(s, metal3.BMCEventSubscriptionFinalizer) {
		return 0, nil
	}
	id := s.Status.SubscriptionID
	shared := slices.ContainsFunc(all, func(o metal3.BMCEventSubscription) bool {
		return o.UID != s.UID && o.DeletionTimestamp.IsZero() && id != "" && o.Status.SubscriptionID == id
	})
	k := c.knows(s)
	switch {
	case b == nil, shared:
		// Nobody can reach the BMC any more, or another object wants the same.
	case waits != "" && id == "":
		// Nothing was begun that is known of.
	case waits != "":
		return 0, c.tell(ctx, s, id, "deleting: "+waits)
	case k.stuck == wayID(in):
		return 0, nil
	case k.next.After(c.Now()):
		return k.next.Sub(c.Now()), nil
	default:
		err := c.Engine.Unsubscribe(ctx, in, id, bmc.Subscription{Destination: s.Spec.Destination, Context: s.Spec.Context})
		if err != nil && bmc.ClassOf(err) != bmc.Unsupported {
			return c.failed(ctx, s, k, in, "deleting", err)
		}
	}
	return 0, c.edit(ctx, s, func() { controllerutil.RemoveFinalizer(s, metal3.BMCEventSubscriptionFinalizer) })
}

// Leave ends the subscriptions of a host that is let go of, if its BMC answers in
// time: afterwards nobody has the credentials. Of one that is detached, the BMC is
// left alone.
func (c *Subscriptions) Leave(in engine.Input) {
	if in.Host.Detached || in.Host.Good == "" {
		return
	}
	all, err := c.of(c.base, in.Key)
	all = slices.DeleteFunc(all, func(s metal3.BMCEventSubscription) bool {
		return !controllerutil.ContainsFinalizer(&s, metal3.BMCEventSubscriptionFinalizer)
	})
	if err != nil || len(all) == 0 {
		return
	}
	c.wg.Go(func() {
		ctx, cancel := context.WithTimeout(c.base, leaveTimeout)
		defer cancel()
		for _, s := range all {
			err := c.Engine.Unsubscribe(ctx, in, s.Status.SubscriptionID, bmc.Subscription{Destination: s.Spec.Destination, Context: s.Spec.Context})
			if err != nil && bmc.ClassOf(err) != bmc.Unsupported {
				c.Log.Warn("the BMC of a host that is gone may go on to push events", "host", in.Key.String(), "subscription", s.Name, "err", err)
			}
		}
	})
}

// Doubt has a host's subscriptions read back from its BMC, which may have
// forgotten them, at its next change.
func (c *Subscriptions) Doubt(host types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, host)
}

// wanted is the subscription as the BMC is asked for it, or what is wrong with it.
func (c *Subscriptions) wanted(ctx context.Context, s *metal3.BMCEventSubscription) (bmc.Subscription, string, error) {
	want := bmc.Subscription{Destination: s.Spec.Destination, Context: s.Spec.Context, EventTypes: []string{alert}}
	if s.Spec.Destination == "" {
		return want, "spec.destination is empty: delete the object, and make it with the URL that events are to be sent to", nil
	}
	ref := s.Spec.HTTPHeadersRef
	if ref == nil || ref.Name == "" {
		return want, "", nil
	}
	if ref.Namespace != "" && ref.Namespace != s.Namespace {
		return want, "spec.httpHeadersRef.namespace: a Secret of another namespace cannot be used: copy it into " + s.Namespace + ", and make the object anew", nil
	}
	secret, err := c.Engine.Secrets.Secret(ctx, s.Namespace, ref.Name)
	if err != nil {
		return want, "", err
	}
	if secret == nil {
		return want, fmt.Sprintf("there is no Secret %s/%s (spec.httpHeadersRef): waits for it", s.Namespace, ref.Name), nil
	}
	want.Headers = map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(secret.Data)) {
		value := strings.TrimSpace(string(secret.Data[name]))
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return want, fmt.Sprintf("the key %q of the Secret %s/%s is no HTTP header, or its value cannot be one: waits for it to be corrected", name, s.Namespace, ref.Name), nil
		}
		want.Headers[name] = value
	}
	return want, "", nil
}

// hold keeps the object until the BMC was told, and gives it to its host.
func (c *Subscriptions) hold(ctx context.Context, s *metal3.BMCEventSubscription, b *metal3.BareMetalHost) error {
	owned := record.OwnedBy(s, b)
	if owned && controllerutil.ContainsFinalizer(s, metal3.BMCEventSubscriptionFinalizer) {
		return nil
	}
	return c.edit(ctx, s, func() {
		controllerutil.AddFinalizer(s, metal3.BMCEventSubscriptionFinalizer)
		ref := record.Owner(b)
		ref.Controller = nil
		s.OwnerReferences = append(slices.DeleteFunc(s.OwnerReferences, func(r metav1.OwnerReference) bool {
			return r.Kind == ref.Kind && r.APIVersion == ref.APIVersion // an earlier host of that name
		}), ref)
	})
}

func (c *Subscriptions) edit(ctx context.Context, s *metal3.BMCEventSubscription, change func()) error {
	before := s.DeepCopy()
	change()
	return c.Client.Patch(ctx, s, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), record.FieldOwner)
}

// tell writes what is new.
func (c *Subscriptions) tell(ctx context.Context, s *metal3.BMCEventSubscription, id, text string) error {
	if s.Status.SubscriptionID == id && s.Status.Error == text {
		return nil
	}
	before := s.DeepCopy()
	s.Status.SubscriptionID, s.Status.Error = id, text
	return c.Client.Status().Patch(ctx, s, client.MergeFrom(before), record.FieldOwner)
}
