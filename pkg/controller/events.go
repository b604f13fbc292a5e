package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/ingot-metal/ingot/pkg/engine"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/record"
)

// EventSink takes the events of hosts, and of what belongs to them; a recorder
// that drops repeats does.
type EventSink interface {
	Event(b *metal3.BareMetalHost, kind, reason, message string)
	ObjectEvent(o client.Object, kind, reason, message string)
}

// told is what the people who watch a host were told already, where a change of
// the host itself does not say it.
type told struct {
	profile    string // status.hardwareProfile
	annotation string // the last that could not be read, with its value
}

// change of a state into another one.
type change struct{ from, to host.State }

// tell makes events of what changed, and one log line per decision.
func (c *Hosts) tell(l *live, before host.Host) {
	b, h := l.objs.BMH, l.h
	normal := func(reason, message string) { c.Events.Event(b, corev1.EventTypeNormal, reason, message) }
	if before.State != h.State {
		c.Log.Info("state", "host", h.Key, "from", string(before.State), "to", string(h.State))
	}
	from, well := before.State, before.Problem == nil
	for _, to := range host.Entered(before, h) {
		for _, e := range passed(change{from, to}, well, before, h) {
			normal(e.Reason, e.Message)
		}
		from, well = to, true
	}
	if p := b.Status.HardwareProfile; p != l.told.profile {
		l.told.profile = p
		normal(record.ReasonProfileSet, "Hardware profile set: "+p)
	}
	if before.Power != h.Power && h.Op == nil && before.Power != host.PowerUnknown {
		switch h.Power {
		case host.PowerOn:
			normal(record.ReasonPowerOn, "Host powered on")
		case host.PowerOff:
			normal(record.ReasonPowerOff, "Host powered off")
		}
	}
	if before.Health != h.Health && before.Health != host.HealthUnknown {
		c.healthChanged(b, before.Health, h.Health)
	}
	if p := h.Problem; p != nil && (before.Problem == nil || before.Problem.Attempts != p.Attempts || before.Problem.Code != p.Code) {
		c.Log.Warn("problem", "host", h.Key, "code", p.Code, "attempt", p.Attempts, "seen", p.Seen)
		c.Events.Event(b, corev1.EventTypeWarning, record.ErrorReason(p), record.Message(p))
	}
	c.unreadableReboots(l)
}

// passed are the events of a change of state; well says that what was done in the
// state that was left was done.
func passed(c change, well bool, before, h host.Host) []engine.Note {
	var out []engine.Note
	say := func(reason, message string) { out = append(out, engine.Note{Reason: reason, Message: message}) }
	switch c.from {
	case host.Registering:
		if c.to == host.Inspecting || c.to == host.Preparing || c.to == host.ExternallyProvisioned {
			say(record.ReasonRegistered, "Registered new host")
		}
		if c.to == host.Preparing && !h.Node.Led() {
			say(record.ReasonInspectionSkipped, "Hardware inspection is disabled")
		}
	case host.Inspecting:
		if (c.to == host.Preparing || c.to == host.Registering && before.Node.Verb == host.VerbInspect) && well {
			say(record.ReasonInspectionComplete, "Hardware inspection completed")
		}
	case host.Provisioning:
		if c.to == host.Provisioned {
			say(record.ReasonProvisioningComplete, "Image provisioning completed for "+imageName(h.Provisioned))
		}
	case host.Deprovisioning:
		if well && h.GaveUp != host.Deprovisioning {
			say(record.ReasonDeprovisioningComplete, "Image deprovisioning completed for "+imageName(before.Provisioned))
		}
	}
	switch c.to {
	case host.Unmanaged:
		if c.from == host.None {
			say(record.ReasonDiscovered, "Discovered host with no BMC details")
		}
	case host.Inspecting:
		say(record.ReasonInspectionStarted, "Hardware inspection started")
	case host.Provisioning:
		say(record.ReasonProvisioningStarted, "Image provisioning started for "+imageName(h.LastTried))
	case host.Deprovisioning:
		say(record.ReasonDeprovisioningStarted, "Image deprovisioning started for "+imageName(before.Provisioned))
	}
	return out
}

// imageName is an image's URL without what may log in.
func imageName(i *host.Image) string {
	if i == nil {
		return "no image"
	}
	u, err := url.Parse(i.URL)
	if err != nil {
		return "an image"
	}
	u.User, u.RawQuery = nil, ""
	return u.String()
}

func (c *Hosts) healthChanged(b *metal3.BareMetalHost, from, to host.Health) {
	kind := corev1.EventTypeNormal
	if to != host.Healthy {
		kind = corev1.EventTypeWarning
	}
	c.Events.Event(b, kind, record.ReasonHealthChanged, fmt.Sprintf("The BMC says %s of the machine's health; it was %s", to, from))
}

// unreadableReboots tells once of a reboot annotation whose value is no JSON.
func (c *Hosts) unreadableReboots(l *live) {
	found := ""
	for k, v := range l.objs.BMH.Annotations {
		if k != host.AnnotationReboot && !strings.HasPrefix(k, host.AnnotationReboot+"/") {
			continue
		}
		if v != "" && json.Unmarshal([]byte(v), &metal3.RebootAnnotationArguments{}) != nil && k+"="+v > found {
			found = k + "=" + v
		}
	}
	if found != l.told.annotation {
		l.told.annotation = found
		if found != "" {
			c.Events.Event(l.objs.BMH, corev1.EventTypeWarning, record.ReasonInvalidAnnotation, "Could not parse reboot annotation ("+found+"): no JSON, assuming a soft reboot")
		}
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

// replicaRunnable runs on every replica.
type replicaRunnable func(context.Context) error

// Start runs it.
func (f replicaRunnable) Start(ctx context.Context) error { return f(ctx) }

// NeedLeaderElection says that it waits for nobody.
func (replicaRunnable) NeedLeaderElection() bool { return false }

var _ manager.LeaderElectionRunnable = replicaRunnable(nil)
