package journey_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/pkg/lab/fleet"
	"github.com/ingot-metal/ingot/pkg/serve"
)

// tenant is a namespace that claims hosts of a rack.
type tenant struct {
	r  *rack
	ns string
}

func (r *rack) tenant(name string, labels map[string]string) *tenant {
	r.t.Helper()
	t := &tenant{r: r, ns: r.ns + "-" + name}
	r.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: t.ns, Labels: labels}})
	return t
}

// admit makes a policy of the rack's.
func (r *rack) admit(name string, whom metal3.HostClaimNamespaces) {
	r.t.Helper()
	p := &metal3.HostDeployPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: r.ns, Name: name}}
	p.Spec.HostClaimNamespaces = &whom
	r.create(p)
}

// claim is a HostClaim of a tenant's.
type claim struct {
	t    *tenant
	name string
}

func (t *tenant) claim(name string, change ...func(*metal3.HostClaim)) *claim {
	t.r.t.Helper()
	c := &metal3.HostClaim{ObjectMeta: metav1.ObjectMeta{Namespace: t.ns, Name: name}}
	c.Spec.PoweredOn = true
	c.Spec.HostSelector.InNamespace = t.r.ns // racks of other tests are not for us
	for _, f := range change {
		f(c)
	}
	t.r.create(c)
	return &claim{t: t, name: name}
}

func (c *claim) key() client.ObjectKey { return client.ObjectKey{Namespace: c.t.ns, Name: c.name} }

func (c *claim) read() *metal3.HostClaim {
	c.t.r.t.Helper()
	h := &metal3.HostClaim{}
	if err := shared.Get(c.t.r.ctx, c.key(), h); err != nil {
		c.t.r.t.Fatal(err)
	}
	return h
}

func (c *claim) change(f func(*metal3.HostClaim)) {
	c.t.r.t.Helper()
	h := c.read()
	before := h.DeepCopy()
	f(h)
	if err := shared.Patch(c.t.r.ctx, h, client.MergeFrom(before)); err != nil {
		c.t.r.t.Fatal(err)
	}
}

func (c *claim) await(what string, done func(*metal3.HostClaim) bool) *metal3.HostClaim {
	c.t.r.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.r.ctx, patience)
	defer cancel()
	h := &metal3.HostClaim{}
	if !poll(ctx, func() bool { return shared.Get(ctx, c.key(), h) == nil && done(h) }) {
		c.t.r.t.Fatalf("claim %s is not %s: %+v", c.key(), what, h.Status)
	}
	return h
}

// awaitCondition waits for "True Reason" or "False Reason".
func (c *claim) awaitCondition(kind, want string) metav1.Condition {
	c.t.r.t.Helper()
	var out metav1.Condition
	c.await(kind+" "+want, func(h *metal3.HostClaim) bool {
		k := apimeta.FindStatusCondition(h.Status.Conditions, kind)
		if k == nil {
			return false
		}
		out = *k
		return string(k.Status)+" "+k.Reason == want
	})
	return out
}

func (c *claim) delete() {
	c.t.r.t.Helper()
	if err := shared.Delete(c.t.r.ctx, &metal3.HostClaim{ObjectMeta: metav1.ObjectMeta{Namespace: c.t.ns, Name: c.name}}); err != nil {
		c.t.r.t.Fatal(err)
	}
}

func (c *claim) awaitGone() {
	c.t.r.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.r.ctx, patience)
	defer cancel()
	h := &metal3.HostClaim{}
	if !poll(ctx, func() bool { return apierrors.IsNotFound(shared.Get(ctx, c.key(), h)) }) {
		c.t.r.t.Fatalf("claim %s is not gone: %+v", c.key(), h.Status)
	}
}

// holder is the claim that a host is held by, or "".
func holder(b *metal3.BareMetalHost) string {
	if r := b.Spec.ConsumerRef; r != nil {
		return r.Kind + " " + r.Namespace + "/" + r.Name
	}
	return ""
}

