package serve

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/auth"
	"github.com/ingot-metal/ingot/pkg/blob"
	"github.com/ingot-metal/ingot/pkg/controller"
	"github.com/ingot-metal/ingot/pkg/dhcp"
	"github.com/ingot-metal/ingot/pkg/engine"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/httpboot"
	"github.com/ingot-metal/ingot/pkg/ipxe"
)

// doorTLS serves a certificate for whichever of our addresses a client came to,
// and takes client certificates of agents and of the Kubernetes API's users.
func doorTLS(ca *auth.CA, kube *x509.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(ca.Certificate())
	if kube != nil {
		pool.AddCert(kube)
	}
	certs := &certCache{ca: ca, byIP: map[string]*tls.Certificate{}}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		ClientAuth:     tls.VerifyClientCertIfGiven,
		ClientCAs:      pool,
		GetCertificate: certs.get,
	}
}

type certCache struct {
	ca    *auth.CA
	names []string // beside localhost and ingot
	ips   []net.IP // beside the address that a client came to

	mu   sync.Mutex
	byIP map[string]*tls.Certificate
}

// renewBefore is how long before its end a door's certificate is replaced.
const renewBefore = 30 * 24 * time.Hour

func (c *certCache) get(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
	addr, err := netip.ParseAddrPort(h.Conn.LocalAddr().String())
	if err != nil {
		return nil, err
	}
	ip := addr.Addr().Unmap()
	c.mu.Lock()
	defer c.mu.Unlock()
	if cert := c.byIP[ip.String()]; cert != nil && time.Until(cert.Leaf.NotAfter) > renewBefore {
		return cert, nil
	}
	cert, err := c.ca.Server(append([]net.IP{ip.AsSlice()}, c.ips...), append([]string{"localhost", "ingot"}, c.names...))
	if err != nil {
		return nil, err
	}
	c.byIP[ip.String()] = cert
	return cert, nil
}

// orders says what is ordered for a machine; controller.Hosts does.
type orders interface {
	BootOf(mac net.HardwareAddr) controller.Boot
	// Restored is closed when all hosts are known after a start.
	Restored() <-chan struct{}
}

// scripts makes each machine's boot script from what is ordered for its host.
type scripts struct {
	hosts     orders
	now       func(context.Context, net.HardwareAddr) controller.Boot // nil: hosts.BootOf
	others    func() []string                                         // doors of other replicas; may be nil
	networks  *controller.Networks
	pin       string
	flavour   string
	console   string
	httpPort  uint16
	httpsPort uint16
}

// restoreWait bounds how long a machine that boots waits for our start.
const restoreWait = 20 * time.Second

