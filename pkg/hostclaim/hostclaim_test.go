package hostclaim

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

func TestAdmits(t *testing.T) {
	type ns = metal3.HostClaimNamespaces
	for _, tc := range []struct {
		name string
		want *ns
		ok   bool
		err  string
	}{
		{name: "says nothing at all"},
		{name: "no constraint", want: &ns{}, ok: true},
		{name: "by name", want: &ns{Names: []string{"a", "team-a"}}, ok: true},
		{name: "by another name", want: &ns{Names: []string{"team-b"}}},
		{name: "by no name", want: &ns{Names: []string{}}},
		{name: "part of the name", want: &ns{NameMatches: "eam-[ab]"}, ok: true},
		{name: "the whole name", want: &ns{NameMatches: "^team$"}},
		{name: "no expression", want: &ns{NameMatches: "("}, err: "rack/p"},
		{name: "longer than anybody needs", want: &ns{NameMatches: strings.Repeat("a", maxPattern+1)}, err: "more than"},
		{name: "by label", want: &ns{HasLabels: []metal3.NameValuePair{{Name: "tier"}}}, ok: true},
		{name: "by label and value", want: &ns{HasLabels: []metal3.NameValuePair{{Name: "tier", Value: "gold"}}}, ok: true},
		{name: "another value", want: &ns{HasLabels: []metal3.NameValuePair{{Name: "tier", Value: "tin"}}}},
		{name: "all labels", want: &ns{HasLabels: []metal3.NameValuePair{{Name: "tier"}, {Name: "site"}}}},
		{name: "all of it", want: &ns{Names: []string{"team-a"}, NameMatches: "^team", HasLabels: []metal3.NameValuePair{{Name: "site"}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := &metal3.HostDeployPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "p"}}
			p.Spec.HostClaimNamespaces = tc.want
			ok, err := Admits(p, "team-a", func() (map[string]string, error) { return map[string]string{"tier": "gold"}, nil })
			if ok != tc.ok || (err != nil) != (tc.err != "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("got %v, %v", ok, err)
			}
		})
	}
	p := &metal3.HostDeployPolicy{}
	p.Spec.HostClaimNamespaces = &ns{HasLabels: []metal3.NameValuePair{{Name: "x"}}}
	if ok, err := Admits(p, "a", func() (map[string]string, error) { return nil, errors.New("away") }); ok || err == nil {
		t.Errorf("labels that cannot be read: %v, %v", ok, err)
	}
}

func host(change ...func(*metal3.BareMetalHost)) *metal3.BareMetalHost {
	b := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "w1"}}
	b.Status.Provisioning.State, b.Status.OperationalStatus = metal3.StateAvailable, metal3.OperationalStatusOK
	for _, f := range change {
		f(b)
	}
	return b
}

func annotated(key, value string) func(*metal3.BareMetalHost) {
	return func(b *metal3.BareMetalHost) { metav1.SetMetaDataAnnotation(&b.ObjectMeta, key, value) }
}

