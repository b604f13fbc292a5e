package transport

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	api "github.com/ingot-metal/ingot/api/agent"
)

// DialFunc opens connections; see net.Dialer.DialContext.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// Refusal is an answer of the server that is not 2xx.
type Refusal struct {
	Code    string // of api/agent.Error
	Message string
	URL     string // of api.ErrElsewhere
}

func (r *Refusal) Error() string { return "the server refused: " + r.Code + ": " + r.Message }

// Time that one call may take; a long poll may take api.PollTimeout more.
const callTimeout = 20 * time.Second

// Transport talks to one server as one agent. It is safe for concurrent use
// once Hello has returned.
type Transport struct {
	pin      string
	dial     DialFunc
	key      *ecdsa.PrivateKey
	csr      []byte
	plain    *http.Client // for chunks, which are verified by digest
	notAfter time.Time    // of our certificate
	moved    atomic.Pointer[move]

	mu     sync.Mutex
	doors  []door // the first is asked
	cert   *tls.Certificate
	mutual map[door]*http.Client // with our certificate, by door; none before Hello
}

// maxDoors bounds how many doors of one server are remembered.
const maxDoors = 16

// door of one replica of the server.
type door struct{ base, host string }

func newDoor(base string) (door, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return door{}, fmt.Errorf("the server's URL %.100q: want https://ADDRESS:PORT", base)
	}
	return door{base: strings.TrimSuffix(base, "/"), host: u.Hostname()}, nil
}

func (t *Transport) door() door {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.doors[0]
}

// Follow asks at another door from now on: the server says that what we want is
// there. Whoever answers there has to prove itself in the same way.
func (t *Transport) Follow(base string) error {
	d, err := newDoor(base)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.doors = slices.Insert(slices.DeleteFunc(t.doors, func(x door) bool { return x == d }), 0, d)
	t.doors = t.doors[:min(len(t.doors), maxDoors)]
	return nil
}

// Turn asks at the next of the doors from now on: this one does not answer.
func (t *Transport) Turn() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.doors = append(t.doors[1:], t.doors[0])
}

// move says where what a step names is now.
type move struct{ from, to api.WriteStep }

// Move has what one version of a write step names fetched as another version of
// the same step says: the replica that handed out the first may be gone.
func (t *Transport) Move(from, to api.WriteStep) { t.moved.Store(&move{from, to}) }

// authenticated is the door that is asked, and the client for it; nil: hello has
// not been said.
func (t *Transport) authenticated() (door, *http.Client) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.doors[0]
	c := t.mutual[d]
	if c == nil && t.cert != nil {
		c = t.client(d.host, t.cert)
		t.mutual[d] = c
	}
	return d, c
}

// New makes a transport with a fresh key. The base URLs of several doors of one
// server are parted by commas. A nil dial is the kernel's.
func New(base, pin string, dial DialFunc) (*Transport, error) {
	var doors []door
	for one := range strings.SplitSeq(base, ",") {
		d, err := newDoor(one)
		if err != nil {
			return nil, err
		}
		doors = append(doors, d)
	}
	if len(doors) > maxDoors {
		return nil, fmt.Errorf("%d URLs of the server: want at most %d", len(doors), maxDoors)
	}
	if dial == nil {
		dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate request: %w", err)
	}
	t := &Transport{pin: strings.ToLower(pin), dial: dial, key: key, csr: csr, doors: doors, mutual: map[door]*http.Client{}}
	t.plain = &http.Client{
		Transport:     &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 8, ResponseHeaderTimeout: callTimeout, DisableCompression: true},
		CheckRedirect: noRedirect,
	}
	return t, nil
}

// Close drops idle connections.
func (t *Transport) Close() {
	t.plain.CloseIdleConnections()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget()
}

// forget drops the clients of the certificate that we had. t.mu is held.
func (t *Transport) forget() {
	for d, c := range t.mutual {
		c.CloseIdleConnections()
		delete(t.mutual, d)
	}
}