// Script is part of httpboot.Scripts. A machine of which nothing is wanted goes
// on to its disk; one that nobody enrolled is told nothing.
func (s *scripts) Script(ctx context.Context, mac net.HardwareAddr, _ netip.Addr) ([]byte, error) {
	// A refusal would send a machine that boots during our start to its disk.
	ctx, cancel := context.WithTimeout(ctx, restoreWait)
	defer cancel()
	select {
	case <-s.hosts.Restored():
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	b := s.bootOf(ctx, mac)
	if !b.Known {
		return nil, httpboot.ErrUnknown
	}
	if b.ID == "" {
		return ipxe.Exit(), nil
	}
	ours, err := localAddr(ctx)
	if err != nil {
		return nil, err
	}
	flavour := s.networks.FlavourAt(ours)
	if flavour == "" {
		flavour = s.flavour
	}
	http := "http://" + netip.AddrPortFrom(ours, s.httpPort).String()
	if b.Ramdisk != nil && b.Ramdisk.ISO != "" {
		return ipxe.Exit(), nil // it is in the virtual drive
	}
	boot := ipxe.Boot{
		Kernel: http + "/boot/kernel/" + flavour,
		Initrd: http + "/boot/initrd/" + flavour,
		Script: http + "/boot/ipxe?mac=" + mac.String(),
	}
	if err := external(&boot, b.Ramdisk); err != nil {
		return nil, err
	}
	for _, kv := range [][2]string{
		{agent.ArgURL, s.doors("https://" + netip.AddrPortFrom(ours, s.httpsPort).String())},
		{agent.ArgCA, s.pin},
		{agent.ArgBoot, b.ID},
		{agent.ArgMAC, mac.String()},
		{"console", s.console},
		// Ten seconds after a panic the machine restarts, so that the host's
		// next try is not needed to end a hang.
		{"panic", "10"},
	} {
		if kv[1] == "" {
			continue
		}
		if err := boot.Args.Set(kv[0], kv[1]); err != nil {
			return nil, err
		}
	}
	return boot.Render()
}

// external replaces our kernel and ramdisk by what an external builder made. iPXE
// fetches them from where they lie, as Metal3's does: they may be large, and the
// builder's server is there for that. What iPXE cannot take was refused before the
// machine was touched.
func external(b *ipxe.Boot, r *v1alpha1.Ramdisk) error {
	if r == nil {
		return nil
	}
	b.Initrd = r.Initrd
	if r.Kernel != "" {
		b.Kernel = r.Kernel
	}
	return b.Args.Parse(r.Params)
}

func (s *scripts) bootOf(ctx context.Context, mac net.HardwareAddr) controller.Boot {
	if s.now == nil {
		return s.hosts.BootOf(mac)
	}
	return s.now(ctx, mac)
}

// maxOthers bounds how many replicas a kernel's command line names.
const maxOthers = 4

// doors are where an agent finds its server: at us, and at the other replicas
// should we be gone by then.
func (s *scripts) doors(own string) string {
	if s.others == nil {
		return own
	}
	others := s.others()
	return strings.Join(append([]string{own}, others[:min(len(others), maxOthers)]...), ",")
}

// loaderURL is the loader of machines that boot by UEFI HTTP, at one of our
// addresses.
func loaderURL(at netip.Addr, port int) string {
	if !at.IsValid() {
		return ""
	}
	return "http://" + netip.AddrPortFrom(at, uint16(port)).String() + "/boot/file/" + dhcp.LoaderUEFIHTTP
}

// localAddr is our own address on the connection that a request came by.
func localAddr(ctx context.Context) (netip.Addr, error) {
	a, ok := ctx.Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return netip.Addr{}, errors.New("the request does not say which of our addresses it came to")
	}
	ap, err := netip.ParseAddrPort(a.String())
	return ap.Addr().Unmap(), err
}

// watcher turns what the boot servers see into evidence for hosts.
type watcher struct {
	hosts *controller.Hosts
	mu    sync.Mutex
	macs  map[netip.Addr]net.HardwareAddr // who booted from which address
}

// maxWatched bounds the memory of who has which address.
const maxWatched = 16 << 10

func (w *watcher) dhcp(e dhcp.Event) {
	switch e.Kind {
	case dhcp.Seen:
		w.hosts.Saw(e.MAC, func(s *host.Seen) { s.DHCP = true })
	case dhcp.OtherServer:
		w.hosts.Saw(e.MAC, func(s *host.Seen) { s.OtherServer = e.Server.String() })
	case dhcp.WrongArch:
		w.hosts.Saw(e.MAC, func(s *host.Seen) { s.WrongArch = archNames(e.Arch) })
	}
}

// archNames are the codes of RFC 4578 §2.1 as a person looks them up.
func archNames(codes []uint16) string {
	b, err := json.Marshal(codes)
	if err != nil {
		return "unknown"
	}
	return string(b)
}

func (w *watcher) http(e httpboot.Event) {
	if e.Kind == httpboot.KindScript && e.Status == http.StatusOK {
		w.hosts.Saw(e.MAC, func(s *host.Seen) { s.Script = true })
		w.mu.Lock()
		if len(w.macs) > maxWatched {
			clear(w.macs)
		}
		w.macs[e.Remote] = e.MAC
		w.mu.Unlock()
		return
	}
	if e.Remote.IsLoopback() {
		return // simulated machines share an address
	}
	w.mu.Lock()
	mac := w.macs[e.Remote]
	w.mu.Unlock()
	if mac == nil {
		return
	}
	switch e.Kind {
	case httpboot.KindKernel, httpboot.KindUKI:
		w.hosts.Saw(mac, func(s *host.Seen) { s.Kernel = true })
	case httpboot.KindInitrd:
		w.hosts.Saw(mac, func(s *host.Seen) { s.Initrd = e.Done })
	}
}

