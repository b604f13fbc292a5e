package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ingot-metal/ingot/e2e/rig"
)

// rackArg makes this program the BMCs, for another that polls them. Their port is
// the first line of output. After that it answers each line of input with one of
// JSON that sums up what was asked so far; the line "flip N" switches every Nth
// machine first. It ends with its input.
const rackArg = "rack"

// maxBMCs is what two bytes of an address in 127.0.0.0/8 tell apart.
const maxBMCs = 60000

// addressOf the BMC with a number: 127.77.x.y.
func addressOf(i int) netip.Addr { return netip.AddrFrom4([4]byte{127, 77, byte(i >> 8), byte(i)}) }

// asked is what all BMCs were asked so far.
type asked struct {
	Requests, Polls, Logins, Refused int64
	Full, Resumed                    int64 // handshakes
	Open, MostOpen                   int64 // connections
}

// rack is all BMCs. One listener and one server serve them: a BMC is the local
// address that a connection came to, so that ten thousand cost little memory.
type rack struct {
	requests, polls, logins, refused atomic.Int64
	full, resumed                    atomic.Int64
	open, mostOpen                   atomic.Int64
	on, off, root                    []byte

	mu     sync.Mutex
	tokens map[netip.Addr]string // the live session of each
	flip   int
}

const (
	sessionsPath = "/redfish/v1/SessionService/Sessions"
	systemPath   = "/redfish/v1/Systems/1"
	username     = "admin"
	password     = "ingot-poll"
)

func runRack(ctx context.Context, in io.Reader, out io.Writer) error {
	r := &rack{tokens: map[netip.Addr]string{}, on: system("On"), off: system("Off"), root: root()}
	conf, err := factoryTLS(r)
	if err != nil {
		return err
	}
	// Bound to the loopback device, since it has to be open on all addresses.
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if e := c.Control(func(fd uintptr) { err = syscall.BindToDevice(int(fd), "lo") }); e != nil {
			return e
		}
		return err
	}}
	ln, err := lc.Listen(ctx, "tcp4", "0.0.0.0:0")
	if err != nil {
		return err
	}
	srv := &http.Server{
		Handler: r, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: log.New(io.Discard, "", 0), TLSConfig: conf,
		ConnState: func(_ net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				r.most(r.open.Add(1))
			case http.StateClosed, http.StateHijacked:
				r.open.Add(-1)
			}
		},
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(tls.NewListener(ln, conf)) }()
	defer srv.Close()
	if _, err := fmt.Fprintln(out, ln.Addr().(*net.TCPAddr).Port); err != nil {
		return err
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(in); s.Scan(); {
			lines <- s.Text()
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-ended:
			return err
		case line, more := <-lines:
			if !more {
				return nil
			}
			var n int
			if _, err := fmt.Sscanf(line, "flip %d", &n); err == nil {
				r.mu.Lock()
				r.flip = n
				r.mu.Unlock()
			}
			if err := json.NewEncoder(out).Encode(r.sum()); err != nil {
				return err
			}
		}
	}
}

func (r *rack) most(n int64) {
	for {
		old := r.mostOpen.Load()
		if n <= old || r.mostOpen.CompareAndSwap(old, n) {
			return
		}
	}
}

func (r *rack) sum() asked {
	return asked{
		Requests: r.requests.Load(), Polls: r.polls.Load(), Logins: r.logins.Load(), Refused: r.refused.Load(),
		Full: r.full.Load(), Resumed: r.resumed.Load(), Open: r.open.Load(), MostOpen: r.mostOpen.Load(),
	}
}