// Hello makes itself known and takes the certificate for all later calls. The
// key is the same each time, so that a hello whose answer was lost is repeated.
func (t *Transport) Hello(ctx context.Context, h api.Hello) (api.Welcome, error) {
	h.CSR = t.csr
	at := t.door()
	anonymous := t.client(at.host, nil)
	defer anonymous.CloseIdleConnections()
	var w api.Welcome
	if err := t.post(ctx, at, anonymous, api.PathHello, callTimeout, h, &w); err != nil {
		return api.Welcome{}, err
	}
	leaf, err := x509.ParseCertificate(w.Certificate)
	if err != nil {
		return api.Welcome{}, fmt.Errorf("the certificate in the welcome: %w", err)
	}
	if !t.key.PublicKey.Equal(leaf.PublicKey) {
		return api.Welcome{}, errors.New("the certificate in the welcome is for another key")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget()
	t.notAfter = leaf.NotAfter
	t.cert = &tls.Certificate{Certificate: [][]byte{w.Certificate}, PrivateKey: t.key, Leaf: leaf}
	return w, nil
}

// Next asks for a step; it waits as long as the server does.
func (t *Transport) Next(ctx context.Context, req api.NextRequest) (api.Step, error) {
	var s api.Step
	err := t.call(ctx, api.PathNext, api.PollTimeout+callTimeout, req, &s)
	return s, err
}

// Progress reports on the running step.
func (t *Transport) Progress(ctx context.Context, p api.Progress) error {
	return t.call(ctx, api.PathProgress, callTimeout, p, nil)
}

// Result reports how a step ended.
func (t *Transport) Result(ctx context.Context, r api.Result) error {
	return t.call(ctx, api.PathResult, callTimeout, r, nil)
}

// Secret fetches what is meant for this host alone and verifies it.
func (t *Transport) Secret(ctx context.Context, digest string, size int64) ([]byte, error) {
	if m := t.moved.Load(); m != nil && digest == m.from.ConfigDrive {
		digest, size = m.to.ConfigDrive, m.to.ConfigDriveSize
	}
	if size < 0 || size > api.MaxConfDrive {
		return nil, fmt.Errorf("secret of %d bytes: want at most %d", size, api.MaxConfDrive)
	}
	if err := checkDigest(digest); err != nil {
		return nil, err
	}
	at, client := t.authenticated()
	if client == nil {
		return nil, errNoHello
	}
	return get(ctx, client, at.base+api.PathSecret+digest, digest, make([]byte, size))
}

// Chunk fetches one chunk of an image into buf, whose length is that of the
// chunk, and verifies it.
func (t *Transport) Chunk(ctx context.Context, base, digest string, buf []byte) error {
	if err := checkDigest(digest); err != nil {
		return err
	}
	if m := t.moved.Load(); m != nil && base == m.from.ChunkBase {
		base = m.to.ChunkBase
	}
	_, err := get(ctx, t.plain, base+digest, digest, buf)
	return err
}

// DigestError says that the bytes were not those promised. Asking again is of
// use only when a proxy or the wire corrupts.
type DigestError struct{ Want, Got string }

func (e *DigestError) Error() string {
	return fmt.Sprintf("digest is %.16s…, want %.16s…", e.Got, e.Want)
}

func checkDigest(digest string) error {
	if b, err := hex.DecodeString(digest); err != nil || len(b) != sha256.Size {
		return fmt.Errorf("digest %.70q: want 64 hex digits", digest)
	}
	return nil
}

// get fills buf from a URL, and errs unless the body is exactly that long and
// has that digest.
func get(ctx context.Context, c *http.Client, addr, digest string, buf []byte) ([]byte, error) {
	// 20 s and a floor of 64 KiB/s: a stalled transfer must not hold the step.
	ctx, cancel := context.WithTimeout(ctx, callTimeout+time.Duration(len(buf)/(64<<10))*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, addr, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", addr, resp.Status)
	}
	if _, err := io.ReadFull(resp.Body, buf); err != nil {
		return nil, fmt.Errorf("GET %s: body is short: %w", addr, err)
	}
	if n, _ := io.CopyN(io.Discard, resp.Body, 1); n != 0 {
		return nil, fmt.Errorf("GET %s: body is longer than %d bytes", addr, len(buf))
	}
	sum := sha256.Sum256(buf)
	if got := hex.EncodeToString(sum[:]); got != strings.ToLower(digest) {
		return nil, fmt.Errorf("GET %s: %w", addr, &DigestError{Want: digest, Got: got})
	}
	return buf, nil
}

var errNoHello = errors.New("hello has not been said")

func (t *Transport) call(ctx context.Context, path string, limit time.Duration, in, out any) error {
	at, c := t.authenticated()
	if c == nil {
		return errNoHello
	}
	return t.post(ctx, at, c, path, limit, in, out)
}

func (t *Transport) post(ctx context.Context, at door, c *http.Client, path string, limit time.Duration, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	if len(body) > api.MaxMessage {
		return &Refusal{Code: api.ErrBadRequest, Message: fmt.Sprintf("message of %d bytes, at most %d are allowed", len(body), api.MaxMessage)}
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	limited := http.MaxBytesReader(nil, resp.Body, maxAnswer)
	if resp.StatusCode/100 != 2 {
		var e api.Error
		if err := json.NewDecoder(limited).Decode(&e); err != nil || e.Code == "" {
			// Not our server's voice: a proxy, or a server that is starting.
			return fmt.Errorf("POST %s: %s", path, resp.Status)
		}
		return &Refusal{Code: e.Code, Message: clip(e.Message, 500), URL: clip(e.URL, 500)}
	}
	if out == nil {
		out = new(struct{})
	}
	if err := json.NewDecoder(limited).Decode(out); err != nil {
		return fmt.Errorf("POST %s: answer: %w", path, err)
	}
	// Read to the end, so that the connection is used again.
	_, _ = io.Copy(io.Discard, limited)
	return nil
}

// maxAnswer bounds an answer. A write step with the largest manifest
// (api.MaxChunks, about 150 bytes each) is the largest of all.
const maxAnswer = 192 << 20

func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "")
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Life is how much longer our certificate is good at the server's time now.
func (t *Transport) Life(now time.Time) time.Duration { return t.notAfter.Sub(now) }
