package serve

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/uuid"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/admission"
	"github.com/ingot-metal/ingot/pkg/agentapi"
	"github.com/ingot-metal/ingot/pkg/auth"
	"github.com/ingot-metal/ingot/pkg/blob"
	"github.com/ingot-metal/ingot/pkg/bmc/open"
	"github.com/ingot-metal/ingot/pkg/bootnet"
	"github.com/ingot-metal/ingot/pkg/controller"
	"github.com/ingot-metal/ingot/pkg/crd"
	"github.com/ingot-metal/ingot/pkg/engine"
	"github.com/ingot-metal/ingot/pkg/httpboot"
	"github.com/ingot-metal/ingot/pkg/image"
	"github.com/ingot-metal/ingot/pkg/ipxe"
	"github.com/ingot-metal/ingot/pkg/metric"
	hostrecord "github.com/ingot-metal/ingot/pkg/record"
	"github.com/ingot-metal/ingot/pkg/shard"
)

// bmcIdle is how long an unused way to a BMC is kept open: from poll to poll, so
// that a token outlives the sockets, which the transport closes after a few
// seconds. Sessions that nobody polls in half an hour end on most BMCs' side.
func bmcIdle(pollEvery time.Duration) time.Duration {
	if keep := 2 * pollEvery; keep <= 30*time.Minute {
		return max(keep, 5*time.Minute)
	}
	return 5 * time.Minute
}

// firmwareEvery is how often the firmware of a machine that rests is read. Metal3
// reads it every five minutes, from Ironic's records; this asks the BMC.
const firmwareEvery = time.Hour

// leaseEvery is how often Metal3's Lease is looked at; its operator renews it
// every two seconds.
const leaseEvery = 5 * time.Second

// Scheme knows every kind that the service reads or writes.
func Scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, metal3.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Run serves until ctx is done, or something that cannot be done without fails.
func Run(ctx context.Context, c Config) error {
	l, err := c.listen()
	if err != nil {
		return err
	}
	defer l.close()
	if err := errors.Join(c.RESTDoor.Check(), c.RESTDoor.allowed(l.rest.Addr())); err != nil {
		return err
	}
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return err
	}
	loaders, err := ipxe.FindLoaders(c.Loaders)
	if err != nil {
		// Without networks nobody needs them.
		c.Log.Warn("machines cannot be booted by TFTP", "err", err)
	}
	scheme, err := Scheme()
	if err != nil {
		return err
	}
	direct, err := client.New(c.REST, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	metal3 := &otherOperator{client: direct, now: time.Now, every: leaseEvery, log: c.Log}
	if !c.Embedded {
		if err := metal3.await(ctx); err != nil {
			return err
		}
	}
	if err := crd.Install(ctx, c.REST); err != nil {
		return err
	}
	ca, err := authority(ctx, direct)
	if err != nil {
		return err
	}
	s := &service{Config: c, l: l, ca: ca, direct: direct, metal3: metal3}
	return s.run(ctx, scheme, loaders)
}

type service struct {
	Config
	l      listeners
	ca     *auth.CA
	direct client.Client
	metal3 *otherOperator
}

