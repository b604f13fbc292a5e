package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/bootnet"
	"github.com/ingot-metal/ingot/pkg/dhcp"
	"github.com/ingot-metal/ingot/pkg/record"
)

// Networks keeps the boot servers of each ProvisioningNetwork running.
type Networks struct {
	Client client.Client
	Doors  bootnet.Doors
	Log    *slog.Logger
	// Elect runs serve while this replica is the one that serves a network, once;
	// nil: there are no others.
	Elect func(ctx context.Context, name string, serve func(context.Context)) error

	mu      sync.Mutex
	base    context.Context
	running map[string]*network
	wg      sync.WaitGroup
}

// network is one that is being served.
type network struct {
	spec   v1alpha1.ProvisioningNetworkSpec
	addr   netip.Prefix
	cancel context.CancelFunc
}

// retryNetwork is how long a network that failed rests.
const retryNetwork = 2 * time.Second

// SetupWithManager registers the controller. Servers end with ctx.
func (n *Networks) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	n.base, n.running = ctx, map[string]*network{}
	return ctrl.NewControllerManagedBy(mgr).
		Named("provisioningnetwork").
		For(&v1alpha1.ProvisioningNetwork{}).
		WithOptions(controller.Options{NeedLeaderElection: new(false)}).
		Complete(reconcile.Func(n.reconcile))
}

// Wait returns when all servers have ended.
func (n *Networks) Wait() { n.wg.Wait() }

// FlavourAt is the ramdisk's flavour on the network that one of our addresses
// is on; empty: none is.
func (n *Networks) FlavourAt(ours netip.Addr) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.running {
		if r.addr.Addr() == ours {
			return string(r.spec.Flavour)
		}
	}
	return ""
}

// Only is our address on the network, if there is one network alone: of several
// nobody can say which one a machine is on before it asks for an address.
func (n *Networks) Only() netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.running) != 1 {
		return netip.Addr{}
	}
	for _, r := range n.running {
		return r.addr.Addr()
	}
	return netip.Addr{}
}

func (n *Networks) reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	p := &v1alpha1.ProvisioningNetwork{}
	err := n.Client.Get(ctx, req.NamespacedName, p)
	if client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, err
	}
	gone := apierrors.IsNotFound(err) || !p.DeletionTimestamp.IsZero()
	n.mu.Lock()
	defer n.mu.Unlock()
	old := n.running[req.Name]
	if old != nil && !gone && reflect.DeepEqual(old.spec, p.Spec) {
		return ctrl.Result{}, nil
	}
	if old != nil {
		old.cancel()
		delete(n.running, req.Name)
	}
	if gone {
		return ctrl.Result{}, nil
	}
	cfg, err := parse(p.Spec)
	if err != nil {
		return ctrl.Result{}, n.report(ctx, p.Name, "", err)
	}
	run, cancel := context.WithCancel(n.base)
	n.running[p.Name] = &network{spec: p.Spec, addr: cfg.Addr, cancel: cancel}
	n.wg.Go(func() { n.serve(run, p.Name, cfg) })
	return ctrl.Result{}, nil
}

// serve serves a network, again and again until it is cancelled: an interface
// may come late, a lab's switch may restart.
func (n *Networks) serve(ctx context.Context, name string, cfg bootnet.Network) {
	said := ""
	once := func(ctx context.Context) error {
		return bootnet.Serve(ctx, cfg, n.Doors, func() {
			said = ""
			n.Log.Info("serving", "network", name, "interface", cfg.Interface, "address", cfg.Addr)
			n.tell(ctx, name, cfg.Addr.Addr().String(), nil)
		})
	}
	for ctx.Err() == nil {
		var err error
		if n.Elect == nil {
			err = once(ctx)
		} else if err = bootnet.Present(cfg); err != nil {
			err = fmt.Errorf("%w: %w", errElsewhere, err)
		} else {
			var failed error
			err = n.Elect(ctx, name, func(ctx context.Context) { failed = once(ctx) })
			err = errors.Join(err, failed)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil && err.Error() != said {
			said = err.Error()
			n.Log.Warn("not serving", "network", name, "err", err)
			n.tell(ctx, name, "", err)
		}
		select {
		case <-time.After(retryNetwork):
		case <-ctx.Done():
		}
	}
}

func (n *Networks) tell(ctx context.Context, name, addr string, why error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := n.report(ctx, name, addr, why); err != nil && ctx.Err() == nil {
		n.Log.Warn("cannot report on a network", "network", name, "err", err)
	}
}

// errElsewhere says that this machine is not on a network: another replica's may
// be.
var errElsewhere = errors.New("this replica cannot serve it")

// report writes whether a network is served into its status.
func (n *Networks) report(ctx context.Context, name, addr string, why error) error {
	p := &v1alpha1.ProvisioningNetwork{}
	if err := n.Client.Get(ctx, client.ObjectKey{Name: name}, p); err != nil {
		return client.IgnoreNotFound(err)
	}
	if errors.Is(why, errElsewhere) && apimeta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionServing) {
		return nil // another replica serves it
	}
	before := p.DeepCopy()
	c := metav1.Condition{Type: v1alpha1.ConditionServing, Status: metav1.ConditionTrue, Reason: "Serving", ObservedGeneration: p.Generation}
	p.Status.Message = ""
	if why != nil {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, "NotServing", why.Error()
		p.Status.Message = why.Error()
	}
	p.Status.ServerAddress = addr
	apimeta.SetStatusCondition(&p.Status.Conditions, c)
	if reflect.DeepEqual(before.Status, p.Status) {
		return nil
	}
	return client.IgnoreNotFound(n.Client.Status().Patch(ctx, p, client.MergeFrom(before), record.FieldOwner))
}

// parse reads a network's spec. Its schema has checked the syntax; what remains
// is said with the field's name.
func parse(s v1alpha1.ProvisioningNetworkSpec) (bootnet.Network, error) {
	addr, err := netip.ParsePrefix(s.Address)
	if err != nil {
		return bootnet.Network{}, fmt.Errorf("spec.address %q: want an address with its prefix length, as 10.77.0.1/24", s.Address)
	}
	n := bootnet.Network{Interface: s.Interface, Addr: addr}
	n.NoDHCP = s.Mode == v1alpha1.NetworkNone || s.Mode == v1alpha1.NetworkStatic
	n.DHCP.Mode = dhcp.ModeDHCP
	if s.Mode == v1alpha1.NetworkProxy {
		n.DHCP.Mode = dhcp.ModeProxy
	}
	one := func(field, v string) netip.Addr {
		if v == "" {
			return netip.Addr{}
		}
		a, e := netip.ParseAddr(v)
		if e != nil && err == nil {
			err = fmt.Errorf("spec.%s %q is no IP address", field, v)
		}
		return a
	}
	if s.Range != nil {
		n.DHCP.RangeStart, n.DHCP.RangeEnd = one("range.start", s.Range.Start), one("range.end", s.Range.End)
	}
	n.DHCP.Gateway = one("gateway", s.Gateway)
	for _, v := range s.DNS {
		n.DHCP.DNS = append(n.DHCP.DNS, one("dns", v))
	}
	for _, v := range s.NTP {
		n.DHCP.NTP = append(n.DHCP.NTP, one("ntp", v))
	}
	return n, err
}
