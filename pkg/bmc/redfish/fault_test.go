package redfish

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// atSystem makes a fault that strikes at reads of the system.
func atSystem(h http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != sysPath {
			return false
		}
		h(w, r)
		return true
	}
}

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}
}

func TestFaults(t *testing.T) {
	extended := func(id string) string {
		return `{"error": {"@Message.ExtendedInfo": [{"MessageId": "` + id + `", "Message": "what the BMC says"}]}}`
	}
	for _, tc := range []struct {
		name  string
		fault http.HandlerFunc
		class bmc.Class
		code  string
		part  string
	}{
		{name: "busy", fault: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "30")
			w.WriteHeader(http.StatusServiceUnavailable)
		}, class: bmc.Busy},
		{name: "conflict", fault: status(409, ""), class: bmc.Busy},
		{name: "too many requests", fault: status(429, ""), class: bmc.Busy},
		{name: "post busy", fault: status(400, extended("iLO.2.14.InvalidOperationForSystemState")), class: bmc.Busy, part: "what the BMC says"},
		{name: "one message, no list", fault: status(400, `{"error": {"@Message.ExtendedInfo": {"MessageId": "SYS518"}}}`), class: bmc.Busy},
		{name: "bad request", fault: status(400, extended("Base.1.5.PropertyUnknown")), class: bmc.BadRequest, part: "what the BMC says"},
		{name: "etag wanted", fault: status(400, extended("Ami.1.0.PreconditionHeaderMissing")), class: bmc.Precondition},
		{name: "role", fault: status(403, extended("Base.1.5.InsufficientPrivilege")), class: bmc.Forbidden},
		{name: "licence", fault: status(403, extended("SMC.1.0.OemLicenseNotPassed")), class: bmc.Forbidden, code: bmc.CodeLicence},
		{name: "password expired", fault: status(403, extended("Base.1.5.PasswordChangeRequired")), class: bmc.Auth, code: bmc.CodePasswordChange},
		// quadsproject/badfish #129: an FC640 with iDRAC 4.00.00.00, GET /redfish/v1/Systems.
		{name: "not ready (iDRAC)", fault: status(400, `{"error": {"@Message.ExtendedInfo": [{"Message": "iDRAC is not ready. The configuration values cannot be accessed. Please retry after a few minutes.", "MessageArgs": [], "MessageArgs@odata.count": 0, "MessageId": "IDRAC.1.6.SWC0700", "RelatedProperties": []}]}}`), class: bmc.Busy, part: "is not ready"},
		{name: "not ready, as a 500", fault: status(500, extended("IDRAC.2.2.SWC0700")), class: bmc.Busy},
		{name: "a job waits (Dell; no capture at hand)", fault: status(400, extended("IDRAC.1.6.SYS011")), class: bmc.Busy},
		// openbmc/bmcweb, error_messages.cpp addMessageToJson: beside the property's name.
		{name: "messages at the top", fault: status(400, `{"Destination@Message.ExtendedInfo": [{"MessageId": "Base.1.13.PropertyValueFormatError", "Message": "what the BMC says"}]}`), class: bmc.BadRequest, part: "what the BMC says"},
		{name: "messages at the top count", fault: status(400, `{"@Message.ExtendedInfo": [{"MessageId": "Base.1.13.ResourceInUse"}], "x@Message.ExtendedInfo": 7}`), class: bmc.Busy},
		{name: "server error", fault: status(500, "<html>oops</html>"), class: bmc.Transient, part: "HTTP 500"},
		{name: "gateway", fault: status(502, ""), class: bmc.Transient},
		{name: "not modified", fault: status(304, ""), class: bmc.Protocol},
		{name: "malformed", fault: status(200, `{"PowerState": "On"`), class: bmc.Protocol, part: "no JSON"},
		{name: "html", fault: status(200, `<html>login</html>`), class: bmc.Protocol, part: "no JSON"},
		{name: "empty", fault: status(200, ``), class: bmc.Protocol},
		{name: "another resource", fault: status(200, `[]`), class: bmc.Protocol, part: "no ComputerSystem"},
		{name: "endless", fault: func(w http.ResponseWriter, _ *http.Request) {
			junk := strings.Repeat(" ", 1<<20)
			for range 64 {
				if _, err := io.WriteString(w, junk); err != nil {
					return
				}
			}
		}, class: bmc.Protocol, part: "longer than 16 MiB"},
		{name: "redirect loop", fault: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, sysPath+"?again", http.StatusMovedPermanently)
		}, class: bmc.Protocol, part: "more than 3"},
		{name: "redirect away", fault: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://198.51.100.7/steal", http.StatusTemporaryRedirect)
		}, class: bmc.Protocol, part: "another host, 198.51.100.7"},
		{name: "cut", fault: func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				conn.Close()
			}
		}, class: bmc.Unreachable, code: bmc.CodeUnreachable, part: "cut the connection"},
		{name: "cut in the middle", fault: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, "{")
		}, class: bmc.Unreachable, code: bmc.CodeUnreachable, part: "cut the connection"},
		{name: "slow drip", fault: func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				fmt.Fprint(w, " ")
				_ = http.NewResponseController(w).Flush()
				select {
				case <-r.Context().Done():
				case <-time.After(20 * time.Millisecond):
				}
			}
		}, class: bmc.Unreachable, code: bmc.CodeSlow, part: "did not answer in time"},
		{name: "huge headers", fault: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Junk", strings.Repeat("x", 1<<20))
		}, class: bmc.Unreachable, code: bmc.CodeUnreachable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFake(t)
			f.fault = atSystem(tc.fault)
			o := Options{}
			if tc.name == "slow drip" {
				o.Timeout = 2 * time.Second
			}
			s, err := dial(t, serve(t, f), admin, o)
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.PowerState(context.Background())
			wantError(t, err, tc.class, tc.code, tc.part)
			var e *bmc.Error
			if errors.As(err, &e) && tc.name == "busy" && e.RetryAfter != 30*time.Second {
				t.Errorf("retry after %v, want 30s", e.RetryAfter)
			}
		})
	}
}