// A tenant gets a host of a namespace that he cannot see, with his image and his
// Secrets, switches it, and gives it back wiped.
func TestHostClaim(t *testing.T) {
	r := newRack(t, 1)
	os, m := r.image("os.raw", small), r.machine(0)
	m.enrol()
	m.awaitState(metal3.StateAvailable)
	team := r.tenant("team", nil)
	r.admit("team", metal3.HostClaimNamespaces{Names: []string{team.ns}})
	c := team.claim("c1", func(h *metal3.HostClaim) {
		h.Spec.Image = os.spec()
		h.Spec.UserData = &corev1.SecretReference{Name: "user-data"}
	})
	c.awaitCondition(metal3.AssociatedCondition, "True BareMetalHostAssociated")
	if k := c.awaitCondition(metal3.SynchronizedCondition, "False UserDataSecretSyncFailure"); !strings.Contains(k.Message, team.ns+"/user-data") {
		t.Errorf("message %q", k.Message)
	}
	if b := m.read(); b.Spec.Image != nil {
		t.Errorf("provisioned without its user data: %+v", b.Spec)
	}
	user := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: team.ns, Name: "user-data"}, StringData: map[string]string{"userData": "#cloud-config\n"}}
	r.create(user)
	m.awaitProvisioned(os)
	h := c.await("ready", func(h *metal3.HostClaim) bool {
		return apimeta.IsStatusConditionTrue(h.Status.Conditions, metal3.ReadyCondition) && h.Status.PoweredOn
	})
	for _, want := range []string{metal3.AssociatedCondition, metal3.SynchronizedCondition, metal3.ProvisionedCondition} {
		if !apimeta.IsStatusConditionTrue(h.Status.Conditions, want) {
			t.Errorf("ready, but not %s", want)
		}
	}
	at := metal3.ObjectReference{Namespace: r.ns, Name: m.host}
	if h.Status.BareMetalHost == nil || *h.Status.BareMetalHost != at || h.Status.HardwareData == nil || *h.Status.HardwareData != at || h.Status.LastUpdated == nil {
		t.Errorf("status %+v", h.Status)
	}
	if len(m.log(fleet.KindConfig)) != 1 {
		t.Errorf("config drives: %v", m.log(fleet.KindConfig))
	}
	b := m.read()
	if b.Spec.UserData == nil || b.Spec.UserData.Name != m.host+"-userdata" || holder(b) != "HostClaim "+team.ns+"/c1" {
		t.Errorf("host %+v", b.Spec)
	}
	copied := func() string {
		s := &corev1.Secret{}
		if err := shared.Get(r.ctx, client.ObjectKey{Namespace: r.ns, Name: m.host + "-userdata"}, s); err != nil {
			return err.Error()
		}
		if len(s.OwnerReferences) != 1 || s.OwnerReferences[0].UID != b.UID {
			t.Errorf("the copy belongs to %v", s.OwnerReferences)
		}
		return string(s.Data["userData"])
	}
	if got := copied(); got != "#cloud-config\n" {
		t.Errorf("copy %q", got)
	}
	r.update(user, map[string]string{"userData": "#cloud-config\nx: y\n"})
	m.await("given the new user data", func() bool { return strings.HasSuffix(copied(), "x: y\n") })

	c.change(func(h *metal3.HostClaim) { h.Spec.PoweredOn = false })
	c.await("off", func(h *metal3.HostClaim) bool { return !h.Status.PoweredOn && !m.On() })
	c.change(func(h *metal3.HostClaim) { h.Spec.PoweredOn = true })
	c.await("on", func(h *metal3.HostClaim) bool { return h.Status.PoweredOn && m.On() })
	const hold = "reboot.metal3.io/fsck"
	c.change(func(h *metal3.HostClaim) { metav1.SetMetaDataAnnotation(&h.ObjectMeta, hold, "") })
	c.await("held off", func(h *metal3.HostClaim) bool { return !h.Status.PoweredOn && !m.On() })
	c.change(func(h *metal3.HostClaim) { delete(h.Annotations, hold) })
	c.await("up again", func(h *metal3.HostClaim) bool { return h.Status.PoweredOn && m.On() })

	c.delete()
	c.awaitGone()
	b = m.read()
	if b.Spec.ConsumerRef != nil || b.Spec.Image != nil || b.Spec.UserData != nil || b.Spec.Online || b.Status.Provisioning.State != metal3.StateAvailable {
		t.Errorf("given back as %+v, %s", b.Spec, b.Status.Provisioning.State)
	}
	if slices.ContainsFunc(m.Images(), func(d string) bool { return d != "" }) {
		t.Errorf("the next one finds %v", m.Images())
	}
	if got := copied(); !strings.Contains(got, "not found") {
		t.Errorf("the tenant's data stays: %q", got)
	}
}

