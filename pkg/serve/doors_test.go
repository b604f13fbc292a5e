package serve

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	authn "k8s.io/api/authentication/v1"
	authz "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/auth"
	"github.com/ingot-metal/ingot/pkg/blob"
	"github.com/ingot-metal/ingot/pkg/controller"
	"github.com/ingot-metal/ingot/pkg/engine"
	"github.com/ingot-metal/ingot/pkg/httpboot"
	"github.com/ingot-metal/ingot/pkg/ipxe"
	"github.com/ingot-metal/ingot/pkg/shard"
)

// machines are what is ordered, by MAC.
type machines map[string]controller.Boot

func (m machines) BootOf(mac net.HardwareAddr) controller.Boot { return m[mac.String()] }

func (machines) Restored() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// starting is a service that does not know its hosts yet.
type starting struct{ machines }

func (starting) Restored() <-chan struct{} { return nil }

func newCA(t *testing.T) *auth.CA {
	t.Helper()
	ca, err := auth.NewCA(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func TestScripts(t *testing.T) {
	const pin = "0123456789abcdef"
	host := types.NamespacedName{Namespace: "rack", Name: "w1"}
	known := machines{
		"52:54:00:00:00:01": {Host: host, Known: true, ID: "boot-1"},
		"52:54:00:00:00:02": {Host: host, Known: true},
	}
	s := &scripts{
		others:   func() []string { return []string{"https://10.77.0.2:6183"} },
		networks: &controller.Networks{}, pin: pin, flavour: "server", console: "ttyS0", httpPort: 6180, httpsPort: 6183,
	}
	at := func(addr string) context.Context {
		return context.WithValue(t.Context(), http.LocalAddrContextKey, net.Addr(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))))
	}
	ask := func(ctx context.Context, last byte) (string, error) {
		b, err := s.Script(ctx, net.HardwareAddr{0x52, 0x54, 0, 0, 0, last}, netip.Addr{})
		return string(b), err
	}
	// A machine that boots during our start is not sent away as a stranger.
	s.hosts = starting{}
	gone, cancel := context.WithCancel(at("10.77.0.1:6180"))
	cancel()
	if _, err := ask(gone, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("before the hosts are known: %v", err)
	}
	s.hosts = known
	if got, err := ask(at("10.77.0.1:6180"), 9); !errors.Is(err, httpboot.ErrUnknown) || got != "" {
		t.Errorf("a stranger is told %q, %v", got, err)
	}
	if got, err := ask(at("10.77.0.1:6180"), 2); err != nil || got != string(ipxe.Exit()) {
		t.Errorf("a machine of which nothing is wanted is told %q, %v", got, err)
	}
	got, err := ask(at("10.77.0.1:6180"), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"http://10.77.0.1:6180/boot/kernel/server", "http://10.77.0.1:6180/boot/initrd/server", "ingot.url=https://10.77.0.1:6183,https://10.77.0.2:6183",
		"ingot.ca=" + pin, "ingot.boot=boot-1", "ingot.mac=52:54:00:00:00:01", "console=ttyS0", "panic=10",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the script lacks %s:\n%s", want, got)
		}
	}
	// The machine is answered with the address that it came to.
	if got, err := ask(at("[::ffff:192.0.2.7]:6180"), 1); err != nil || !strings.Contains(got, "ingot.url=https://192.0.2.7:6183") {
		t.Errorf("at another address: %v\n%s", err, got)
	}
	if _, err := ask(t.Context(), 1); err == nil {
		t.Error("a script without an address of ours")
	}
}

func TestAddresses(t *testing.T) {
	a := addresses{machines{"52:54:00:00:00:01": {Host: types.NamespacedName{Name: "w1"}, Known: true}}}
	if r, ok := a.Lookup(t.Context(), net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}); !ok || r.Hostname != "w1" {
		t.Errorf("known: %+v, %v", r, ok)
	}
	if r, ok := a.Lookup(t.Context(), net.HardwareAddr{0x52, 0x54, 0, 0, 0, 2}); ok {
		t.Errorf("a stranger gets %+v", r)
	}
}

