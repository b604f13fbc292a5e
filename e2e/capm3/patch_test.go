package capm3

import (
	"context"
	"errors"
	"reflect"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// patchHelper writes a host as Cluster API's does: a JSON merge patch from the
// object as it was read to the object as it is, metadata and spec alone, without
// a resourceVersion (cluster-api:util/patch/patch.go NewHelper, Patch, patch).
// A BareMetalHost has no conditions of Cluster API's, so that there is no patch
// of those.
type patchHelper struct {
	client client.Client
	before *metal3.BareMetalHost
}

func newPatchHelper(c client.Client, host *metal3.BareMetalHost) *patchHelper {
	return &patchHelper{client: c, before: host.DeepCopy()}
}

var errStatus = errors.New("CAPM3 would write a host's status, which it never does")

func (h *patchHelper) patch(ctx context.Context, host *metal3.BareMetalHost) error {
	if !reflect.DeepEqual(h.before.Status, host.Status) {
		return errStatus
	}
	before, err := withoutStatus(h.before)
	if err != nil {
		return err
	}
	after, err := withoutStatus(host)
	if err != nil {
		return err
	}
	data, err := client.MergeFrom(before).Data(after)
	if err != nil || string(data) == "{}" {
		return err
	}
	return h.client.Patch(ctx, host.DeepCopy(), client.RawPatch(types.MergePatchType, data))
}

func withoutStatus(host *metal3.BareMetalHost) (*unstructured.Unstructured, error) {
	o, err := runtime.DefaultUnstructuredConverter.ToUnstructured(host)
	if err != nil {
		return nil, err
	}
	delete(o, "status")
	u := &unstructured.Unstructured{Object: o}
	u.SetGroupVersionKind(metal3.GroupVersion.WithKind("BareMetalHost"))
	return u, nil
}
