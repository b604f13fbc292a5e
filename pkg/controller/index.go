package controller

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/agentapi"
	"github.com/ingot-metal/ingot/pkg/engine"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/record"
)

// index answers the doors: boots by id, hosts by MAC, hosts by Secret. Hosts.mu
// guards it.
type index struct {
	synced  bool
	boots   map[string]boot
	macs    map[string][]types.NamespacedName // whose a MAC is: the first; others name it by mistake
	secrets map[types.NamespacedName]map[types.NamespacedName]bool
	usedBy  map[types.NamespacedName]map[types.NamespacedName]bool // the other way round
	of      map[types.NamespacedName]entry                         // what a host put in
	bare    map[types.NamespacedName]bool                          // hosts that take their hardware from a HardwareData
}

type entry struct {
	bootID string
	epoch  int64 // that the host's own reconcile has shown it under; 0: it is another's
	macs   []string
	seen   host.Seen
}

// boot is a start into the agent that was ordered.
type boot struct {
	host    types.NamespacedName
	keyHash string // of who redeemed it; empty: nobody yet
	first   string // address of who redeemed it
	macs    []string
	uuid    string            // of the machine, as its BMC says
	ramdisk *v1alpha1.Ramdisk // an external builder's; nil: ours
}

func newIndex() index {
	return index{
		boots:   map[string]boot{},
		macs:    map[string][]types.NamespacedName{},
		secrets: map[types.NamespacedName]map[types.NamespacedName]bool{},
		usedBy:  map[types.NamespacedName]map[types.NamespacedName]bool{},
		of:      map[types.NamespacedName]entry{},
		bare:    map[types.NamespacedName]bool{},
	}
}

func (x *index) uses(secret, host types.NamespacedName) {
	if x.secrets[secret] == nil {
		x.secrets[secret] = map[types.NamespacedName]bool{}
	}
	x.secrets[secret][host] = true
	if x.usedBy[host] == nil {
		x.usedBy[host] = map[types.NamespacedName]bool{}
	}
	x.usedBy[host][secret] = true
}

func (x *index) forget(k types.NamespacedName) {
	e := x.of[k]
	delete(x.of, k)
	delete(x.bare, k)
	delete(x.boots, e.bootID)
	x.owns(k, e.macs, nil)
	for s := range x.usedBy[k] {
		delete(x.secrets[s], k)
		if len(x.secrets[s]) == 0 {
			delete(x.secrets, s)
		}
	}
	delete(x.usedBy, k)
}

// owns changes the MACs that a host has. One that it gives up is the next host's
// that names it.
func (x *index) owns(k types.NamespacedName, old, now []string) {
	for _, m := range old {
		if slices.Contains(now, m) {
			continue
		}
		x.macs[m] = slices.DeleteFunc(x.macs[m], func(o types.NamespacedName) bool { return o == k })
		if len(x.macs[m]) == 0 {
			delete(x.macs, m)
		}
	}
	for _, m := range now {
		if !slices.Contains(x.macs[m], k) {
			x.macs[m] = append(x.macs[m], k)
		}
	}
}

// owner is the host whose MAC it is.
func (x *index) owner(mac string) (types.NamespacedName, bool) {
	if hosts := x.macs[mac]; len(hosts) > 0 {
		return hosts[0], true
	}
	return types.NamespacedName{}, false
}

// set shows what a host's objects say now.
func (x *index) set(k types.NamespacedName, l *live) {
	x.show(k, l.objs.BMH, l.objs.HR)
	e := x.of[k]
	e.epoch = l.epoch
	x.of[k] = e
}

func (x *index) show(k types.NamespacedName, b *metal3.BareMetalHost, hr *v1alpha1.HostRecord) {
	old := x.of[k]
	e := entry{macs: macsOf(b, hr)}
	if hr != nil && hr.Status.Boot != nil {
		e.bootID = hr.Status.Boot.ID
		if e.bootID == old.bootID {
			e.seen = old.seen
		}
	}
	if old.bootID != e.bootID {
		delete(x.boots, old.bootID)
	}
	x.owns(k, old.macs, e.macs)
	if e.bootID != "" {
		at := boot{host: k, keyHash: hr.Status.Boot.KeyHash, first: hr.Status.Boot.IP, macs: e.macs, ramdisk: hr.Status.Ramdisk}
		if hr.Status.BMC != nil {
			at.uuid = hr.Status.BMC.SystemUUID
		}
		x.boots[e.bootID] = at
	}
	x.of[k] = e
}

