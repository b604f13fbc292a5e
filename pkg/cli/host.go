package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/explain"
)

// host is a BareMetalHost as it is shown and decided about: raw, so that fields
// which are not known here survive in the output, and typed.
type host struct {
	raw    *unstructured.Unstructured
	bmh    *metal3.BareMetalHost
	record *v1alpha1.HostRecord // nil: none
}

func hostKind() schema.GroupVersionKind { return metal3.GroupVersion.WithKind("BareMetalHost") }

func newHost(raw *unstructured.Unstructured) (host, error) {
	bmh := &metal3.BareMetalHost{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw.Object, bmh); err != nil {
		return host{}, fmt.Errorf("read BareMetalHost %s: %w", raw.GetName(), err)
	}
	return host{raw: raw, bmh: bmh}, nil
}

// host reads one host with its record. The two are written one after the other:
// it reads again while the host changes under its eyes.
func (c *api) host(ctx context.Context, name string) (host, error) {
	h, err := c.read(ctx, name)
	for range 3 {
		if err != nil {
			return h, err
		}
		var again host
		if again, err = c.read(ctx, name); err != nil || again.same(h) {
			return again, err
		}
		h = again
	}
	return h, err
}

// same reports whether nothing was written between two reads.
func (h host) same(o host) bool {
	if h.bmh.ResourceVersion != o.bmh.ResourceVersion || (h.record == nil) != (o.record == nil) {
		return false
	}
	return h.record == nil || h.record.ResourceVersion == o.record.ResourceVersion
}

func (c *api) read(ctx context.Context, name string) (host, error) {
	raw := &unstructured.Unstructured{}
	raw.SetGroupVersionKind(hostKind())
	if err := c.Get(ctx, c.key(name), raw); err != nil {
		if apierrors.IsNotFound(err) {
			return host{}, fmt.Errorf("there is no host %s in namespace %s: `ingot hosts` lists them, `ingot enroll` adds one", name, c.namespace)
		}
		return host{}, err
	}
	h, err := newHost(raw)
	if err != nil {
		return h, err
	}
	record := &v1alpha1.HostRecord{}
	switch err := c.Get(ctx, c.key(name), record); {
	case err == nil:
		h.record = record
	case !absent(err):
		return h, err
	}
	return h, nil
}

// hosts reads several hosts; the first that is not there is the error.
func (c *api) hosts(ctx context.Context, names []string) ([]host, error) {
	hosts := make([]host, 0, len(names))
	seen := map[string]bool{}
	for _, name := range names {
		if seen[name] {
			continue
		}
		seen[name] = true
		h, err := c.host(ctx, name)
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, h)
	}
	return hosts, nil
}

func (c *api) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: c.namespace, Name: name}
}

// absent is an object that is not there, or a kind that this API does not have.
func absent(err error) bool { return apierrors.IsNotFound(err) || meta.IsNoMatchError(err) }

func (h host) name() string { return h.bmh.Name }

func (h host) state() metal3.ProvisioningState { return h.bmh.Status.Provisioning.State }

// consumer is who holds the host, or "".
func (h host) consumer() string {
	ref := h.bmh.Spec.ConsumerRef
	if ref == nil {
		return ""
	}
	return strings.TrimSpace(ref.Kind + " " + ref.Name)
}

// power is on, off, or "" before the BMC was asked.
func (h host) power() string {
	switch h.state() {
	case metal3.StateNone, metal3.StateUnmanaged, metal3.StateRegistering:
		return ""
	}
	if h.bmh.Status.PoweredOn {
		return "on"
	}
	return "off"
}

// paused is who paused the host, "yes" if nobody says, or "".
func (h host) paused() string {
	by, is := h.bmh.Annotations[metal3.PausedAnnotation]
	if is && by == "" {
		return "yes"
	}
	return by
}

func (h host) detached() bool {
	_, is := h.bmh.Annotations[metal3.DetachedAnnotation]
	return is || h.bmh.Status.OperationalStatus == metal3.OperationalStatusDetached
}