func TestReadIsRepeatedWhenCutAndWriteIsNot(t *testing.T) {
	f := newFake(t)
	s := mustDial(t, f)
	cut := func(w http.ResponseWriter) {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			conn.Close()
		}
	}
	reads, writes := 0, 0
	var mu sync.Mutex
	f.fault = func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodPost {
			writes++
			cut(w)
			return true
		}
		if reads++; reads == 1 {
			cut(w)
			return true
		}
		return false
	}
	err := s.SetPower(context.Background(), bmc.ActionOn)
	wantError(t, err, bmc.Unreachable, bmc.CodeUnreachable, "cut")
	mu.Lock()
	defer mu.Unlock()
	if reads < 2 || writes != 1 {
		t.Errorf("%d reads and %d writes, want 2 and 1", reads, writes)
	}
}

func TestRedirectOnTheSameHostKeepsTheWrite(t *testing.T) {
	f := newFake(t)
	f.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/") || r.URL.RawQuery != "" {
			return false
		}
		http.Redirect(w, r, r.URL.Path+"/", http.StatusPermanentRedirect)
		return true
	}
	s := mustDial(t, f)
	if err := s.SetPower(context.Background(), bmc.ActionOn); err != nil {
		t.Fatal(err)
	}
	if got, err := s.PowerState(context.Background()); err != nil || got != bmc.PowerOn {
		t.Errorf("power %q, %v", got, err)
	}
	f.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			http.Redirect(w, r, r.URL.Path+"/", http.StatusFound)
			return true
		}
		return false
	}
	wantError(t, s.SetPower(context.Background(), bmc.ActionForceOff), bmc.Protocol, "", "turns a POST into a GET")
}

func TestWrongTypes(t *testing.T) {
	f := newFake(t)
	f.put(sysPath, `{"@odata.id": {"x": 1}, "Manufacturer": null, "Model": 3500, "SerialNumber": ["a"], "UUID": false, "PowerState": "On",
		"Boot": [], "Actions": "none", "Links": {"ManagedBy": "/redfish/v1/manager"}, "EthernetInterfaces": 7}`)
	f.put("/redfish/v1/manager", `{"FirmwareVersion": {"a": 1}}`)
	s := mustDial(t, f)
	ctx := context.Background()
	id, err := s.Identify(ctx)
	if err != nil || id.Model != "3500" || id.Manufacturer != "" {
		t.Errorf("identity %+v, %v", id, err)
	}
	if _, err := s.Details(ctx, id); err != nil {
		t.Error(err)
	}
	if got, err := s.PowerState(ctx); err != nil || got != bmc.PowerOn {
		t.Errorf("power %q, %v", got, err)
	}
	wantError(t, s.SetPower(ctx, bmc.ActionForceOff), bmc.Unsupported, "", "no reset")
}