func (s *service) run(ctx context.Context, scheme *runtime.Scheme, loaders ipxe.Loaders) error {
	key := sha256.Sum256([]byte(s.ca.Token("key of secret blobs")))
	store, err := blob.Open(s.blobs(), blob.Options{Quota: s.BlobQuota, Key: key[:]})
	if err != nil {
		return err
	}
	httpPort := port(s.l.http)
	own := "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(httpPort))
	images, err := image.New(image.Options{Store: store, Index: s.index(), Own: []string{own}, Loopback: s.Loopback})
	if err != nil {
		return err
	}
	counts := metric.New()
	if err := metrics.Registry.Register(counts); err != nil {
		s.Log.Warn("this service's own metrics are not shown: another in this process has theirs shown", "err", err)
	} else {
		defer metrics.Registry.Unregister(counts)
	}
	mgr, err := s.manager(scheme, counts)
	if err != nil {
		return err
	}
	// Before anything is read: what is free now is ours, and our caches are newer.
	member, err := s.member(ctx)
	if err != nil {
		return err
	}
	left := context.CancelFunc(func() {})
	defer func() { left() }()

	// Actions and servers end before the manager's clients do.
	actions, endActions := context.WithCancel(context.WithoutCancel(ctx))
	defer endActions()
	hub := &engine.Hub{}
	pool := open.NewPool(bmcIdle(s.PollEvery))
	pool.Observe = func(protocol string, err error) { counts.BMCCall(protocol, bmcClass(err)) }
	told := newEvents(s.direct, s.Log)
	bmcs := engine.NewPooled(pool, recorded(mgr.GetClient()), s.Log)
	eng := &engine.Engine{
		BMCs: bmcs, Images: images, Blobs: store, Secrets: secrets{mgr.GetClient(), mgr.GetAPIReader()},
		Progress: hub, Log: s.Log, NewID: randomID, Claims: member,
		HTTPPort: httpPort, HTTPSPort: port(s.l.https), CA: s.ca,
		RootVolume: func(ctx context.Context, key types.NamespacedName) (int, error) {
			return hostrecord.RootVolume(ctx, mgr.GetAPIReader(), key)
		},
	}
	hosts := &controller.Hosts{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Machine: s.Machine,
		Store:  hostrecord.Store{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Now: time.Now},
		Engine: eng, Shares: member, Events: told, Log: s.Log, Metrics: counts,
		NewID: uuid.NewString, Now: time.Now, Workers: s.Workers, PollEvery: s.PollEvery,
	}
	hosts.FirmwareEvery = firmwareEvery
	hosts.BuildRamdisks, eng.LiveISOOnce = s.BuildPreprovImage, s.LiveISOOnce
	if s.BMCEvents {
		hosts.EventsAt = s.eventsAt
	}
	subscriptions := &controller.Subscriptions{
		Client: mgr.GetClient(), Engine: eng, Owns: hosts.Owns, MakeRoom: hosts.MakeRoom, Log: s.Log, Now: time.Now, Workers: s.Workers,
	}
	hosts.Subscriptions = subscriptions
	if err := mgr.Add(&sweeper{hosts: mgr.GetClient(), blobs: store, quota: s.BlobQuota, log: s.Log}); err != nil {
		return err
	}
	cons := newConsoles(consoles{
		hosts: mgr.GetClient(), secrets: secrets{mgr.GetClient(), mgr.GetAPIReader()}, bmcs: eng.BMCs, blobs: store,
		mode: s.RecordConsoles, log: s.Log,
	})
	hosts.Consoles = cons
	peers := newPeers(s.ca, s.Log)
	hosts.Forward = peers.forward
	agents := agentapi.New(s.ca, hosts, time.Now, s.Log)
	agents.Elsewhere = hosts.Refusal
	if s.AgentSilence > 0 {
		agents.Silence = s.AgentSilence
	}
	agents.OnProgress = func(h string, p agent.Progress) {
		hub.Set(h, engine.Progress{Step: p.StepID, Done: p.Done, Total: p.Total, Unit: p.Unit, Detail: p.Detail})
	}
	eng.Agents = agents
	if err := hosts.SetupWithManager(actions, mgr); err != nil {
		return err
	}
	if err := subscriptions.SetupWithManager(actions, mgr); err != nil {
		return err
	}
	if s.HostClaims {
		claims := &controller.Claims{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Log: s.Log, Now: time.Now, Pick: mathrand.IntN}
		if err := claims.SetupWithManager(actions, mgr); err != nil {
			return err
		}
	}

	watch := &watcher{hosts: hosts, macs: map[netip.Addr]net.HardwareAddr{}}
	networks := &controller.Networks{Client: mgr.GetClient(), Log: s.Log}
	if !s.Embedded {
		networks.Elect = s.elect
	}
	eng.LoaderURL = func() string { return loaderURL(networks.Only(), httpPort) }
	boot := httpboot.New(httpboot.Config{
		Scripts: &scripts{
			hosts: hosts, now: hosts.BootNow, others: member.Others, networks: networks, pin: s.ca.Pin(), flavour: s.Flavour, console: s.Console,
			httpPort: uint16(httpPort), httpsPort: uint16(port(s.l.https)),
		},
		Blobs: publicBlobs{store}, Loaders: loaders.Files(), Artefacts: s.BootFiles, Observe: watch.http, Log: s.Log,
	})
	door, whole, err := s.restDoor(ctx, mgr, &restMachines{
		hosts: mgr.GetClient(), engine: eng, blobs: store, owner: hosts.Door, peers: peers, door: s.advertised(), patience: machinePatience, base: actions,
	})
	if err != nil {
		return err
	}
	secure, err := s.secureDoor(hosts, agents, peers, store, hub, cons, own, relayed{token: peers.token, door: door, whole: whole})
	if err != nil {
		return err
	}
	doorTLS := s.TLS.apply(doorTLS(s.ca, s.ClientCA))
	networks.Doors = bootnet.Doors{
		Hosts: addresses{hosts}, HTTP: boot, HTTPS: secure, TLS: doorTLS, HTTPPort: httpPort, HTTPSPort: port(s.l.https),
		Loaders: loaders, Observe: watch.dhcp, Log: s.Log,
	}
	if err := networks.SetupWithManager(actions, mgr); err != nil {
		return err
	}

	var wg sync.WaitGroup
	wg.Go(func() { told.run(actions) })
	fail := make(chan error, 8)
	serve := func(what string, srv *http.Server, l net.Listener) {
		wg.Go(func() {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				fail <- fmt.Errorf("%s: %w", what, err)
			}
		})
	}
	restServer, restListener, err := s.restServer(door)
	if err != nil {
		return err
	}
	servers := []*http.Server{httpboot.NewServer(boot, s.Log), httpboot.NewServer(secure, s.Log), restServer}
	servers[1].MaxHeaderBytes = restHeaders // other replicas' clients' tokens
	serve("boot HTTP", servers[0], s.l.http)
	serve("HTTPS", servers[1], tls.NewListener(s.l.https, doorTLS))
	// Who comes before the nodes are known waits: to him they would be gone, and their
	// names free.
	wg.Go(func() {
		select {
		case <-whole:
			serve("REST", restServer, restListener)
		case <-actions.Done():
		}
	})
	// From an earlier start the API may still ask a door that is gone, and takes
	// no BareMetalHost until it is told of this one.
	if s.Embedded {
		if err := admission.Install(ctx, s.REST, admission.At(s.httpsURL(), s.ca.CertPEM())); err != nil {
			return err
		}
	}
	if s.l.webhook != nil {
		hooks, err := s.webhookServer()
		if err != nil {
			return err
		}
		servers = append(servers, hooks)
		serve("webhooks", hooks, tls.NewListener(s.l.webhook, s.webhookTLS()))
	}
	mgrCtx, stopManager := context.WithCancel(context.WithoutCancel(ctx))
	defer stopManager()
	mgrDone := make(chan error, 1)
	shared := make(chan struct{})
	go func() { mgrDone <- mgr.Start(mgrCtx) }()
	wg.Go(func() { reap(actions, agents, hosts) })
	wg.Go(func() { peers.run(actions) })
	member.Notify(func(gained []int) {
		hosts.Gained(gained)
		if member.Holds(doorsShard) {
			go s.publish(actions)
		}
	}, hosts.Lost)
	shares, leave := context.WithCancel(context.WithoutCancel(ctx))
	left = sync.OnceFunc(func() {
		leave()
		<-shared
	})
	go func() {
		defer close(shared)
		member.Run(shares)
	}()
	if !s.Embedded {
		wg.Go(func() {
			if err := s.metal3.watch(actions); err != nil {
				fail <- err
			}
		})
		wg.Go(func() { s.keepWebhooks(actions) })
	}

	err = s.announce(ctx, mgr, member)
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-fail:
		case err = <-mgrDone:
			mgrDone <- nil
		}
	}
	// The doors close first, then what acts, then what is watched.
	for _, srv := range servers {
		srv.Close()
	}
	left() // and with the hosts, what is done for them
	endActions()
	wg.Wait()
	networks.Wait()
	subscriptions.Wait()
	eng.Wait()
	cons.keeper.Close()
	bmcs.Wait()
	pool.Close()
	stopManager()
	return errors.Join(err, <-mgrDone)
}

