package capm3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/e2e/rig"
	"github.com/ingot-metal/ingot/pkg/lab/fleet"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

const (
	// patience bounds each wait. Everything takes a second or two on a machine
	// that does nothing else.
	patience = 2 * time.Minute
	// lookEvery is how often a wait looks. CAPM3 is woken by watches, and polls
	// every five to thirty seconds.
	lookEvery = 25 * time.Millisecond
)

// site is one management cluster: an ingot serve, its administrator and CAPM3.
type site struct {
	server *rig.Server
	ports  rig.Ports
	admin  client.Client
	capm3  *provider
}

// rack is machines and the door that they boot from.
type rack struct {
	fleet   *fleet.Fleet
	journal *simbmc.Journal
	door    *httptest.Server
	boots   atomic.Pointer[url.URL] // the server whose machines they are
	next    atomic.Int32
}

// shared is what the tests of this package have in common; each has a namespace
// and machines of its own.
var shared struct {
	binary string
	boot   string // directory of boot files
	image  *httptest.Server
	site   *site
	rack   *rack
	spaces atomic.Int32
}

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "ingot") // t.TempDir's may be too long for a socket
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if shared.binary, err = rig.Binary(dir); err != nil {
		return 1, err
	}
	if _, err = os.Stat(shared.binary); err != nil { // and go test knows by this that another binary is another test
		return 1, err
	}
	if shared.boot, err = rig.Pretended(dir); err != nil {
		return 1, err
	}
	shared.image = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/slow/") {
			select { // until the server gives up the download
			case <-r.Context().Done():
			case <-time.After(patience):
			}
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(disk()))
	}))
	defer shared.image.Close()
	if shared.site, err = newSite(ctx, filepath.Join(dir, "a")); err != nil {
		return 1, err
	}
	defer shared.site.server.Close()
	// Enough for -count 4: a machine is used by one test.
	if shared.rack, err = newRack(shared.site, 56, 7); err != nil {
		return 1, err
	}
	defer shared.rack.close()
	if code = m.Run(); code != 0 {
		fmt.Fprintln(os.Stderr, shared.site.server.Tail())
	}
	return code, nil
}

// newSite starts a server whose API has Cluster API's kinds, and lets CAPM3 in.
func newSite(ctx context.Context, dir string) (*site, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s, err := startSite(ctx, dir)
	if err != nil {
		return nil, err
	}
	if err = installKinds(ctx, s.admin); err == nil {
		s.capm3, err = newProvider(ctx, s)
	}
	if err != nil {
		_ = s.server.Close()
		return nil, fmt.Errorf("a management cluster: %w", err)
	}
	return s, nil
}

// startSite starts a server.
func startSite(ctx context.Context, dir string) (*site, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	p, err := rig.NewPorts()
	if err != nil {
		return nil, err
	}
	s, err := rig.NewServer(shared.binary, dir, p, "--boot-files", shared.boot, "--retry-unit", "200ms",
		"--allow-loopback", strings.TrimPrefix(shared.image.URL, "http://"))
	if err != nil {
		return nil, err
	}
	site := &site{server: s, ports: p}
	if err = s.Start(); err == nil {
		err = s.WaitReady(ctx)
	}
	if err == nil {
		site.admin, err = s.Client()
	}
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return site, nil
}

// newRack makes machines that boot from a site's server, through a door of their
// own so that they can be moved to another.
func newRack(s *site, count int, seed uint64) (*rack, error) {
	r := &rack{journal: simbmc.NewJournal(nil, nil)}
	r.follow(s)
	r.door = httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(r.boots.Load()) }})
	var err error
	r.fleet, err = fleet.New(fleet.Config{
		Count: count, Seed: seed, BootURL: r.door.URL, Journal: r.journal,
		Latency: 20 * time.Millisecond, POST: 20 * time.Millisecond,
	})
	if err != nil {
		r.door.Close()
		return nil, err
	}
	return r, nil
}