func TestFree(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*metal3.BareMetalHost)
		want   bool
	}{
		{name: "available", change: func(*metal3.BareMetalHost) {}, want: true},
		{name: "ready, as it was called", change: func(b *metal3.BareMetalHost) { b.Status.Provisioning.State = metal3.StateReady }, want: true},
		{name: "provisioned", change: func(b *metal3.BareMetalHost) { b.Status.Provisioning.State = metal3.StateProvisioned }},
		{name: "taken", change: func(b *metal3.BareMetalHost) { b.Spec.ConsumerRef = &corev1.ObjectReference{} }},
		{name: "being deleted", change: func(b *metal3.BareMetalHost) { b.DeletionTimestamp = &metav1.Time{Time: metav1.Now().Time} }},
		{name: "in trouble", change: func(b *metal3.BareMetalHost) { b.Status.ErrorMessage = "bmc-auth" }},
		{name: "in trouble, silently", change: func(b *metal3.BareMetalHost) { b.Status.OperationalStatus = metal3.OperationalStatusError }},
		{name: "given an image by hand", change: func(b *metal3.BareMetalHost) { b.Spec.Image = &metal3.Image{} }},
		{name: "given a way to deploy by hand", change: func(b *metal3.BareMetalHost) { b.Spec.CustomDeploy = &metal3.CustomDeploy{} }},
		{name: "to be adopted", change: func(b *metal3.BareMetalHost) { b.Spec.ExternallyProvisioned = true }},
		{name: "paused", change: annotated(metal3.PausedAnnotation, "")},
		{name: "detached", change: annotated(metal3.DetachedAnnotation, "")},
		{name: "unhealthy", change: annotated("capi.metal3.io/unhealthy", "")},
		{name: "unhealthy, newly named", change: annotated("capm3.metal3.io/unhealthy", "")},
		{name: "kept for a successor", change: func(b *metal3.BareMetalHost) { b.Labels = map[string]string{nodeReuse: "md-x"} }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Free(host(tc.change)); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestSelector(t *testing.T) {
	type req = metal3.HostSelectorRequirement
	for _, tc := range []struct {
		name  string
		want  metal3.HostSelector
		fits  string // names of the hosts, one letter each
		error string
	}{
		{name: "nothing asked", fits: "ab"},
		{name: "label", want: metal3.HostSelector{MatchLabels: map[string]string{"size": "big"}}, fits: "a"},
		{name: "in", want: metal3.HostSelector{MatchExpressions: []req{{Key: "size", Operator: "In", Values: []string{"big", "small"}}}}, fits: "ab"},
		{name: "not in", want: metal3.HostSelector{MatchExpressions: []req{{Key: "size", Operator: "NotIn", Values: []string{"big"}}}}, fits: "b"},
		{name: "exists", want: metal3.HostSelector{MatchExpressions: []req{{Key: "gpu", Operator: "Exists"}}}, fits: "b"},
		{name: "does not exist", want: metal3.HostSelector{MatchExpressions: []req{{Key: "gpu", Operator: "DoesNotExist"}}}, fits: "a"},
		{name: "not, as labels have it", want: metal3.HostSelector{MatchExpressions: []req{{Key: "gpu", Operator: selection.DoesNotExist}}}, fits: "a"},
		{name: "no operator", want: metal3.HostSelector{MatchExpressions: []req{{Key: "gpu", Operator: "like"}}}, error: "matchExpressions[0]"},
		{name: "no label", want: metal3.HostSelector{MatchLabels: map[string]string{"!": "x"}}, error: "matchLabels"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &metal3.HostClaim{}
			c.Spec.HostSelector = tc.want
			s, err := Selector(c)
			if tc.error != "" {
				if err == nil || !strings.Contains(err.Error(), tc.error) {
					t.Errorf("error %v", err)
				}
				return
			}
			fits := ""
			for _, h := range []struct {
				name string
				set  labels.Set
			}{{"a", labels.Set{"size": "big"}}, {"b", labels.Set{"size": "small", "gpu": ""}}} {
				if s.Matches(h.set) {
					fits += h.name
				}
			}
			if err != nil || fits != tc.fits {
				t.Errorf("fits %q, %v", fits, err)
			}
		})
	}
}

func TestChoose(t *testing.T) {
	var hosts []metal3.BareMetalHost
	for _, zone := range []string{"z1", "z2", "z2", ""} {
		hosts = append(hosts, *host(func(b *metal3.BareMetalHost) { b.Labels = map[string]string{failureDomain: zone} }))
	}
	for _, tc := range []struct {
		name, zone string
		hosts      []metal3.BareMetalHost
		want       []int
	}{
		{name: "any", hosts: hosts, want: []int{0, 1, 2, 3}},
		{name: "the domain's", zone: "z2", hosts: hosts, want: []int{1, 2}},
		{name: "of a domain without hosts", zone: "z9", hosts: hosts, want: []int{0, 1, 2, 3}},
		{name: "none", zone: "z2", want: []int{-1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &metal3.HostClaim{}
			c.Spec.FailureDomain = tc.zone
			got := map[int]bool{}
			for k := range 8 {
				got[Choose(c, tc.hosts, func(n int) int { return k % n })] = true
			}
			if d := cmp.Diff(tc.want, slices.Sorted(maps.Keys(got))); d != "" {
				t.Error(d)
			}
		})
	}
}

func claim() *metal3.HostClaim {
	c := &metal3.HostClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "c1"}}
	c.Spec.PoweredOn, c.Spec.Image = true, &metal3.Image{URL: "http://x/os", Checksum: "00"}
	return c
}

func TestDeclareAndClear(t *testing.T) {
	c := claim()
	c.Annotations = map[string]string{reboot: "now", reboot + "/fsck": "hold", reboot + "/" + strings.Repeat("x", 63): "long"}
	b := host(annotated(reboot+"/admin", "theirs"))
	b.Spec.ConsumerRef, b.Spec.AutomatedCleaningMode = Reference(c), metal3.CleaningModeDisabled
	Declare(c, b)
	if !b.Spec.Online || b.Spec.Image.URL != "http://x/os" || !Holds(c, b) {
		t.Errorf("declared %+v", b.Spec)
	}
	keys := func() (out []string) {
		for k := range b.Annotations {
			name := k[strings.Index(k, "/")+1:]
			if len(name) > maxSuffix {
				t.Errorf("the API refuses %q", k)
			}
			out = append(out, k)
		}
		slices.Sort(out)
		return out
	}
	if got := keys(); len(got) != 5 || !slices.Contains(got, reboot+"/hostclaim.fsck") || b.Annotations[reboot] != "now" {
		t.Errorf("annotations %v", got)
	}
	c.Annotations = nil
	Declare(c, b)
	if d := cmp.Diff([]string{declaredBy, reboot, reboot + "/admin"}, keys()); d != "" {
		t.Errorf("holds that are over (-want +got):\n%s", d)
	}

	// What somebody else changes is the claim's to say, once it has said something.
	c.Spec.Image = nil
	if what := Foreign(c, b); what != "" {
		t.Errorf("its own %s is foreign", what)
	}
	Declare(c, b)
	if b.Spec.Image != nil {
		t.Error("an image that is taken back stays")
	}
	b.Annotations[metal3.PausedAnnotation] = PausedBy
	Clear(b)
	if b.Spec.Online || b.Spec.UserData != nil || b.Spec.AutomatedCleaningMode != metal3.CleaningModeDisabled {
		t.Errorf("left behind: %+v", b.Spec)
	}
	if d := cmp.Diff([]string{reboot, reboot + "/admin"}, keys()); d != "" {
		t.Errorf("annotations (-want +got):\n%s", d)
	}
	b.Spec.DisablePowerOff = true
	if Clear(b); !b.Spec.Online {
		t.Error("a host that is never switched off is")
	}
}