// macsOf lists the MACs that are a host's: the declared one, those its BMC names
// and those an inspection found.
func macsOf(b *metal3.BareMetalHost, hr *v1alpha1.HostRecord) []string {
	var out []string
	seen := map[string]bool{}
	add := func(s string) {
		if m, err := net.ParseMAC(s); err == nil && !seen[m.String()] {
			seen[m.String()] = true
			out = append(out, m.String())
		}
	}
	add(b.Spec.BootMACAddress)
	if hr != nil && hr.Status.BMC != nil {
		for _, m := range hr.Status.BMC.MACs {
			add(m)
		}
	}
	if hw := b.Status.HardwareDetails; hw != nil {
		for _, n := range hw.NIC {
			add(n.MAC)
		}
	}
	return out
}

// restore fills the index after a start, so that agents which survived the
// restart are known before their hosts are reconciled.
func (c *Hosts) restore(ctx context.Context) error {
	var hosts metal3.BareMetalHostList
	if err := c.Client.List(ctx, &hosts); err != nil {
		return err
	}
	var recs v1alpha1.HostRecordList
	if err := c.Client.List(ctx, &recs); err != nil {
		return err
	}
	byKey := map[types.NamespacedName]*v1alpha1.HostRecord{}
	for i := range recs.Items {
		byKey[client.ObjectKeyFromObject(&recs.Items[i])] = &recs.Items[i]
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range hosts.Items {
		b := &hosts.Items[i]
		k := client.ObjectKeyFromObject(b)
		if _, known := c.index.of[k]; !known {
			c.index.show(k, b, byKey[k])
		}
	}
	c.index.synced = true
	close(c.restored)
	return nil
}

// Restored is closed when all hosts are known after a start. Until then an
// unknown machine may be a host's.
func (c *Hosts) Restored() <-chan struct{} { return c.restored }

// restoreWait bounds how long an agent's call waits for our start.
const restoreWait = 10 * time.Second

// awaitRestored has a call that came during our start wait for its end. Calls
// gather at a door that is open and not served yet; were they refused, every
// agent would back off at the very moment at which we can answer.
func (c *Hosts) awaitRestored(ctx context.Context) {
	if c.restored == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, restoreWait)
	defer cancel()
	select {
	case <-c.restored:
	case <-ctx.Done(): // the call is told to come again
	}
}

// redeemWait bounds how long a hello waits for its record.
const redeemWait = 15 * time.Second

// minMemoryMiB is what the smallest ramdisk needs to inspect a machine.
const minMemoryMiB = 200

