package vendorextra

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// maxRequests bounds one call: a list that never ends is pulled for ever. The
// longest call, a boot override, has 8.
const maxRequests = 32

// The provider knows one of AMT's boot sources.
const sourcePXE = "Intel(r) AMT: Force PXE Boot"

// relay stands between the AMT provider and AMT for one call. The provider makes
// its own connections, verifies no certificate and takes no transport, so it is
// given a loopback port and a token in place of the address and the credentials.
// What reaches AMT was sent by us.
type relay struct {
	door   *door
	target string // https://host:16993/wsman
	digest *digest
	token  string
	self   string // the URL under which the provider knows AMT

	keep   func(state int) bool // power states to choose from; nil: all
	source string               // boot source to set in place of PXE

	ctx    context.Context
	server *http.Server
	port   int
	served chan struct{}

	mu       sync.Mutex
	requests int
	proven   bool // the password was accepted in this call
	err      error
	seen     envelope // returned: of all answers
	agent    string   // AMT's Server header
}

// listen starts the relay. Nobody without the token gets further than a 401, and
// a local account may speak to AMT's port anyway.
func (r *relay) listen(ctx context.Context) error {
	token := make([]byte, 16)
	if _, err := rand.Read(token); err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	r.ctx, r.token, r.port = ctx, hex.EncodeToString(token), l.Addr().(*net.TCPAddr).Port
	r.self = "http://" + l.Addr().String() + "/wsman"
	r.server = &http.Server{Handler: r, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: r.door.transport.ResponseHeaderTimeout}
	r.served = make(chan struct{})
	go func() {
		defer close(r.served)
		_ = r.server.Serve(l)
	}()
	return nil
}

func (r *relay) close() {
	_ = r.server.Close()
	<-r.served
}

// ServeHTTP answers the provider. A failure is remembered, and ends the call:
// the provider goes on after some.
func (r *relay) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if !strings.Contains(q.Header.Get("Authorization"), `username="`+r.token+`"`) {
		w.Header().Set("WWW-Authenticate", `Digest realm="relay", nonce="relay", qop="auth"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, q.Body, 64<<10))
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil && r.err == nil {
		body, r.err = r.pass(body)
	}
	if err != nil || r.err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	_, _ = w.Write(body)
}

// pass sends one message and looks at the answer. r.mu is held.
func (r *relay) pass(message []byte) ([]byte, error) {
	if r.requests++; r.requests > maxRequests {
		return nil, &bmc.Error{Class: bmc.Protocol, Detail: fmt.Sprintf("a list of AMT's does not end within %d requests", maxRequests)}
	}
	message = bytes.ReplaceAll(message, []byte(r.self), []byte(r.target))
	if r.source != "" && bytes.Contains(message, []byte("ChangeBootOrder")) {
		if !bytes.Contains(message, []byte(sourcePXE)) {
			return nil, &bmc.Error{Class: bmc.Protocol, Detail: "AMT names no boot source that bmclib knows"}
		}
		message = bytes.ReplaceAll(message, []byte(sourcePXE), []byte(r.source))
	}
	status, answer, err := r.exchange(message)
	if err != nil {
		return nil, err
	}
	answer, e, err := scan(answer, r.keep)
	if status >= 300 {
		return nil, r.refusal(status, e.fault)
	}
	if err != nil {
		return nil, &bmc.Error{Class: bmc.Protocol, Detail: "AMT's answer cannot be read", Err: err}
	}
	r.proven = true
	if e.power != 0 {
		r.seen.power, r.seen.offered = e.power, e.offered
	}
	r.seen.returned = append(r.seen.returned, e.returned...)
	if i := slices.IndexFunc(e.returned, func(n int) bool { return n != 0 && n != 4096 }); i >= 0 {
		return nil, returnError(e.returned[i])
	}
	return answer, nil
}

func (r *relay) refusal(status int, fault string) error {
	e := statusError(status, fault)
	if e.Class == bmc.Auth {
		return e
	}
	// A SOAP Fault is a 400 or a 500 (SOAP 1.2 part 2, §7.5.2.2).
	if strings.Contains(fault, "esource") || strings.Contains(fault, "not supported") {
		e.Class = bmc.Unsupported
	}
	return e
}

// exchange posts a message. A password that AMT has refused is not sent again.
func (r *relay) exchange(message []byte) (int, []byte, error) {
	for try := 0; ; try++ {
		asked := r.digest.nonce == "" // only asked for a challenge
		status, challenge, body, err := r.post(message)
		if err != nil || status != http.StatusUnauthorized {
			return status, body, err
		}
		stale, err := r.digest.learn(challenge)
		if err != nil && asked {
			return 0, nil, &bmc.Error{Class: bmc.Protocol, Detail: "AMT asks for a password in a way that is not known", Err: err}
		}
		if refused := !asked && !stale && !r.proven; refused || err != nil || try == 2 {
			return status, body, nil
		}
		r.proven = false
	}
}

func (r *relay) post(message []byte) (status int, challenge string, body []byte, err error) {
	if r.digest.nonce == "" {
		message = nil // nothing is ordered before AMT knows by whom
	}
	q, err := http.NewRequestWithContext(r.ctx, http.MethodPost, r.target, bytes.NewReader(message))
	if err != nil {
		return 0, "", nil, err
	}
	q.Header.Set("Content-Type", "application/soap+xml; charset=utf-8")
	if r.digest.nonce != "" {
		answer, err := r.digest.answer(http.MethodPost, q.URL.Path)
		if err != nil {
			return 0, "", nil, err
		}
		q.Header.Set("Authorization", answer)
	}
	resp, err := r.door.client(nil).Do(q)
	if err != nil {
		return 0, "", nil, err
	}
	defer resp.Body.Close()
	if r.digest.nonce == "" && resp.StatusCode < 300 {
		return 0, "", nil, &bmc.Error{Class: bmc.Protocol, Detail: "the port answers without asking who we are: that is not AMT"}
	}
	r.agent = resp.Header.Get("Server")
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header.Get("WWW-Authenticate"), body, err
}

// returnError sorts CIM_PowerManagementService's ReturnValues, which those of
// CIM_BootService are like. The provider reads past that of a power order.
func returnError(n int) error {
	e := &bmc.Error{Class: bmc.BadRequest, Detail: "AMT refused the order, return value " + strconv.Itoa(n)}
	switch n {
	case 1:
		e.Class = bmc.Unsupported
	case 3, 6, 4099: // timeout, in use, busy
		e.Class = bmc.Busy
	}
	return e
}

// outcome is the relay's own error before the provider's: it was there first.
func (r *relay) outcome(err error) (envelope, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		err = r.err
	}
	var e *bmc.Error
	if err != nil && !errors.As(err, &e) {
		err = errors.New(strings.ReplaceAll(err.Error(), r.token, "…"))
		if r.door.failed != nil {
			err = r.door.failed
		}
	}
	return r.seen, err
}