// since is when the host entered its state, as well as Metal3's fields tell.
func (h host) since() time.Time {
	s := h.bmh.Status
	history := s.OperationHistory
	switch h.state() {
	case metal3.StateNone, metal3.StateUnmanaged:
		return h.bmh.CreationTimestamp.Time
	case metal3.StateRegistering:
		return history.Register.Start.Time
	case metal3.StateInspecting:
		return history.Inspect.Start.Time
	case metal3.StatePreparing:
		return latest(history.Inspect.End, history.Register.End)
	case metal3.StateProvisioning:
		return history.Provision.Start.Time
	case metal3.StateDeprovisioning:
		return history.Deprovision.Start.Time
	}
	at := latest(history.Register.End, history.Inspect.End, history.Provision.End, history.Deprovision.End)
	if c := meta.FindStatusCondition(s.Conditions, metal3.ProgressingCondition); c != nil && c.Status == metav1.ConditionFalse && c.LastTransitionTime.After(at) {
		at = c.LastTransitionTime.Time
	}
	return at
}

func latest(times ...metav1.Time) time.Time {
	var at time.Time
	for _, t := range times {
		if t.After(at) {
			at = t.Time
		}
	}
	return at
}

// problem is the code of what is wrong, Metal3's error type if there is no code,
// or "".
func (h host) problem() string {
	if h.record != nil && h.record.Status.Problem != nil {
		return h.record.Status.Problem.Code
	}
	if code, ok := explain.ParseCode(h.bmh.Status.ErrorMessage); ok {
		return code
	}
	return string(h.bmh.Status.ErrorType)
}

// input is what explain is told about the host.
func (h host) input(now time.Time, timeline []v1alpha1.TimelineEntry, p *explain.Progress) explain.Input {
	s, spec := h.bmh.Status, h.bmh.Spec
	in := explain.Input{
		Host: h.name(), Namespace: h.bmh.Namespace, State: string(h.state()), Since: h.since(), Now: now,
		ErrorType: string(s.ErrorType), ErrorMessage: s.ErrorMessage,
		Power: h.power(), Online: spec.Online, Paused: h.paused(), Detached: h.detached(), Consumer: h.consumer(),
		Deleting: h.bmh.DeletionTimestamp != nil, NoBMC: spec.BMC.Address == "" && spec.BMC.CredentialsName == "",
	}
	if spec.Image != nil {
		in.Image = spec.Image.URL
	}
	if d := spec.CustomDeploy; d != nil && in.Image == "" {
		in.Image = d.Method
	}
	if code, ok := explain.ParseCode(s.ErrorMessage); ok {
		in.Problem = &explain.Occurrence{Problem: explain.Problem{Code: code, Seen: []string{s.ErrorMessage}}}
	}
	if h.bmh.Annotations[metal3.StatusAnnotation] != "" && s.LastUpdated.IsZero() {
		in.Problem = &explain.Occurrence{Problem: explain.Problem{
			Code: "status-annotation", Seen: []string{"it is there, and the host has no status yet: the event InvalidAnnotationValue says what is wrong"},
		}}
	}
	for _, e := range timeline {
		if e.Took == nil {
			continue
		}
		p := explain.Phase{Name: e.Phase, Took: e.Took.Duration, Aborted: e.Outcome == v1alpha1.OutcomeAborted}
		if e.Outcome == v1alpha1.OutcomeFailed {
			p.Failed = e.Detail
		}
		in.Earlier = append(in.Earlier, p)
	}
	if h.record == nil {
		return in
	}
	status := h.record.Status
	in.WaitsFor = status.WaitsFor
	if n := status.Node; n != nil && n.Verb == "" {
		in.Hold = n.Hold
	}
	if op := status.Operation; op != nil {
		in.Operation = &explain.Operation{Kind: op.Kind, Phase: op.Phase, Started: at(op.PhaseStarted), Progress: p}
		if in.Operation.Started.IsZero() {
			in.Operation.Started = at(op.Started)
		}
	}
	if p := status.Problem; p != nil {
		in.Problem = &explain.Occurrence{
			Problem: explain.Problem{Code: p.Code, Seen: p.Seen, Facts: p.Facts},
			Since:   at(p.Since), NextTry: at(p.NextTry), Attempts: int(p.Attempts),
		}
	}
	return in
}

func at(t *metav1.MicroTime) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}
