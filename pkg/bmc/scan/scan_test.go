package scan

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
	"github.com/ingot-metal/ingot/pkg/lab/sushytools"
	"github.com/ingot-metal/ingot/pkg/lab/virtualbmc"
)

func TestRange(t *testing.T) {
	for _, tc := range []struct {
		prefix string
		public bool
		want   int
		err    string
	}{
		{prefix: "10.0.0.0/24", want: 254},
		{prefix: "10.0.0.77/24", want: 254},
		{prefix: "192.168.0.0/16", want: 65534},
		{prefix: "10.0.0.0/15", err: "more than 65536"},
		{prefix: "10.0.0.5/32", want: 1},
		{prefix: "10.0.0.4/31", want: 2},
		{prefix: "100.64.0.0/24", want: 254},
		{prefix: "169.254.0.0/24", want: 254},
		{prefix: "127.0.0.0/28", want: 14},
		{prefix: "192.0.2.0/24", err: "not private"},
		{prefix: "192.0.2.0/24", public: true, want: 254},
		{prefix: "0.0.0.0/0", public: true, err: "more than 65536"},
		{prefix: "fd00::/112", want: 65536},
		{prefix: "fd00::/64", err: "more than 65536"},
		{prefix: "2001:db8::/120", err: "not private"},
	} {
		t.Run(tc.prefix, func(t *testing.T) {
			got, err := Range(netip.MustParsePrefix(tc.prefix), tc.public)
			if got != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%d, %v", got, err)
			}
		})
	}
}

// rack is some addresses of loopback with a BMC each, on the same ports.
type rack struct {
	t          *testing.T
	port, ipmi int
}

// newRack finds ports that are free on all of the addresses.
func newRack(t *testing.T) *rack {
	t.Helper()
	r := &rack{t: t}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.port, r.ipmi = ln.Addr().(*net.TCPAddr).Port, udp.LocalAddr().(*net.UDPAddr).Port
	ln.Close()
	udp.Close()
	return r
}

func (r *rack) redfish(last int, h http.Handler, secure bool) {
	r.t.Helper()
	ln, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.%d:%d", last, r.port))
	if err != nil {
		r.t.Skipf("loopback has one address here: %v", err)
	}
	srv := httptest.NewUnstartedServer(h)
	srv.Listener.Close()
	srv.Listener = ln
	if secure {
		srv.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11} //nolint:gosec // as old BMCs
		srv.StartTLS()
	} else {
		srv.Start()
	}
	r.t.Cleanup(srv.Close)
}

