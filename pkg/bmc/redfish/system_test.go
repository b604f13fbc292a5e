package redfish

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/bmctest"
)

// wantError checks the class, the code and a part of the text of err.
func wantError(t *testing.T, err error, class bmc.Class, code, part string) {
	t.Helper()
	var e *bmc.Error
	if !errors.As(err, &e) {
		t.Fatalf("err = %v, want a *bmc.Error", err)
	}
	if e.Class != class || e.Code != code {
		t.Errorf("class %q, code %q; want %q, %q (%v)", e.Class, e.Code, class, code, err)
	}
	if !strings.Contains(err.Error(), part) {
		t.Errorf("error %q does not say %q", err, part)
	}
	if strings.Contains(err.Error(), admin.Password) {
		t.Errorf("error %q tells the password", err)
	}
}

func TestRequestsOfVerifyAndPower(t *testing.T) {
	f := newFake(t)
	s := mustDial(t, f)
	ctx := context.Background()
	id, err := s.Identify(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want := bmc.Identity{
		Protocol: "redfish", Manufacturer: "ingot", Model: "fake", Serial: "S1",
		SystemUUID: "38947555-7742-3448-3784-823347823834", SystemID: sysPath,
	}
	if d := cmp.Diff(want, id); d != "" {
		t.Errorf("identity (-want +got):\n%s", d)
	}
	if got, err := s.PowerState(ctx); err != nil || got != bmc.PowerOff {
		t.Fatalf("power %q, %v", got, err)
	}
	if got := f.requests(); len(got) > 5 {
		t.Errorf("verify took %d requests, want at most 5: %q", len(got), got)
	}
	f.forget()
	if err := s.SetPower(ctx, bmc.ActionOn); err != nil {
		t.Fatal(err)
	}
	if got, err := s.PowerState(ctx); err != nil || got != bmc.PowerOn {
		t.Fatalf("power %q, %v", got, err)
	}
	wantLog := []string{"GET " + sysPath, "POST " + resetURI, "reset On", "GET " + sysPath}
	if d := cmp.Diff(wantLog, f.requests()); d != "" {
		t.Errorf("requests of a power change (-want +got):\n%s", d)
	}
	f.forget()
	if err := s.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"DELETE /redfish/v1/SessionService/Sessions/t1"}, f.requests()); d != "" {
		t.Errorf("requests of Close (-want +got):\n%s", d)
	}
	if err := s.Close(ctx); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestConformance(t *testing.T) {
	f := newFake(t)
	s := mustDial(t, f)
	ctx := context.Background()
	bmctest.Read(ctx, t, s)
	bmctest.Switch(ctx, t, s)
}