// A host that Metal3 gave to a claim and a person declared an image at keeps it.
func TestForeign(t *testing.T) {
	c := claim()
	for _, tc := range []struct {
		name   string
		change func(*metal3.BareMetalHost)
		want   string
	}{
		{name: "nothing there", change: func(*metal3.BareMetalHost) {}},
		{name: "the same", change: func(b *metal3.BareMetalHost) { b.Spec.Image = c.Spec.Image.DeepCopy() }},
		{name: "another image", change: func(b *metal3.BareMetalHost) { b.Spec.Image = &metal3.Image{URL: "http://y"} }, want: "image"},
		{name: "another way", change: func(b *metal3.BareMetalHost) { b.Spec.CustomDeploy = &metal3.CustomDeploy{Method: "x"} }, want: "customDeploy"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Foreign(c, host(tc.change)); got != tc.want {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestCleared(t *testing.T) {
	for _, tc := range []struct {
		state metal3.ProvisioningState
		on    bool
		done  bool
	}{
		{state: metal3.StateAvailable, on: true, done: true},
		{state: metal3.StateInspecting, done: true},
		{state: metal3.StateRegistering, done: true},
		{state: metal3.StateExternallyProvisioned, done: true},
		{state: metal3.StateExternallyProvisioned, on: true},
		{state: metal3.StateProvisioned},
		{state: metal3.StateDeprovisioning},
		{state: metal3.StatePreparing},
	} {
		b := host(func(b *metal3.BareMetalHost) { b.Status.Provisioning.State, b.Status.PoweredOn = tc.state, tc.on })
		if got := Cleared(b); (got == "") != tc.done {
			t.Errorf("%s: %q", tc.state, got)
		}
	}
}

func TestPause(t *testing.T) {
	b := host(func(b *metal3.BareMetalHost) { b.Status.HardwareDetails = &metal3.HardwareDetails{Hostname: "long"} })
	if err := Pause(b); err != nil {
		t.Fatal(err)
	}
	status := b.Annotations[metal3.StatusAnnotation]
	if b.Annotations[metal3.PausedAnnotation] != PausedBy || !strings.Contains(status, `"state":"available"`) || strings.Contains(status, "long") {
		t.Errorf("annotations %v", b.Annotations)
	}
	if Resume(b); len(b.Annotations) != 1 {
		t.Errorf("annotations %v", b.Annotations)
	}
	other := host(annotated(metal3.PausedAnnotation, "metal3.io/capm3"))
	if err := Pause(other); err != nil || len(other.Annotations) != 1 {
		t.Errorf("%v, annotations %v", err, other.Annotations)
	}
	if Resume(other); len(other.Annotations) != 1 {
		t.Error("another's pause was ended")
	}
}

func TestSummary(t *testing.T) {
	c := claim()
	ready := func() string {
		SetReady(c)
		k := Condition(c, metal3.ReadyCondition)
		return string(k.Status) + " " + k.Reason
	}
	if got := ready(); got != "Unknown UnknownReported" {
		t.Error(got)
	}
	Set(c, metal3.AssociatedCondition, false, metal3.NoBareMetalHostReason, "none is free")
	if got := ready(); got != "False IssuesReported" || !strings.Contains(Condition(c, metal3.ReadyCondition).Message, "none is free") {
		t.Error(got)
	}
	Set(c, metal3.AssociatedCondition, true, metal3.BareMetalHostAssociatedReason, "")
	Set(c, metal3.SynchronizedCondition, true, metal3.ConfigurationSyncedReason, "")
	b := host()
	b.Status.Conditions = []metav1.Condition{{Type: metal3.ProvisionedCondition, Status: metav1.ConditionTrue, Reason: "Provisioned", Message: "at redfish://10.0.0.3"}}
	Mirror(c, b)
	if got := ready(); got != "True InfoReported" {
		t.Error(got)
	}
	if k := Condition(c, metal3.ProvisionedCondition); k.Reason != "Provisioned" || k.Message != "" {
		t.Errorf("mirrored %+v", k)
	}
	if k := Condition(c, metal3.AvailableForProvisioningCondition); k.Status != metav1.ConditionUnknown {
		t.Errorf("what the host does not say: %+v", k)
	}
	if Lose(c); c.Status.BareMetalHost != nil || Condition(c, metal3.ProvisionedCondition) != nil {
		t.Errorf("status of a claim that lost its host: %+v", c.Status)
	}
}
