package kubeapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	// startTimeout bounds a start. A small directory takes two seconds; one with
	// a long write-ahead log to replay takes its time.
	startTimeout = 3 * time.Minute
	// stopTimeout bounds a stop, whoever still watches.
	stopTimeout = 20 * time.Second
	// apiStopTimeout of it are the API's once its connections are cut: etcd needs some.
	apiStopTimeout = 12 * time.Second
	// embeddedLabel on kube-system tells our tools that this is no cluster.
	embeddedLabel = "ingot.dev/embedded"
)

// Options of a Server. DataDir and one of Listener and Address are needed.
type Options struct {
	// DataDir is created with mode 0700 if it is missing.
	DataDir string
	// Listener to serve on; the server closes it.
	Listener net.Listener
	// Address to listen on where there is no Listener: host:port, port 0 for any.
	Address string
	// RuntimeDir holds the Unix sockets where the path of DataDir is too long
	// for one (108 bytes, unix(7)); empty: os.TempDir().
	RuntimeDir string
	// Services says where a webhook's `service:` is, by "namespace/name", as
	// host:port. There are no Service objects here.
	Services map[string]string
	// NoFsync makes writes faster and loses them at a power cut. For tests.
	NoFsync bool
	// Log is told what the API server and etcd have to say, at debug and warn.
	Log *slog.Logger
}

// Server is a running API.
type Server struct {
	// AdminKubeconfigPath is the file an administrator gives to kubectl.
	AdminKubeconfigPath string

	log      *slog.Logger
	lock     *os.File
	pki      *pki
	url      string
	listener *trackingListener
	etcd     *embed.Etcd
	sockets  string
	loopback *rest.Config

	stopAPI         context.CancelFunc
	apiDone         chan struct{} // closed when the API server's Run has returned
	apiErr          error         // set before apiDone closes
	stopControllers context.CancelFunc
	controllersDone chan struct{}

	stopOnce sync.Once
	stopping chan struct{}
	stopErr  error
	endOnce  sync.Once
	done     chan struct{}
	err      error // set before done closes
}