// The door proves itself by whichever of our addresses a client came to, and
// takes certificates of our own authority and of the API's alone.
func TestDoorTLS(t *testing.T) {
	ca, kube, other := newCA(t), newCA(t), newCA(t)
	l, err := tls.Listen("tcp4", "0.0.0.0:0", doorTLS(ca, kube.Certificate()))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%d certificates", len(r.TLS.PeerCertificates))
		}),
	}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close() })
	pool := x509.NewCertPool()
	pool.AddCert(ca.Certificate())
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	get := func(ip string, from *auth.CA) (string, *x509.Certificate, error) {
		cfg := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
		if from != nil {
			cert, err := from.Server([]net.IP{net.IPv4(1, 1, 1, 1)}, nil) // a key pair is a key pair
			if err != nil {
				t.Fatal(err)
			}
			cfg.Certificates = []tls.Certificate{*cert}
		}
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: cfg}, Timeout: 20 * time.Second}
		defer c.CloseIdleConnections()
		resp, err := c.Get("https://" + net.JoinHostPort(ip, port))
		if err != nil {
			return "", nil, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return string(body), resp.TLS.PeerCertificates[0], err
	}
	serials := map[string]string{}
	for _, ip := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.1"} {
		body, leaf, err := get(ip, nil)
		if err != nil || body != "0 certificates" {
			t.Fatalf("%s: %q, %v", ip, body, err)
		}
		if was, ok := serials[ip]; ok && was != leaf.SerialNumber.String() {
			t.Errorf("%s: another certificate each time", ip)
		}
		serials[ip] = leaf.SerialNumber.String()
	}
	if serials["127.0.0.1"] == serials["127.0.0.2"] {
		t.Error("one certificate for two addresses")
	}
	if _, _, err := get("127.0.0.1", other); err == nil {
		t.Error("a certificate of a foreign authority is let in")
	}
}

// api answers token and access reviews.
func api(t *testing.T) client.Client {
	t.Helper()
	scheme, err := Scheme()
	if err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			switch o := o.(type) {
			case *authn.TokenReview:
				o.Status.Authenticated = o.Spec.Token == "good" || o.Spec.Token == "reader" || o.Spec.Token == "other"
				o.Status.User.Username = o.Spec.Token
				return nil
			case *authz.SubjectAccessReview:
				ra := o.Spec.ResourceAttributes
				if ra.Resource == "consoles" && ra.Namespace == "rack" {
					o.Status.Allowed = ra.Verb == "get" && o.Spec.User != "other" || ra.Verb == "create" && o.Spec.User == "good"
					return nil
				}
				o.Status.Allowed = o.Spec.User == "good" && ra.Group == "ingot.dev" && (ra.Verb+" "+ra.Resource == "create blobs" || ra.Verb+" "+ra.Resource == "watch progress")
				return nil
			}
			return c.Create(ctx, o, opts...)
		},
	}).Build()
}

func TestOperators(t *testing.T) {
	store, err := blob.Open(t.TempDir(), blob.Options{Quota: 1000})
	if err != nil {
		t.Fatal(err)
	}
	hub := &engine.Hub{}
	hub.Set("rack/w1", engine.Progress{Step: "write", Done: 1, Total: 2})
	mux := http.NewServeMux()
	ops := &operators{kube: auth.Kube{Client: api(t)}, store: store, hub: hub, base: "http://10.77.0.1:6180"}
	ops.register(mux)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	do := func(method, path, token, body string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", token)
		}
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	for _, tc := range []struct {
		name, method, path, token, body string
		want                            int
	}{
		{name: "upload by nobody", method: "POST", path: "/blobs/v1", want: http.StatusUnauthorized},
		{name: "progress for nobody", method: "GET", path: "/progress/v1", want: http.StatusUnauthorized},
		{name: "an empty token", method: "POST", path: "/blobs/v1", token: "Bearer ", want: http.StatusUnauthorized},
		{name: "another scheme", method: "POST", path: "/blobs/v1", token: "Basic good", want: http.StatusUnauthorized},
		{name: "an unknown token", method: "POST", path: "/blobs/v1", token: "Bearer bad", want: http.StatusUnauthorized},
		{name: "one who may not", method: "POST", path: "/blobs/v1", token: "Bearer reader", want: http.StatusForbidden},
		{name: "one who may", method: "POST", path: "/blobs/v1", token: "Bearer good", body: "bytes", want: http.StatusCreated},
		{name: "over the quota", method: "POST", path: "/blobs/v1", token: "Bearer good", body: strings.Repeat("x", 2000), want: http.StatusInsufficientStorage},
	} {
		t.Run(tc.name, func(t *testing.T) {
			resp := do(tc.method, tc.path, tc.token, tc.body)
			if resp.StatusCode != tc.want {
				body, _ := io.ReadAll(resp.Body)
				t.Errorf("status %d, want %d: %s", resp.StatusCode, tc.want, body)
			}
			if tc.want != http.StatusCreated {
				return
			}
			var got struct {
				Digest, URL string
				Size        int64
			}
			if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
				t.Fatal(err)
			}
			d := blob.DigestOf([]byte(tc.body))
			if got.Digest != "sha256:"+string(d) || got.URL != "http://10.77.0.1:6180/images/sha256/"+string(d) || got.Size != 5 {
				t.Errorf("answer %+v", got)
			}
			if f, n, err := (publicBlobs{store}).Open(t.Context(), string(d)); err != nil || n != 5 {
				t.Errorf("the boot door has %d bytes, %v", n, err)
			} else {
				f.Close()
			}
		})
	}
	for _, name := range []string{"", "../../etc/passwd", strings.Repeat("0", 64)} {
		if _, _, err := (publicBlobs{store}).Open(t.Context(), name); !errors.Is(err, httpboot.ErrUnknown) {
			t.Errorf("blob %q: %v", name, err)
		}
	}
	resp := do("GET", "/progress/v1", "Bearer good", "")
	lines := bufio.NewScanner(resp.Body)
	next := func() (text string) {
		if !lines.Scan() {
			t.Fatalf("the stream ended: %v", lines.Err())
		}
		return lines.Text()
	}
	if got := next(); !strings.Contains(got, `"host":"rack/w1"`) || !strings.Contains(got, `"done":1`) || next() != "" {
		t.Errorf("the first picture is %s", got)
	}
	hub.Set("rack/w1", engine.Progress{Step: "write", Done: 2, Total: 2})
	if got := next(); !strings.Contains(got, `"done":2`) {
		t.Errorf("the second picture is %s", got)
	}
}