// Redeem believes an agent's first hello for a boot that was ordered. It is part
// of agentapi.Boots.
func (c *Hosts) Redeem(ctx context.Context, claim agentapi.Claim) (agentapi.Grant, error) {
	c.awaitRestored(ctx)
	b, err := c.findBoot(claim.Hello.BootID)
	switch {
	case err == nil:
		if r := c.Refusal(b.host.String()); r != nil {
			return agentapi.Grant{}, r
		}
	case codeOf(err) == agent.ErrRetry:
		return agentapi.Grant{}, err
	default:
		// Our cache may not know yet what another replica has ordered.
		if r := c.refusalOf(claim.Hello.MACs); r != nil {
			return agentapi.Grant{}, r
		}
		return agentapi.Grant{}, err
	}
	if b.keyHash == "" {
		if !shares(b.macs, claim.Hello.MACs) {
			c.noteFor(b.host, engine.Note{Warning: true, Reason: "BootRefused", Message: "boot-other-mac: an agent with the MACs " + strings.Join(claim.Hello.MACs, ", ") + " claimed this host's boot"})
			return agentapi.Grant{}, &agentapi.Refusal{Code: agent.ErrNotArmed, Message: "none of the machine's MAC addresses belongs to the host of this boot"}
		}
		if !sameUUID(b.uuid, claim.Hello.SMBIOS) {
			message := "the machine's SMBIOS UUID is " + claim.Hello.SMBIOS + ", the BMC's answer is " + b.uuid
			c.noteFor(b.host, engine.Note{Warning: true, Reason: "BootUUIDDiffers", Message: message})
			if len(b.macs) == 0 { // nothing else tells that it is the machine
				return agentapi.Grant{}, &agentapi.Refusal{Code: agent.ErrNotArmed, Message: message + ": set spec.bootMACAddress of the host"}
			}
		}
		if found := claim.Hello.MemoryMiB; found > 0 && found < minMemoryMiB {
			c.post(b.host, post{Post: engine.Post{Event: host.Refused{BootID: claim.Hello.BootID, Problem: *engine.NewProblem("boot-ram",
				map[string]string{"found": fmt.Sprintf("%d MiB", found), "needed": fmt.Sprintf("%d MiB", minMemoryMiB)},
				fmt.Sprintf("the agent found %d MiB of memory", found))}}})
			return agentapi.Grant{}, &agentapi.Refusal{Code: agent.ErrNotArmed, Message: "the machine has too little memory"}
		}
		if err := c.redeem(ctx, b.host, claim); err != nil {
			return agentapi.Grant{}, err
		}
		if b, err = c.findBoot(claim.Hello.BootID); err != nil {
			if r := c.refusalOf(claim.Hello.MACs); r != nil {
				return agentapi.Grant{}, r
			}
			return agentapi.Grant{}, err
		}
	}
	if b.keyHash != claim.KeyHash {
		// Once the host is another's, the index shows what the cache has, which may
		// be older than what we recorded: no reason to send an agent away.
		if r := c.Refusal(b.host.String()); r != nil {
			return agentapi.Grant{}, r
		}
		if b.keyHash == "" {
			return agentapi.Grant{}, &agentapi.Refusal{Code: agent.ErrRetry, Message: "the boot is not recorded yet"}
		}
		c.post(b.host, post{Post: engine.Post{
			Event: host.Contested{BootID: claim.Hello.BootID, Problem: *engine.NewProblem("boot-token-spent",
				map[string]string{"first": b.first, "second": claim.Remote.String()},
				"a second agent, at "+claim.Remote.String()+", claimed the boot that the agent at "+b.first+" had redeemed")},
			Note: &engine.Note{Warning: true, Reason: "BootRefused", Message: "boot-token-spent: a second agent, at " + claim.Remote.String() + ", claimed a boot that was redeemed before"},
		}})
		return agentapi.Grant{}, &agentapi.Refusal{Code: agent.ErrNotArmed, Message: "this boot was redeemed by another agent"}
	}
	return c.grant(b)
}

// grant says for whom an agent speaks, if that host is ours.
func (c *Hosts) grant(b boot) (agentapi.Grant, error) {
	now, ours := c.Shares.Claim(b.host.String())
	if !ours {
		return agentapi.Grant{}, &agentapi.Refusal{Code: agent.ErrRetry, Message: "another replica takes this host"}
	}
	return agentapi.Grant{Host: b.host.String(), Epoch: now.Epoch}, nil
}

func (c *Hosts) redeem(ctx context.Context, k types.NamespacedName, claim agentapi.Claim) error {
	ack := make(chan struct{})
	c.post(k, post{ack: ack, Post: engine.Post{
		Event: host.Hello{BootID: claim.Hello.BootID},
		Extra: record.Extra{KeyHash: claim.KeyHash, AgentIP: claim.Remote.String()},
	}})
	ctx, cancel := context.WithTimeout(ctx, redeemWait)
	defer cancel()
	select {
	case <-ack:
		return nil
	case <-ctx.Done():
		return &agentapi.Refusal{Code: agent.ErrRetry, Message: "the boot is not recorded yet"}
	}
}

// Redeemed finds the host that an agent was believed for. It is part of
// agentapi.Boots.
func (c *Hosts) Redeemed(bootID, keyHash string) (agentapi.Grant, error) {
	c.awaitRestored(c.base)
	b, err := c.findBoot(bootID)
	if err != nil {
		return agentapi.Grant{}, &agentapi.Refusal{Code: codeOf(err), Message: "this boot is over"}
	}
	if b.keyHash != keyHash {
		return agentapi.Grant{}, &agentapi.Refusal{Code: agent.ErrGone, Message: "this boot was redeemed by another agent"}
	}
	return c.grant(b)
}

func codeOf(err error) string {
	var r *agentapi.Refusal
	if errors.As(err, &r) && r.Code == agent.ErrRetry {
		return agent.ErrRetry
	}
	return agent.ErrGone
}

