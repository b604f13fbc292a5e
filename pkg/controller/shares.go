package controller

import (
	"context"
	"net"
	"strings"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/agentapi"
	"github.com/ingot-metal/ingot/pkg/engine"
	"github.com/ingot-metal/ingot/pkg/host"
)

// Shares knows which hosts are this replica's, and where the others are;
// *shard.Member does, and shard.Sole.
type Shares interface {
	engine.Claims
	// Owner is the door of the replica that has a host; empty: nobody else.
	Owner(host string) string
	// Others are the doors of the other replicas.
	Others() []string
	// In reports whether a host is in one of the shards.
	In(host string, shards []int) bool
}

// Owns reports whether a host is this replica's to act on, now. Controllers of
// companion kinds run on every replica and leave alone what is not theirs: every
// companion has its host's name.
func (c *Hosts) Owns(k types.NamespacedName) bool {
	_, ours := c.Shares.Claim(k.String())
	return ours
}

// Door of the replica that has a host; empty: it is ours, or nobody's.
func (c *Hosts) Door(k types.NamespacedName) string { return c.Shares.Owner(k.String()) }

// Gained has the hosts of shards that have become ours looked at.
func (c *Hosts) Gained(shards []int) {
	go func() {
		select {
		case <-c.restored:
		case <-c.base.Done():
			return
		}
		var all metal3.BareMetalHostList
		if err := c.Client.List(c.base, &all, client.UnsafeDisableDeepCopy); err != nil {
			c.Log.Warn("cannot list the hosts that were taken over", "err", err)
			return
		}
		for i := range all.Items {
			if k := client.ObjectKeyFromObject(&all.Items[i]); c.Shares.In(k.String(), shards) {
				c.enqueue(k)
				if c.Subscriptions != nil {
					c.Subscriptions.Gained(k)
				}
			}
		}
	}()
}

// lostWait bounds how long hosts that went to another replica are waited for. What
// is still under way then meets the fence.
const lostWait = 2 * time.Second

// Lost stops everything that is done for the hosts of shards that are ours no
// more, and forgets what was known of them. It returns when nothing is done any
// more.
func (c *Hosts) Lost(shards []int) {
	var gone []types.NamespacedName
	var boots []string
	c.mu.Lock()
	for k := range c.hosts {
		if c.Shares.In(k.String(), shards) {
			gone = append(gone, k)
		}
	}
	for k, e := range c.index.of {
		if e.bootID != "" && c.Shares.In(k.String(), shards) {
			boots = append(boots, e.bootID)
		}
	}
	c.mu.Unlock()
	var ended []<-chan struct{}
	for _, k := range gone {
		ended = append(ended, c.leave(k))
	}
	for _, b := range boots { // whose agents are told where to go
		c.Engine.Agents.End(b)
	}
	limit := time.NewTimer(lostWait)
	defer limit.Stop()
	for _, e := range ended {
		select {
		case <-e:
		case <-limit.C:
			c.Log.Warn("work on hosts that went to another replica has not ended yet; it can change nothing any more")
			return
		}
	}
	go func() { // a reconcile may have been at work in between
		for _, k := range gone {
			c.enqueue(k)
		}
	}()
}

// leave forgets what is known of a host that lives on, and stops what is done for
// it. The doors still know it.
func (c *Hosts) leave(k types.NamespacedName) <-chan struct{} {
	c.mu.Lock()
	delete(c.hosts, k)
	if e, shown := c.index.of[k]; shown {
		e.epoch = 0
		c.index.of[k] = e
	}
	c.mu.Unlock()
	ended := c.Engine.Stop(k)
	c.polls.Forget(k)
	c.ears.Forget(k)
	if c.Consoles != nil {
		c.Consoles.Leave(k)
	}
	return ended
}

// reread has a host loaded anew, past the cache: what is stored is not what this
// process wrote.
func (c *Hosts) reread(k types.NamespacedName) {
	c.leave(k)
	c.mu.Lock()
	c.hosts[k] = &live{reread: true}
	c.mu.Unlock()
}

