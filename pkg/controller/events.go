package controller

import (
	"context"
	"fmt"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/ingot-metal/ingot/pkg/engine"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/record"
)

// EventSink takes a host's events; a recorder that drops repeats does.
type EventSink interface {
	Event(b *metal3.BareMetalHost, kind, reason, message string)
}

// reasons of a change into a state and out of it, Metal3's names.
var stateReasons = map[host.State]struct{ in, out string }{
	host.Unmanaged:      {in: "Discovered"},
	host.Registering:    {out: "Registered"},
	host.Inspecting:     {in: "InspectionStarted", out: "InspectionComplete"},
	host.Provisioning:   {in: "ProvisioningStarted"},
	host.Provisioned:    {in: "ProvisioningComplete"},
	host.Deprovisioning: {in: "DeprovisioningStarted", out: "DeprovisioningComplete"},
}

// errorReasons are Metal3's names for events of an error type.
var errorReasons = map[host.ErrorType]string{
	host.RegistrationError:          "RegistrationError",
	host.ProvisionedRegistrationErr: "ProvisionedRegistrationError",
	host.InspectionError:            "InspectionError",
	host.PreparationError:           "PreparationError",
	host.ProvisioningError:          "ProvisioningError",
	host.PowerManagementError:       "PowerManagementError",
}

// tell makes events of what changed, and one log line per decision.
func (c *Hosts) tell(l *live, before host.Host) {
	b, h := l.objs.BMH, l.h
	normal := func(reason, message string) {
		if reason != "" {
			c.Events.Event(b, corev1.EventTypeNormal, reason, message)
		}
	}
	if before.State != h.State {
		c.Log.Info("state", "host", h.Key, "from", string(before.State), "to", string(h.State))
		if before.Problem == nil && (before.State != host.Inspecting || h.State == host.Preparing) {
			normal(stateReasons[before.State].out, fmt.Sprintf("%s is done", before.State))
		}
		normal(stateReasons[h.State].in, fmt.Sprintf("the host is now %s", h.State))
	}
	if before.Power != h.Power && h.Op == nil && before.Power != host.PowerUnknown {
		switch h.Power {
		case host.PowerOn:
			normal("PowerOn", "Host powered on")
		case host.PowerOff:
			normal("PowerOff", "Host powered off")
		}
	}
	if p := h.Problem; p != nil && (before.Problem == nil || before.Problem.Attempts != p.Attempts || before.Problem.Code != p.Code) {
		c.Log.Warn("problem", "host", h.Key, "code", p.Code, "attempt", p.Attempts, "seen", p.Seen)
		c.Events.Event(b, corev1.EventTypeWarning, errorReasons[p.Type], record.Message(p))
	}
}

func (c *Hosts) note(l *live, n engine.Note) {
	kind := corev1.EventTypeNormal
	if n.Warning {
		kind = corev1.EventTypeWarning
	}
	c.Events.Event(l.objs.BMH, kind, n.Reason, n.Message)
}

// noteFor makes an event for a host from outside its reconcile.
func (c *Hosts) noteFor(k types.NamespacedName, n engine.Note) {
	c.post(k, post{Post: engine.Post{Note: &n}})
}

// leaderRunnable runs once this process leads.
type leaderRunnable func(context.Context) error

// Start runs it.
func (f leaderRunnable) Start(ctx context.Context) error { return f(ctx) }

// NeedLeaderElection says that only the leader runs it.
func (leaderRunnable) NeedLeaderElection() bool { return true }

var _ manager.LeaderElectionRunnable = leaderRunnable(nil)
