// Package crd installs ingot's custom resources into an API, be it the embedded
// one or a cluster's, and returns only once objects of those kinds can be made.
package crd

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	manifests "github.com/ingot-metal/ingot/api/crd"
)

const (
	// fieldManager owns what we apply.
	fieldManager = "ingot"
	// establishTimeout is generous: an API server with several masters waits
	// five seconds before it serves a new kind.
	establishTimeout = 30 * time.Second
	pollInterval     = 50 * time.Millisecond
)

// Install applies every manifest of api/crd server-side, which writes nothing
// where nothing changed, and waits until each is served.
func Install(ctx context.Context, cfg *rest.Config) error {
	ctx, cancel := context.WithTimeout(ctx, establishTimeout)
	defer cancel()
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("install custom resources: %w", err)
	}
	crds := client.Resource(schema.GroupVersionResource{
		Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions",
	})
	all, err := manifests.Manifests()
	if err != nil {
		return fmt.Errorf("install custom resources: %w", err)
	}
	names := make([]string, 0, len(all))
	for _, m := range all {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(m.YAML, &o.Object); err != nil {
			return fmt.Errorf("install custom resources: %s: %w", m.File, err)
		}
		_, err := crds.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
		if err != nil {
			return fmt.Errorf("install custom resource %s: %w", o.GetName(), err)
		}
		names = append(names, o.GetName())
	}
	for _, name := range names {
		if err := waitEstablished(ctx, crds, name); err != nil {
			return fmt.Errorf("install custom resource %s: %w", name, err)
		}
	}
	return nil
}

// stuckAfter is how long a resource may be accepted without being served before
// the API server is asked to look again.
const stuckAfter = 2 * time.Second

func waitEstablished(ctx context.Context, crds dynamic.ResourceInterface, name string) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	nudge := time.After(stuckAfter)
	why := "not seen yet"
	for {
		o, err := crds.Get(ctx, name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		if err == nil {
			var done bool
			if done, why = established(o); done {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not served in time (%s): %w", why, ctx.Err())
		case <-nudge:
			if err := lookAgain(ctx, crds, name); err != nil {
				return err
			}
		case <-tick.C:
		}
	}
}

// lookAgain has the API server consider a resource anew. One that was killed
// after it accepted the names and before it established the resource never gets
// there by itself: at its start it takes the resource for new, and only a change
// has it established (apiextensions' crdHandler queues it on updates). So the
// condition's message is changed, and nothing else.
func lookAgain(ctx context.Context, crds dynamic.ResourceInterface, name string) error {
	o, err := crds.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if done, _ := established(o); done {
		return nil
	}
	conditions, _, err := unstructured.NestedSlice(o.Object, "status", "conditions")
	if err != nil {
		return err
	}
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["type"] == "Established" {
			c["message"] = "accepted before the API server was restarted"
		}
	}
	if err := unstructured.SetNestedSlice(o.Object, conditions, "status", "conditions"); err != nil {
		return err
	}
	// The resource version makes this a no for whoever was established meanwhile.
	_, err = crds.UpdateStatus(ctx, o, metav1.UpdateOptions{FieldManager: fieldManager})
	if apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// established also says why not, which is a clash of names, as a rule.
func established(o *unstructured.Unstructured) (bool, string) {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	why := "no conditions yet"
	for _, c := range conditions {
		c, ok := c.(map[string]any)
		if !ok {
			continue
		}
		switch {
		case c["type"] == "Established" && c["status"] == "True":
			return true, ""
		case c["status"] == "False":
			why = fmt.Sprint(c["message"])
		}
	}
	return false, why
}