func TestOneConnection(t *testing.T) {
	var conns atomic.Int32
	srv := httptest.NewUnstartedServer(newFake(t))
	srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	addr, err := bmc.ParseAddress("redfish+" + srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	s, err := dial(t, addr, admin, Options{Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	bmctest.Read(context.Background(), t, s)
	bmctest.Switch(context.Background(), t, s)
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestSetPower(t *testing.T) {
	all := []any{"On", "ForceOff", "GracefulShutdown", "ForceRestart", "PowerCycle", "Nmi", "PushPowerButton"}
	for _, tc := range []struct {
		name    string
		state   string
		action  bmc.PowerAction
		allowed []any
		want    string // the reset sent; empty: none
		class   bmc.Class
	}{
		{name: "on", state: "Off", action: bmc.ActionOn, allowed: all, want: "On"},
		{name: "on when on", state: "On", action: bmc.ActionOn, allowed: all},
		{name: "on when powering on", state: "PoweringOn", action: bmc.ActionOn, allowed: all},
		{name: "on by force", state: "Off", action: bmc.ActionOn, allowed: []any{"ForceOn"}, want: "ForceOn"},
		{name: "on, unknown state", state: "", action: bmc.ActionOn, allowed: all, want: "On"},
		{name: "off", state: "On", action: bmc.ActionForceOff, allowed: all, want: "ForceOff"},
		{name: "off when off", state: "Off", action: bmc.ActionForceOff, allowed: all},
		{name: "off, unknown state", state: "", action: bmc.ActionForceOff, allowed: all, want: "ForceOff"},
		{name: "soft off", state: "On", action: bmc.ActionSoftOff, allowed: all, want: "GracefulShutdown"},
		{name: "soft off by button", state: "On", action: bmc.ActionSoftOff, allowed: []any{"PushPowerButton"}, want: "PushPowerButton"},
		{name: "soft off never forces", state: "On", action: bmc.ActionSoftOff, allowed: []any{"ForceOff"}, class: bmc.Unsupported},
		{name: "reset", state: "On", action: bmc.ActionReset, allowed: all, want: "ForceRestart"},
		{name: "reset when off", state: "Off", action: bmc.ActionReset, allowed: all, want: "On"},
		{name: "cycle", state: "On", action: bmc.ActionCycle, allowed: all, want: "PowerCycle"},
		{name: "cycle, HPE and Lenovo", state: "On", action: bmc.ActionCycle, allowed: []any{"On", "ForceRestart"}, want: "ForceRestart"},
		{name: "nmi", state: "On", action: bmc.ActionNMI, allowed: all, want: "Nmi"},
		{name: "another spelling", state: "Off", action: bmc.ActionOn, allowed: []any{"ON"}, want: "ON"},
		{name: "nothing listed", state: "Off", action: bmc.ActionOn, allowed: nil, want: "On"},
		{name: "wrong types listed", state: "Off", action: bmc.ActionOn, allowed: []any{map[string]any{}, nil, "On"}, want: "On"},
		{name: "no such action", state: "On", action: "Explode", allowed: all, class: bmc.BadRequest},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFake(t)
			f.change(func(s map[string]any) {
				s["PowerState"] = tc.state
				reset := s["Actions"].(map[string]any)["#ComputerSystem.Reset"].(map[string]any)
				delete(reset, "ResetType@Redfish.AllowableValues")
				if tc.allowed != nil {
					reset["ResetType@Redfish.AllowableValues"] = tc.allowed
				}
			})
			err := mustDial(t, f).SetPower(context.Background(), tc.action)
			if tc.class != "" {
				wantError(t, err, tc.class, "", "")
			} else if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, l := range f.requests() {
				if kind, ok := strings.CutPrefix(l, "reset "); ok {
					got += kind
				}
			}
			if got != tc.want {
				t.Errorf("sent %q, want %q", got, tc.want)
			}
		})
	}
}

func TestSetPowerReadsActionInfoOnce(t *testing.T) {
	f := newFake(t)
	f.change(func(s map[string]any) {
		s["Actions"] = map[string]any{"#ComputerSystem.Reset": map[string]any{"target": resetURI, "@Redfish.ActionInfo": "/redfish/v1/info"}}
	})
	f.put("/redfish/v1/info", `{"Parameters": [{"Name": "ResetType", "AllowableValues": ["ForceOn", "ForceOff"]}]}`)
	s := mustDial(t, f)
	for _, a := range []bmc.PowerAction{bmc.ActionOn, bmc.ActionForceOff} {
		if err := s.SetPower(context.Background(), a); err != nil {
			t.Fatal(err)
		}
	}
	log := strings.Join(f.requests(), "\n")
	if n := strings.Count(log, "GET /redfish/v1/info"); n != 1 || !strings.Contains(log, "reset ForceOn") || !strings.Contains(log, "reset ForceOff") {
		t.Errorf("info read %d times; requests:\n%s", n, log)
	}
}

func TestFindSystem(t *testing.T) {
	for _, tc := range []struct {
		name, members, path string
		want                string
		code, part          string
		class               bmc.Class
	}{
		{name: "the only one", members: `[{"@odata.id": "/redfish/v1/Systems/1"}]`, want: sysPath},
		{name: "not the GPU board", members: `[{"@odata.id": "/redfish/v1/Systems/HGX_Baseboard_0"}, {"@odata.id": "/redfish/v1/Systems/1"}]`, want: sysPath},
		{name: "named", members: `[]`, path: sysPath, want: sysPath},
		{name: "bare strings", members: `["/redfish/v1/Systems/1"]`, want: sysPath},
		{
			name: "several", members: `[{"@odata.id": "/redfish/v1/Systems/1"}, {"@odata.id": "/redfish/v1/Systems/2"}]`,
			class: bmc.BadRequest, code: bmc.CodeManySystems, part: "/redfish/v1/Systems/1, /redfish/v1/Systems/2",
		},
		{name: "none", members: `[]`, class: bmc.Unsupported, part: "no system"},
		{
			name: "named, but absent", members: `[{"@odata.id": "/redfish/v1/Systems/1"}]`, path: "/redfish/v1/Systems/7",
			class: bmc.BadRequest, code: bmc.CodeAddressSyntax, part: "no system at /redfish/v1/Systems/7; it has /redfish/v1/Systems/1",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFake(t)
			f.put("/redfish/v1/Systems", `{"Members": `+tc.members+`}`)
			addr := serve(t, f)
			addr.System = tc.path
			s, err := dial(t, addr, admin, Options{})
			var id bmc.Identity
			if err == nil {
				id, err = s.Identify(context.Background())
			}
			if tc.class != "" {
				wantError(t, err, tc.class, tc.code, tc.part)
				return
			}
			if err != nil || id.SystemID != tc.want {
				t.Errorf("system %q, %v; want %q", id.SystemID, err, tc.want)
			}
		})
	}
}

func TestSystemsShareASession(t *testing.T) {
	f := newFake(t)
	s := mustDial(t, f)
	ctx := context.Background()
	other, err := s.Endpoint().System(ctx, sysPath)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := other.PowerState(ctx); err != nil {
		t.Errorf("after the sibling closed: %v", err)
	}
	if f.logins != 1 || s.Endpoint().SessionURI() != "/redfish/v1/SessionService/Sessions/t1" {
		t.Errorf("%d logins, session %q", f.logins, s.Endpoint().SessionURI())
	}
	if err := other.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if len(f.tokens) != 0 || s.Endpoint().SessionURI() != "" {
		t.Errorf("the session was left open: %v", f.tokens)
	}
}

func TestConcurrencyIsBounded(t *testing.T) {
	f := newFake(t)
	arrived := make(chan struct{}, 100)
	release := make(chan struct{})
	s := mustDial(t, f)
	f.fault = func(http.ResponseWriter, *http.Request) bool {
		arrived <- struct{}{}
		<-release
		return false
	}
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			ctx := context.Background()
			if i%2 == 0 {
				_, _ = s.PowerState(ctx)
			} else {
				_ = s.SetPower(ctx, bmc.ActionReset)
			}
		})
	}
	for range maxInFlight {
		<-arrived
	}
	close(release)
	wg.Wait()
	if f.maxLive > maxInFlight || f.maxWrite > 1 {
		t.Errorf("%d requests and %d writes at once, want at most %d and 1", f.maxLive, f.maxWrite, maxInFlight)
	}
}