func (r *rack) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.requests.Add(1)
	local, ok := q.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	at := local.AddrPort().Addr().Unmap()
	h := w.Header()
	h.Set("OData-Version", "4.0")
	h.Set("Content-Type", "application/json; charset=utf-8")
	switch path := strings.TrimRight(q.URL.Path, "/"); {
	case path == "/redfish/v1" && q.Method == http.MethodGet:
		_, _ = w.Write(r.root)
	case path == sessionsPath && q.Method == http.MethodPost:
		r.login(w, q, at)
	case !r.knows(at, q.Header.Get("X-Auth-Token")):
		r.refused.Add(1)
		w.WriteHeader(http.StatusUnauthorized)
	case path == systemPath && q.Method == http.MethodGet:
		r.polls.Add(1)
		h.Set("ETag", `W/"1"`)
		if r.isOff(at) {
			_, _ = w.Write(r.off)
			return
		}
		_, _ = w.Write(r.on)
	case q.Method == http.MethodDelete && strings.HasPrefix(path, sessionsPath):
		w.WriteHeader(http.StatusNoContent)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (r *rack) login(w http.ResponseWriter, q *http.Request, at netip.Addr) {
	var in struct{ UserName, Password string }
	if err := json.NewDecoder(io.LimitReader(q.Body, 4<<10)).Decode(&in); err != nil || in.UserName != username || in.Password != password {
		r.refused.Add(1)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	r.logins.Add(1)
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // never fails (crypto/rand)
	token := hex.EncodeToString(raw)
	r.mu.Lock()
	r.tokens[at] = token
	r.mu.Unlock()
	w.Header().Set("X-Auth-Token", token)
	w.Header().Set("Location", sessionsPath+"/1")
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, `{"@odata.id": "`+sessionsPath+`/1", "Id": "1"}`)
}

func (r *rack) knows(at netip.Addr, token string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return token != "" && r.tokens[at] == token
}

// isOff says whether a machine was switched off behind the poller's back.
func (r *rack) isOff(at netip.Addr) bool {
	b := at.As4()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.flip > 0 && (int(b[2])<<8|int(b[3]))%r.flip == 0
}

// factoryTLS is a certificate as BMCs bring it from the factory: RSA, self-signed.
func factoryTLS(r *rack) (*tls.Config, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "BMC"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		VerifyConnection: func(s tls.ConnectionState) error {
			if s.DidResume {
				r.resumed.Add(1)
			} else {
				r.full.Add(1)
			}
			return nil
		},
	}, nil
}

func root() []byte {
	return []byte(`{"@odata.id": "/redfish/v1/", "Id": "RootService", "Name": "Root Service", "RedfishVersion": "1.17.0",
"Systems": {"@odata.id": "/redfish/v1/Systems"}, "Managers": {"@odata.id": "/redfish/v1/Managers"},
"SessionService": {"@odata.id": "/redfish/v1/SessionService"}, "Links": {"Sessions": {"@odata.id": "` + sessionsPath + `"}}}`)
}

// system is a ComputerSystem of the size that big vendors send: with OEM
// properties, 8 KB.
func system(power string) []byte {
	var b bytes.Buffer
	b.WriteString(`{"@odata.type": "#ComputerSystem.v1_20_1.ComputerSystem", "@odata.id": "` + systemPath + `", "Id": "1", "Name": "System",
"SystemType": "Physical", "Manufacturer": "ingot", "Model": "poll", "SerialNumber": "S1", "UUID": "38947555-7742-3448-3784-823347823834",
"Boot": {"BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": "None", "BootSourceOverrideMode": "UEFI",
"BootSourceOverrideTarget@Redfish.AllowableValues": ["None", "Pxe", "Hdd", "Cd", "BiosSetup", "UefiHttp", "UefiTarget", "SDCard"]},
"EthernetInterfaces": {"@odata.id": "` + systemPath + `/EthernetInterfaces"}, "Links": {"ManagedBy": [{"@odata.id": "/redfish/v1/Managers/1"}]},
"Actions": {"#ComputerSystem.Reset": {"target": "` + systemPath + `/Actions/ComputerSystem.Reset",
"ResetType@Redfish.AllowableValues": ["On", "ForceOff", "ForceRestart", "GracefulRestart", "GracefulShutdown", "PushPowerButton", "Nmi", "PowerCycle"]}},
"Oem": {"Vendor": {"System": {`)
	for i := range 110 {
		fmt.Fprintf(&b, `"VendorPropertyNumber%03d": "a value of some length %03d", `, i, i)
	}
	b.WriteString(`"Last": 1}}}, "PowerState": "` + power + `", "Status": {"Health": "OK", "HealthRollup": "OK", "State": "Enabled"}}`)
	return b.Bytes()
}

// rackChild is the other side of runRack.
type rackChild struct {
	process *rig.Process
	port    int
	ask     io.WriteCloser
	out     *bufio.Reader
}

func startRack() (*rackChild, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &rackChild{}
	cmd := exec.Command(self, rackArg)
	cmd.Stderr = os.Stderr
	if c.ask, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReader(out)
	if c.process, err = rig.Start(cmd); err != nil {
		return nil, err
	}
	if _, err := fmt.Fscanln(c.out, &c.port); err != nil {
		c.stop()
		return nil, fmt.Errorf("the BMCs did not start: %w", err)
	}
	return c, nil
}

func (c *rackChild) stop() { c.process.Stop(10 * time.Second) }

// tell sends a line and returns what was asked so far.
func (c *rackChild) tell(line string) (asked, error) {
	var a asked
	if _, err := io.WriteString(c.ask, line+"\n"); err != nil {
		return a, fmt.Errorf("the BMCs are gone: %w", err)
	}
	text, err := c.out.ReadBytes('\n')
	if err != nil {
		return a, errors.Join(errors.New("the BMCs are gone"), err)
	}
	return a, json.Unmarshal(text, &a)
}