// Start returns once the API answers. The context bounds the start alone; the
// server lives until Stop.
func Start(ctx context.Context, o Options) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()

	s := &Server{log: o.Log, stopping: make(chan struct{}), done: make(chan struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := s.start(ctx, o); err != nil {
		// The start's error is the one that matters.
		_ = s.Stop(context.WithoutCancel(ctx))
		return nil, err
	}
	go s.watch()
	return s, nil
}

func (s *Server) start(ctx context.Context, o Options) error {
	// The API server closes a listener only once it serves on it.
	if o.Listener != nil {
		s.listener = newTrackingListener(o.Listener)
	}
	dir, err := filepath.Abs(o.DataDir)
	if err != nil || o.DataDir == "" {
		return fmt.Errorf("data directory %q: %w", o.DataDir, errors.Join(err, os.ErrInvalid))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	if s.lock, err = lockDir(dir); err != nil {
		return err
	}
	if s.listener == nil {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Address)
		if err != nil {
			return fmt.Errorf("listen for the Kubernetes API: %w", err)
		}
		s.listener = newTrackingListener(l)
	}
	addr, ok := s.listener.Addr().(*net.TCPAddr)
	if !ok {
		return fmt.Errorf("the Kubernetes API needs a TCP listener, not %s", s.listener.Addr().Network())
	}
	reachable := reachableIP(addr.IP)
	s.url = "https://" + net.JoinHostPort(reachable.String(), strconv.Itoa(addr.Port))

	if s.pki, err = openPKI(dir, time.Now(), addr.IP); err != nil {
		return err
	}
	s.AdminKubeconfigPath = filepath.Join(dir, "kubeconfig")
	if err := s.pki.writeKubeconfig(s.AdminKubeconfigPath, s.url); err != nil {
		return err
	}
	var socket string
	if s.etcd, s.sockets, socket, err = startEtcd(ctx, dir, o, s.log); err != nil {
		return err
	}
	if err := s.serve(ctx, apiConfig{
		listener:   s.listener,
		reachable:  reachable,
		port:       addr.Port,
		pki:        s.pki,
		etcdSocket: socket,
		services:   o.Services,
	}); err != nil {
		return err
	}
	if err := s.waitReady(ctx); err != nil {
		return err
	}
	if err := s.startControllers(); err != nil {
		return err
	}
	return s.markEmbedded(ctx)
}

// serve runs the API server in a context of its own, so that we choose the order
// in which things stop.
func (s *Server) serve(ctx context.Context, c apiConfig) error {
	api, loopback, err := newAPI(ctx, c)
	if err != nil {
		return fmt.Errorf("assemble the Kubernetes API: %w", err)
	}
	s.loopback = loopback
	var run context.Context
	run, s.stopAPI = context.WithCancel(context.WithoutCancel(ctx))
	s.apiDone = make(chan struct{})
	go func() {
		defer close(s.apiDone)
		s.apiErr = api.Run(run)
	}()
	return nil
}

// waitReady polls /readyz.
func (s *Server) waitReady(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(s.RESTConfig())
	if err != nil {
		return fmt.Errorf("make a client of our own API: %w", err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		answer, err := client.RESTClient().Get().AbsPath("/readyz").Do(ctx).Raw()
		if err == nil {
			return nil
		}
		select {
		case <-s.apiDone:
			return fmt.Errorf("the Kubernetes API ended while it started: %w", s.apiErr)
		case err := <-s.etcd.Err():
			return fmt.Errorf("etcd ended while the API started: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("the Kubernetes API is not ready: %w: %s", err, answer)
		case <-tick.C:
		}
	}
}

// markEmbedded labels kube-system, which the API server makes by itself at about
// this moment; either may come first.
func (s *Server) markEmbedded(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(s.RESTConfig())
	if err != nil {
		return fmt.Errorf("make a client of our own API: %w", err)
	}
	ns := corev1ac.Namespace(metav1.NamespaceSystem).WithLabels(map[string]string{embeddedLabel: "true"})
	for {
		_, err := client.CoreV1().Namespaces().Apply(ctx, ns, metav1.ApplyOptions{FieldManager: "ingot", Force: true})
		if err == nil {
			return nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) || ctx.Err() != nil {
			return fmt.Errorf("label namespace kube-system: %w", err)
		}
	}
}

// watch ends the server when one of its parts ended without being asked.
func (s *Server) watch() {
	var err error
	select {
	case <-s.stopping:
		return
	case <-s.apiDone:
		err = fmt.Errorf("the Kubernetes API ended: %w", orUnknown(s.apiErr))
	case err = <-s.etcd.Err():
		err = fmt.Errorf("etcd ended: %w", orUnknown(err))
	case <-s.etcd.Server.StopNotify():
		err = fmt.Errorf("etcd ended: %w", orUnknown(nil))
	}
	select {
	case <-s.stopping: // it ended because Stop asked it to
	default:
		s.end(err)
	}
}

func (s *Server) end(err error) {
	s.endOnce.Do(func() {
		s.err = err
		close(s.done)
	})
}

func orUnknown(err error) error {
	if err == nil {
		return errors.New("without saying why")
	}
	return err
}

// Stop ends the server within twenty seconds, or sooner if ctx ends, whoever
// still watches: it cuts their connections. Nothing acknowledged is lost by
// that. An error says what did not end in time; the process should then exit.
func (s *Server) Stop(ctx context.Context) error {
	s.stopOnce.Do(func() {
		close(s.stopping)
		s.stopErr = s.stop(ctx)
		s.end(nil)
	})
	return s.stopErr
}

func (s *Server) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	var late []error
	wait := func(what string, done <-chan struct{}, atMost time.Duration) bool {
		t := time.NewTimer(atMost)
		defer t.Stop()
		select {
		case <-done:
			return true
		case <-t.C:
		case <-ctx.Done():
		}
		if what != "" {
			late = append(late, fmt.Errorf("%s did not end in time", what))
		}
		return false
	}

	if s.stopControllers != nil {
		s.stopControllers()
		wait("the built-in controllers", s.controllersDone, time.Second)
	}
	switch {
	case s.stopAPI != nil:
		s.stopAPI()
		if !wait("", s.apiDone, 1500*time.Millisecond) {
			s.listener.closeConns()
			wait("the Kubernetes API", s.apiDone, apiStopTimeout)
		}
		s.listener.closeConns()
	case s.listener != nil: // nobody serves on it who would close it
		_ = s.listener.Close()
	}
	etcdClosed := true
	if s.etcd != nil {
		closed := make(chan struct{})
		go func() { s.etcd.Close(); close(closed) }()
		etcdClosed = wait("etcd", closed, stopTimeout)
	}
	// Another process may have the directory only once nobody writes it.
	if etcdClosed {
		if s.sockets != "" {
			_ = os.RemoveAll(s.sockets)
		}
		if s.lock != nil {
			_ = s.lock.Close()
		}
	}
	return errors.Join(late...)
}

// RESTConfig is a client configuration with all rights and no rate limit. It
// speaks JSON, as custom resources need.
func (s *Server) RESTConfig() *rest.Config {
	c := rest.CopyConfig(s.loopback)
	c.ContentType = runtime.ContentTypeJSON
	c.AcceptContentTypes = ""
	c.QPS = -1
	c.Burst = 0
	return c
}

// CA is the certificate that clients trust, in PEM.
func (s *Server) CA() []byte { return s.pki.caPEM }

// IssueServing makes a certificate for a TLS server of this process, such as the
// webhook's, that whoever trusts CA believes. It is kept nowhere.
func (s *Server) IssueServing(names []string, ips []net.IP) (certAndKeyPEM []byte, err error) {
	return s.pki.issueServing(names, ips, time.Now())
}

// URL of the API.
func (s *Server) URL() string { return s.url }

// Done closes when the server has ended, be it by Stop or by itself.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err says why the server ended by itself, once Done is closed; nil after Stop.
func (s *Server) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// reachableIP is where a client on this machine finds a listener on ip.
func reachableIP(ip net.IP) net.IP {
	if ip.IsUnspecified() {
		return net.IPv4(127, 0, 0, 1)
	}
	return ip
}

// serviceMap resolves a webhook's service without Service objects.
type serviceMap map[string]string

// ResolveEndpoint answers for services we were told of.
func (m serviceMap) ResolveEndpoint(namespace, name string, port int32) (*url.URL, error) {
	host, ok := m[namespace+"/"+name]
	if !ok {
		return nil, fmt.Errorf("service %s/%s:%d is not known to the embedded API: give the webhook a url, or map the service to an address", namespace, name, port)
	}
	return &url.URL{Scheme: "https", Host: host}, nil
}