func TestCancellation(t *testing.T) {
	f := newFake(t)
	s := mustDial(t, f)
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	f.mu.Lock()
	f.fault = func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
		return true
	}
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := s.PowerState(ctx)
	wantError(t, err, bmc.Unreachable, bmc.CodeUnreachable, "deadline")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v does not wrap the deadline", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	f.mu.Lock()
	f.fault = nil
	f.mu.Unlock()
}

func TestDetails(t *testing.T) {
	for _, expand := range []string{"", "kept", "broken"} {
		t.Run("expand "+expand, func(t *testing.T) {
			f := newFake(t)
			f.change(func(s map[string]any) {
				s["EthernetInterfaces"] = map[string]any{"@odata.id": "/redfish/v1/nics"}
				s["Links"] = map[string]any{"ManagedBy": []any{map[string]any{"@odata.id": "/redfish/v1/manager"}}}
			})
			f.put("/redfish/v1/manager", `{"FirmwareVersion": "6.00"}`)
			f.put("/redfish/v1/nics", `{"Members": [{"@odata.id": "/redfish/v1/nics/1"}, {"@odata.id": "/redfish/v1/nics/2"}, {"@odata.id": "/redfish/v1/nics/3"}]}`)
			f.put("/redfish/v1/nics/1", `{"@odata.id": "/redfish/v1/nics/1", "MACAddress": "52:54:00:00:00:01"}`)
			f.put("/redfish/v1/nics/2", `{"@odata.id": "/redfish/v1/nics/2", "MACAddress": ""}`)
			f.put("/redfish/v1/nics/3", `{"@odata.id": "/redfish/v1/nics/3", "MACAddress": "02:54:00:00:00:03", "PermanentMACAddress": "52-54-00-00-00-03"}`)
			if expand != "" {
				f.docs["/redfish/v1"]["ProtocolFeaturesSupported"] = map[string]any{"ExpandQuery": map[string]any{"NoLinks": true}}
				f.fault = func(w http.ResponseWriter, r *http.Request) bool {
					if r.URL.RawQuery == "" {
						return false
					}
					if expand == "broken" {
						w.WriteHeader(http.StatusInternalServerError)
						return true
					}
					fmt.Fprint(w, `{"Members": [{"MACAddress": "52:54:00:00:00:01"}, {"MACAddress": "52:54:00:00:00:03"}, {"MACAddress": "52:54:00:00:00:03"}]}`)
					return true
				}
			}
			id, err := mustDial(t, f).Details(context.Background(), bmc.Identity{})
			if err != nil {
				t.Fatal(err)
			}
			if got, want := fmt.Sprint(id.BMCVersion, id.MACs), "6.00[52:54:00:00:00:01 52:54:00:00:00:03]"; got != want {
				t.Errorf("details %s, want %s", got, want)
			}
		})
	}
}
