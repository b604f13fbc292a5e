package kubeapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsapiserver "k8s.io/apiextensions-apiserver/pkg/apiserver"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle"
	mutatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/mutating"
	validatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/resourcequota"
	mutatingwebhook "k8s.io/apiserver/pkg/admission/plugin/webhook/mutating"
	validatingwebhook "k8s.io/apiserver/pkg/admission/plugin/webhook/validating"
	"k8s.io/apiserver/pkg/endpoints/filters"
	"k8s.io/apiserver/pkg/registry/generic"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/util/notfoundhandler"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/component-base/compatibility"
	aggregatorapiserver "k8s.io/kube-aggregator/pkg/apiserver"
	aggregatorscheme "k8s.io/kube-aggregator/pkg/apiserver/scheme"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/controlplane"
	cp "k8s.io/kubernetes/pkg/controlplane/apiserver"
	"k8s.io/kubernetes/pkg/controlplane/apiserver/options"
	generatedopenapi "k8s.io/kubernetes/pkg/generated/openapi"
	kubeoptions "k8s.io/kubernetes/pkg/kubeapiserver/options"
	rbacrest "k8s.io/kubernetes/pkg/registry/rbac/rest"
	storagerest "k8s.io/kubernetes/pkg/registry/storage/rest"
	certapproval "k8s.io/kubernetes/plugin/pkg/admission/certificates/approval"
	certsigning "k8s.io/kubernetes/plugin/pkg/admission/certificates/signing"
	certsubject "k8s.io/kubernetes/plugin/pkg/admission/certificates/subjectrestriction"
	"k8s.io/kubernetes/plugin/pkg/admission/serviceaccount"
)

// kubernetesVersion is that of k8s.io/kubernetes in go.mod. Without a linker's
// flag the module says v0.0.0, which Cluster API and kubectl refuse.
const kubernetesVersion = "v1.37.1"

// apiConfig is what an API server needs from the outside.
type apiConfig struct {
	listener   net.Listener
	reachable  net.IP
	port       int
	pki        *pki
	etcdSocket string
	services   serviceMap
}

// runnable serves until its context ends.
type runnable interface {
	Run(ctx context.Context) error
}

