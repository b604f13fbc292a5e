package sushytools

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/redfish"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

const (
	uuid1 = "6b6c1f0e-52a1-4d0c-9a61-0f0c33aa1101"
	sys1  = "/redfish/v1/Systems/" + uuid1
)

var admin = bmc.Credentials{Username: "admin", Password: "password"}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// lab is an emulator in front of one machine.
type lab struct {
	t      *testing.T
	body   *simbmc.Memory
	starts chan simbmc.BootOverride
	url    string
	images string // URL of a server of images
}

func newLab(t *testing.T, mode simbmc.BootMode, o Options) *lab {
	t.Helper()
	l := &lab{t: t, starts: make(chan simbmc.BootOverride, 32)}
	l.body = simbmc.NewMemory(simbmc.Info{
		UUID: uuid1, Name: "vbmc-node", Manufacturer: "not shown", MACs: []string{"52:54:00:00:00:01", "52:54:00:00:00:02"}, CPUs: 2, MemoryMiB: 4096,
	}, mode, func(o simbmc.BootOverride) { l.starts <- o }, nil)
	s, err := New(o, l.body)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	images := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/gone.iso":
			w.WriteHeader(http.StatusGone)
		case "/broken.iso":
			w.WriteHeader(http.StatusBadGateway)
		case "/named":
			w.Header().Set("Content-Disposition", `attachment; filename="other.iso"`)
		case "/secret.iso":
			if user, pass, _ := r.BasicAuth(); user != "u" || pass != "p" {
				w.WriteHeader(http.StatusUnauthorized)
			}
		}
	}))
	t.Cleanup(images.Close)
	l.url, l.images = srv.URL, images.URL
	return l
}

// ask is one request of a client that knows nothing. A nil body sends none.
func (l *lab) ask(method, path string, body any) (int, string, http.Header) {
	l.t.Helper()
	var in io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			l.t.Fatal(err)
		}
		in = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(testContext(l.t), method, l.url+path, in)
	if err != nil {
		l.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	return resp.StatusCode, string(text), resp.Header
}

// get reads a resource.
func (l *lab) get(path string) obj {
	l.t.Helper()
	code, text, _ := l.ask(http.MethodGet, path, nil)
	var o obj
	if err := json.Unmarshal([]byte(text), &o); err != nil || code != http.StatusOK {
		l.t.Fatalf("GET %s: %d %v\n%s", path, code, err, text)
	}
	return o
}

// system opens our driver.
func (l *lab) system(creds bmc.Credentials) (*redfish.System, error) {
	l.t.Helper()
	addr, err := bmc.ParseAddress("redfish+" + l.url + sys1)
	if err != nil {
		l.t.Fatal(err)
	}
	s, err := redfish.Open(testContext(l.t), addr, creds, redfish.Options{})
	if err == nil {
		l.t.Cleanup(func() { _ = s.Close(context.Background()) })
	}
	return s, err
}