// foreign keeps the doors' picture of a host that is another replica's.
func (c *Hosts) foreign(ctx context.Context, b *metal3.BareMetalHost) error {
	k := client.ObjectKeyFromObject(b)
	hr := &v1alpha1.HostRecord{}
	if err := c.Client.Get(ctx, k, hr); err != nil {
		if client.IgnoreNotFound(err) != nil {
			return err
		}
		hr = nil
	}
	c.leave(k)
	c.Metrics.Forget(k.Namespace, k.Name) // its owner's tell of it
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index.show(k, b, hr)
	return nil
}

// records keeps the doors' picture of other replicas' hosts: which boot is armed
// is in the record.
func (c *Hosts) records() handler.EventHandler {
	seen := func(ctx context.Context, o client.Object) {
		hr, ok := o.(*v1alpha1.HostRecord)
		k := client.ObjectKeyFromObject(o)
		if !ok || c.Owns(k) {
			return
		}
		b := &metal3.BareMetalHost{}
		if err := c.Client.Get(ctx, k, b); err != nil {
			return // shown with the host itself
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.index.show(k, b, hr)
	}
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) {
			seen(ctx, e.Object)
			c.recordAsks(nil, e.Object, q)
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			seen(ctx, e.ObjectNew)
			c.recordAsks(e.ObjectOld, e.ObjectNew, q)
		},
	}
}

// settled reports whether what the index shows of a host is what we recorded.
func (c *Hosts) settled(k types.NamespacedName) bool { return c.Refusal(k.String()) == nil }

// BootNow is BootOf for whoever must not miss what another replica has just
// ordered: of a host that is not ours, or not yet, it reads past the cache.
func (c *Hosts) BootNow(ctx context.Context, mac net.HardwareAddr) Boot {
	b := c.BootOf(mac)
	if !b.Known || c.settled(b.Host) {
		return b
	}
	o := &metal3.BareMetalHost{}
	hr := &v1alpha1.HostRecord{}
	if c.Client.Get(ctx, b.Host, o) != nil || c.Reader.Get(ctx, b.Host, hr) != nil {
		return b
	}
	c.mu.Lock()
	if e := c.index.of[b.Host]; e.epoch == 0 { // or its reconcile was quicker
		c.index.show(b.Host, o, hr)
	}
	c.mu.Unlock()
	return c.BootOf(mac)
}

// Refusal is why this replica does not talk to the agent of a host: another has
// it, or none yet, or what is on record of it is still being read. Nil: it does.
// It is what agentapi.Server.Elsewhere asks.
func (c *Hosts) Refusal(hostName string) *agentapi.Refusal {
	claim, ours := c.Shares.Claim(hostName)
	if !ours {
		if door := c.Shares.Owner(hostName); door != "" {
			return &agentapi.Refusal{Code: agent.ErrElsewhere, Message: "another replica has this host", URL: door}
		}
		return &agentapi.Refusal{Code: agent.ErrRetry, Message: "no replica has this host at the moment"}
	}
	if claim.First {
		return nil
	}
	ns, name, _ := strings.Cut(hostName, "/")
	k := types.NamespacedName{Namespace: ns, Name: name}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.index.of[k].epoch != claim.Epoch {
		return &agentapi.Refusal{Code: agent.ErrRetry, Message: "this host is being taken over"}
	}
	return nil
}

// refusalOf is Refusal for whichever host has one of the MACs.
func (c *Hosts) refusalOf(macs []string) *agentapi.Refusal {
	c.mu.Lock()
	var found []types.NamespacedName
	for _, m := range macs {
		mac, err := net.ParseMAC(m)
		if err != nil {
			continue
		}
		if k, ok := c.index.owner(mac.String()); ok {
			found = append(found, k)
		}
	}
	c.mu.Unlock()
	for _, k := range found {
		if r := c.Refusal(k.String()); r != nil {
			return r
		}
	}
	return nil
}

// SawOf takes in what another replica's boot servers saw of a host's machine.
func (c *Hosts) SawOf(k types.NamespacedName, seen host.Seen) {
	c.mu.Lock()
	e, known := c.index.of[k]
	before := e.seen
	e.seen = before.And(seen)
	fresh := known && e.bootID != "" && e.seen != before
	if fresh {
		c.index.of[k] = e
	}
	c.mu.Unlock()
	if fresh {
		c.post(k, post{Post: engine.Post{Event: host.BootSeen{Seen: e.seen}}})
	}
}
