package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/ingot-metal/ingot/pkg/hostclaim"
	"github.com/ingot-metal/ingot/pkg/record"
)

const (
	// claimWorkers of claims are worked on at the same time.
	claimWorkers = 4
	// claimTries bounds how many hosts a claim is beaten to in one go.
	claimTries = 8
	// claimAgain is when a claim looks again that somebody else was quicker than.
	claimAgain = 100 * time.Millisecond
)

// Fields that the cache is indexed by, so that no claim looks at every host.
const (
	freeHosts    = "ingot.dev/free"    // of BareMetalHosts: "true" if any claim may take it
	holderOfHost = "ingot.dev/holder"  // of BareMetalHosts: namespace/name of the claim that has it
	waiting      = "ingot.dev/waiting" // of HostClaims: "true" without a host
	claimSecrets = "ingot.dev/secrets" // of HostClaims: names of the Secrets
)

// Claims carries HostClaims out. A host is a claim's while its consumerRef says so,
// and that is written only over a host that was read without one: of two claims, or
// of a claim and Cluster API's provider, one is refused (docs/howto/claims.md).
// Its fields are set before SetupWithManager.
type Claims struct {
	Client client.Client // reads from the cache
	Reader client.Reader // reads past the cache
	Log    *slog.Logger
	Now    func() time.Time
	Pick   func(n int) int // a number below n, by chance

	mu   sync.Mutex
	took map[types.UID]types.NamespacedName // the host that a claim took last
}

// SetupWithManager registers the controller.
func (c *Claims) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	c.took = map[types.UID]types.NamespacedName{}
	for _, f := range claimFields() {
		if err := mgr.GetFieldIndexer().IndexField(ctx, f.of, f.name, f.value); err != nil {
			return err
		}
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("hostclaim").
		For(&metal3.HostClaim{}).
		Watches(&metal3.BareMetalHost{}, handler.EnqueueRequestsFromMapFunc(c.ofHost)).
		Watches(&metal3.HostDeployPolicy{}, handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, _ client.Object) []reconcile.Request {
			return c.without(ctx, func(*metal3.HostClaim) bool { return true })
		})).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
			return c.without(ctx, func(*metal3.HostClaim) bool { return true }, client.InNamespace(o.GetName()))
		})).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(c.ofSecret)).
		WithOptions(controller.Options{MaxConcurrentReconciles: claimWorkers}).
		Complete(reconcile.Func(c.reconcile))
}

type field struct {
	of    client.Object
	name  string
	value client.IndexerFunc
}

func claimFields() []field {
	is := func(b bool) []string {
		if b {
			return []string{"true"}
		}
		return nil
	}
	return []field{
		{&metal3.BareMetalHost{}, freeHosts, func(o client.Object) []string { return is(hostclaim.Free(o.(*metal3.BareMetalHost))) }},
		{&metal3.BareMetalHost{}, holderOfHost, func(o client.Object) []string {
			if k, ok := hostclaim.Holder(o.(*metal3.BareMetalHost)); ok {
				return []string{k.String()}
			}
			return nil
		}},
		{&metal3.HostClaim{}, waiting, func(o client.Object) []string {
			h := o.(*metal3.HostClaim)
			return is(h.Status.BareMetalHost == nil && h.DeletionTimestamp.IsZero())
		}},
		{&metal3.HostClaim{}, claimSecrets, func(o client.Object) []string {
			var names []string
			for _, p := range hostclaim.Parts() {
				if ref := p.Claim(o.(*metal3.HostClaim)); ref != nil {
					names = append(names, ref.Name)
				}
			}
			return names
		}},
	}
}

func request(o client.Object) reconcile.Request {
	return reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)}
}

// ofHost finds the claim that has a host, or those that might take it.
func (c *Claims) ofHost(ctx context.Context, o client.Object) []reconcile.Request {
	b := o.(*metal3.BareMetalHost)
	if k, ok := hostclaim.Holder(b); ok {
		return []reconcile.Request{{NamespacedName: k}}
	}
	if !hostclaim.Free(b) {
		return nil
	}
	return c.without(ctx, func(h *metal3.HostClaim) bool { return wants(h, b) })
}

