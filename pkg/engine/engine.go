package engine

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/auth"
	"github.com/ingot-metal/ingot/pkg/blob"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/firmware"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/image"
	"github.com/ingot-metal/ingot/pkg/record"
	"github.com/ingot-metal/ingot/pkg/shard"
)

// BMCs opens the way to a host's BMC, or finds it open. Whoever calls does not
// close it.
type BMCs interface {
	Conn(ctx context.Context, b *metal3.BareMetalHost, creds bmc.Credentials, secretVersion string) (bmc.Conn, error)
}

// Images prepares images; pkg/image does.
type Images interface {
	Prepare(ctx context.Context, s image.Source, progress func(done, total int64)) (*agent.Manifest, blob.Digest, error)
}

// Blobs keeps bytes; pkg/blob does.
type Blobs interface {
	Put(ctx context.Context, r io.Reader) (blob.Digest, int64, error)
	Open(ctx context.Context, d blob.Digest) (io.ReadSeekCloser, int64, error)
}

// Agents hands steps to agents; pkg/agentapi does.
type Agents interface {
	Run(ctx context.Context, bootID, host string, step agent.Step, secrets map[string][]byte) (agent.Result, error)
	WaitCalled(ctx context.Context, bootID, host string) error
	LocalIP(bootID string) string
	End(bootID string)
}

// Secrets reads a Secret; nil: there is none.
type Secrets interface {
	Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error)
}

// Claims knows which hosts are this process's to act on; *shard.Member does, and
// shard.Sole.
type Claims interface {
	Claim(host string) (shard.Claim, bool)
}

// errNotOurs ends what is done for a host that went to another replica.
var errNotOurs = errors.New("the host is another replica's now")

// Post is what came of an action, or what was seen.
type Post struct {
	Event host.Event
	Extra record.Extra
	Note  *Note // for people, as an event of the host
	// Firmware is what the BMC told of it.
	Firmware *firmware.Reading
}

// Note becomes a Kubernetes event.
type Note struct {
	Warning bool
	Reason  string
	Message string
}

// Engine carries actions out. Its fields are set before the first Do.
type Engine struct {
	BMCs     BMCs
	Images   Images
	Blobs    Blobs
	Agents   Agents
	Secrets  Secrets
	Progress *Hub
	Log      *slog.Logger
	NewID    func() string
	Claims   Claims
	// HTTPPort of the boot door, where agents fetch chunks; HTTPSPort of the
	// agents' door.
	HTTPPort, HTTPSPort int
	CA                  *auth.CA
	// LiveISOOnce has a live ISO booted by an override for one start, set anew at
	// each that we order, instead of a lasting one.
	LiveISOOnce bool
	// LoaderURL is where a machine that boots by UEFI HTTP finds its loader, for
	// BMCs that take it; empty, or nil: DHCP says it.
	LoaderURL func() string
	// RootVolume tells which of a host's software RAID volumes is to be booted;
	// nil: the first.
	RootVolume func(context.Context, types.NamespacedName) (int, error)
	// Post takes what came of an action. It must not block.
	Post func(types.NamespacedName, Post)

	mu   sync.Mutex
	busy map[types.NamespacedName]*work
	wg   sync.WaitGroup
}

// work is the action that is being carried out for a host.
type work struct {
	cancel context.CancelFunc
	ended  chan struct{} // closed when nothing more is done
}

// Input is what an action works on, as of the moment it was decided.
type Input struct {
	Key   types.NamespacedName
	Host  host.Host
	BMH   *metal3.BareMetalHost
	HR    *v1alpha1.HostRecord
	Creds bmc.Credentials
	// HFS and HFC declare the machine's firmware; nil: nothing does.
	HFS *metal3.HostFirmwareSettings
	HFC *metal3.HostFirmwareComponents

	epoch int64 // of the claim that the action is carried out under
}

