package serve

import (
	"bytes"
	"context"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/pkg/auth"
	"github.com/ingot-metal/ingot/pkg/host"
)

// seenPath takes what another replica's boot servers saw of a machine.
const seenPath = "/replica/v1/seen"

// forwarded marks a request that came by way of another replica: it goes no
// further.
const forwarded = "Ingot-Forwarded"

const (
	peerTimeout = 5 * time.Second
	// maxForward bounds what is passed on, and what waits for it. What is seen of
	// a boot is a hint for a person: some may be lost.
	maxForward = 1024
)

// peers tells other replicas what came to the wrong door. They prove themselves by
// the authority that all replicas share, and so do we, by a token of its key.
type peers struct {
	client *http.Client
	relays *http.Client // which take as long as a BMC does
	token  string
	log    *slog.Logger
	queue  chan sighted
}

// sighted is what was seen of a host's machine.
type sighted struct {
	door string
	Host string    `json:"host"`
	Seen host.Seen `json:"seen"`
}

func newPeers(ca *auth.CA, log *slog.Logger) *peers {
	pool := x509.NewCertPool()
	pool.AddCert(ca.Certificate())
	client := http.Client{
		Transport: &http.Transport{
			// Every door has this name in its certificate, whatever its address.
			TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool, ServerName: "ingot"},
			DialContext:         (&net.Dialer{Timeout: peerTimeout}).DialContext,
			TLSHandshakeTimeout: peerTimeout,
			IdleConnTimeout:     30 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	brief := client
	brief.Timeout = peerTimeout
	return &peers{
		client: &brief, relays: &client,
		token: ca.Token("replicas"), log: log, queue: make(chan sighted, maxForward),
	}
}

// forward is controller.Hosts.Forward.
func (p *peers) forward(door string, k types.NamespacedName, seen host.Seen) {
	select {
	case p.queue <- sighted{door: door, Host: k.String(), Seen: seen}:
	default:
	}
}

// run passes on what was seen until ctx is done.
func (p *peers) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			p.client.CloseIdleConnections()
			return
		case s := <-p.queue:
			body, err := json.Marshal(s)
			if err != nil {
				continue
			}
			resp, err := p.post(ctx, s.door+seenPath, body)
			if err != nil {
				p.log.Debug("another replica was not told what was seen of its host's machine", "host", s.Host, "err", err)
				continue
			}
			_ = resp.Body.Close()
		}
	}
}

func (p *peers) post(ctx context.Context, url string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(forwarded, "1")
	return p.client.Do(req)
}

// relay passes a request on to the replica at a door, and its answer back.
func (p *peers) relay(w http.ResponseWriter, r *http.Request, door string, body []byte) {
	resp, err := p.post(r.Context(), door+r.URL.Path, body)
	if err != nil {
		http.Error(w, "the replica that has this host does not answer", http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, io.LimitReader(resp.Body, maxReport)) // who asked went away
}

// sightings take in what another replica's boot servers saw.
type sightings struct {
	token string
	saw   func(types.NamespacedName, host.Seen)
}

// ofReplica lets in who shows the replicas' token; anybody else is answered here.
func ofReplica(w http.ResponseWriter, got, token string) bool {
	ok := subtle.ConstantTimeCompare([]byte(got), []byte(token)) == 1
	if !ok {
		http.Error(w, "this door is for other replicas", http.StatusUnauthorized)
	}
	return ok
}

func (s sightings) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	got, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ofReplica(w, got, s.token) {
		return
	}
	var in sighted
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxReport)).Decode(&in); err != nil {
		http.Error(w, "body: "+err.Error(), http.StatusBadRequest)
		return
	}
	ns, name, ok := strings.Cut(in.Host, "/")
	if !ok {
		http.Error(w, "want host as namespace/name", http.StatusBadRequest)
		return
	}
	s.saw(types.NamespacedName{Namespace: ns, Name: name}, in.Seen)
	w.WriteHeader(http.StatusNoContent)
}
