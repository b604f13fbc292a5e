package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/blob"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/engine"
	"github.com/ingot-metal/ingot/pkg/node"
	hostrecord "github.com/ingot-metal/ingot/pkg/record"
	"github.com/ingot-metal/ingot/pkg/rest"
)

const (
	// machineRead and machineChange bound what a client of the REST door waits for.
	machineRead, machineChange = 45 * time.Second, 60 * time.Second
	// machineWork bounds a change that goes on after the answer: a BMC may fetch all
	// of an image before it says that it has it.
	machineWork = 10 * time.Minute
	// machineMoment is how long the answer to such a change is held back, so that who
	// looks next mostly sees what came of it.
	machineMoment = 3 * time.Second
	// machinePatience is Ironic's: three tries, a second apart.
	machinePatience = 3 * time.Second
	// maxInventory bounds what is read of a blob.
	maxInventory = 16 << 20
)

// restMachines reaches the machines of nodes for the REST door. What changes something is
// one action of the engine's, and none beside another.
type restMachines struct {
	hosts  client.Reader // a cache
	engine *engine.Engine
	blobs  engine.Blobs
	// owner is the door of the replica that has a host; empty: it is ours, or nobody's.
	owner func(types.NamespacedName) string
	peers *peers
	// door is where consoles are watched.
	door string
	// patience is how long a client waits for another's change, as Ironic's waits for
	// its lock.
	patience time.Duration
	base     context.Context // of what goes on after an answer
}

var _ rest.Machines = (*restMachines)(nil)

// Read implements rest.Machines.
func (m *restMachines) Read(ctx context.Context, n *node.Node, do func(context.Context, bmc.Conn) error) error {
	if _, ours := m.engine.Claims.Claim(n.Key.String()); !ours {
		return m.elsewhere(n)
	}
	in, err := m.input(ctx, n)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, machineRead)
	defer cancel()
	return m.with(ctx, in, do)
}

// Change implements rest.Machines.
func (m *restMachines) Change(ctx context.Context, n *node.Node, do func(context.Context, bmc.Conn) error) error {
	// Who asked may go away; what was begun is ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), machineChange)
	defer cancel()
	defer context.AfterFunc(m.base, cancel)()
	in, ctx, release, err := m.take(ctx, n)
	if err != nil {
		return err
	}
	defer release()
	return m.came(ctx, n, m.with(ctx, in, do))
}

// Begin implements rest.Machines.
func (m *restMachines) Begin(ctx context.Context, n *node.Node, do func(context.Context, bmc.Conn) error, ended func(context.Context, error)) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), machineWork)
	stop := context.AfterFunc(m.base, cancel)
	in, work, release, err := m.take(ctx, n)
	if err != nil {
		stop()
		cancel()
		return err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		defer stop()
		defer release()
		err := m.came(work, n, m.with(work, in, do))
		told, cancel := context.WithTimeout(context.WithoutCancel(ctx), machineMoment)
		defer cancel()
		ended(told, err)
	}()
	moment := time.NewTimer(machineMoment)
	defer moment.Stop()
	select {
	case <-done:
	case <-moment.C:
	}
	return nil
}

// take takes a host on which no operation runs.
func (m *restMachines) take(ctx context.Context, n *node.Node) (engine.Input, context.Context, func(), error) {
	if m.base.Err() != nil {
		return engine.Input{}, nil, nil, m.elsewhere(n) // this process ends
	}
	work, release, err := m.engine.Beside(ctx, n.Key)
	for until := time.Now().Add(m.patience); errors.Is(err, engine.ErrBusy) && time.Now().Before(until) && ctx.Err() == nil; {
		select {
		case <-time.After(m.patience / 10):
		case <-ctx.Done():
		}
		work, release, err = m.engine.Beside(ctx, n.Key)
	}
	switch {
	case errors.Is(err, engine.ErrNotOurs):
		return engine.Input{}, nil, nil, m.elsewhere(n)
	case errors.Is(err, engine.ErrBusy):
		return engine.Input{}, nil, nil, rest.Locked(&n.Node)
	case err != nil:
		return engine.Input{}, nil, nil, err
	}
	in, err := m.input(ctx, n)
	if err == nil && in.HR.Status.Operation != nil {
		err = rest.Locked(&n.Node)
	}
	if err != nil {
		release()
		return engine.Input{}, nil, nil, err
	}
	return in, work, release, nil
}

// came says of a change that was broken off why.
func (m *restMachines) came(ctx context.Context, n *node.Node, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, engine.ErrNotOurs):
		return m.elsewhere(n)
	case errors.Is(context.Cause(ctx), engine.ErrBusy):
		return rest.Locked(&n.Node) // an operation began
	}
	return err
}

func (m *restMachines) with(ctx context.Context, in engine.Input, do func(context.Context, bmc.Conn) error) error {
	conn, err := m.engine.Conn(ctx, in)
	if err != nil {
		return err
	}
	return do(ctx, conn)
}

// elsewhere names who has the host: a BMC has few sessions, so one replica speaks
// to it.
func (m *restMachines) elsewhere(n *node.Node) error {
	if door := m.owner(n.Key); door != "" {
		return &rest.Refusal{Status: http.StatusServiceUnavailable, Text: fmt.Sprintf(
			"The machine of node %s is spoken to by another replica of ingot, that of the door %s: ask there, or retry.", n.UUID, door)}
	}
	return &rest.Refusal{Status: http.StatusServiceUnavailable, Text: fmt.Sprintf("No replica of ingot has node %s at the moment, please retry.", n.UUID)}
}