// wants reports whether a host fits a claim's selector.
func wants(h *metal3.HostClaim, b *metal3.BareMetalHost) bool {
	ns := h.Spec.HostSelector.InNamespace
	s, err := hostclaim.Selector(h)
	return err == nil && (ns == "" || ns == b.Namespace) && s.Matches(labelSet(b.Labels))
}

// without finds claims that have no host.
func (c *Claims) without(ctx context.Context, fits func(*metal3.HostClaim) bool, opts ...client.ListOption) []reconcile.Request {
	var list metal3.HostClaimList
	if err := c.Client.List(ctx, &list, append(opts, client.MatchingFields{waiting: "true"})...); err != nil {
		c.Log.Warn("claims that wait are not told of a change", "err", err)
		return nil
	}
	var reqs []reconcile.Request
	for i := range list.Items {
		if fits(&list.Items[i]) {
			reqs = append(reqs, request(&list.Items[i]))
		}
	}
	return reqs
}

// ofSecret finds the claims that name a Secret, or that one was copied for.
func (c *Claims) ofSecret(ctx context.Context, o client.Object) []reconcile.Request {
	source := client.ObjectKeyFromObject(o)
	if of, ok := copied(o); ok {
		source = of
	}
	var list metal3.HostClaimList
	if err := c.Client.List(ctx, &list, client.InNamespace(source.Namespace), client.MatchingFields{claimSecrets: source.Name}); err != nil {
		return nil
	}
	var reqs []reconcile.Request
	for i := range list.Items {
		reqs = append(reqs, request(&list.Items[i]))
	}
	return reqs
}

// wait is a reason to come back that is no failure.
type wait struct{ after time.Duration }

func (w wait) Error() string { return "tried again in " + w.after.String() }

// soon turns a write that came too late into a wait.
func soon(err error) error {
	if apierrors.IsConflict(err) {
		return wait{claimAgain}
	}
	return err
}

func (c *Claims) reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	h := &metal3.HostClaim{}
	if err := c.Client.Get(ctx, req.NamespacedName, h); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	has := controllerutil.ContainsFinalizer(h, metal3.HostClaimFinalizer)
	switch {
	case !has && !h.DeletionTimestamp.IsZero():
		c.forget(h)
		return ctrl.Result{}, nil
	case !has:
		before := h.DeepCopy()
		controllerutil.AddFinalizer(h, metal3.HostClaimFinalizer)
		return result(soon(c.patch(ctx, h, before)))
	}
	before := h.DeepCopy()
	done, err := c.carryOut(ctx, h)
	if e := c.show(ctx, h, before); e != nil {
		return result(soon(errors.Join(err, e)))
	}
	if !done {
		return result(err)
	}
	stored := h.DeepCopy()
	controllerutil.RemoveFinalizer(h, metal3.HostClaimFinalizer)
	if err := c.patch(ctx, h, stored); client.IgnoreNotFound(err) != nil {
		return result(soon(err))
	}
	c.forget(h)
	return ctrl.Result{}, nil
}

func result(err error) (ctrl.Result, error) {
	var w wait
	if errors.As(err, &w) {
		return ctrl.Result{RequeueAfter: w.after}, nil
	}
	return ctrl.Result{}, err
}

// carryOut brings a claim on, and notes in its status what there is to say. It
// reports true when a deleted claim has nothing left.
func (c *Claims) carryOut(ctx context.Context, h *metal3.HostClaim) (bool, error) {
	hosts, err := c.hosts(ctx, h)
	if err != nil {
		return false, err
	}
	if _, paused := h.Annotations[metal3.PausedAnnotation]; paused {
		return false, c.pause(ctx, h, hosts)
	}
	if !h.DeletionTimestamp.IsZero() {
		return c.release(ctx, h, hosts)
	}
	if len(hosts) > 1 {
		// It was seen to have none while its last one was not visible yet.
		for i := range hosts[1:] {
			if _, err := c.giveBack(ctx, &hosts[1:][i]); err != nil {
				return false, err
			}
		}
	}
	if len(hosts) == 0 {
		if at := h.Status.BareMetalHost; at != nil {
			hostclaim.Lose(h)
			hostclaim.Set(h, metal3.AssociatedCondition, false, metal3.MissingBareMetalHostReason,
				fmt.Sprintf("BareMetalHost %s/%s is gone, or is no longer this claim's: another is looked for", at.Namespace, at.Name))
			return false, wait{claimAgain}
		}
		b, err := c.take(ctx, h)
		if b == nil || err != nil {
			return false, err
		}
		hosts = append(hosts, *b)
	}
	hostclaim.Set(h, metal3.AssociatedCondition, true, metal3.BareMetalHostAssociatedReason, "")
	return false, c.synchronise(ctx, h, &hosts[0])
}

