package serve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/ingot-metal/ingot/pkg/node"
	"github.com/ingot-metal/ingot/pkg/rest"
)

const (
	// relayPath is the REST door at the HTTPS door, for other replicas alone: that door
	// is in their Leases already, and proves by the authority that they share who it
	// is, whatever the REST door itself listens at and shows.
	relayPath = "/replica/v1/rest"
	// replicaHeader proves that a replica asks: Authorization is its client's.
	replicaHeader = "Ingot-Replica"

	// relayTimeout is a little more than the owner takes at most.
	relayTimeout = machineChange + 10*time.Second
	// maxAnswer bounds what is taken of another door's answer, as of a request's body.
	maxAnswer = 1 << 20
)

// relayedKey marks the context of a request that came by way of another replica. No
// client can set it, and such a request goes no further.
type relayedKey struct{}

// askedHeaders are those that the REST door looks at; toldHeaders, that it answers
// with. No other goes along: a browser's were looked at where it came.
func askedHeaders() []string {
	return []string{"Authorization", "X-Auth-Token", "X-OpenStack-Ironic-API-Version", "OpenStack-API-Version", "Accept", "Content-Type"}
}

func toldHeaders() []string {
	return []string{
		"Location", "Allow", "Retry-After", "WWW-Authenticate", requestID, "X-" + requestID,
		"X-OpenStack-Ironic-API-Version", "X-OpenStack-Ironic-API-Minimum-Version", "X-OpenStack-Ironic-API-Maximum-Version",
	}
}

// requestID is in every answer of the REST door.
const requestID = "Openstack-Request-Id"

// relay is rest.Options.Relay.
func (m *restMachines) relay(r *http.Request, n *node.Node) (*rest.Answer, error) {
	_, ours := m.engine.Claims.Claim(n.Key.String())
	door := m.owner(n.Key)
	if ours || door == "" || r.Context().Value(relayedKey{}) != nil {
		return nil, nil //nolint:nilnil // as the type says
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	a, begun, err := m.peers.ask(r, door, body)
	switch {
	case err == nil:
		return a, nil
	case begun && !reads(r): // clients repeat what is answered 503
		return nil, unanswered(http.StatusGatewayTimeout, n, door, fmt.Sprintf("broke off (%v): it is not known whether this was done", err))
	}
	return nil, unanswered(http.StatusServiceUnavailable, n, door, fmt.Sprintf("does not answer (%v): please retry", err))
}

func unanswered(status int, n *node.Node, door, what string) *rest.Refusal {
	return &rest.Refusal{Status: status, Text: fmt.Sprintf("The machine of node %s is spoken to by another replica of ingot, that of the door %s, which %s.", n.UUID, door, what)}
}

func reads(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// ask has the replica at a door answer a request of the REST door. begun says of an
// error that the replica may have begun with it.
func (p *peers) ask(r *http.Request, door string, body []byte) (a *rest.Answer, begun bool, err error) {
	u, err := url.Parse(door)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, false, errors.New("its Lease names no HTTPS door")
	}
	to := url.URL{Scheme: u.Scheme, Host: u.Host, Path: relayPath + r.URL.Path, RawQuery: r.URL.RawQuery}
	ctx := r.Context()
	if !reads(r) {
		ctx = context.WithoutCancel(ctx) // who asked may go away; what was begun is ended
	}
	ctx, cancel := context.WithTimeout(ctx, relayTimeout)
	defer cancel()
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	req, err := http.NewRequestWithContext(ctx, r.Method, to.String(), bytes.NewReader(body))
	if err != nil {
		return nil, false, err
	}
	for _, name := range askedHeaders() {
		for _, v := range r.Header.Values(name) {
			req.Header.Add(name, v)
		}
	}
	// Links in the answer lead to where the client came.
	req.Host = r.Host
	req.Header.Set(forwarded, "http")
	if r.TLS != nil {
		req.Header.Set(forwarded, "https")
	}
	req.Header.Set(replicaHeader, p.token)
	resp, err := p.relays.Do(req)
	if err != nil {
		var at *url.Error
		if errors.As(err, &at) {
			err = at.Err // without the client's query
		}
		return nil, connected.Load(), err
	}
	defer resp.Body.Close()
	if resp.Header.Get(requestID) == "" {
		// Of an earlier release, say: its 404 would be the node's.
		return nil, false, fmt.Errorf("its REST door is not there: %s", resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(text) > maxAnswer {
		err = fmt.Errorf("its answer is longer than %d bytes", maxAnswer)
	}
	if err != nil {
		return nil, true, err
	}
	a = &rest.Answer{Status: resp.StatusCode, Header: http.Header{}}
	for _, name := range toldHeaders() {
		for _, v := range resp.Header.Values(name) {
			a.Header.Add(name, v)
		}
	}
	if len(text) > 0 {
		a.Body = text
	}
	return a, true, nil
}

// relayed is the REST door for what other replicas pass on. Who their client is and may
// do is found out anew; with noauth, the token is what keeps strangers and web pages
// from a door that may be there for loopback alone.
type relayed struct {
	token string
	door  http.Handler
	whole <-chan struct{} // closed once the door knows all nodes
}

func (d relayed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !ofReplica(w, r.Header.Get(replicaHeader), d.token) {
		return
	}
	select {
	case <-d.whole:
	default: // to the other replica this is no answer of the REST door
		http.Error(w, "this replica does not know its nodes yet", http.StatusServiceUnavailable)
		return
	}
	r = r.WithContext(context.WithValue(r.Context(), relayedKey{}, true))
	if r.Header.Get(forwarded) == "http" {
		r.TLS = nil // links are to be as the client came to the other replica
	}
	http.StripPrefix(relayPath, d.door).ServeHTTP(w, r)
}
