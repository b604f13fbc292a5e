package record

import (
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/host"
)

// Annotations of a BareMetalHost that the REST door writes; anybody may.
const (
	// AnnotationNodeUUID and AnnotationNodeName are the node's, chosen where it was
	// made. Whoever makes the HostRecord takes them from here.
	AnnotationNodeUUID = "ingot.dev/node-uuid"
	AnnotationNodeName = "ingot.dev/node-name"
	// AnnotationNodeHold is where a new host with a node's UUID rests, if not in enroll;
	// empty: it goes on by itself. An import says it of nodes that are in use.
	AnnotationNodeHold = "ingot.dev/node-hold"
	// AnnotationDriver is fake-hardware for a node without a machine. On a host that
	// names a BMC it says nothing.
	AnnotationDriver = "ingot.dev/driver"
	DriverFake       = "fake-hardware"
	// AnnotationMaintenance is there, with the reason, while somebody is at work at
	// the machine.
	AnnotationMaintenance = "ingot.dev/maintenance"
)

// bornNode is the UUID of a node that was made at the REST door; empty: it was not.
func bornNode(b *metal3.BareMetalHost) string {
	id, err := uuid.Parse(b.Annotations[AnnotationNodeUUID])
	if err != nil || len(b.Annotations[AnnotationNodeUUID]) != len(id.String()) {
		return ""
	}
	return id.String()
}

// unborn reports whether nothing was ever recorded of a host.
func unborn(b *metal3.BareMetalHost) bool {
	return b.Status.LastUpdated == nil && b.Status.Provisioning.State == ""
}

// bornSpec is a new record's spec, the same whoever makes it first.
func bornSpec(b *metal3.BareMetalHost, newID string) v1alpha1.HostRecordSpec {
	spec := v1alpha1.HostRecordSpec{ID: newID}
	if id := bornNode(b); id != "" {
		spec.ID = id
		if name := b.Annotations[AnnotationNodeName]; len(name) <= maxIronicName {
			spec.IronicName = name
		}
		if unborn(b) {
			spec.Hold = bornHold(b)
		}
	}
	if id := b.Status.Provisioning.ID; id != "" {
		spec.ID = id
	}
	return spec
}

// bornHold is where a new node rests: in enroll, unless whoever made the host says
// otherwise. A real machine is in no state that it was not brought to.
func bornHold(b *metal3.BareMetalHost) string {
	hold, said := b.Annotations[AnnotationNodeHold]
	fake := b.Annotations[AnnotationDriver] == DriverFake && b.Spec.BMC.Address == ""
	switch {
	case said && hold == "":
		return ""
	case said && fake && slices.Contains([]string{host.Manageable, host.NodeAvailable, host.Active}, hold):
		return hold
	}
	return host.Enroll
}

// maxIronicName is the schema's limit.
const maxIronicName = 255

// AskOf reads what the REST door asked for last; nil: nothing.
func AskOf(rec *v1alpha1.HostRecord) *host.Ask {
	if rec == nil || rec.Spec.Ask == nil {
		return nil
	}
	a := rec.Spec.Ask
	return &host.Ask{N: a.N, Verb: a.Verb, Erase: a.Erase, Hold: a.Hold, Timeout: time.Duration(a.TimeoutSeconds) * time.Second, Generation: a.Generation}
}

// lostNode is the course of a host of which no status is known: it rests where its
// spec says, and what was asked for was done, or is not done any more. Only of a
// host that is new nothing can have been done yet; and one that rests in enroll may be
// new as well: a crash between the first writes of its two statuses leaves the same.
// Another look at its BMC does no harm.
func lostNode(b *metal3.BareMetalHost, rec *v1alpha1.HostRecord) host.Node {
	var n host.Node
	switch {
	case rec != nil:
		n.Hold = rec.Spec.Hold
	case unborn(b) && bornNode(b) != "":
		n.Hold = bornHold(b)
	}
	a := AskOf(rec)
	if a != nil && (n.Hold != host.Enroll || !unborn(b) && a.Verb != host.VerbManage) {
		n.Asked = a.N
	}
	return n
}

// unread forgets the power of a host whose BMC was never asked: a status without
// power says off.
func unread(h *host.Host) {
	if h.Node.Hold != "" && h.Good == "" {
		h.Power = host.PowerUnknown
	}
}

func toNode(h host.Host) *v1alpha1.NodeStatus {
	n := h.Node
	if !n.Led() {
		return nil
	}
	text := n.Error
	if text == "" && h.Problem != nil {
		text = Message(h.Problem)
	}
	return &v1alpha1.NodeStatus{
		Hold: n.Hold, Asked: n.Asked, Verb: n.Verb, Erase: n.Erase, Error: clip(text, maxNodeError), Power: n.Power, Since: micro(n.Since),
	}
}

// maxNodeError is the schema's limit.
const maxNodeError = 1024

// fromNode reads what toNode wrote. An error that the problem says is not kept
// twice.
func fromNode(r *v1alpha1.NodeStatus, p *host.Problem) host.Node {
	if r == nil {
		return host.Node{}
	}
	n := host.Node{Hold: r.Hold, Asked: r.Asked, Verb: r.Verb, Erase: r.Erase, Error: r.Error, Power: r.Power, Since: when(r.Since)}
	if p != nil && n.Error == clip(Message(p), maxNodeError) {
		n.Error = ""
	}
	return n
}

// Heed takes up what others wrote into the record's spec since we last saw it. A
// status of another's stays a fence for our next write.
func (o *Objects) Heed(rec *v1alpha1.HostRecord) {
	if o.HR == nil || rec.UID != o.HR.UID || !newerThan(rec.ResourceVersion, o.HR.ResourceVersion) {
		return
	}
	stored := o.stored
	if stored == nil {
		stored = &o.HR.Status
	}
	next := o.HR.DeepCopy()
	next.Spec = *rec.Spec.DeepCopy()
	if equality.Semantic.DeepEqual(rec.Status, *stored) {
		next.ObjectMeta = *rec.ObjectMeta.DeepCopy()
	}
	o.HR = next
}

// newerThan compares resource versions, which Kubernetes 1.35 declares to be
// comparable numbers.
func newerThan(a, b string) bool {
	x, errX := strconv.ParseUint(a, 10, 64)
	y, errY := strconv.ParseUint(b, 10, 64)
	return errX == nil && errY == nil && x > y
}
