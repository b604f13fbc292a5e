package serve

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/node"
	"github.com/ingot-metal/ingot/pkg/rest"
)

// restDoor returns what answers the Ironic-compatible door, from memory that the
// manager's watches keep.
func (s *service) restDoor(ctx context.Context, mgr ctrl.Manager) (http.Handler, error) {
	store := node.NewStore(mgr.GetClient(), mgr.GetAPIReader(), "default", time.Now, uuid.NewString)
	for _, kind := range []client.Object{&metal3.BareMetalHost{}, &v1alpha1.HostRecord{}, &v1alpha1.NodeAttributes{}, &v1alpha1.NodeResource{}} {
		informer, err := mgr.GetCache().GetInformer(ctx, kind)
		if err != nil {
			return nil, fmt.Errorf("watching %T for the REST door: %w", kind, err)
		}
		if _, err := informer.AddEventHandler(watched(store)); err != nil {
			return nil, fmt.Errorf("watching %T for the REST door: %w", kind, err)
		}
	}
	return rest.New(rest.Options{Nodes: store, Log: s.Log, Now: time.Now}), nil
}

// watched hands a store what a watch sees.
func watched(store *node.Store) toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { observe(store, o) },
		UpdateFunc: func(_, o any) { observe(store, o) },
		DeleteFunc: func(o any) {
			if last, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = last.Obj
			}
			if o, ok := o.(client.Object); ok {
				store.Forget(o)
			}
		},
	}
}

func observe(store *node.Store, o any) {
	if o, ok := o.(client.Object); ok {
		store.Observe(o)
	}
}