// hosts are those that are a claim's, the one that its status names first. There
// may be one that the cache does not know of yet.
func (c *Claims) hosts(ctx context.Context, h *metal3.HostClaim) ([]metal3.BareMetalHost, error) {
	var list metal3.BareMetalHostList
	if err := c.Client.List(ctx, &list, client.MatchingFields{holderOfHost: client.ObjectKeyFromObject(h).String()}); err != nil {
		return nil, err
	}
	c.mu.Lock()
	last, known := c.took[h.UID]
	c.mu.Unlock()
	if at := h.Status.BareMetalHost; at != nil {
		last, known = types.NamespacedName{Namespace: at.Namespace, Name: at.Name}, true
	}
	if !known {
		return list.Items, nil
	}
	is := func(b metal3.BareMetalHost) bool { return client.ObjectKeyFromObject(&b) == last }
	if i := slices.IndexFunc(list.Items, is); i >= 0 {
		list.Items[0], list.Items[i] = list.Items[i], list.Items[0]
		return list.Items, nil
	}
	b := &metal3.BareMetalHost{}
	err := c.Reader.Get(ctx, last, b)
	if client.IgnoreNotFound(err) != nil {
		return nil, err
	}
	if err == nil && hostclaim.Holds(h, b) {
		return append([]metal3.BareMetalHost{*b}, list.Items...), nil
	}
	c.forget(h)
	return list.Items, nil
}

func (c *Claims) forget(h *metal3.HostClaim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.took, h.UID)
}

// take gives a claim a host, or says why there is none.
func (c *Claims) take(ctx context.Context, h *metal3.HostClaim) (*metal3.BareMetalHost, error) {
	free, why, err := c.free(ctx, h)
	if err != nil {
		return nil, err
	}
	if len(free) > 0 {
		// The cache may not know yet that it has one.
		now := &metal3.HostClaim{}
		if err := c.Reader.Get(ctx, client.ObjectKeyFromObject(h), now); err != nil {
			return nil, client.IgnoreNotFound(err)
		}
		if now.UID != h.UID || now.Status.BareMetalHost != nil {
			return nil, wait{claimAgain}
		}
	}
	for range claimTries {
		i := hostclaim.Choose(h, free, c.Pick)
		if i < 0 {
			hostclaim.Set(h, metal3.AssociatedCondition, false, metal3.NoBareMetalHostReason, why)
			return nil, nil
		}
		b := free[i].DeepCopy()
		b.Spec.ConsumerRef = hostclaim.Reference(h)
		c.mu.Lock()
		c.took[h.UID] = client.ObjectKeyFromObject(b) // whatever the answer is
		c.mu.Unlock()
		err := c.patch(ctx, b, &free[i])
		switch {
		case err == nil:
			c.Log.Info("a claim took a host", "claim", client.ObjectKeyFromObject(h).String(), "host", client.ObjectKeyFromObject(b).String())
			return b, nil
		case !apierrors.IsConflict(err) && !apierrors.IsNotFound(err):
			hostclaim.Set(h, metal3.AssociatedCondition, false, metal3.BareMetalHostNotSynchronizedReason, "a host cannot be written: "+err.Error())
			return nil, err
		}
		// Somebody else has it, or changed it: another one will do.
		free = slices.Delete(free, i, i+1)
	}
	return nil, wait{claimAgain}
}