// Claims wait for a policy that admits them and a host that fits, and say so.
func TestHostClaimWaits(t *testing.T) {
	r := newRack(t, 2)
	m, other := r.machine(0), r.machine(1)
	team := r.tenant("team", map[string]string{"tier": "gold"})
	c := team.claim("c1", func(h *metal3.HostClaim) { h.Spec.HostSelector.MatchLabels = map[string]string{"size": "big"} })
	if k := c.awaitCondition(metal3.AssociatedCondition, "False NoBareMetalHost"); !strings.Contains(k.Message, "no HostDeployPolicy") {
		t.Errorf("message %q", k.Message)
	}
	r.admit("others", metal3.HostClaimNamespaces{NameMatches: "^nobody$"})
	r.admit("gold", metal3.HostClaimNamespaces{HasLabels: []metal3.NameValuePair{{Name: "tier", Value: "gold"}}})
	c.await("told about the host", func(h *metal3.HostClaim) bool {
		k := apimeta.FindStatusCondition(h.Status.Conditions, metal3.AssociatedCondition)
		return strings.Contains(k.Message, "no available host")
	})
	other.enrol() // does not fit
	other.awaitState(metal3.StateAvailable)
	m.enrol(func(b *metal3.BareMetalHost) { b.Labels = map[string]string{"size": "big"} })
	c.awaitCondition(metal3.AssociatedCondition, "True BareMetalHostAssociated")
	if got := holder(m.read()) + ", " + holder(other.read()); got != "HostClaim "+team.ns+"/c1, " {
		t.Errorf("held by %q", got)
	}

	// A host that is deleted is replaced by another that fits.
	other.change(func(b *metal3.BareMetalHost) { b.Labels = map[string]string{"size": "big"} })
	m.delete()
	m.awaitGone()
	c.await("given another host", func(h *metal3.HostClaim) bool {
		return h.Status.BareMetalHost != nil && h.Status.BareMetalHost.Name == other.host
	})
	c.delete()
	c.awaitGone()
}

// While a claim is paused its host is, under a value of its own.
func TestHostClaimPaused(t *testing.T) {
	r := newRack(t, 1)
	os, m := r.image("os.raw", small), r.machine(0)
	m.enrol()
	m.awaitState(metal3.StateAvailable)
	team := r.tenant("team", nil)
	r.admit("team", metal3.HostClaimNamespaces{NameMatches: "^" + team.ns + "$"})
	c := team.claim("c1")
	c.awaitCondition(metal3.SynchronizedCondition, "True ConfigurationSynced")
	c.change(func(h *metal3.HostClaim) { metav1.SetMetaDataAnnotation(&h.ObjectMeta, metal3.PausedAnnotation, "") })
	c.awaitCondition(metal3.AssociatedCondition, "False HostPaused")
	if b := m.read(); b.Annotations[metal3.PausedAnnotation] != "metal3.io/hostclaim" || !strings.Contains(b.Annotations[metal3.StatusAnnotation], `"available"`) {
		t.Errorf("annotations %v", b.Annotations)
	}
	before := m.disks()
	c.change(func(h *metal3.HostClaim) { h.Spec.Image = os.spec() })
	c.change(func(h *metal3.HostClaim) { delete(h.Annotations, metal3.PausedAnnotation) })
	m.awaitProvisioned(os)
	if got := m.disks(); len(got) <= len(before) {
		t.Errorf("disks %v", got)
	}
	if _, paused := m.read().Annotations[metal3.PausedAnnotation]; paused {
		t.Error("the host is paused still")
	}
	c.delete()
	c.awaitGone()
}

