package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// change patches one host if check still finds it fit. The patch names the
// resourceVersion that was checked, so that nobody takes the host in between.
func (c *api) change(ctx context.Context, h host, check func(host) error, patch map[string]any) error {
	const tries = 5
	for try := 1; ; try++ {
		if err := check(h); err != nil {
			return err
		}
		body, err := patchAt(h.raw.GetResourceVersion(), patch)
		if err != nil {
			return err
		}
		target := &unstructured.Unstructured{}
		target.SetGroupVersionKind(hostKind())
		target.SetName(h.name())
		target.SetNamespace(h.bmh.Namespace)
		err = c.Patch(ctx, target, client.RawPatch(types.MergePatchType, body), client.FieldOwner(fieldManager))
		if !apierrors.IsConflict(err) || try == tries {
			return err
		}
		if h, err = c.host(ctx, h.name()); err != nil {
			return err
		}
	}
}

// patchAt is a merge patch that holds for one version of an object only.
func patchAt(resourceVersion string, patch map[string]any) ([]byte, error) {
	body := maps.Clone(patch)
	meta := map[string]any{"resourceVersion": resourceVersion}
	if more, ok := patch["metadata"].(map[string]any); ok {
		maps.Copy(meta, more)
	}
	body["metadata"] = meta
	return json.Marshal(body)
}

// looked tells why ingot would not look at the host, whatever is changed.
func looked(h host) error {
	switch {
	case h.bmh.DeletionTimestamp != nil:
		return fmt.Errorf("%s is being deleted", h.name())
	case h.detached():
		return fmt.Errorf("%s is detached, so nothing would happen: first kubectl -n %s annotate bmh %s %s-", h.name(), h.bmh.Namespace, h.name(), metal3.DetachedAnnotation)
	case h.paused() != "":
		return fmt.Errorf("%s is paused, so nothing would happen: first kubectl -n %s annotate bmh %s %s-", h.name(), h.bmh.Namespace, h.name(), metal3.PausedAnnotation)
	}
	return nil
}

// managed tells whether there is a BMC that could be asked.
func managed(h host) error {
	if err := looked(h); err != nil {
		return err
	}
	if h.bmh.Spec.BMC.Address == "" || h.state() == metal3.StateUnmanaged {
		return fmt.Errorf("%s has no BMC address: give it one with ingot enroll", h.name())
	}
	return nil
}
