package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/agentapi"
	"github.com/ingot-metal/ingot/pkg/auth"
	"github.com/ingot-metal/ingot/pkg/blob"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/image"
	"github.com/ingot-metal/ingot/pkg/shard"
)

// board is a BMC: it does what it is told after a number of reads, or fails.
type board struct {
	mu       sync.Mutex
	power    bmc.PowerState
	next     bmc.PowerState // after lag reads
	lag      int
	readErrs []error // of the next reads
	setErr   error
	idErr    error
	once     error // of a persistent override
	boots    []bmc.BootOverride
	ordered  []bmc.PowerAction
	details  int
}

func (b *board) Identify(context.Context) (bmc.Identity, error) {
	return bmc.Identity{Protocol: "redfish", SystemUUID: "u", SystemID: "/redfish/v1/Systems/1"}, b.idErr
}

func (b *board) Details(_ context.Context, id bmc.Identity) (bmc.Identity, error) {
	b.details++
	for i := range 40 {
		id.MACs = append(id.MACs, net.HardwareAddr{2, 0, 0, 0, 0, byte(i)})
	}
	return id, nil
}

func (*board) Close(context.Context) error { return nil }

func (b *board) PowerState(context.Context) (bmc.PowerState, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.readErrs) > 0 {
		err := b.readErrs[0]
		b.readErrs = b.readErrs[1:]
		return bmc.PowerUnknown, err
	}
	if b.lag--; b.lag < 0 && b.next != bmc.PowerUnknown {
		b.power = b.next
	}
	return b.power, nil
}

func (b *board) SetPower(_ context.Context, a bmc.PowerAction) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ordered = append(b.ordered, a)
	if b.setErr != nil {
		return b.setErr
	}
	b.next = bmc.PowerOn
	if a == bmc.ActionForceOff || a == bmc.ActionSoftOff {
		b.next = bmc.PowerOff
	}
	return nil
}

func (b *board) BootOverride(context.Context) (bmc.BootOverride, error) {
	return bmc.BootOverride{}, errors.New("not asked for")
}

func (b *board) SetBootOverride(_ context.Context, o bmc.BootOverride) error {
	b.boots = append(b.boots, o)
	if o.Persistent {
		return b.once
	}
	return nil
}

// mute is a BMC that can do nothing but say who it is.
type mute struct{}

func (mute) Identify(context.Context) (bmc.Identity, error) { return bmc.Identity{}, nil }
func (mute) Close(context.Context) error                    { return nil }

type bmcs struct {
	conn bmc.Conn
	err  error
}

func (b bmcs) Conn(context.Context, *metal3.BareMetalHost, bmc.Credentials, string) (bmc.Conn, error) {
	return b.conn, b.err
}

type images struct {
	manifest *agent.Manifest
	err      error
}

func (i images) Prepare(_ context.Context, _ image.Source, progress func(done, total int64)) (*agent.Manifest, blob.Digest, error) {
	progress(1, 2)
	return i.manifest, blob.DigestOf([]byte("manifest")), i.err
}

// agents answer a step with result, or fail with err.
type agents struct {
	mu     sync.Mutex
	result agent.Result
	err    error
	wait   chan struct{} // nil: at once
	steps  []agent.Step
	secret map[string][]byte
	silent bool
}

func (a *agents) Run(ctx context.Context, _, _ string, s agent.Step, secrets map[string][]byte) (agent.Result, error) {
	a.mu.Lock()
	a.steps, a.secret = append(a.steps, s), secrets
	a.mu.Unlock()
	if a.wait != nil {
		select {
		case <-a.wait:
		case <-ctx.Done():
			return agent.Result{}, ctx.Err()
		}
	}
	return a.result, a.err
}

func (a *agents) WaitCalled(context.Context, string, string) error {
	if a.silent {
		return agentapi.ErrLost
	}
	return nil
}
func (*agents) LocalIP(string) string { return "10.77.0.1" }
func (*agents) End(string)            {}

type secrets map[string]map[string][]byte

func (s secrets) Secret(_ context.Context, _, name string) (*corev1.Secret, error) {
	if name == "slow" {
		return nil, errors.New("the API is slow")
	}
	data, ok := s[name]
	if !ok {
		return nil, nil
	}
	return &corev1.Secret{Data: data}, nil
}

// rig is an engine with everything around it pretended, save the blobs.
type rig struct {
	*Engine
	t      *testing.T
	board  *board
	agents *agents
	posts  chan Post
	in     Input
}

