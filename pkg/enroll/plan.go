package enroll

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// FieldManager owns the fields that a list gives.
const FieldManager = "ingot-enroll"

// parallel is how many objects are asked for at a time.
const parallel = 8

// Plan asks the API what applying the objects would do, by a dry run. What the API
// refuses is in the diff; the error is for an API that does not answer.
func Plan(ctx context.Context, c client.Client, objects []Object) (Diff, error) {
	diff := make(Diff, len(objects))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, o := range objects {
		g.Go(func() error {
			var err error
			diff[i], err = plan(gctx, c, o)
			if err != nil {
				return fmt.Errorf("%s %s: %w", o.GetKind(), o.GetName(), err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	refuseCompanions(diff)
	return diff, warnSecrets(ctx, c, diff)
}

// refuseCompanions refuses what goes with a host that is refused.
func refuseCompanions(diff Diff) {
	bad := map[client.ObjectKey]bool{}
	for _, change := range diff {
		if change.Action == Refused && change.Object.GetKind() == kindHost {
			bad[client.ObjectKeyFromObject(change.Object)] = true
		}
	}
	for i, change := range diff {
		if change.Action == Create && bad[client.ObjectKey{Namespace: change.Object.GetNamespace(), Name: change.Object.Host}] {
			diff[i].Action, diff[i].Refusal = Refused, "the host "+change.Object.Host+" that it goes with is refused"
		}
	}
}

func plan(ctx context.Context, c client.Client, o Object) (Change, error) {
	change := Change{Object: o}
	var live, after *unstructured.Unstructured
	var err error
	if o.Once {
		var there bool
		if there, err = exists(ctx, c, o); there || err != nil {
			change.Action = Unchanged
			return change, err
		}
		err = create(ctx, c, o, client.DryRunAll)
	} else {
		live, after, err = apply(ctx, c, o, client.DryRunAll)
	}
	switch refusal, refused := refusal(err); {
	case refused:
		change.Action, change.Refusal = Refused, refusal
		return change, nil
	case err != nil:
		return change, err
	case live == nil:
		change.Action, change.Fields = Create, compare(nil, o.Unstructured)
		return change, nil
	}
	change.Fields = compare(live, after)
	switch {
	case len(change.Fields) > 0:
		change.Action = Update
	default:
		change.Action = Unchanged
	}
	return change, nil
}

// Apply writes what the diff says, Secrets first and what belongs to hosts last, and
// calls done after each object. It goes on after a refusal; the error names all of
// them.
func (d Diff) Apply(ctx context.Context, c client.Client, done func(Change)) error {
	var refused []error
	for turn := range 3 {
		errs := make([]error, len(d))
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(parallel)
		for i, change := range d {
			kind := change.Object.GetKind()
			if turnOf(kind) != turn || (change.Action != Create && change.Action != Update) {
				continue
			}
			g.Go(func() error {
				var err error
				if change.Object.Once {
					err = create(gctx, c, change.Object)
				} else {
					_, _, err = apply(gctx, c, change.Object)
				}
				if text, ok := refusal(err); ok {
					errs[i] = fmt.Errorf("%s %s: %s", kind, change.Object.GetName(), text)
					return nil
				}
				if err != nil {
					return fmt.Errorf("%s %s: %w", kind, change.Object.GetName(), err)
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		for i, err := range errs {
			if err != nil {
				refused = append(refused, err)
			} else if turnOf(d[i].Object.GetKind()) == turn && (d[i].Action == Create || d[i].Action == Update) {
				done(d[i])
			}
		}
	}
	return errors.Join(refused...)
}

func turnOf(kind string) int {
	switch kind {
	case kindSecret:
		return 0
	case kindHost:
		return 1
	}
	return 2
}

func exists(ctx context.Context, c client.Client, o Object) (bool, error) {
	u := &metav1.PartialObjectMetadata{}
	u.SetGroupVersionKind(o.GroupVersionKind())
	err := c.Get(ctx, client.ObjectKeyFromObject(o), u)
	return err == nil, client.IgnoreNotFound(err)
}

// create makes what is made once. That somebody else was first is as good.
func create(ctx context.Context, c client.Client, o Object, opts ...client.CreateOption) error {
	u := o.DeepCopy()
	if o.Host != "" {
		// A dry run may come before the host; then there is nobody to go with.
		if err := own(ctx, c, o, u); err != nil && (len(opts) == 0 || !apierrors.IsNotFound(err)) {
			return err
		}
	}
	err := c.Create(ctx, u, append(opts, client.FieldOwner(cmp.Or(o.Manager, FieldManager)))...)
	return client.IgnoreAlreadyExists(err)
}

// own has an object go with its host.
func own(ctx context.Context, c client.Client, o Object, u *unstructured.Unstructured) error {
	host := &metav1.PartialObjectMetadata{}
	host.SetGroupVersionKind(schema.FromAPIVersionAndKind(hostGroup, kindHost))
	if err := c.Get(ctx, client.ObjectKey{Namespace: o.GetNamespace(), Name: o.Host}, host); err != nil {
		return err
	}
	yes := true
	u.SetOwnerReferences([]metav1.OwnerReference{{
		APIVersion: hostGroup, Kind: kindHost, Name: host.Name, UID: host.UID, Controller: &yes,
	}})
	return nil
}

// apply sends one object and returns it as it was and as it is. A host's power is
// left as it is: the list says nothing about it, yet the API demands the field.
// The resourceVersion makes sure that what was read is what is written over.
func apply(ctx context.Context, c client.Client, o Object, opts ...client.ApplyOption) (live, after *unstructured.Unstructured, err error) {
	const tries = 5
	for try := 1; ; try++ {
		live = &unstructured.Unstructured{}
		live.SetGroupVersionKind(o.GroupVersionKind())
		err = c.Get(ctx, client.ObjectKeyFromObject(o), live)
		after = o.DeepCopy()
		switch {
		case apierrors.IsNotFound(err):
			live = nil
		case err != nil:
			return nil, nil, err
		case o.GetKind() == kindHost:
			if online, found, _ := unstructured.NestedBool(live.Object, "spec", "online"); found {
				if err := unstructured.SetNestedField(after.Object, online, "spec", "online"); err != nil {
					return nil, nil, err
				}
			}
			after.SetResourceVersion(live.GetResourceVersion())
		}
		err = c.Apply(ctx, client.ApplyConfigurationFromUnstructured(after), append(opts, client.FieldOwner(cmp.Or(o.Manager, FieldManager)))...)
		if apierrors.IsConflict(err) && len(conflicts(err)) == 0 && try < tries {
			continue // somebody wrote in between
		}
		return live, after, err
	}
}

// refusal is what the API has against an object, in words for a person.
func refusal(err error) (string, bool) {
	switch {
	case apierrors.IsConflict(err):
		if fields := conflicts(err); len(fields) > 0 {
			return strings.Join(fields, "; ") + ": change it there, or take it out of the list", true
		}
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsForbidden(err), apierrors.IsNotFound(err):
		return err.Error(), true
	}
	return "", false
}

// conflicts lists the fields that belong to other managers.
func conflicts(err error) []string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return nil
	}
	var fields []string
	for _, cause := range status.Status().Details.Causes {
		if cause.Type == metav1.CauseTypeFieldManagerConflict {
			fields = append(fields, strings.TrimPrefix(cause.Field, ".")+": "+cause.Message)
		}
	}
	return fields
}

// warnSecrets notes the Secrets that hosts name and nobody has.
func warnSecrets(ctx context.Context, c client.Client, diff Diff) error {
	known := map[client.ObjectKey]bool{}
	for _, change := range diff {
		if change.Object.GetKind() == kindSecret {
			known[client.ObjectKeyFromObject(change.Object)] = true
		}
	}
	for i, change := range diff {
		name, _, _ := unstructured.NestedString(change.Object.Object, "spec", "bmc", "credentialsName")
		if change.Object.GetKind() != kindHost || name == "" {
			continue
		}
		key := client.ObjectKey{Namespace: change.Object.GetNamespace(), Name: name}
		there, asked := known[key]
		if !asked {
			secret := &metav1.PartialObjectMetadata{}
			secret.SetGroupVersionKind(secretKind())
			err := c.Get(ctx, key, secret)
			if client.IgnoreNotFound(err) != nil {
				return fmt.Errorf("read Secret %s: %w", name, err)
			}
			there = err == nil
			known[key] = there
		}
		if !there {
			diff[i].Warning = "there is no Secret " + name + " yet: the host waits for it"
		}
	}
	return nil
}
