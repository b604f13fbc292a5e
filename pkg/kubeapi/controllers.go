package kubeapi

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/controller-manager/pkg/informerfactory"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/certificates/rootcacertpublisher"
	"k8s.io/kubernetes/pkg/controller/clusterroleaggregation"
	"k8s.io/kubernetes/pkg/controller/garbagecollector"
	"k8s.io/kubernetes/pkg/controller/namespace"
	"k8s.io/kubernetes/pkg/controller/serviceaccount"
	rbacrest "k8s.io/kubernetes/pkg/registry/rbac/rest"
)

const (
	controllerResync = 10 * time.Minute
	// gcSync is how soon the garbage collector learns of a new kind. Upstream
	// has 30 s; here all kinds are installed right after the first start.
	gcSync = 5 * time.Second
)

// startControllers runs those controllers of kube-controller-manager that an API
// without pods still needs.
func (s *Server) startControllers() error {
	_, roles, err := rbacrest.RESTStorageProvider{}.PostStartHook()
	if err != nil {
		return fmt.Errorf("assemble RBAC's built-in roles: %w", err)
	}
	var ctx context.Context
	ctx, s.stopControllers = context.WithCancel(context.Background())
	s.controllersDone = make(chan struct{})
	runs, err := newControllers(ctx, s.loopback, s.pki.caPEM)
	if err != nil {
		s.stopControllers()
		close(s.controllersDone)
		return fmt.Errorf("start the built-in controllers: %w", err)
	}
	var wg sync.WaitGroup
	for _, run := range runs {
		wg.Go(func() { run(ctx) })
	}
	go func() { wg.Wait(); close(s.controllersDone) }()
	go s.writeRoles(ctx, roles) // not waited for: it cannot be cut short
	return nil
}

// writeRoles writes RBAC's built-in roles until that has worked. As a hook of the
// API server it would end the process, by klog.Fatal, when it has not worked within
// thirty seconds: on a slow machine, and after a stop within its first second.
func (s *Server) writeRoles(ctx context.Context, write genericapiserver.PostStartHookFunc) {
	for ctx.Err() == nil {
		err := write(genericapiserver.PostStartHookContext{Context: ctx, LoopbackClientConfig: s.loopback})
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			s.log.WarnContext(ctx, "RBAC's built-in roles could not be written yet, trying again", "err", err)
		}
	}
}

func newControllers(ctx context.Context, loopback *rest.Config, ca []byte) ([]func(context.Context), error) {
	cfg := rest.CopyConfig(loopback)
	cfg.QPS = -1
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	metaClient, err := metadata.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	typed := informers.NewSharedInformerFactory(client, controllerResync)
	meta := metadatainformer.NewSharedInformerFactory(metaClient, controllerResync)
	core := typed.Core().V1()

	namespaces := namespace.NewNamespaceController(ctx, client, metaClient,
		client.Discovery().ServerPreferredNamespacedResources, core.Namespaces(), 5*time.Minute, corev1.FinalizerKubernetes)

	accounts, err := serviceaccount.NewServiceAccountsController(klog.FromContext(ctx), core.ServiceAccounts(), core.Namespaces(),
		client, serviceaccount.DefaultServiceAccountsControllerOptions())
	if err != nil {
		return nil, err
	}
	rootCA, err := rootcacertpublisher.NewPublisher(core.ConfigMaps(), core.Namespaces(), client, ca)
	if err != nil {
		return nil, err
	}
	roles := clusterroleaggregation.NewClusterRoleAggregation(typed.Rbac().V1().ClusterRoles(), client.RbacV1())

	started := make(chan struct{})
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client.Discovery()))
	gc, err := garbagecollector.NewGarbageCollector(ctx, client, metaClient, mapper,
		garbagecollector.DefaultIgnoredResources(), informerfactory.NewInformerFactory(typed, meta), started)
	if err != nil {
		return nil, err
	}

	typed.Start(ctx.Done())
	meta.Start(ctx.Done())
	close(started)

	const workers = 2
	return []func(context.Context){
		func(ctx context.Context) { namespaces.Run(ctx, workers) },
		func(ctx context.Context) { accounts.Run(ctx, 1) },
		func(ctx context.Context) { rootCA.Run(ctx, 1) },
		func(ctx context.Context) { roles.Run(ctx, 1) },
		func(ctx context.Context) { gc.Run(ctx, workers, gcSync) },
		func(ctx context.Context) { gc.Sync(ctx, client.Discovery(), gcSync) },
		// The factories' goroutines end with the context; wait for them, since
		// they hold watches.
		func(ctx context.Context) { <-ctx.Done(); typed.Shutdown(); meta.Shutdown() },
	}, nil
}