// free are the hosts that a claim may have, or why there are none.
func (c *Claims) free(ctx context.Context, h *metal3.HostClaim) ([]metal3.BareMetalHost, string, error) {
	selector, err := hostclaim.Selector(h)
	if err != nil {
		return nil, err.Error() + ": correct it", nil
	}
	spaces, err := c.admitted(ctx, h)
	if err != nil {
		return nil, "", err
	}
	if len(spaces) == 0 {
		return nil, "no HostDeployPolicy admits claims of the namespace " + h.Namespace + " to hosts: waits for one that does", nil
	}
	var out []metal3.BareMetalHost
	for _, ns := range spaces {
		var list metal3.BareMetalHostList
		if err := c.Client.List(ctx, &list, client.InNamespace(ns), client.MatchingFields{freeHosts: "true"}, client.MatchingLabelsSelector{Selector: selector}); err != nil {
			return nil, "", err
		}
		out = append(out, list.Items...)
	}
	return out, "no available host matches spec.hostSelector: waits for one that does", nil
}

// admitted are the namespaces whose hosts a claim may have.
func (c *Claims) admitted(ctx context.Context, h *metal3.HostClaim) ([]string, error) {
	var policies metal3.HostDeployPolicyList
	var opts []client.ListOption
	if ns := h.Spec.HostSelector.InNamespace; ns != "" {
		opts = append(opts, client.InNamespace(ns))
	}
	if err := c.Client.List(ctx, &policies, opts...); err != nil {
		return nil, err
	}
	labels := sync.OnceValues(func() (map[string]string, error) {
		ns := &corev1.Namespace{}
		err := c.Client.Get(ctx, client.ObjectKey{Name: h.Namespace}, ns)
		return ns.Labels, err
	})
	var out []string
	for i := range policies.Items {
		p := &policies.Items[i]
		if slices.Contains(out, p.Namespace) {
			continue
		}
		ok, err := hostclaim.Admits(p, h.Namespace, labels)
		if err != nil {
			// One that cannot be read admits nobody, and hides no other.
			c.Log.Warn("a policy admits nobody", "claim", client.ObjectKeyFromObject(h).String(), "err", err)
		}
		if ok {
			out = append(out, p.Namespace)
		}
	}
	return out, nil
}

// pause leaves a claim's host as it is, for as long as the claim is paused.
func (c *Claims) pause(ctx context.Context, h *metal3.HostClaim, hosts []metal3.BareMetalHost) error {
	for i := range hosts {
		b := hosts[i].DeepCopy()
		err := hostclaim.Pause(b)
		if err == nil {
			err = c.patch(ctx, b, &hosts[i])
		}
		if err != nil {
			hostclaim.Set(h, metal3.AssociatedCondition, false, metal3.PauseAnnotationSetFailedReason, "the host cannot be paused: "+err.Error())
			return soon(err)
		}
	}
	hostclaim.Set(h, metal3.AssociatedCondition, false, metal3.HostPausedReason,
		"the claim is paused: waits for its annotation "+metal3.PausedAnnotation+" to be removed")
	return nil
}

// release gives back all that a deleted claim has.
func (c *Claims) release(ctx context.Context, h *metal3.HostClaim, hosts []metal3.BareMetalHost) (bool, error) {
	hostclaim.Set(h, metal3.AssociatedCondition, false, metal3.HostClaimDeletingReason, "")
	done := true
	for i := range hosts {
		waits, err := c.giveBack(ctx, &hosts[i])
		switch {
		case errors.As(err, new(wait)):
			return false, err
		case err != nil:
			hostclaim.Set(h, metal3.AssociatedCondition, false, metal3.HostClaimDeletionFailedReason, err.Error())
			return false, err
		case waits != "":
			hostclaim.Set(h, metal3.AssociatedCondition, false, metal3.HostClaimDeletingReason, waits)
			done = false
		}
	}
	return done, nil
}