// A certificate of the API's own administrators opens without being asked about.
func TestClientCertificates(t *testing.T) {
	kube := newCA(t)
	leaf := &x509.Certificate{}
	leaf.Subject.CommonName, leaf.Subject.Organization = "admin", []string{"system:masters"}
	k := auth.Kube{Client: api(t), ClientCA: kube.Certificate()}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/blobs/v1", http.NoBody)
	r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf, kube.Certificate()}}}
	if err := k.Allow(t.Context(), r, "create", "blobs", "", ""); err != nil {
		t.Errorf("an administrator: %v", err)
	}
	leaf.Subject.Organization = nil
	if err := k.Allow(t.Context(), r, "create", "blobs", "", ""); err == nil || errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("a user without a role: %v", err)
	}
	// An agent's certificate is of our own authority, and no user's.
	r.TLS.VerifiedChains[0][1] = newCA(t).Certificate()
	leaf.Subject.Organization = []string{"system:masters"}
	if err := k.Allow(t.Context(), r, "create", "blobs", "", ""); !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("a certificate of another authority: %v", err)
	}
}

func TestFirstBootReport(t *testing.T) {
	ca := newCA(t)
	scheme, err := Scheme()
	if err != nil {
		t.Fatal(err)
	}
	b := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "w1", UID: "u1"}}
	b.Status.Provisioning.State = metal3.StateProvisioned
	idle := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "idle", UID: "u2"}}
	hr := &v1alpha1.HostRecord{ObjectMeta: b.ObjectMeta}
	hr.Status.FirstBoot = &v1alpha1.FirstBoot{Hostname: "before"}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(b, hr, idle).Build()
	f := firstBoot{hosts: &controller.Hosts{Shares: shard.Sole(1), Client: c}, ca: ca}
	token := func(b *metal3.BareMetalHost) string { return ca.Token(engine.FirstBootPurpose(b)) }
	for _, tc := range []struct {
		name, body string
		want       int
	}{
		{name: "no JSON", body: "{", want: http.StatusBadRequest},
		{name: "no namespace", body: `{"host":"w1"}`, want: http.StatusBadRequest},
		{name: "a host name without end", body: `{"host":"rack/w1","hostname":"` + strings.Repeat("x", 254) + `"}`, want: http.StatusBadRequest},
		{name: "too long", body: `{"host":"` + strings.Repeat("x", maxReport) + `"}`, want: http.StatusBadRequest},
		{name: "no token", body: `{"host":"rack/w1"}`, want: http.StatusForbidden},
		{name: "another's token", body: `{"host":"rack/w1","token":"` + token(idle) + `"}`, want: http.StatusForbidden},
		{name: "no such host", body: `{"host":"rack/w9","token":"x"}`, want: http.StatusForbidden},
		{name: "a host that has no system", body: `{"host":"rack/idle","token":"` + token(idle) + `"}`, want: http.StatusForbidden},
		{name: "a second report", body: `{"host":"rack/w1","token":"` + token(b) + `"}`, want: http.StatusConflict},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			f.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, engine.FirstBootPath, strings.NewReader(tc.body)))
			if w.Code != tc.want {
				t.Errorf("status %d, want %d: %s", w.Code, tc.want, w.Body)
			}
		})
	}
}

func TestLoaderURL(t *testing.T) {
	for at, want := range map[netip.Addr]string{
		{}:                               "",
		netip.MustParseAddr("10.77.0.1"): "http://10.77.0.1:6180/boot/file/ipxe.efi",
		netip.MustParseAddr("fd00::1"):   "http://[fd00::1]:6180/boot/file/ipxe.efi",
	} {
		if got := loaderURL(at, 6180); got != want {
			t.Errorf("loaderURL(%v) = %q, want %q", at, got, want)
		}
	}
}