// Metal3 v0.13 gives hosts to claims and declares nothing at them; what a person
// declared there by hand is not undone.
func TestHostClaimTakenOver(t *testing.T) {
	r := newRack(t, 1)
	os := r.image("os.raw", small)
	m := r.machine(0)
	team := r.tenant("team", nil)
	m.enrol(func(b *metal3.BareMetalHost) {
		b.Spec.Image = os.spec()
		b.Spec.ConsumerRef = &corev1.ObjectReference{APIVersion: "metal3.io/v1alpha1", Kind: "HostClaim", Namespace: team.ns, Name: "c1"}
	})
	m.awaitProvisioned(os)
	before, power := m.disks(), m.log("power")
	c := team.claim("c1")
	if k := c.awaitCondition(metal3.SynchronizedCondition, "False BareMetalHostNotSynchronized"); !strings.Contains(k.Message, "another image") {
		t.Errorf("message %q", k.Message)
	}
	c.change(func(h *metal3.HostClaim) { h.Spec.Image = os.spec() })
	c.awaitCondition(metal3.ReadyCondition, "True InfoReported")
	m.unchanged(before)
	if got := m.log("power"); !slices.Equal(got, power) {
		t.Errorf("its power was switched: %v", got[len(power):])
	}
	c.delete()
	c.awaitGone()
}