// addresses is what DHCP asks: known machines get an address of the range.
type addresses struct{ hosts orders }

// Lookup is part of dhcp.Hosts.
func (a addresses) Lookup(_ context.Context, mac net.HardwareAddr) (dhcp.Reservation, bool) {
	b := a.hosts.BootOf(mac)
	return dhcp.Reservation{Hostname: b.Host.Name}, b.Known
}

// publicBlobs serves blobs by digest.
type publicBlobs struct{ store *blob.Store }

// Open is part of httpboot.Blobs.
func (b publicBlobs) Open(ctx context.Context, hex string) (io.ReadSeekCloser, int64, error) {
	d, err := blob.ParseDigest(hex)
	if err != nil || !b.store.Has(ctx, d) {
		return nil, 0, httpboot.ErrUnknown
	}
	return b.store.Open(ctx, d)
}

// operators are the doors for people: uploads, progress and consoles.
type operators struct {
	kube     auth.Kube
	store    *blob.Store
	hub      *engine.Hub
	consoles *consoles
	base     string // of the boot door, for URLs of uploads
	// owner is the door of the replica that has a host; empty, or nil: it is ours.
	owner func(types.NamespacedName) string
}

func (o *operators) register(mux *http.ServeMux) {
	mux.HandleFunc("POST /blobs/v1", o.upload)
	mux.HandleFunc("GET /progress/v1", o.progress)
	mux.HandleFunc("GET /console/v1/{namespace}/{name}", o.console)
}

func (o *operators) allowed(w http.ResponseWriter, r *http.Request, verb, resource string) bool {
	return o.allowedOne(w, r, verb, resource, "", "")
}

func (o *operators) allowedOne(w http.ResponseWriter, r *http.Request, verb, resource, namespace, name string) bool {
	err := o.kube.Allow(r.Context(), r, verb, resource, namespace, name)
	if err == nil {
		return true
	}
	status := http.StatusForbidden
	switch {
	case errors.Is(err, auth.ErrUnauthenticated):
		status = http.StatusUnauthorized
	case errors.Is(err, auth.ErrUnanswered):
		status = http.StatusServiceUnavailable
	}
	http.Error(w, err.Error(), status)
	return false
}

func (o *operators) upload(w http.ResponseWriter, r *http.Request) {
	if !o.allowed(w, r, "create", "blobs") {
		return
	}
	// An image takes longer than the door's usual time.
	if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	d, n, err := o.store.Put(r.Context(), r.Body)
	var quota *blob.QuotaError
	switch {
	case errors.As(err, &quota):
		http.Error(w, err.Error(), http.StatusInsufficientStorage)
		return
	case err != nil:
		http.Error(w, "storing the upload: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	// A client that went away asks again; the bytes are there.
	_ = json.NewEncoder(w).Encode(map[string]any{
		"digest": "sha256:" + string(d), "size": n, "url": o.base + "/images/sha256/" + string(d),
	})
}

// progressEvery bounds how often a watcher is told.
const progressEvery = 250 * time.Millisecond

// progress streams what hosts are doing as lines of JSON: a whole picture, then
// an empty line, each time something changed. It ends with the request.
func (o *operators) progress(w http.ResponseWriter, r *http.Request) {
	if !o.allowed(w, r, "watch", "progress") {
		return
	}
	rc := http.NewResponseController(w)
	changed, stop := o.hub.Watch()
	defer stop()
	w.Header().Set("Content-Type", "application/jsonl")
	enc := json.NewEncoder(w)
	for {
		if err := rc.SetWriteDeadline(time.Now().Add(30 * time.Second)); err != nil {
			return
		}
		for _, p := range o.hub.All() {
			if enc.Encode(p) != nil {
				return
			}
		}
		if _, err := io.WriteString(w, "\n"); err != nil || rc.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(15 * time.Second): // keeps the connection known to be alive
		case <-changed:
			time.Sleep(progressEvery)
		}
	}
}