func (s *service) httpsURL() string {
	return "https://" + net.JoinHostPort(reachable(s.l.https), strconv.Itoa(port(s.l.https)))
}

// announce waits until the hosts are known, tells the command line where the
// doors are, and says so.
func (s *service) announce(ctx context.Context, mgr ctrl.Manager, member *shard.Member) error {
	if !mgr.GetCache().WaitForCacheSync(ctx) {
		return ctx.Err()
	}
	https, http := s.httpsURL(), s.httpURL()
	if member.Holds(doorsShard) {
		if err := s.publishOwn(ctx); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(s.Out, "ingot is ready: Kubernetes API %s, REST %s, boot %s, agents %s\n",
		s.APIAddress, s.restURL(), http, https)
	return err
}

// doorsShard is the shard whose holder's doors the command line is told of, so
// that they are those of a replica that lives.
const doorsShard = 0

func (s *service) httpURL() string {
	return "http://" + net.JoinHostPort(reachable(s.l.http), strconv.Itoa(port(s.l.http)))
}

func (s *service) publishOwn(ctx context.Context) error {
	return publishDoors(ctx, s.direct, map[string]string{
		"http": s.httpURL(), "https": s.httpsURL(), "rest": s.restURL(), "ca": string(s.ca.CertPEM()),
	})
}

// publish is publishOwn for a replica that has just become the one.
func (s *service) publish(ctx context.Context) {
	if err := s.publishOwn(ctx); err != nil && ctx.Err() == nil {
		s.Log.Warn("the command line is not told of this replica's doors", "err", err)
	}
}

// reachable is an address under which this machine reaches a listener of its own.
func reachable(l net.Listener) string {
	a := l.Addr().(*net.TCPAddr)
	if a.IP.IsUnspecified() {
		return "127.0.0.1"
	}
	return a.IP.String()
}

func (s *service) manager(scheme *runtime.Scheme, counts *metric.Set) (ctrl.Manager, error) {
	duration, deadline, retry := s.leaseTimes()
	cfg := rest.CopyConfig(s.REST)
	cfg.QPS, cfg.Burst = s.KubeQPS, s.KubeBurst
	if cfg.QPS == 0 {
		// The API server shares itself out fairly (priority and fairness); a limit
		// on our side only makes hosts wait for each other.
		cfg.QPS = -1
	}
	cfg.Wrap(countWrites(counts))
	opts := ctrl.Options{
		Scheme: scheme,
		Logger: logr.FromSlogHandler(s.Log.Handler()),
		Metrics: metricsserver.Options{
			BindAddress: s.MetricsAddress, SecureServing: true,
			FilterProvider: filters.WithAuthenticationAndAuthorization,
			TLSOpts:        []func(*tls.Config){func(c *tls.Config) { s.TLS.apply(c) }},
		},
		HealthProbeBindAddress:  s.HealthAddress,
		Controller:              config.Controller{SkipNameValidation: new(true)}, // two services in one process are two
		LeaderElection:          s.LeaderElection,
		LeaderElectionID:        "ingot",
		LeaderElectionNamespace: namespace,
		LeaseDuration:           &duration, RenewDeadline: &deadline, RetryPeriod: &retry,
	}
	if len(s.Namespaces) > 0 {
		opts.Cache.DefaultNamespaces = map[string]cache.Config{}
		for _, n := range s.Namespaces {
			opts.Cache.DefaultNamespaces[n] = cache.Config{}
		}
	}
	mgr, err := ctrl.NewManager(cfg, opts)
	if err != nil {
		return nil, err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return nil, err
	}
	if err := mgr.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return nil, err
	}
	return mgr, mgr.AddReadyzCheck("webhook", s.webhookAnswers)
}