// newAPI joins the three servers of Kubernetes' generic control plane: what is
// not found falls from the aggregator to the built-in kinds to the custom ones.
func newAPI(ctx context.Context, c apiConfig) (runnable, *rest.Config, error) {
	completed, err := apiOptions(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	kinds := controlplane.DefaultGenericAPIResourceConfigSource()
	kinds.EnableResources(attachments()...)
	generic, informers, storage, err := cp.BuildGenericConfig(
		completed,
		[]*runtime.Scheme{legacyscheme.Scheme, apiextensionsapiserver.Scheme, aggregatorscheme.Scheme},
		kinds,
		generatedopenapi.GetOpenAPIDefinitions,
		nil,
	)
	if err != nil {
		return nil, nil, err
	}
	generic.EffectiveVersion = namedVersion{generic.EffectiveVersion}
	generic.DisabledPostStartHooks.Insert(rbacrest.PostStartHookName) // writeRoles does it

	kubeConfig, initializers, err := cp.CreateConfig(completed, generic, informers, nil, storage, c.services, nil)
	if err != nil {
		return nil, nil, err
	}
	auth := webhook.NewDefaultAuthenticationInfoResolverWrapper(
		kubeConfig.ProxyTransport, generic.EgressSelector, generic.LoopbackClientConfig, generic.TracerProvider)
	// One master: more make a CRD wait five seconds before it is established.
	const masters = 1
	extConfig, err := cp.CreateAPIExtensionsConfig(*generic, informers, initializers, completed, masters, c.services, auth)
	if err != nil {
		return nil, nil, err
	}
	extConfig.ExtraConfig.CRDRESTOptionsGetter = uncached{extConfig.ExtraConfig.CRDRESTOptionsGetter}
	aggConfig, err := cp.CreateAggregatorConfig(*generic, completed, informers, c.services,
		kubeConfig.ProxyTransport, kubeConfig.PeerProxy, initializers)
	if err != nil {
		return nil, nil, err
	}
	aggConfig.ExtraConfig.DisableRemoteAvailableConditionController = true

	agg, err := chain(kubeConfig, extConfig, aggConfig)
	if err != nil {
		return nil, nil, err
	}
	agg.GenericAPIServer.ShutdownTimeout = 5 * time.Second
	prepared, err := agg.PrepareRun()
	if err != nil {
		return nil, nil, err
	}
	return prepared, agg.GenericAPIServer.LoopbackClientConfig, nil
}

// uncached keeps objects that are large or often written, and that few read, out
// of the server's watch cache: it would hold each of them decoded, and each
// version of the last minutes. Who lists or watches them reads etcd.
type uncached struct{ generic.RESTOptionsGetter }

// GetRESTOptions is part of generic.RESTOptionsGetter.
func (u uncached) GetRESTOptions(r schema.GroupResource, example runtime.Object) (generic.RESTOptions, error) {
	o, err := u.RESTOptionsGetter.GetRESTOptions(r, example)
	switch r.String() {
	case "baremetalhosts.metal3.io", "hardwaredata.metal3.io", "hostrecords.ingot.dev", "hosttimelines.ingot.dev":
		o.Decorator = generic.UndecoratedStorage
	}
	return o, err
}

func chain(kubeConfig *cp.Config, extConfig *apiextensionsapiserver.Config, aggConfig *aggregatorapiserver.Config) (*aggregatorapiserver.APIAggregator, error) {
	kubeDone, aggDone := kubeConfig.Complete(), aggConfig.Complete()
	notFound := notfoundhandler.New(kubeConfig.Generic.Serializer, filters.NoMuxAndDiscoveryIncompleteKey)
	ext, err := extConfig.Complete().New(genericapiserver.NewEmptyDelegateWithCustomHandler(notFound))
	if err != nil {
		return nil, fmt.Errorf("custom resources: %w", err)
	}
	if err := ext.Informers.Apiextensions().V1().CustomResourceDefinitions().Informer().SetTransform(longEstablished); err != nil {
		return nil, fmt.Errorf("custom resources: %w", err)
	}
	kube, err := kubeDone.New("ingot", ext.GenericAPIServer)
	if err != nil {
		return nil, fmt.Errorf("built-in resources: %w", err)
	}
	client, err := kubernetes.NewForConfig(kubeConfig.Generic.LoopbackClientConfig)
	if err != nil {
		return nil, fmt.Errorf("loopback client: %w", err)
	}
	providers, err := kubeDone.GenericStorageProviders(client.Discovery())
	if err != nil {
		return nil, fmt.Errorf("storage: %w", err)
	}
	providers = append(providers, storagerest.RESTStorageProvider{})
	if err := kube.InstallAPIs(providers...); err != nil {
		return nil, fmt.Errorf("install: %w", err)
	}
	crds := extConfig.GenericConfig.MergedResourceConfig.ResourceEnabled(
		apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions"))
	priorities := cp.DefaultGenericAPIServicePriorities()
	priorities[storagev1.SchemeGroupVersion] = cp.APIServicePriority{Group: 16800, Version: 15} // upstream's
	agg, err := cp.CreateAggregatorServer(aggDone, kube.GenericAPIServer,
		ext.Informers.Apiextensions().V1().CustomResourceDefinitions(), crds, priorities)
	if err != nil {
		return nil, fmt.Errorf("aggregator: %w", err)
	}
	return agg, nil
}

// attachments are served, and always empty, since CAPM3 looks for a node's volumes
// in the management cluster, and without the kind its remediation never gets
// further (cluster-api-provider-metal3 v1.13.2, RemediationManager.IsNodeDrained).
// Storage classes come from the same provider, which makes their store in any case.
func attachments() []schema.GroupVersionResource {
	v1 := storagev1.SchemeGroupVersion
	return []schema.GroupVersionResource{v1.WithResource("volumeattachments"), v1.WithResource("storageclasses")}
}

func apiOptions(ctx context.Context, c apiConfig) (options.CompletedOptions, error) {
	o := options.NewOptions()
	o.Admission.GenericAdmission.DefaultOffPlugins = sets.New(kubeoptions.AllOrderedPlugins...).Difference(admissionPlugins())

	o.Etcd.StorageConfig.Transport.ServerList = []string{"unix://" + c.etcdSocket}
	o.Etcd.EncryptionProviderConfigFilepath = c.pki.encryptionFile

	o.SecureServing.Listener = c.listener
	o.SecureServing.BindAddress = c.reachable
	o.SecureServing.BindPort = c.port
	o.SecureServing.ExternalAddress = c.reachable
	o.SecureServing.ServerCert.CertKey.CertFile = c.pki.servingFile
	o.SecureServing.ServerCert.CertKey.KeyFile = c.pki.servingFile
	o.GenericServerRunOptions.AdvertiseAddress = c.reachable

	o.Authentication.ClientCert.ClientCA = c.pki.caFile
	o.Authentication.Anonymous.Allow = false
	o.ServiceAccountSigningKeyFile = c.pki.saKeyFile
	o.Authentication.ServiceAccounts.KeyFiles = []string{c.pki.saKeyFile}
	o.Authentication.ServiceAccounts.Issuers = []string{"https://kubernetes.default.svc"}
	o.Authentication.ServiceAccounts.OptionalTokenGetter = newTokenGetter
	o.Authorization.Modes = []string{"RBAC"}

	// Its queues share a busy server among many tenants. Here there is one, and
	// the limits on requests in flight stay.
	o.Features.EnablePriorityAndFairness = false

	completed, err := o.Complete(ctx, nil, nil)
	if err != nil {
		return options.CompletedOptions{}, err
	}
	return completed, errors.Join(completed.Validate()...)
}

// admissionPlugins are those that make sense without pods and nodes.
func admissionPlugins() sets.Set[string] {
	return sets.New(
		lifecycle.PluginName,
		serviceaccount.PluginName,
		mutatingwebhook.PluginName,
		validatingwebhook.PluginName,
		resourcequota.PluginName,
		certapproval.PluginName,
		certsigning.PluginName,
		certsubject.PluginName,
		mutatingpolicy.PluginName,
		validatingpolicy.PluginName,
	)
}

// namedVersion knows the name of the release that this is.
type namedVersion struct{ compatibility.EffectiveVersion }

// Info is what /version answers.
func (v namedVersion) Info() *version.Info {
	info := v.EffectiveVersion.Info()
	if info != nil {
		info.GitVersion = kubernetesVersion
		info.GitCommit, info.GitTreeState, info.BuildDate = "", "", ""
	}
	return info
}
