package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/auth"
	"github.com/ingot-metal/ingot/pkg/blob"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/console"
	"github.com/ingot-metal/ingot/pkg/host"
)

// talker is a BMC whose machine prints what the test says and keeps what is typed.
type talker struct {
	mu    sync.Mutex
	fail  error
	print *io.PipeWriter
	typed bytes.Buffer
	ended int
}

func (t *talker) Identify(context.Context) (bmc.Identity, error) { return bmc.Identity{}, nil }
func (t *talker) Close(context.Context) error                    { return nil }

func (t *talker) OpenConsole(context.Context) (io.ReadWriteCloser, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fail != nil {
		return nil, t.fail
	}
	r, w := io.Pipe()
	t.print = w
	return talkerLine{r, t}, nil
}

type talkerLine struct {
	*io.PipeReader
	t *talker
}

func (l talkerLine) Write(b []byte) (int, error) {
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	return l.t.typed.Write(b)
}

func (l talkerLine) Close() error {
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	l.t.ended++
	return l.PipeReader.Close()
}

func (t *talker) says(text string) {
	t.mu.Lock()
	w := t.print
	t.mu.Unlock()
	_, _ = io.WriteString(w, text)
}

func (t *talker) heard() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.typed.String()
}

// plain is a BMC without a console.
type plain struct{}

func (plain) Identify(context.Context) (bmc.Identity, error) { return bmc.Identity{}, nil }
func (plain) Close(context.Context) error                    { return nil }

type byName map[string]bmc.Conn

func (b byName) Conn(_ context.Context, h *metal3.BareMetalHost, creds bmc.Credentials, version string) (bmc.Conn, error) {
	if creds.Password != "secret" || version == "" {
		return nil, errors.New("not the Secret's credentials")
	}
	return b[h.Name], nil
}

func consoleHost(name string, annotations ...string) *metal3.BareMetalHost {
	b := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: name, Annotations: map[string]string{}}}
	for _, a := range annotations {
		k, v, _ := strings.Cut(a, "=")
		b.Annotations[k] = v
	}
	b.Spec.BMC = metal3.BMCDetails{Address: "ipmi://192.0.2.1", CredentialsName: "bmc"}
	return b
}