// secureDoor is everything behind HTTPS.
func (s *service) secureDoor(hosts *controller.Hosts, agents *agentapi.Server, peers *peers, store *blob.Store, hub *engine.Hub, cons *consoles, own string, forReplicas http.Handler) (http.Handler, error) {
	mux := http.NewServeMux()
	agents.Register(mux)
	hooks, err := admission.Handler(s.direct)
	if err != nil {
		return nil, err
	}
	for _, path := range admission.Paths() {
		mux.Handle("POST "+path, hooks)
	}
	mux.Handle("POST "+engine.FirstBootPath, firstBoot{hosts: hosts, ca: s.ca, peers: peers})
	mux.Handle(relayPath+"/", forReplicas)
	mux.Handle("POST "+seenPath, sightings{token: peers.token, saw: hosts.SawOf})
	mux.Handle("POST "+engine.EventsPath, newBMCEvents(hosts))
	ops := &operators{kube: auth.Kube{Client: s.direct, ClientCA: s.ClientCA}, store: store, hub: hub, consoles: cons, base: own, owner: hosts.Door}
	ops.register(mux)
	return mux, nil
}

// reap tells hosts of agents that fell silent while nothing was asked of them.
func reap(ctx context.Context, agents *agentapi.Server, hosts *controller.Hosts) {
	t := time.NewTicker(10 * time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			for _, id := range agents.Silent() {
				hosts.AgentLost(id)
				agents.End(id)
			}
		}
	}
}

// randomID names a boot: 128 random bits.
func randomID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}

// secrets reads Secrets from the cache, and past it what the cache lacks.
type secrets struct {
	cached client.Reader
	direct client.Reader
}

// Secret is part of engine.Secrets.
func (s secrets) Secret(ctx context.Context, ns, name string) (*corev1.Secret, error) {
	out := &corev1.Secret{}
	key := client.ObjectKey{Namespace: ns, Name: name}
	err := s.cached.Get(ctx, key, out)
	if client.IgnoreNotFound(err) == nil && err != nil {
		err = s.direct.Get(ctx, key, out)
	}
	if err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	return out, nil
}

// recorded reads what is on record of a host's BMC.
func recorded(c client.Reader) func(context.Context, types.NamespacedName) (*v1alpha1.BMC, error) {
	return func(ctx context.Context, name types.NamespacedName) (*v1alpha1.BMC, error) {
		hr := &v1alpha1.HostRecord{}
		if err := c.Get(ctx, name, hr); err != nil {
			return nil, client.IgnoreNotFound(err)
		}
		return hr.Status.BMC, nil
	}
}
