package controller

import (
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/event"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/agentapi"
	"github.com/ingot-metal/ingot/pkg/engine"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/record"
	"github.com/ingot-metal/ingot/pkg/shard"
)

// two are the shares of two replicas: hosts that are listed are ours.
type two struct {
	ours map[string]shard.Claim
	door string // of the other
}

func (s *two) Claim(h string) (shard.Claim, bool) { c, ok := s.ours[h]; return c, ok }

func (s *two) Owner(h string) string {
	if _, ours := s.ours[h]; ours {
		return ""
	}
	return s.door
}

func (s *two) Others() []string { return []string{s.door} }

func (s *two) In(h string, _ []int) bool { _, ours := s.ours[h]; return !ours }

// silentAgents are told of boots that end.
type silentAgents struct {
	engine.Agents
	ended []string
}

func (a *silentAgents) End(id string) { a.ended = append(a.ended, id) }

func shared(t *testing.T, s *two, objs ...client.Object) *Hosts {
	t.Helper()
	c := doors(t)
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{metal3.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c.Shares, c.Engine.Claims, c.Engine.Agents = s, s, &silentAgents{}
	c.Client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(objs...).Build()
	c.Reader = c.Client
	c.restored = make(chan struct{})
	close(c.restored)
	c.index.synced = true
	return c
}

// An agent is talked to by the owner of its host alone, and by a new one once it
// has read what is on record.
func TestRefusal(t *testing.T) {
	s := &two{door: "https://b", ours: map[string]shard.Claim{"rack/first": {Epoch: 1, First: true}, "rack/taken": {Epoch: 4}}}
	c := shared(t, s)
	code := func(h string) string {
		if r := c.Refusal(h); r != nil {
			return r.Code + " " + r.URL
		}
		return ""
	}
	if got := code("rack/other"); got != agent.ErrElsewhere+" https://b" {
		t.Errorf("another's: %q", got)
	}
	if got := code("rack/first"); got != "" {
		t.Errorf("ours from the beginning: %q", got)
	}
	if got := code("rack/taken"); got != agent.ErrRetry+" " {
		t.Errorf("just taken: %q", got)
	}
	b, hr := objects("taken", "01", "b1", "k")
	c.index.set(key("taken"), &live{epoch: 4, objs: record.Objects{BMH: b, HR: hr}})
	if got := code("rack/taken"); got != "" {
		t.Errorf("taken and loaded: %q", got)
	}
	s.door = ""
	if got := code("rack/other"); got != agent.ErrRetry+" " {
		t.Errorf("nobody's: %q", got)
	}
}

// A hello for a boot that another replica has ordered is sent there, even before
// our cache knows the boot.
func TestRedeemElsewhere(t *testing.T) {
	s := &two{door: "https://b"}
	c := shared(t, s)
	c.put("w1", "01", "", "")
	claim := agentapi.Claim{Hello: agent.Hello{BootID: "b7", MACs: []string{"52:54:00:aa:00:01"}}, KeyHash: "k"}
	_, err := c.Redeem(t.Context(), claim)
	if r, ok := errors.AsType[*agentapi.Refusal](err); !ok || r.Code != agent.ErrElsewhere || r.URL != "https://b" {
		t.Errorf("got %v", err)
	}
	claim.Hello.MACs = []string{"52:54:00:00:00:99"}
	if _, err := c.Redeem(t.Context(), claim); codeOfRefusal(err) != agent.ErrNotArmed {
		t.Errorf("a stranger: %v", err)
	}
}

func codeOfRefusal(err error) string {
	if r, ok := errors.AsType[*agentapi.Refusal](err); ok {
		return r.Code
	}
	return ""
}

// Whoever answers a machine reads past the cache before it says that nothing is
// ordered.
func TestBootNow(t *testing.T) {
	b, hr := objects("w1", "01", "b1", "")
	hr.Namespace, hr.Name = b.Namespace, b.Name
	s := &two{door: "https://b"}
	c := shared(t, s, b, hr)
	c.put("w1", "01", "", "") // as the cache has it
	mac := []byte{0x52, 0x54, 0, 0xaa, 0, 1}
	if got := c.BootNow(t.Context(), mac); got.ID != "b1" {
		t.Errorf("boot %+v", got)
	}
}

// What is seen of a machine of another replica's host is told there, once; posts
// for it are let go.
func TestSawElsewhere(t *testing.T) {
	s := &two{door: "https://b"}
	c := shared(t, s)
	c.put("w1", "01", "b1", "")
	told := 0
	c.Forward = func(door string, k types.NamespacedName, seen host.Seen) {
		if told++; door != "https://b" || k != key("w1") || !seen.DHCP {
			t.Errorf("told %s of %s: %+v", door, k, seen)
		}
	}
	for range 2 {
		c.Saw([]byte{0x52, 0x54, 0, 0xaa, 0, 1}, func(s *host.Seen) { s.DHCP = true })
	}
	if told != 1 || len(c.hosts) != 0 {
		t.Errorf("told %d times, %d hosts alive", told, len(c.hosts))
	}
	s.ours = map[string]shard.Claim{"rack/w1": {Epoch: 1, First: true}}
	c.SawOf(key("w1"), host.Seen{Script: true})
	if l := c.hosts[key("w1")]; l == nil || len(l.inbox) != 1 {
		t.Error("its owner is not woken")
	}
}

// Hosts that are lost are forgotten, but for the doors; their agents are sent away.
func TestLost(t *testing.T) {
	s := &two{door: "https://b", ours: map[string]shard.Claim{"rack/kept": {Epoch: 1, First: true}}}
	c := shared(t, s)
	for i, n := range []string{"kept", "gone"} {
		c.put(n, string(rune('1'+i))+"1", "boot-"+n, "k")
		c.hosts[key(n)] = &live{}
	}
	c.Lost([]int{0})
	if c.hosts[key("kept")] == nil || c.hosts[key("gone")] != nil {
		t.Errorf("alive: %v", c.hosts)
	}
	if got := c.Engine.Agents.(*silentAgents).ended; len(got) != 1 || got[0] != "boot-gone" {
		t.Errorf("ended %v", got)
	}
	if b := c.BootOf([]byte{0x52, 0x54, 0, 0xaa, 0, 0x21}); !b.Known {
		t.Error("the doors no longer know the machine")
	}
	var e event.GenericEvent
	select {
	case e = <-c.wake:
	case <-t.Context().Done():
	}
	if e.Object == nil || e.Object.GetName() != "gone" {
		t.Errorf("looked at again: %v", e.Object)
	}
}