func TestWrongPasswordIsSentOnce(t *testing.T) {
	f := newFake(t)
	addr := serve(t, f)
	wrong := bmc.Credentials{Username: "admin", Password: "hunter2"}
	e := NewEndpoint(addr, wrong, Options{})
	for range 3 {
		_, err := e.System(context.Background(), "")
		wantError(t, err, bmc.Auth, bmc.CodeAuth, "wrong password")
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v tells the password", err)
		}
	}
	if f.logins != 1 {
		t.Errorf("%d logins, want 1", f.logins)
	}
}

func TestSessionEndsAndOneLogsInAgain(t *testing.T) {
	f := newFake(t)
	s := mustDial(t, f)
	f.mu.Lock()
	clear(f.tokens)
	f.mu.Unlock()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := s.PowerState(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if f.logins != 2 {
		t.Errorf("%d logins, want 2", f.logins)
	}
}

func TestPasswordChangesUnderASession(t *testing.T) {
	f := newFake(t)
	s := mustDial(t, f)
	f.mu.Lock()
	clear(f.tokens)
	f.password = "another"
	f.mu.Unlock()
	for range 3 {
		_, err := s.PowerState(context.Background())
		wantError(t, err, bmc.Auth, bmc.CodeAuth, "")
	}
	if f.loginsNo != 1 {
		t.Errorf("the old password was sent %d times, want once", f.loginsNo)
	}
}

func TestBasic(t *testing.T) {
	for _, tc := range []struct {
		name string
		bmc  func(f *fake)
		code string // at a system that is busy
	}{
		{name: "no sessions at all", bmc: func(f *fake) { f.docs["/redfish/v1"]["Links"] = nil }},
		{name: "no session collection", bmc: func(f *fake) { f.noSession = true }},
		{name: "full", bmc: func(f *fake) { f.loginCode = 503 }, code: bmc.CodeSessionsFull},
		{name: "full (iDRAC 8)", bmc: func(f *fake) {
			f.loginCode = 400
			f.loginBody = `{"error": {"@Message.ExtendedInfo": [{"MessageId": "IDRAC.1.4.RAC0218", "Message": "The maximum number of user sessions is reached."}]}}`
		}, code: bmc.CodeSessionsFull},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFake(t)
			tc.bmc(f)
			s := mustDial(t, f)
			if err := s.SetPower(context.Background(), bmc.ActionOn); err != nil {
				t.Fatal(err)
			}
			if s.Endpoint().SessionURI() != "" {
				t.Error("there is a session")
			}
			f.mu.Lock()
			f.fault = atSystem(status(503, ""))
			f.mu.Unlock()
			_, err := s.PowerState(context.Background())
			wantError(t, err, bmc.Busy, tc.code, "")
			f.mu.Lock()
			f.fault, f.password = nil, "another"
			f.mu.Unlock()
			f.forget()
			for range 2 {
				_, err = s.PowerState(context.Background())
				wantError(t, err, bmc.Auth, bmc.CodeAuth, "")
			}
			if n := len(f.requests()); n != 1 {
				t.Errorf("the refused password was sent %d times: %q", n, f.requests())
			}
		})
	}
}