// input reads the way to a node's BMC as it is now.
func (m *restMachines) input(ctx context.Context, n *node.Node) (engine.Input, error) {
	b, hr := &metal3.BareMetalHost{}, &v1alpha1.HostRecord{}
	if err := m.hosts.Get(ctx, n.Key, b); err != nil {
		if apierrors.IsNotFound(err) {
			return engine.Input{}, &rest.Refusal{Status: http.StatusNotFound, Text: fmt.Sprintf("Node %s could not be found.", n.UUID)}
		}
		return engine.Input{}, err
	}
	if err := m.hosts.Get(ctx, n.Key, hr); client.IgnoreNotFound(err) != nil {
		return engine.Input{}, err
	}
	if a := leftAlone(b); a != "" {
		return engine.Input{}, &rest.Refusal{Status: http.StatusConflict, Text: fmt.Sprintf("Node %s is left alone: its BareMetalHost has the annotation %s.", n.UUID, a)}
	}
	if b.Spec.BMC.Address == "" {
		return engine.Input{}, &rest.Refusal{Status: http.StatusBadRequest, Text: fmt.Sprintf("Node %s names no BMC: an address is missing in its driver_info.", n.UUID)}
	}
	var secret *corev1.Secret
	if name := b.Spec.BMC.CredentialsName; name != "" {
		var err error
		if secret, err = m.engine.Secrets.Secret(ctx, b.Namespace, name); err != nil {
			return engine.Input{}, err
		}
	}
	in := engine.Input{Key: n.Key, BMH: b, HR: hr}
	in.Host.Wants = hostrecord.Wants(b, secret)
	w := in.Host.Wants
	switch p := hr.Status.Problem; {
	case w.SecretVersion == "" || w.SecretProblem != nil:
		return in, &rest.Refusal{Status: http.StatusBadRequest, Text: fmt.Sprintf("Node %s has no username and password of its BMC in driver_info.", n.UUID)}
	case p != nil && p.Code == "bmc-auth" && p.Generation == b.Generation && strings.Split(p.Secret, " ")[0] == w.SecretVersion:
		// A further login might lock the account, and clients ask again and again.
		return in, &rest.Refusal{Status: http.StatusBadRequest, Text: fmt.Sprintf("The BMC of node %s refused its username and password: correct them in driver_info.", n.UUID)}
	}
	in.Creds = hostrecord.Credentials(secret)
	return in, nil
}

// OwnSubscription implements rest.Machines: by its destination, which some BMCs hide,
// or by its context, which proves who sends.
func (m *restMachines) OwnSubscription(n *node.Node, s bmc.Subscription) bool {
	u, err := url.Parse(s.Destination)
	return err == nil && u.Path == engine.EventsPath || n.Host != nil && m.engine.OwnContext(n.Host, s.Context)
}

// Console implements rest.Machines.
func (m *restMachines) Console(n *node.Node) string {
	door := m.owner(n.Key)
	if door == "" {
		door = m.door
	}
	return door + "/console/v1/" + n.Key.Namespace + "/" + n.Key.Name
}

// Settings implements rest.Machines.
func (m *restMachines) Settings(ctx context.Context, n *node.Node) (*metal3.HostFirmwareSettings, map[string]metal3.SettingSchema, error) {
	hfs := &metal3.HostFirmwareSettings{}
	if err := m.hosts.Get(ctx, n.Key, hfs); err != nil {
		return nil, nil, client.IgnoreNotFound(err)
	}
	ref := hfs.Status.FirmwareSchema
	if ref == nil || ref.Namespace != hfs.Namespace {
		return hfs, nil, nil
	}
	schema := &metal3.FirmwareSchema{}
	if err := m.hosts.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, schema); err != nil {
		return hfs, nil, client.IgnoreNotFound(err)
	}
	return hfs, schema.Spec.Schema, nil
}

// Components implements rest.Machines.
func (m *restMachines) Components(ctx context.Context, n *node.Node) (*metal3.HostFirmwareComponents, error) {
	hfc := &metal3.HostFirmwareComponents{}
	if err := m.hosts.Get(ctx, n.Key, hfc); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	return hfc, nil
}

// Inventory implements rest.Machines. One whose bytes lie with another replica alone is
// as if there were none.
func (m *restMachines) Inventory(ctx context.Context, n *node.Node) (*agent.Inventory, error) {
	hr := &v1alpha1.HostRecord{}
	if err := m.hosts.Get(ctx, n.Key, hr); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	ref := hr.Status.Inventory
	if ref == nil {
		return nil, nil
	}
	d, err := blob.ParseDigest(strings.TrimPrefix(ref.Digest, "sha256:"))
	if err != nil {
		return nil, err
	}
	r, _, err := m.blobs.Open(ctx, d)
	if errors.Is(err, blob.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	inv := &agent.Inventory{}
	if err := json.NewDecoder(io.LimitReader(r, maxInventory)).Decode(inv); err != nil {
		return nil, fmt.Errorf("the inventory of %s: %w", n.Key, err)
	}
	return inv, nil
}