func (r *rack) udp(last int, serve func(context.Context, net.PacketConn) error) {
	r.t.Helper()
	conn, err := net.ListenPacket("udp4", fmt.Sprintf("127.0.0.%d:%d", last, r.ipmi))
	if err != nil {
		r.t.Skipf("loopback has one address here: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = serve(ctx, conn) }()
	r.t.Cleanup(func() { cancel(); conn.Close(); <-done })
}

func machine(n int) *simbmc.Memory {
	return simbmc.NewMemory(simbmc.Info{UUID: fmt.Sprintf("6b6c1f0e-52a1-4d0c-9a61-0f0c33aa11%02d", n), Name: fmt.Sprintf("m%d", n), MACs: []string{"52:54:00:00:00:01"}}, simbmc.ModeUEFI, nil, nil)
}

// dell is a BMC that says it is one, and counts what it is sent.
type dell struct {
	mu       sync.Mutex
	password string
	tries    []string
}

func (d *dell) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.TrimRight(r.URL.Path, "/") == "/redfish/v1" {
		fmt.Fprint(w, `{"@odata.type": "#ServiceRoot.v1_6_0.ServiceRoot", "RedfishVersion": "1.9.0", "Vendor": "Dell", "Product": "Integrated Dell Remote Access Controller", "Oem": {"Dell": {}}}`)
		return
	}
	user, pass, _ := r.BasicAuth()
	d.mu.Lock()
	d.tries = append(d.tries, r.Method+" "+r.URL.Path+" "+user)
	d.mu.Unlock()
	switch {
	case pass != d.password:
		w.WriteHeader(http.StatusUnauthorized)
	case r.URL.Path == "/redfish/v1/Systems":
		fmt.Fprint(w, `{"Members": [{"@odata.id": "/redfish/v1/Systems/System.Embedded.1"}, {"@odata.id": "http://elsewhere/"}]}`)
	default:
		fmt.Fprint(w, `{"Manufacturer": "Dell Inc.", "Model": "PowerEdge R750\u001b[31m", "SerialNumber": "CN1"}`)
	}
}

func TestRun(t *testing.T) {
	r := newRack(t)
	emulator, err := sushytools.New(sushytools.Options{}, machine(2))
	if err != nil {
		t.Fatal(err)
	}
	r.redfish(2, emulator, false)
	factory, changed := &dell{password: "calvin"}, &dell{password: "changed"}
	r.redfish(3, factory, true)
	r.redfish(4, changed, true)
	r.redfish(5, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>a printer</html>") }), false)
	r.redfish(6, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Redirect(w, &http.Request{Method: http.MethodGet}, "http://127.0.0.2/", http.StatusFound)
	}), false)
	vbmc, err := virtualbmc.New(machine(7), virtualbmc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r.udp(7, vbmc.Serve) // knows no ASF
	r.udp(8, simbmc.New(machine(8), simbmc.Config{Username: "u", Password: "p"}).ServeIPMI)
	r.udp(9, pong(0x81))
	r.udp(10, pong(0x01)) // ASF without IPMI
	r.udp(3, pong(0x81))

	var progress []string
	o := Options{
		Ports: []int{r.port}, IPMIPort: r.ipmi, Rate: 1000, Timeout: 2 * time.Second,
		Progress: func(done, total, found int) { progress = append(progress, fmt.Sprint(done, "/", total, " ", found)) },
	}
	got, err := Run(t.Context(), netip.MustParsePrefix("127.0.0.0/28"), o)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range got {
		line := f.Addr.String()
		if f.Service != nil {
			line += fmt.Sprintf(" redfish %s tls=%t %s %s", f.Service.Version, f.Service.TLS, f.Service.Vendor, f.Service.Product)
		}
		if f.IPMI == r.ipmi {
			line += " ipmi"
		}
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"127.0.0.2 redfish 1.5.0 tls=false",
		"127.0.0.3 redfish 1.9.0 tls=true Dell Integrated Dell Remote Access Controller ipmi",
		"127.0.0.4 redfish 1.9.0 tls=true Dell Integrated Dell Remote Access Controller",
		"127.0.0.7 ipmi", "127.0.0.8 ipmi", "127.0.0.9 ipmi",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	if n := len(progress); n != 14 || progress[n-1] != "14/14 6" {
		t.Errorf("progress %v", progress)
	}
	if len(factory.tries)+len(changed.tries) != 0 {
		t.Errorf("credentials or more were sent unasked: %v %v", factory.tries, changed.tries)
	}

	o.Factory, o.Progress, o.IPMIPort = true, nil, -1
	got, err = Run(t.Context(), netip.MustParsePrefix("127.0.0.0/28"), o)
	if err != nil {
		t.Fatal(err)
	}
	logins := map[string]*Login{}
	for _, f := range got {
		logins[f.Addr.String()] = f.Login
	}
	root := Accounts()[0]
	if diff := cmp.Diff(map[string]*Login{
		"127.0.0.2": {Outcome: NoAccount},
		"127.0.0.3": {Outcome: Accepted, Account: root, Systems: []System{{URI: "/redfish/v1/Systems/System.Embedded.1", Manufacturer: "Dell Inc.", Model: "PowerEdge R750[31m", Serial: "CN1"}}},
		"127.0.0.4": {Outcome: Refused, Account: root},
	}, logins, cmpopts.IgnoreUnexported(Account{})); diff != "" {
		t.Errorf("logins (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"GET /redfish/v1/Systems root"}, changed.tries); diff != "" {
		t.Errorf("one try and no more (-want +got):\n%s", diff)
	}
}

// pong answers a Presence Ping as DSP0136 §3.2.4.2 has it.
func pong(entities byte) func(context.Context, net.PacketConn) error {
	return func(_ context.Context, conn net.PacketConn) error {
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return err
			}
			if n == len(asfPing) && buf[3] == 0x06 {
				_, _ = conn.WriteTo([]byte{
					0x06, 0, 0xff, 0x06, 0, 0, 0x11, 0xbe, 0x40, buf[9], 0, 0x10,
					0, 0, 0x11, 0xbe, 0, 0, 0, 0, entities, 0, 0, 0, 0, 0, 0, 0,
				}, from)
			}
		}
	}
}

// What was found before an interruption is not lost.
func TestInterrupted(t *testing.T) {
	r := newRack(t)
	r.redfish(1, &dell{}, true)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got, err := Run(ctx, netip.MustParsePrefix("127.0.0.0/24"), Options{
		Ports: []int{r.port}, IPMIPort: -1, Rate: 50, Timeout: time.Second,
		Progress: func(_, _, found int) {
			if found == 1 {
				cancel()
			}
		},
	})
	if !errors.Is(err, context.Canceled) || len(got) != 1 {
		t.Errorf("%d found, %v", len(got), err)
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"RedfishVersion": "1.0.0", "Oem": {"Hpe": {}}, "Vendor": 7}`))
	f.Add([]byte{0x06, 0, 0xff, 0x06, 0, 0, 0x11, 0xbe, 0x40, 0, 0, 0x10, 0, 0, 0x11, 0xbe, 0, 0, 0, 0, 0x81})
	f.Fuzz(func(t *testing.T, b []byte) {
		isIPMI(b)
		if s, ok := parseRoot(b, 443, true); ok && len(s.Vendor)+len(s.Product)+len(s.Version)+len(s.UUID) > 4*maxWord {
			t.Errorf("%+v", s)
		}
	})
}