// giveBack makes a host free again, or says what is waited for.
func (c *Claims) giveBack(ctx context.Context, b *metal3.BareMetalHost) (string, error) {
	if !b.DeletionTimestamp.IsZero() {
		return fmt.Sprintf("waits for BareMetalHost %s/%s, which is being deleted", b.Namespace, b.Name), nil
	}
	clean := b.DeepCopy()
	hostclaim.Clear(clean)
	if changed(b, clean) {
		if err := c.patch(ctx, clean, b); err != nil {
			return "", soon(client.IgnoreNotFound(err))
		}
	}
	if err := c.uncopy(ctx, clean, nil); err != nil {
		return "", err
	}
	if changed(b, clean) {
		return "", wait{claimAgain} // what it makes of that shows in its status
	}
	if waits := hostclaim.Cleared(b); waits != "" {
		return waits, nil
	}
	clean.Spec.ConsumerRef = nil
	if err := c.patch(ctx, clean, b); client.IgnoreNotFound(err) != nil {
		return "", soon(err)
	}
	c.Log.Info("a claim gave its host back", "host", client.ObjectKeyFromObject(b).String())
	return "", nil
}

// synchronise declares at a host what its claim wants, and shows what came of it.
func (c *Claims) synchronise(ctx context.Context, h *metal3.HostClaim, b *metal3.BareMetalHost) error {
	hostclaim.Mirror(h, b)
	fail := func(reason string, why error) error {
		hostclaim.Set(h, metal3.SynchronizedCondition, false, reason, why.Error())
		return why
	}
	if !b.DeletionTimestamp.IsZero() {
		_ = fail(metal3.BareMetalHostNotSynchronizedReason, errors.New("the host is being deleted"))
		return nil
	}
	if what := hostclaim.Foreign(h, b); what != "" {
		_ = fail(metal3.BareMetalHostNotSynchronizedReason, fmt.Errorf(
			"the host has another %s than the claim, which was not declared by it: write the same into the claim's spec, or remove it from the host", what))
		return nil
	}
	want := b.DeepCopy()
	hostclaim.Declare(h, want)
	hostclaim.Resume(want)
	for _, p := range hostclaim.Parts() {
		ref, err := c.part(ctx, h, b, p)
		if err != nil {
			err = fail(p.Reason, err)
			if errors.As(err, new(missing)) {
				return nil // the Secret wakes the claim
			}
			return soon(err)
		}
		*p.Host(want) = ref
	}
	if changed(b, want) {
		if err := c.patch(ctx, want, b); err != nil {
			if !apierrors.IsConflict(err) {
				return fail(metal3.BareMetalHostNotSynchronizedReason, fmt.Errorf("the host cannot be written: %w", err))
			}
			return soon(err)
		}
	}
	if err := c.uncopy(ctx, want, h); err != nil {
		return fail(metal3.BareMetalHostNotSynchronizedReason, err)
	}
	hostclaim.Set(h, metal3.SynchronizedCondition, true, metal3.ConfigurationSyncedReason, "")
	return c.rebooted(ctx, h)
}

// rebooted takes back an order to restart that the host has got.
func (c *Claims) rebooted(ctx context.Context, h *metal3.HostClaim) error {
	if _, ordered := h.Annotations[metal3.RebootAnnotationPrefix]; !ordered {
		return nil
	}
	stored := h.DeepCopy()
	now := h.DeepCopy()
	delete(now.Annotations, metal3.RebootAnnotationPrefix)
	if err := c.Client.Patch(ctx, now, client.MergeFrom(stored), record.FieldOwner); err != nil {
		return err
	}
	h.ObjectMeta = now.ObjectMeta
	return nil
}

// changed reports whether a host is to be written.
func changed(a, b *metal3.BareMetalHost) bool {
	return !equality.Semantic.DeepEqual(a.Spec, b.Spec) || !equality.Semantic.DeepEqual(a.Annotations, b.Annotations)
}

// patch writes an object if it still is as it was read.
func (c *Claims) patch(ctx context.Context, o, as client.Object) error {
	return c.Client.Patch(ctx, o, client.MergeFromWithOptions(as, client.MergeFromWithOptimisticLock{}), record.FieldOwner)
}

// show writes a claim's status, if there is something new.
func (c *Claims) show(ctx context.Context, h, before *metal3.HostClaim) error {
	hostclaim.SetReady(h)
	if equality.Semantic.DeepEqual(h.Status, before.Status) {
		return nil
	}
	now := metav1.NewTime(c.Now())
	h.Status.LastUpdated = &now
	as := h.DeepCopy()
	as.Status = before.Status
	return client.IgnoreNotFound(c.Client.Status().Patch(ctx, h, client.MergeFrom(as), record.FieldOwner))
}
