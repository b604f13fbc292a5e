package controller

import (
	"context"
	"encoding/json"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/pkg/record"
)

// leaveAlone keeps off a paused host: nothing is written, not even at a companion,
// and nothing is begun. What was under way ends by itself; what came of it is
// remembered for when the host goes on.
func (c *Hosts) leaveAlone(k types.NamespacedName, l *live) {
	c.polls.Forget(k)
	if l.loaded {
		w := l.h.Wants
		w.Paused = true
		c.step(l, w)
	}
}

// restoreStatus gives a host that was moved here its status back, and removes the
// annotation that carried it. While it cannot be read the host waits: taken for a
// new one, its machine would be inspected, whatever it runs.
func (c *Hosts) restoreStatus(ctx context.Context, l *live) (wait bool, err error) {
	b := l.objs.BMH
	text, carried := b.Annotations[metal3.StatusAnnotation]
	if !carried {
		return false, nil
	}
	if text == "" || !b.Status.LastUpdated.IsZero() {
		return false, c.unannotate(ctx, l, metal3.StatusAnnotation)
	}
	hd := &metal3.HardwareData{}
	if err := c.Reader.Get(ctx, client.ObjectKeyFromObject(b), hd); client.IgnoreNotFound(err) != nil {
		return true, err
	}
	patch, err := record.Restored(text, hd.Spec.HardwareDetails, c.Now().UTC().Format(time.RFC3339))
	restored := b.DeepCopy()
	if err == nil {
		patch, err = fenced(patch, b.ResourceVersion)
	}
	if err == nil {
		err = c.Client.Status().Patch(ctx, restored, client.RawPatch(types.MergePatchType, patch), record.FieldOwner)
		if err != nil && !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) {
			return true, err
		}
	}
	if err != nil {
		c.unreadable(l, "status-annotation: the host is left alone: its status cannot be restored from "+metal3.StatusAnnotation+": "+err.Error())
		return true, nil
	}
	l.objs.BMH = restored
	c.Log.Info("status restored", "host", client.ObjectKeyFromObject(b).String(), "state", string(restored.Status.Provisioning.State))
	return false, c.unannotate(ctx, l, metal3.StatusAnnotation)
}

// fenced makes a merge patch count for one version of the object.
func fenced(patch []byte, version string) ([]byte, error) {
	var p map[string]json.RawMessage
	if err := json.Unmarshal(patch, &p); err != nil {
		return nil, err
	}
	meta, err := json.Marshal(map[string]string{"resourceVersion": version})
	if err != nil {
		return nil, err
	}
	p["metadata"] = meta
	return json.Marshal(p)
}