func TestNoCredentials(t *testing.T) {
	f := newFake(t)
	f.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") != "" || r.Header.Get("X-Auth-Token") != "" || r.Method == http.MethodPost {
			t.Errorf("%s %s with credentials", r.Method, r.URL)
		}
		r.SetBasicAuth("admin", "secret")
		return false
	}
	s, err := dial(t, serve(t, f), bmc.Credentials{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.PowerState(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestReaching(t *testing.T) {
	quiet := log.New(io.Discard, "", 0)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	plain := httptest.NewServer(newFake(t))
	t.Cleanup(plain.Close)
	secure := httptest.NewUnstartedServer(newFake(t))
	secure.Config.ErrorLog = quiet
	secure.StartTLS()
	t.Cleanup(secure.Close)
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	for _, tc := range []struct {
		name, address string
		class         bmc.Class
		code, part    string
	}{
		{name: "refused", address: "redfish://" + closed.Addr().String(), class: bmc.Unreachable, code: bmc.CodeRefused, part: "refused"},
		// No resolver is asked for a name like this.
		{name: "no such name", address: "redfish://no..such.host", class: bmc.Unreachable, code: bmc.CodeNameUnresolved, part: "no..such.host"},
		{name: "untrusted", address: "redfish+" + secure.URL, class: bmc.TLSIdentity, code: bmc.CodeTLSUntrusted, part: "public key SHA-256"},
		{name: "https to http", address: "redfish://" + plain.Listener.Addr().String(), class: bmc.Protocol, part: "+http"},
		{name: "http to https", address: "redfish+http://" + secure.Listener.Addr().String(), class: bmc.Protocol, part: "+https"},
		{name: "no redfish", address: "redfish+" + other.URL, class: bmc.Unsupported, part: "no Redfish service"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addr, err := bmc.ParseAddress(tc.address)
			if err != nil {
				t.Fatal(err)
			}
			_, err = dial(t, addr, admin, Options{})
			wantError(t, err, tc.class, tc.code, tc.part)
		})
	}
}

func TestTLS(t *testing.T) {
	quiet := log.New(io.Discard, "", 0)
	srv := httptest.NewUnstartedServer(newFake(t))
	srv.Config.ErrorLog = quiet
	srv.StartTLS()
	t.Cleanup(srv.Close)
	old := httptest.NewUnstartedServer(newFake(t))
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	old.Config.ErrorLog = quiet
	old.StartTLS()
	t.Cleanup(old.Close)
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	pin := sha256.Sum256(srv.Certificate().RawSubjectPublicKeyInfo)
	wrong := sha256.Sum256([]byte("another key"))
	for _, tc := range []struct {
		name  string
		url   string
		o     Options
		class bmc.Class
		code  string
	}{
		{name: "insecure", url: srv.URL, o: Options{Insecure: true}},
		{name: "authority", url: srv.URL, o: Options{RootCAs: pool}},
		{name: "pin", url: srv.URL, o: Options{PinSPKI: pin[:]}},
		{name: "wrong pin", url: srv.URL, o: Options{PinSPKI: wrong[:]}, class: bmc.TLSIdentity, code: bmc.CodeTLSUntrusted},
		{name: "wrong pin beats insecure", url: srv.URL, o: Options{PinSPKI: wrong[:], Insecure: true}, class: bmc.TLSIdentity, code: bmc.CodeTLSUntrusted},
		{name: "too old", url: old.URL, o: Options{Insecure: true}, class: bmc.TLSIdentity, code: bmc.CodeTLSLegacy},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addr, err := bmc.ParseAddress("redfish+" + tc.url)
			if err != nil {
				t.Fatal(err)
			}
			s, err := dial(t, addr, admin, tc.o)
			if tc.class != "" {
				wantError(t, err, tc.class, tc.code, "")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.PowerState(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
}

func FuzzSystem(f *testing.F) {
	for _, s := range []string{
		`{"@odata.id": "/redfish/v1/Systems/1", "PowerState": "On", "Boot": {"BootSourceOverrideTarget@Redfish.AllowableValues": ["Pxe"]}}`,
		`{"Actions": {"#ComputerSystem.Reset": {"target": 1, "ResetType@Redfish.AllowableValues": "On"}}}`,
		`{"error": {"@Message.ExtendedInfo": [{"MessageId": 1}, "x", null]}}`,
		`{"Boot": [[[]]], "Links": {"ManagedBy": {"@odata.id": "/x"}}}`, `[]`, `null`, `""`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var cs computerSystem
		if decode("fuzz", body, &cs) == nil {
			o := cs.Boot.override()
			want, err := cs.Boot.fields("fuzz", bmc.BootOverride{Target: bmc.BootPXE, Mode: o.Mode})
			if err == nil && len(cs.attempts(want)) == 0 {
				t.Error("no way to write")
			}
			pick([]string{"On"}, words(cs.Actions.Reset.Allowed))
		}
		var root serviceRoot
		var all collection
		_, _ = decode("fuzz", body, &root), decode("fuzz", body, &all)
		if len(all.Members) > maxList {
			t.Errorf("%d members", len(all.Members))
		}
		if err := statusError("fuzz", &answer{status: 400, body: body}); err == nil || len(err.Error()) > 2000 {
			t.Errorf("error %v", err)
		}
		e := nowhere()
		if u, err := e.resolve("fuzz", string(body)); err == nil && !strings.HasPrefix(u, "http://bmc:80/") {
			t.Errorf("%q leads to %q", body, u)
		}
	})
}