func newTestConsoles(t *testing.T, bmcs byName) *consoles {
	t.Helper()
	scheme, err := Scheme()
	if err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "bmc"}}
	secret.Data = map[string][]byte{"username": []byte("admin"), "password": []byte("secret")}
	k := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.HostRecord{}).
		WithObjects(secret, consoleHost("w1"), consoleHost("plain"), consoleHost("paused", metal3.PausedAnnotation+"=")).Build()
	store, err := blob.Open(t.TempDir(), blob.Options{Key: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	c := newConsoles(consoles{hosts: k, secrets: secrets{k, k}, bmcs: bmcs, blobs: store, log: slog.New(slog.DiscardHandler)})
	t.Cleanup(c.keeper.Close)
	return c
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestWhoseConsoleIsRecorded(t *testing.T) {
	inspecting := host.Host{State: host.Inspecting, Op: &host.Op{Kind: host.OpInspect, Phase: host.PhaseHello}}
	fetching := host.Host{State: host.Provisioning, Op: &host.Op{Kind: host.OpProvision, Phase: host.PhaseImage}}
	resting := host.Host{State: host.Available, Good: "1"}
	detached := inspecting
	detached.Detached = true
	for _, tc := range []struct {
		name        string
		mode        console.Mode
		annotation  string
		h           host.Host
		record, may bool
	}{
		{name: "a boot", h: inspecting, record: true, may: true},
		{name: "an image is fetched", h: fetching, may: true},
		{name: "at rest", h: resting, may: true},
		{name: "power", h: host.Host{Op: &host.Op{Kind: host.OpPowerOn}}, may: true},
		{name: "never", mode: console.Never, h: inspecting, may: true},
		{name: "always", mode: console.Always, h: resting, record: true, may: true},
		{name: "always, BMC unknown", mode: console.Always, h: host.Host{State: host.Registering}, may: true},
		{name: "this one always", annotation: "ingot.dev/console=always", h: resting, record: true, may: true},
		{name: "this one never", mode: console.Always, annotation: "ingot.dev/console=never", h: inspecting, may: true},
		{name: "a word that is none", annotation: "ingot.dev/console=perhaps", h: inspecting, record: true, may: true},
		{name: "paused", mode: console.Always, annotation: metal3.PausedAnnotation + "=", h: inspecting},
		{name: "detached", mode: console.Always, h: detached},
		{name: "gone", h: host.Host{Gone: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := consoleHost("w1")
			if tc.annotation != "" {
				b = consoleHost("w1", tc.annotation)
			}
			tc.h.Wants = host.Wants{Address: "ipmi://192.0.2.1"}
			if record, may := wanted(tc.mode, b, tc.h); record != tc.record || may != tc.may {
				t.Errorf("record %v, may be open %v; want %v, %v", record, may, tc.record, tc.may)
			}
		})
	}
}

// What a machine printed in an operation is kept, sealed, when it fails, and
// deleted when the next failure or the host's end comes.
func TestConsoleOfAFailure(t *testing.T) {
	m := &talker{}
	c := newTestConsoles(t, byName{"w1": m})
	k := types.NamespacedName{Namespace: "rack", Name: "w1"}
	now := time.Now()
	h := host.Host{Key: k.String(), State: host.Inspecting, Wants: host.Wants{Address: "a", SecretVersion: "1"}}
	h.Op = &host.Op{Kind: host.OpInspect, Phase: host.PhaseHello, Started: now}
	c.Follow(k, consoleHost("w1"), h)
	await(t, "connected", func() bool { _, s := c.keeper.Tail(k.String(), 0); return strings.HasPrefix(s, "connected") })

	failed := h
	failed.Op, failed.Problem = nil, &host.Problem{Code: "boot-kernel-no-callhome", Since: now}
	none := c.Printed(t.Context(), k, failed, nil)
	if none == nil || none.Digest != "" || !strings.Contains(none.None, "printed nothing") {
		t.Errorf("silent: %+v", none)
	}
	m.says("\x1b[2Jpanic: no init\r\npassword is hunter2\r\n")
	await(t, "recorded", func() bool { b, _ := c.keeper.Tail(k.String(), 9); return bytes.Contains(b, []byte("hunter2")) })
	ref := c.Printed(t.Context(), k, failed, none)
	if ref == nil || !strings.HasPrefix(ref.Digest, "sha256:") || !ref.At.Time.Equal(now.Truncate(time.Microsecond)) {
		t.Fatalf("kept: %+v", ref)
	}
	d := blob.Digest(strings.TrimPrefix(ref.Digest, "sha256:"))
	if c.blobs.Has(t.Context(), d) {
		t.Error("the boot door serves it to anybody")
	}
	raw, err := c.blobs.OpenSecret(t.Context(), d)
	var got printed
	if err != nil || json.Unmarshal(raw, &got) != nil || strings.Join(got.Lines, "|") != "panic: no init|password is hunter2" || got.Host != "rack/w1" {
		t.Errorf("kept %s, %v", raw, err)
	}
	failed.Problem = &host.Problem{Code: "boot-kernel-no-callhome", Since: now.Add(time.Minute)}
	next := c.Printed(t.Context(), k, failed, ref)
	if _, err := c.blobs.OpenSecret(t.Context(), d); !errors.Is(err, blob.ErrNotExist) {
		t.Errorf("the lines of an earlier failure: %v", err)
	}
	c.Forget(k, next)
	if n := c.blobs.Used(); n != 0 {
		t.Errorf("%d bytes are left of a host that is gone", n)
	}
	await(t, "given back", func() bool { n, _ := c.keeper.Count(); return n == 0 })
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended == 0 {
		t.Error("the BMC's session was not closed")
	}
}

func TestConsoleDoor(t *testing.T) {
	m := &talker{}
	c := newTestConsoles(t, byName{"w1": m, "plain": plain{}})
	mux := http.NewServeMux()
	(&operators{kube: auth.Kube{Client: api(t)}, consoles: c}).register(mux)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	ask := func(path, token string, typing bool) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/console/v1/rack/"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		if typing {
			req.Header.Set("Connection", "Upgrade")
			req.Header.Set("Upgrade", "ingot-console")
		}
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	for _, tc := range []struct {
		name, path, token string
		typing            bool
		want              int
		says              string
	}{
		{name: "nobody", path: "w1", token: "bad", want: http.StatusUnauthorized},
		{name: "one who may not", path: "w1", token: "other", want: http.StatusForbidden, says: "may not get consoles"},
		{name: "a reader who types", path: "w1", token: "reader", typing: true, want: http.StatusForbidden, says: "may not create consoles"},
		{name: "nothing recorded", path: "w1?last=200", token: "good", want: http.StatusNotFound, says: "nothing of its console was recorded"},
		{name: "too much", path: "w1?last=999999", token: "good", want: http.StatusBadRequest},
		{name: "no such host", path: "w2", token: "good", want: http.StatusNotFound, says: "no host rack/w2"},
		{name: "no console", path: "plain", token: "good", want: http.StatusNotImplemented, says: "Serial over LAN"},
		{name: "paused", path: "paused", token: "good", want: http.StatusConflict, says: metal3.PausedAnnotation},
	} {
		t.Run(tc.name, func(t *testing.T) {
			resp := ask(tc.path, tc.token, tc.typing)
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != tc.want || !strings.Contains(string(body), tc.says) {
				t.Errorf("%d %s; want %d, %q", resp.StatusCode, body, tc.want, tc.says)
			}
		})
	}

	watch := ask("w1", "reader", false)
	typing := ask("w1", "good", true)
	if watch.StatusCode != http.StatusOK || typing.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("watch %s, type %s", watch.Status, typing.Status)
	}
	if resp := ask("w1", "good", true); resp.StatusCode != http.StatusConflict {
		t.Errorf("a second keyboard: %s", resp.Status)
	}
	m.says("login: ")
	for _, r := range []io.Reader{watch.Body, typing.Body} {
		b := make([]byte, len("login: "))
		if _, err := io.ReadFull(r, b); err != nil || string(b) != "login: " {
			t.Errorf("read %q, %v", b, err)
		}
	}
	line := typing.Body.(io.ReadWriteCloser)
	if _, err := io.WriteString(line, "root\r"); err != nil {
		t.Fatal(err)
	}
	await(t, "typed", func() bool { return m.heard() == "root\r" })
	if err := line.Close(); err != nil {
		t.Error(err)
	}
	var again *http.Response
	await(t, "the keyboard is free again", func() bool {
		again = ask("w1", "good", true)
		return again.StatusCode == http.StatusSwitchingProtocols
	})
	again.Body.Close()

	var last struct {
		Of, Status string
		Lines      []string
	}
	if err := json.NewDecoder(ask("w1?last=1", "reader", false).Body).Decode(&last); err != nil || last.Of != "recording" || strings.Join(last.Lines, "|") != "login:" || !strings.HasPrefix(last.Status, "connected") {
		t.Errorf("last %+v, %v", last, err)
	}

	// A console that breaks is said so, and the stream ends with the recording.
	m.mu.Lock()
	m.fail = &bmc.Error{Class: bmc.Unreachable, Op: "open the console", Detail: "no answer"}
	w := m.print
	m.mu.Unlock()
	_ = w.CloseWithError(io.EOF)
	b := make([]byte, 256)
	n, err := watch.Body.Read(b)
	if text := string(b[:n]); err != nil || !strings.HasPrefix(text, "\r\n[ingot: the console is not connected") {
		t.Errorf("after it broke %q, %v", text, err)
	}
	c.keeper.End("rack/w1")
	if rest, err := io.ReadAll(watch.Body); err != nil || !strings.Contains(string(rest), "the recording has ended") {
		t.Errorf("the end %q, %v", rest, err)
	}
	await(t, "nothing is left open", func() bool { n, _ := c.keeper.Count(); return n == 0 })
}