func (c *Hosts) findBoot(id string) (boot, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, ok := c.index.boots[id]
	switch {
	case ok:
		return b, nil
	case !c.index.synced:
		return boot{}, &agentapi.Refusal{Code: agent.ErrRetry, Message: "this server is starting"}
	}
	return boot{}, &agentapi.Refusal{Code: agent.ErrNotArmed, Message: "this boot was not ordered, or is over"}
}

// sameUUID compares a machine's UUID as its BMC tells it with that of its SMBIOS.
// The first three groups come in either byte order (SMBIOS 3.7 §7.2.1), whichever
// the BMC's maker took. What is not a UUID, or all zeros or ones, says nothing.
func sameUUID(bmcs, smbios string) bool {
	a, errA := uuid.Parse(bmcs)
	b, errB := uuid.Parse(smbios)
	if errA != nil || errB != nil || a == uuid.Nil || b == uuid.Nil || a == uuid.Max || b == uuid.Max {
		return true
	}
	swapped := b
	for _, group := range [][]byte{swapped[0:4], swapped[4:6], swapped[6:8]} {
		slices.Reverse(group)
	}
	return a == b || a == swapped
}

// shares reports whether a machine has a MAC of the host's. A host of which no
// MAC is known cannot be checked that way.
func shares(known, claimed []string) bool {
	if len(known) == 0 {
		return true
	}
	for _, s := range claimed {
		m, err := net.ParseMAC(s)
		if err != nil {
			continue
		}
		for _, k := range known {
			if k == m.String() {
				return true
			}
		}
	}
	return false
}

// Boot is what the boot servers need to know of a machine.
type Boot struct {
	Host  types.NamespacedName
	ID    string // armed and not redeemed; empty: nothing is ordered
	Known bool   // the MAC is a host's

	Ramdisk *v1alpha1.Ramdisk // an external builder's; nil: ours
}

// BootOf says what is ordered for the machine with a MAC.
func (c *Hosts) BootOf(mac net.HardwareAddr) Boot {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.index.owner(mac.String())
	if !ok {
		return Boot{}
	}
	out := Boot{Host: k, Known: true}
	id := c.index.of[k].bootID
	if b, ok := c.index.boots[id]; ok && b.keyHash == "" {
		out.ID, out.Ramdisk = id, b.ramdisk
	}
	return out
}

// sharedMAC is the problem of a host whose boots cannot be told from another's:
// the MAC that it boots from is an earlier host's. A host that declares none is
// known by any that is its own.
func (c *Hosts) sharedMAC(b *metal3.BareMetalHost) *host.Problem {
	k := client.ObjectKeyFromObject(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	macs := c.index.of[k].macs
	if b.Spec.BootMACAddress != "" {
		macs = macs[:min(1, len(macs))] // macsOf lists it first
	}
	var other types.NamespacedName
	for _, m := range macs {
		owner, known := c.index.owner(m)
		if !known || owner == k {
			return nil
		}
		other = owner
	}
	if other.Name == "" {
		return nil
	}
	return engine.NewProblem("inspect-duplicate-mac", map[string]string{"host": b.Name, "other": other.String()},
		fmt.Sprintf("%s is a MAC address of %s too, which was enrolled before", strings.Join(macs, ", "), other))
}

// Saw notes how far the boot of a machine got. Only what is new wakes its host.
func (c *Hosts) Saw(mac net.HardwareAddr, change func(*host.Seen)) {
	c.mu.Lock()
	k, ok := c.index.owner(mac.String())
	e := c.index.of[k]
	before := e.seen
	change(&e.seen)
	fresh := ok && e.bootID != "" && e.seen != before
	if fresh {
		c.index.of[k] = e
	}
	c.mu.Unlock()
	if !fresh {
		return
	}
	if door := c.Shares.Owner(k.String()); door != "" && c.Forward != nil {
		c.Forward(door, k, e.seen)
		return
	}
	c.post(k, post{Post: engine.Post{Event: host.BootSeen{Seen: e.seen}}})
}

// AgentLost tells a host that the agent of one of its boots fell silent.
func (c *Hosts) AgentLost(bootID string) {
	if b, err := c.findBoot(bootID); err == nil {
		c.post(b.host, post{Post: engine.Post{Event: host.AgentLost{BootID: bootID}}})
	}
}
