package redfish

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// Options of an Endpoint. The zero value verifies TLS against the system's
// certificate authorities.
type Options struct {
	// Insecure accepts any certificate. BareMetalHost's
	// disableCertificateVerification asks for it.
	Insecure bool
	// RootCAs replaces the system's certificate authorities.
	RootCAs *x509.CertPool
	// PinSPKI, if set, is the SHA-256 of the public key (SubjectPublicKeyInfo)
	// that the BMC must have; names, dates and authorities are then not looked at.
	PinSPKI []byte
	// TrustOnFirstUse, without PinSPKI, believes the first key that the BMC shows,
	// and no other after it. Record what Endpoint.SPKI says, and pin it next time.
	TrustOnFirstUse bool
	// Legacy admits TLS 1.0, RSA key exchange and certificates with nothing but a
	// common name, for BMCs that know no better. Only ever by a person's choice.
	Legacy bool
	// Timeout bounds one request with its answer. Zero means 90 s, of which the
	// BMC may think for 60 s before its first byte.
	Timeout time.Duration
	// Quirks, if not nil, replaces what would be detected.
	Quirks quirk.Set
	// QuirkOverride is an operator's word on the quirks.
	QuirkOverride quirk.Override
	// Console is for the serial console over SSH.
	Console ConsoleOptions
	// Log may be nil.
	Log *slog.Logger
	// Observe, if not nil, is told how each call ended.
	Observe func(error)
}

// Endpoint is one BMC. It is safe for concurrent use.
type Endpoint struct {
	bios registryCache

	base    string
	creds   bmc.Credentials
	client  *http.Client
	log     *slog.Logger
	timeout time.Duration
	observe func(error) // may be nil
	quirks  *detection
	legacy  bool
	sleep   func(context.Context, time.Duration) error // tests do not wait
	now     func() time.Time

	gate    gate
	breaker breaker
	pace    *rate.Limiter
	keys    *keyring
	auth    authState

	again    func(bmc.Credentials) *Endpoint // the same BMC with other credentials
	spelling atomic.Int32                    // of ETags: the one that this BMC takes

	mu   sync.Mutex
	refs int          // Systems open on it
	root *serviceRoot // read once

	console ConsoleOptions // HostKey is guarded by mu
}

// has reports whether the BMC has a quirk.
func (e *Endpoint) has(n quirk.Name) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.quirks.Has(n)
}

// NewEndpoint prepares the way to the BMC at addr. Nothing is sent yet.
func NewEndpoint(addr bmc.Address, creds bmc.Credentials, o Options) *Endpoint {
	e := &Endpoint{
		base: addr.BaseURL(), creds: creds, log: o.Log, timeout: o.Timeout, observe: o.Observe, quirks: newDetection(o), legacy: o.Legacy,
		sleep: sleep, now: time.Now, pace: rate.NewLimiter(1, paceBurst), keys: newKeyring(o), console: o.Console,
	}
	e.client = newClient(tlsConfig(addr.Host, o, e.keys, func() time.Time { return e.now() }))
	e.again = func(c bmc.Credentials) *Endpoint {
		if pin := e.SPKI(); o.TrustOnFirstUse && len(o.PinSPKI) == 0 {
			o.PinSPKI = pin // seen already
		}
		other := NewEndpoint(addr, c, o)
		other.sleep = e.sleep
		return other
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	e.log = e.log.With("bmc", addr.HostPort())
	if e.timeout == 0 {
		e.timeout = 90 * time.Second
	}
	return e
}

// close ends the session and the connections.
func (e *Endpoint) close(ctx context.Context) error {
	ctx, cancel := grace(ctx)
	defer cancel()
	e.settle(ctx)
	err := e.logout(ctx)
	e.client.CloseIdleConnections()
	return err
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
