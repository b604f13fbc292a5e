package engine

import (
	"context"
	"log/slog"
	"sync"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/open"
)

// leftTimeout bounds the end of a session that an earlier life of this process
// left open.
const leftTimeout = 10 * time.Second

// Pooled opens BMCs through a pool, as their hosts' annotations want it.
type Pooled struct {
	pool     *open.Pool
	recorded func(context.Context, types.NamespacedName) (*v1alpha1.BMC, error)
	log      *slog.Logger

	leaving sync.WaitGroup

	mu   sync.Mutex
	last map[types.NamespacedName]open.Key
}

// NewPooled makes a Pooled. recorded reads what is on record of a host's BMC, nil
// if there is nothing; it may be nil itself.
func NewPooled(pool *open.Pool, recorded func(context.Context, types.NamespacedName) (*v1alpha1.BMC, error), log *slog.Logger) *Pooled {
	return &Pooled{pool: pool, recorded: recorded, log: log, last: map[types.NamespacedName]open.Key{}}
}

// Conn implements BMCs.
func (b *Pooled) Conn(ctx context.Context, h *metal3.BareMetalHost, creds bmc.Credentials, version string) (bmc.Conn, error) {
	name := types.NamespacedName{Namespace: h.Namespace, Name: h.Name}
	var rec *v1alpha1.BMC
	if b.recorded != nil {
		var err error
		if rec, err = b.recorded(ctx, name); err != nil {
			return nil, err // without it, a key might be believed that is not the first
		}
	}
	if rec != nil && rec.Address != h.Spec.BMC.Address {
		rec = nil // of another BMC
	}
	o, err := options(h, rec)
	if err != nil {
		return nil, err
	}
	key := open.Key{Address: h.Spec.BMC.Address, Version: version, Options: o}
	first := b.take(name, key)
	c, done, err := b.pool.Get(ctx, key, creds)
	if err != nil {
		if first {
			b.untake(name)
		}
		return nil, err
	}
	if first && rec != nil && rec.Session != "" {
		b.endLeft(ctx, name, c, rec.Session)
	}
	// The pool keeps it open for the next action, which comes soon.
	done()
	return c, nil
}

// options of the way to a host's BMC. A key that was believed at first use is
// pinned from then on.
func options(h *metal3.BareMetalHost, rec *v1alpha1.BMC) (open.Options, error) {
	addr, err := bmc.ParseAddress(h.Spec.BMC.Address)
	if err != nil {
		return open.Options{}, err
	}
	o, err := open.HostOptions(addr, h.Annotations)
	if err != nil {
		return open.Options{}, err
	}
	o.Insecure = h.Spec.BMC.DisableCertificateVerification
	if o.TrustOnFirstUse && rec != nil && rec.SPKI != "" {
		if o.PinSPKI, err = open.ParsePin(rec.SPKI); err != nil {
			return open.Options{}, &bmc.Error{
				Class: bmc.TLSIdentity, Code: bmc.CodeTLSUntrusted, Op: "read the recorded key",
				Detail: "status.bmc.spki of the HostRecord is no key: remove the annotation " + open.AnnotationPin + " and set it again", Err: err,
			}
		}
		o.TrustOnFirstUse = false
	}
	return o, nil
}

// take notes the way that a host's BMC is gone by, and gives up the one before:
// sessions are few. It reports whether this process knows the host for the first
// time.
func (b *Pooled) take(name types.NamespacedName, key open.Key) (first bool) {
	b.mu.Lock()
	before, known := b.last[name]
	b.last[name] = key
	b.mu.Unlock()
	if known && before != key {
		b.pool.Drop(before)
	}
	return !known
}

// Leave ends the session of a host that another replica takes. That one ends what
// is on record, and would have us meet a token that is no longer good when the
// host comes back.
func (b *Pooled) Leave(name types.NamespacedName) {
	b.mu.Lock()
	key, known := b.last[name]
	delete(b.last, name)
	b.mu.Unlock()
	if known {
		b.leaving.Go(func() { b.pool.Drop(key) }) // which may wait for the BMC
	}
}

// Wait returns when the sessions that Leave ends are ended.
func (b *Pooled) Wait() { b.leaving.Wait() }

func (b *Pooled) untake(name types.NamespacedName) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.last, name)
}

// endLeft ends a session that was open when this process ended without saying so.
// It is tried once, and nothing depends on it: sessions end by themselves, but
// some BMCs have four of them.
func (b *Pooled) endLeft(ctx context.Context, name types.NamespacedName, c bmc.Conn, uri string) {
	s, ok := c.(interface {
		EndSession(ctx context.Context, uri string) error
	})
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, leftTimeout)
	defer cancel()
	if err := s.EndSession(ctx, uri); err != nil {
		b.log.Debug("the session of an earlier start stays open", "host", name.String(), "err", err)
	}
}
