package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/go-logr/logr"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
)

// fieldManager owns what the verbs change.
const fieldManager = "ingot"

// DataDir is where ingot serve keeps its data unless it is told otherwise.
func (a *App) DataDir() string {
	switch {
	case a.Env("INGOT_DATA_DIR") != "":
		return a.Env("INGOT_DATA_DIR")
	case a.root:
		return "/var/lib/ingot"
	case a.Env("XDG_STATE_HOME") != "":
		return filepath.Join(a.Env("XDG_STATE_HOME"), "ingot")
	}
	return filepath.Join(a.Env("HOME"), ".local", "state", "ingot")
}

// errNoAPI is the first error that a newcomer meets.
var errNoAPI = errors.New("there is no API to talk to: start one with `ingot serve` (or `ingot lab up`), or name yours with --kubeconfig")

// kubeconfig looks where kubectl looks first (--kubeconfig, KUBECONFIG), then into
// the data directory, then at ~/.kube/config, then at the cluster that this runs in.
func (a *App) kubeconfig() (clientcmd.ClientConfig, string, error) {
	rules := &clientcmd.ClientConfigLoadingRules{}
	overrides := &clientcmd.ConfigOverrides{}
	var source string
	home := filepath.Join(a.Env("HOME"), ".kube", "config")
	data := filepath.Join(a.DataDir(), "kubeconfig")
	switch {
	case a.config != "":
		rules.ExplicitPath, source = a.config, a.config
	case a.Env("KUBECONFIG") != "":
		rules.Precedence, source = filepath.SplitList(a.Env("KUBECONFIG")), "KUBECONFIG="+a.Env("KUBECONFIG")
	case exists(data):
		rules.ExplicitPath, source = data, data
	case exists(home):
		rules.ExplicitPath, source = home, home
	case a.Env("KUBERNETES_SERVICE_HOST") != "":
		source = "of the pod's service account" // client-go reads it where nothing is named
	default:
		return nil, "", errNoAPI
	}
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides), source, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// Config is how to reach the API, and the namespace to work in.
func (a *App) Config() (*rest.Config, string, error) {
	loader, source, err := a.kubeconfig()
	if err != nil {
		return nil, "", err
	}
	cfg, err := loader.ClientConfig()
	if err != nil {
		return nil, "", fmt.Errorf("read the kubeconfig %s: %w", source, err)
	}
	namespace := a.namespace
	if namespace == "" {
		if namespace, _, err = loader.Namespace(); err != nil {
			return nil, "", fmt.Errorf("read the kubeconfig %s: %w", source, err)
		}
	}
	// The server has its own limits; a list of a rack is not to wait for ours.
	cfg.QPS = -1
	cfg.UserAgent = "ingot"
	cfg.WarningHandler = rest.NoWarnings{}
	return cfg, namespace, nil
}

// api is a connection to the API.
type api struct {
	client.WithWatch
	cfg       *rest.Config
	namespace string
}

func (a *App) connect() (*api, error) {
	cfg, namespace, err := a.Config()
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, metal3.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	// Its own logger says nothing a person at a verb could use.
	silent := logr.FromSlogHandler(slog.DiscardHandler)
	c, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme, Log: silent})
	if err != nil {
		return nil, err
	}
	return &api{WithWatch: c, cfg: cfg, namespace: namespace}, nil
}

// advise adds the next command to errors that a newcomer meets.
func (a *App) advise(err error) error {
	var dial *net.OpError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.As(err, &dial) && dial.Op == "dial":
		where := ""
		if _, source, e := a.kubeconfig(); e == nil {
			where = " (" + source + ")"
		}
		return fmt.Errorf("the API%s does not answer: is `ingot serve` running? Start it, or name another API with --kubeconfig: %w", where, err)
	case meta.IsNoMatchError(err):
		return fmt.Errorf("this API does not serve bare metal hosts: start ingot's own with `ingot serve` and unset KUBECONFIG, or install the CRDs of ingot into this cluster: %w", err)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("the API does not accept these credentials: has its data directory been made anew? Start it again, or name its kubeconfig with --kubeconfig: %w", err)
	case errors.Is(err, fs.ErrNotExist) && strings.Contains(err.Error(), "kubeconfig"):
		return fmt.Errorf("%w (start the service with `ingot serve`, or correct --kubeconfig or KUBECONFIG)", err)
	}
	return err
}
