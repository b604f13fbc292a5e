package serve

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/google/uuid"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/node"
	"github.com/ingot-metal/ingot/pkg/rest"
)

// restDoor returns what answers the Ironic-compatible door, from memory that the
// manager's watches keep, and what is closed once they have filled it and what an
// earlier life left half done is finished.
func (s *service) restDoor(ctx context.Context, mgr ctrl.Manager, m *restMachines) (http.Handler, <-chan struct{}, error) {
	store := node.NewStore(mgr.GetClient(), mgr.GetAPIReader(), "default", time.Now, uuid.NewString)
	if name, err := os.Hostname(); err == nil {
		store.Conductor = name
	}
	var synced []toolscache.InformerSynced
	for _, kind := range []client.Object{&metal3.BareMetalHost{}, &v1alpha1.HostRecord{}, &v1alpha1.NodeAttributes{}, &v1alpha1.NodeResource{}, &corev1.Secret{}} {
		informer, err := mgr.GetCache().GetInformer(ctx, kind)
		if err != nil {
			return nil, nil, fmt.Errorf("watching %T for the REST door: %w", kind, err)
		}
		seen, err := informer.AddEventHandler(watched(store))
		if err != nil {
			return nil, nil, fmt.Errorf("watching %T for the REST door: %w", kind, err)
		}
		synced = append(synced, seen.HasSynced)
	}
	whole := make(chan struct{})
	if err := mgr.Add(replayer{store, synced, whole, s.Log}); err != nil {
		return nil, nil, err
	}
	authenticate, err := s.authenticate()
	if err != nil {
		return nil, nil, err
	}
	door := rest.New(rest.Options{Nodes: store, Machines: m, Relay: m.relay, Authenticate: authenticate, Log: s.Log, Now: time.Now})
	if err := door.Check(); err != nil {
		return nil, nil, err
	}
	return door, whole, mgr.Add(finisher{door, synced, s.Log})
}

// replayer finishes changes that were interrupted, on every replica.
type replayer struct {
	store  *node.Store
	synced []toolscache.InformerSynced
	whole  chan<- struct{} // closed when the first are
	log    *slog.Logger
}

func (r replayer) Start(ctx context.Context) error {
	tell := func(err error) {
		r.log.Warn("a change at the REST door is not finished; it is tried again", "err", err)
	}
	if !toolscache.WaitForCacheSync(ctx.Done(), r.synced...) {
		return nil // the end came first
	}
	if err := r.store.Replay(ctx); err != nil {
		tell(err)
	}
	close(r.whole)
	r.store.Watch(ctx, tell)
	return nil
}

func (replayer) NeedLeaderElection() bool { return false }

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