// Claims and Cluster API's provider, who writes consumerRef without looking what it
// has become, go for the same hosts at the same moment: no host ever passes from
// one to another.
func TestHostClaimsCompete(t *testing.T) {
	const hosts, claims, machines = 5, 8, 6
	r := newRack(t, hosts)
	cfg, err := clientcmd.BuildConfigFromFlags("", shared.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	scheme, err := serve.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	api, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	var ms []*machine
	for i := range hosts {
		ms = append(ms, r.machine(i))
		ms[i].enrol()
	}
	for _, m := range ms {
		m.awaitState(metal3.StateAvailable)
	}
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	var list metal3.BareMetalHostList
	if err := api.List(ctx, &list, client.InNamespace(r.ns)); err != nil {
		t.Fatal(err)
	}
	events, err := api.Watch(ctx, &list, client.InNamespace(r.ns), &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.ResourceVersion}})
	if err != nil {
		t.Fatal(err)
	}
	var watching sync.WaitGroup
	watching.Go(func() {
		held := map[string]string{}
		for e := range events.ResultChan() {
			b, ok := e.Object.(*metal3.BareMetalHost)
			if !ok {
				continue
			}
			now := holder(b)
			if was := held[b.Name]; was != "" && now != "" && was != now {
				t.Errorf("%s passed from %s to %s", b.Name, was, now)
			}
			held[b.Name] = now
		}
	})

	team := r.tenant("team", nil)
	var cs []*claim
	for i := range claims {
		cs = append(cs, team.claim(fmt.Sprintf("c%d", i)))
	}
	won := make([]string, machines) // host of each of the provider's machines
	var refused int
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range machines {
		wg.Go(func() {
			<-start
			// Every one goes for all that it saw to be free when it began.
			for _, b := range list.Items {
				before := b.DeepCopy()
				me := corev1.ObjectReference{APIVersion: "infrastructure.cluster.x-k8s.io/v1beta1", Kind: "Metal3Machine", Namespace: r.ns, Name: fmt.Sprintf("m%d", i)}
				now := &metal3.BareMetalHost{}
				if err := api.Get(ctx, client.ObjectKeyFromObject(before), now); err != nil {
					t.Error(err)
					return
				}
				if r := now.Spec.ConsumerRef; r != nil && r.Kind == me.Kind {
					continue // the provider's own mutex keeps its machines apart
				}
				mu.Lock()
				if slices.Contains(won, b.Name) {
					mu.Unlock()
					continue
				}
				b.Spec.ConsumerRef = &me
				err := api.Patch(ctx, &b, client.MergeFrom(before))
				if err == nil {
					won[i] = b.Name
				} else {
					refused++
				}
				mu.Unlock()
				if err == nil {
					return
				}
				if !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "held by HostClaim") {
					t.Errorf("refused with %v", err)
				}
			}
		})
	}
	r.admit("team", metal3.HostClaimNamespaces{Names: []string{team.ns}})
	close(start)
	wg.Wait()
	for _, m := range ms {
		m.await("taken", func() bool { return holder(m.read()) != "" })
	}
	byClaim := map[string]int{}
	for _, m := range ms {
		h := holder(m.read())
		if strings.HasPrefix(h, "HostClaim") {
			byClaim[h]++
		} else if i := slices.Index(won, m.host); i < 0 || h != fmt.Sprintf("Metal3Machine %s/m%d", r.ns, i) {
			t.Errorf("%s is held by %s, of whom nobody knows", m.host, h)
		}
	}
	for h, n := range byClaim {
		if n != 1 {
			t.Errorf("%s has %d hosts", h, n)
		}
	}
	machinesWon := len(slices.DeleteFunc(won, func(s string) bool { return s == "" }))
	if machinesWon+len(byClaim) != hosts {
		t.Errorf("%d machines and %d claims have the %d hosts", machinesWon, len(byClaim), hosts)
	}
	t.Logf("%d machines and %d claims have the %d hosts; the provider was refused %d times", machinesWon, len(byClaim), hosts, refused)
	waiting := 0
	for _, c := range cs {
		k := c.await("told", func(h *metal3.HostClaim) bool {
			return apimeta.FindStatusCondition(h.Status.Conditions, metal3.AssociatedCondition) != nil
		})
		if k.Status.BareMetalHost == nil {
			waiting++
		}
	}
	for _, c := range cs { // what one gives back, the next one takes
		c.delete()
	}
	for _, c := range cs {
		c.awaitGone()
	}
	if waiting != claims-len(byClaim) {
		t.Errorf("%d claims wait, want %d", waiting, claims-len(byClaim))
	}
	cancel()
	watching.Wait()
}

// The provider that read a host before it was claimed is refused afterwards.
func TestHostClaimHoldsAgainstStaleWriter(t *testing.T) {
	r := newRack(t, 1)
	m := r.machine(0)
	m.enrol()
	stale := m.awaitState(metal3.StateAvailable)
	team := r.tenant("team", nil)
	r.admit("team", metal3.HostClaimNamespaces{Names: []string{team.ns}})
	c := team.claim("c1")
	c.awaitCondition(metal3.AssociatedCondition, "True BareMetalHostAssociated")
	before := stale.DeepCopy()
	stale.Spec.ConsumerRef = &corev1.ObjectReference{APIVersion: "infrastructure.cluster.x-k8s.io/v1beta1", Kind: "Metal3Machine", Namespace: r.ns, Name: "m"}
	err := shared.Patch(r.ctx, stale, client.MergeFrom(before))
	if err == nil || !strings.Contains(err.Error(), "held by HostClaim "+team.ns+"/c1") {
		t.Errorf("a stale writer is told %v", err)
	}
	if got := holder(m.read()); got != "HostClaim "+team.ns+"/c1" {
		t.Errorf("held by %q", got)
	}
	c.delete()
	c.awaitGone()
}