// Do begins an action. An action that is under way for the same host is
// cancelled first: its outcome no longer counts.
func (e *Engine) Do(ctx context.Context, in Input, a host.Action) {
	run := e.action(a.Verb)
	if run == nil {
		return
	}
	claim, ours := e.Claims.Claim(in.Key.String())
	if !ours {
		return // the next owner decides the same
	}
	in.epoch = claim.Epoch
	still := func() error {
		if now, ours := e.Claims.Claim(in.Key.String()); !ours || now.Epoch != claim.Epoch {
			return errNotOurs
		}
		return nil
	}
	ctx, cancel := context.WithCancel(bmc.WithFence(ctx, still))
	if !a.Deadline.IsZero() {
		// The life cycle ends the phase at its deadline; a little later nobody
		// listens any more.
		ctx, cancel = context.WithDeadline(ctx, a.Deadline.Add(5*time.Second))
	}
	w := &work{cancel: cancel, ended: make(chan struct{})}
	e.mu.Lock()
	if e.busy == nil {
		e.busy = map[types.NamespacedName]*work{}
	}
	if old := e.busy[in.Key]; old != nil {
		old.cancel()
	}
	e.busy[in.Key] = w
	e.mu.Unlock()
	e.wg.Go(func() {
		defer cancel()
		p := run(ctx, in, a)
		e.mu.Lock()
		if e.busy[in.Key] == w {
			delete(e.busy, in.Key)
		}
		e.mu.Unlock()
		// What was cancelled has no outcome that counts, and when this process ends,
		// that is no failure of the host's: the next one, or whoever takes the host,
		// finds out what came of it.
		if !errors.Is(ctx.Err(), context.Canceled) && still() == nil {
			e.Post(in.Key, p)
		}
		close(w.ended)
	})
}

// Cancel stops what is being done for a host.
func (e *Engine) Cancel(key types.NamespacedName) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if w := e.busy[key]; w != nil {
		w.cancel()
		delete(e.busy, key)
	}
}

// Stop is Cancel for a host that goes to another replica: no session of ours stays
// open. It returns what is closed when nothing is done any more.
func (e *Engine) Stop(key types.NamespacedName) <-chan struct{} {
	e.mu.Lock()
	w := e.busy[key]
	e.mu.Unlock()
	e.Cancel(key)
	if l, ok := e.BMCs.(interface{ Leave(types.NamespacedName) }); ok {
		l.Leave(key)
	}
	if w == nil {
		done := make(chan struct{})
		close(done)
		return done
	}
	return w.ended
}

// Busy reports whether an action is under way for a host.
func (e *Engine) Busy(key types.NamespacedName) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.busy[key] != nil
}

// Wait returns when everything that was begun has ended.
func (e *Engine) Wait() { e.wg.Wait() }

type doFunc func(context.Context, Input, host.Action) Post

func (e *Engine) action(v host.Verb) doFunc {
	switch v {
	case host.VerifyBMC:
		return e.verify
	case host.ReadFacts:
		return e.readFacts
	case host.SetPower:
		return e.setPower
	case host.SetBoot:
		return e.setBoot
	case host.OrderBoot:
		return e.orderBoot
	case host.PrepareImage:
		return e.prepareImage
	case host.ChooseDisk:
		return e.chooseDisk
	case host.RunStep:
		return e.runStep
	case host.PlanChange:
		return e.planChange
	case host.ApplyChange:
		return e.applyChange
	case host.Restart:
		return e.restart
	case host.SettleChange:
		return e.settleChange
	case host.SetSecureBoot:
		return e.setSecureBoot
	case host.InsertMedia:
		return e.insertMedia
	case host.EjectMedia:
		return e.ejectMedia
	}
	return nil
}

// failed is the outcome of an action that came to nothing.
func failed(a host.Action, p *host.Problem) Post {
	return Post{Event: host.Outcome{Seq: a.Seq, Problem: p}}
}