// disks of the inventory that a rig's host has.
func disks() []agent.Disk {
	return []agent.Disk{
		{Name: "/dev/nvme0n1", Serial: "S1", WWN: "w1", Size: 64 << 30, Type: agent.DiskNVMe, SectorSize: 512},
		{Name: "/dev/sda", Serial: "S2", Size: 128 << 30, Type: agent.DiskHDD, SectorSize: 512, Rotational: true},
		{Name: "/dev/sdb", Serial: "USB", Size: 8 << 30, Type: agent.DiskHDD, SectorSize: 512, Removable: true},
		{Name: "/dev/sr0", Size: 1 << 30, SectorSize: 2048, ReadOnly: true},
	}
}

func newRig(t *testing.T) *rig {
	t.Helper()
	store, err := blob.Open(t.TempDir(), blob.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ca, err := auth.NewCA(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{
		t: t, board: &board{power: bmc.PowerOff}, agents: &agents{}, posts: make(chan Post, 16),
	}
	n := 0
	r.Engine = &Engine{
		BMCs: bmcs{conn: r.board}, Blobs: store, Agents: r.agents, Secrets: secrets{}, Progress: &Hub{},
		Images: images{manifest: &agent.Manifest{Size: 1 << 20, SHA256: "x", ChunkSize: agent.MaxChunk}},
		Log:    slog.New(slog.DiscardHandler), Claims: shard.Sole(3), HTTPPort: 6180, HTTPSPort: 6183, CA: ca,
		NewID: func() string { n++; return fmt.Sprintf("boot-%d", n) },
		Post:  func(_ types.NamespacedName, p Post) { r.posts <- p },
	}
	b := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "w1", UID: "u1"}}
	b.Spec.BMC = metal3.BMCDetails{Address: "redfish://10.0.0.3", CredentialsName: "s1"}
	r.in = Input{
		Key: types.NamespacedName{Namespace: "rack", Name: "w1"}, BMH: b, HR: &v1alpha1.HostRecord{},
		Host: host.Host{
			Key: "rack/w1", State: host.Provisioning, Boot: &host.Boot{ID: "b1", Redeemed: true},
			LastTried: &host.Image{URL: "http://images/i", Checksum: "c", ChecksumType: "sha256"},
		},
	}
	r.inspect(agent.Inventory{CPU: agent.CPU{Arch: "x86_64"}, Disks: disks()})
	return r
}

// inspect makes inv the recorded inventory.
func (r *rig) inspect(inv agent.Inventory) {
	r.t.Helper()
	p := r.inspected(r.t.Context(), r.in, host.Action{}, &inv)
	if o := p.Event.(host.Outcome); o.Problem != nil {
		r.t.Fatal(o.Problem)
	}
	r.in.HR.Status.Inventory = p.Extra.Inventory
}

// do carries an action out and returns what came of it.
func (r *rig) do(a host.Action) Post {
	r.t.Helper()
	a.Seq = 9
	r.Do(r.t.Context(), r.in, a)
	select {
	case p := <-r.posts:
		return p
	case <-time.After(time.Minute):
		r.t.Fatalf("nothing came of %+v", a)
		panic("unreachable")
	}
}

// outcome of an action; every one carries the action's number.
func (r *rig) outcome(a host.Action) host.Outcome {
	r.t.Helper()
	p := r.do(a)
	o, ok := p.Event.(host.Outcome)
	if !ok || o.Seq != 9 {
		r.t.Fatalf("%+v came of %+v", p.Event, a)
	}
	return o
}

// problem of an action that must fail.
func (r *rig) problem(a host.Action, code string, class host.Class) *host.Problem {
	r.t.Helper()
	p := r.outcome(a).Problem
	if p == nil || p.Code != code || p.Class != class || len(p.Seen) == 0 || slices.Contains(p.Seen, "") {
		r.t.Fatalf("problem %+v, want %s to %s", p, code, class)
	}
	return p
}

func (r *rig) readBlob(digest string) []byte {
	r.t.Helper()
	d, err := blob.ParseDigest(digest)
	if err != nil {
		r.t.Fatal(err)
	}
	f, _, err := r.Blobs.Open(r.t.Context(), d)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	raw, err := io.ReadAll(f)
	if err != nil {
		r.t.Fatal(err)
	}
	return raw
}

func secretRef(name string) *corev1.SecretReference { return &corev1.SecretReference{Name: name} }