// follow has the machines boot from a site's server from now on.
func (r *rack) follow(s *site) {
	r.boots.Store(&url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", s.ports.HTTP)})
}

func (r *rack) close() {
	r.fleet.Close()
	r.door.Close()
}

// machine takes one that no test has.
func (r *rack) machine(t *testing.T) *fleet.Machine {
	t.Helper()
	n := int(r.next.Add(1)) - 1
	if n >= len(r.fleet.Machines()) {
		t.Fatal("the rack has too few machines: give newRack more")
	}
	return r.fleet.Machines()[n]
}

// touched is what was done to a machine through its BMC.
func (r *rack) touched(m *fleet.Machine) []simbmc.Entry {
	return r.journal.Entries(m.Name, simbmc.KindPower, simbmc.KindPowerError, simbmc.KindBoot, simbmc.KindMedia, fleet.KindErase, fleet.KindWriteBegin)
}

// disk is the operating system's image.
var disk = sync.OnceValue(func() []byte {
	b := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b) // never fails
	return b
})

func diskSum() string {
	sum := sha256.Sum256(disk())
	return hex.EncodeToString(sum[:])
}

// hostOf is a BareMetalHost and the machine that it stands for.
type hostOf struct {
	client.ObjectKey
	machine *fleet.Machine
	secret  string
}

// namespace makes a new one.
func (s *site) namespace(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("test-%d", shared.spaces.Add(1))
	must(t, s.admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}))
	return name
}

// enrol makes a BareMetalHost as an administrator does.
func (s *site) enrol(t *testing.T, r *rack, namespace string, change ...func(*metal3.BareMetalHost)) hostOf {
	t.Helper()
	m := r.machine(t)
	h := hostOf{ObjectKey: client.ObjectKey{Namespace: namespace, Name: m.Name}, machine: m, secret: m.Name + "-bmc"}
	must(t, s.admin.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: h.secret},
		StringData: map[string]string{"username": m.Username, "password": m.Password},
	}))
	b := &metal3.BareMetalHost{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: m.Name},
		Spec: metal3.BareMetalHostSpec{
			Online: true, BootMACAddress: m.MAC,
			BMC: metal3.BMCDetails{Address: m.Address, CredentialsName: h.secret, DisableCertificateVerification: m.Insecure},
		},
	}
	for _, c := range change {
		c(b)
	}
	must(t, s.admin.Create(t.Context(), b))
	return h
}

// get reads a host.
func (s *site) get(t *testing.T, h hostOf) *metal3.BareMetalHost {
	t.Helper()
	b := &metal3.BareMetalHost{}
	must(t, s.admin.Get(t.Context(), h.ObjectKey, b))
	return b
}

// await waits until a host is as wanted.
func (s *site) await(t *testing.T, h hostOf, what string, ok func(*metal3.BareMetalHost) bool) *metal3.BareMetalHost {
	t.Helper()
	b := &metal3.BareMetalHost{}
	until(t, fmt.Sprintf("%s to be %s", h, what), func() (bool, error) {
		if err := s.admin.Get(t.Context(), h.ObjectKey, b); err != nil {
			return false, err
		}
		return ok(b), nil
	}, func() string {
		return fmt.Sprintf("state %q, error %q, on %t", b.Status.Provisioning.State, b.Status.ErrorMessage, b.Status.PoweredOn)
	})
	return b
}

func (s *site) awaitState(t *testing.T, h hostOf, want metal3.ProvisioningState) *metal3.BareMetalHost {
	t.Helper()
	return s.await(t, h, string(want), func(b *metal3.BareMetalHost) bool { return b.Status.Provisioning.State == want })
}

// until looks again and again. Errors of which the caller says nothing end it.
func until(t *testing.T, what string, look func() (bool, error), last func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		ok, err := look()
		if err != nil {
			t.Fatalf("waiting for %s: %v", what, err)
		}
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited %s for %s; last seen: %s", patience, what, last())
		}
	}
}

func nothing() string { return "nothing" }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
