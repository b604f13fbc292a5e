package controller

import (
	"context"
	"log/slog"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/pkg/auth"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/host"
)

// away are BMCs that do not answer.
type away struct{}

func (away) Conn(context.Context, *metal3.BareMetalHost, bmc.Credentials, string) (bmc.Conn, error) {
	return nil, &bmc.Error{Class: bmc.Unreachable, Op: "open"}
}

// An event of a host at rest wakes its poll; of a host whose BMC is waited for,
// the next try; of a host that was let go of, nobody.
func TestHeard(t *testing.T) {
	ca, err := auth.NewCA(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	c := doors(t)
	c.Engine.CA, c.Engine.Log, c.Engine.BMCs = ca, slog.New(slog.DiscardHandler), away{}
	b, hr := objects("w1", "01", "", "")
	b.UID = "u1"
	l := c.live(key("w1"))
	l.objs.BMH, l.objs.HR = b, hr
	token := ca.Token("bmc events u1")
	events := func() []host.Event {
		l.mu.Lock()
		defer l.mu.Unlock()
		var out []host.Event
		for _, p := range l.inbox {
			out = append(out, p.Event)
		}
		l.inbox = nil
		return out
	}
	if c.Heard(token) {
		t.Error("a host that never was at rest is heard")
	}

	l.h, l.epoch = host.Host{Good: "v1"}, 5
	c.rest(key("w1"), l, bmc.Credentials{})
	if !c.polls.Wake(key("w1")) {
		t.Error("a host at rest is not polled")
	}
	c.polls.Forget(key("w1")) // before it is

	l.h.Problem = &host.Problem{Code: "bmc-unreachable", NextTry: c.Now().Add(time.Minute)}
	if d := c.rest(key("w1"), l, bmc.Credentials{}); d <= 0 || d > time.Minute {
		t.Errorf("looked at again in %s", d)
	}
	if c.polls.Wake(key("w1")) {
		t.Error("a host in trouble is polled")
	}
	if !c.Heard(token) {
		t.Error("a host in trouble is not heard")
	}
	if got := events(); len(got) != 1 || got[0] != (host.BMCHeard{}) {
		t.Errorf("it is told %v", got)
	}

	l.h = host.Host{Good: "v1", Detached: true}
	if d := c.rest(key("w1"), l, bmc.Credentials{}); d != 0 {
		t.Errorf("a detached host is looked at again in %s", d)
	}
	if c.Heard(token) {
		t.Error("a detached host is heard")
	}
}
