package rig

import (
	"github.com/go-logr/logr"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/lab"
)

// Client speaks to the server's API; it is as good after a restart on the same
// ports as before.
func (s *Server) Client() (client.WithWatch, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	if err != nil {
		return nil, err
	}
	cfg.QPS = -1
	log.SetLogger(logr.Discard()) // or the library prints a stack that nobody asked for
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{metal3.AddToScheme, v1alpha1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	return client.NewWithWatch(cfg, client.Options{Scheme: scheme})
}

// Network is the network of a lab of real bodies, on an interface of this
// machine or on a lab's switch.
func Network(iface string) *v1alpha1.ProvisioningNetwork {
	return &v1alpha1.ProvisioningNetwork{
		ObjectMeta: metav1.ObjectMeta{Name: "lab"},
		Spec: v1alpha1.ProvisioningNetworkSpec{
			Interface: iface, Address: lab.ServerAddress, Flavour: v1alpha1.FlavourVM, Mode: v1alpha1.NetworkDHCP,
			Range: &v1alpha1.AddressRange{Start: lab.RangeStart, End: lab.RangeEnd},
		},
	}
}
