package record

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/bmc/open"
	"github.com/ingot-metal/ingot/pkg/host"
)

// FieldOwner is the field manager of everything that ingot writes.
const FieldOwner = client.FieldOwner("ingot")

// Finalizer keeps a BareMetalHost until it was let go of (Metal3's name).
const Finalizer = metal3.BareMetalHostFinalizer

// Objects are the two objects of a host, as this process last wrote or read
// them. Only their owner writes their status, so they are never older than what
// is stored, whatever a cache says.
//
// HR may be ahead of what is stored, by what can wait for the next write.
type Objects struct {
	BMH *metal3.BareMetalHost
	HR  *v1alpha1.HostRecord

	// Newer is what BMH's status says in fields that its type lacks.
	Newer Newer

	triedBMH *metal3.BareMetalHostStatus // by a write that may or may not have been carried out

	stored *v1alpha1.HostRecordStatus // of HR; nil: HR.Status
	tried  *v1alpha1.HostRecordStatus // by a write that may or may not have been carried out
}

// Extra is what the life cycle does not know and the same writes carry.
type Extra struct {
	Hardware  *metal3.HardwareDetails
	BMC       *v1alpha1.BMC // protocol, system, MACs, quirks, the key that was seen
	Session   string        // that is open on the BMC
	Inventory *v1alpha1.InventoryRef
	KeyHash   string // of the agent that redeemed the boot
	AgentIP   string
	Manifest  string // digest of the image that was prepared
	FirstBoot *v1alpha1.FirstBoot
	Console   *v1alpha1.ConsoleRef // of the operation that failed
	Epoch     int64
}

// Store writes hosts.
type Store struct {
	Client client.Client
	Reader client.Reader // reads past any cache
	Now    func() time.Time
}

// EnsureRecord creates the HostRecord of a host that has none. The id is kept if
// the BareMetalHost already shows one.
func (s Store) EnsureRecord(ctx context.Context, o *Objects, newID string) error {
	if o.HR != nil {
		return nil
	}
	b := o.BMH
	hr := &v1alpha1.HostRecord{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: b.Namespace, Name: b.Name,
			OwnerReferences: []metav1.OwnerReference{Owner(b)},
			Labels:          map[string]string{"clusterctl.cluster.x-k8s.io/move": ""},
		},
		Spec: bornSpec(b, newID),
	}
	err := s.Client.Create(ctx, hr, FieldOwner)
	if apierrors.IsAlreadyExists(err) {
		// The cache lagged behind, or the host was deleted and made again.
		err = s.Reader.Get(ctx, client.ObjectKeyFromObject(hr), hr)
		if err == nil && !OwnedBy(hr, b) {
			return fmt.Errorf("HostRecord %s/%s belongs to an earlier host of that name: waiting for it to be collected", b.Namespace, b.Name)
		}
	}
	if err != nil {
		return fmt.Errorf("creating HostRecord %s/%s: %w", b.Namespace, b.Name, err)
	}
	o.HR = hr
	return nil
}

// Owner is the reference by which a host owns its companions.
func Owner(b *metal3.BareMetalHost) metav1.OwnerReference {
	yes := true
	return metav1.OwnerReference{
		APIVersion: metal3.GroupVersion.String(), Kind: "BareMetalHost", Name: b.Name, UID: b.UID,
		Controller: &yes,
	}
}

// OwnedBy reports whether a host is among the owners of an object.
func OwnedBy(o metav1.Object, b *metal3.BareMetalHost) bool {
	for _, r := range o.GetOwnerReferences() {
		if r.UID == b.UID {
			return true
		}
	}
	return false
}

// Save writes what must be known before the actions that follow from h are
// carried out. It writes nothing when nothing of that changed.
func (s Store) Save(ctx context.Context, o *Objects, h host.Host, x Extra) error {
	if h.Gone {
		return nil
	}
	if err := s.saveBMH(ctx, o, h, x); err != nil {
		return err
	}
	if err := s.saveRecord(ctx, o, h, x); err != nil {
		return err
	}
	return s.saveSpec(ctx, o, h)
}

// saveSpec keeps what is on the disk, and where the REST door has a host rest, where
// a lost status does not matter. It is behind for an instant after a crash, and set
// right at the next save.
func (s Store) saveSpec(ctx context.Context, o *Objects, h host.Host) error {
	spec := map[string]any{}
	onDisk := ""
	if h.Provisioned != nil && h.State != host.ExternallyProvisioned {
		onDisk = provisionedText(*h.Provisioned)
	}
	if o.HR.Spec.Provisioned != onDisk && len(onDisk) <= maxProvisioned {
		spec["provisioned"] = onDisk
	}
	// In the course of a verb it stays where it rested before.
	if h.Node.Verb == "" && o.HR.Spec.Hold != h.Node.Hold {
		spec["hold"] = h.Node.Hold
	}
	if len(spec) == 0 {
		return nil
	}
	hr := &v1alpha1.HostRecord{ObjectMeta: metav1.ObjectMeta{Namespace: o.HR.Namespace, Name: o.HR.Name}}
	write := func() error {
		patch, err := json.Marshal(map[string]any{
			"metadata": map[string]any{"resourceVersion": o.HR.ResourceVersion}, // a fence, as for the status
			"spec":     spec,
		})
		if err != nil {
			return err
		}
		return s.Client.Patch(ctx, hr, client.RawPatch(types.MergePatchType, patch), FieldOwner)
	}
	stored := o.stored
	if stored == nil {
		stored = &o.HR.Status
	}
	err := write()
	if apierrors.IsConflict(err) && s.ours(ctx, o, *stored) {
		err = write()
	}
	if err != nil {
		return fmt.Errorf("writing the record of what %s is: %w", h.Key, err)
	}
	next := o.HR.DeepCopy() // its status may be ahead of what is stored
	next.ObjectMeta, next.Spec = hr.ObjectMeta, hr.Spec
	o.HR = next
	return nil
}

// maxProvisioned is the schema's limit.
const maxProvisioned = 2048

func (s Store) saveBMH(ctx context.Context, o *Objects, h host.Host, x Extra) error {
	now := s.Now()
	old := o.BMH.Status
	st := BMHStatus(h, o.BMH, o.HR.Spec.ID, now)
	if x.Hardware != nil {
		st.HardwareDetails = x.Hardware
	}
	if h.Op != nil && belongs(h.Op.Kind, h.State) {
		// In the course of an operation the power goes up and down; it is
		// written with the next thing that matters.
		st.PoweredOn = old.PoweredOn
	}
	newer := NewerOf(h)
	// Of a host at a hold nothing else says what it waits for.
	told := h.Node.Hold == "" || message(st) == message(old)
	if told && old.LastUpdated != nil && equality.Semantic.DeepEqual(quiet(st), quiet(old)) && equality.Semantic.DeepEqual(newer, o.Newer) {
		return nil
	}
	stamp := metav1.NewTime(now)
	st.LastUpdated = &stamp
	b, err := s.patchStatus(ctx, o, st, newer)
	if apierrors.IsConflict(err) && s.oursBMH(ctx, o) {
		b, err = s.patchStatus(ctx, o, st, newer)
	}
	if err != nil {
		o.triedBMH = &st
		return fmt.Errorf("writing the status of %s: %w", h.Key, err)
	}
	o.BMH, o.Newer, o.triedBMH = b, newer, nil
	return nil
}

// patchStatus changes the status of the host to st, in the version that o has: an
// owner that is no longer one writes nothing over what the next has written.
func (s Store) patchStatus(ctx context.Context, o *Objects, st metal3.BareMetalHostStatus, newer Newer) (*metal3.BareMetalHost, error) {
	// A merge patch against the zero value would leave out required zero fields
	// (poweredOn, errorMessage …): the first write is whole.
	status, err := json.Marshal(st)
	if err == nil && o.BMH.Status.LastUpdated != nil {
		status, err = mergePatch(o.BMH.Status, st)
	}
	if err == nil {
		status, err = withNewer(status, o.Newer, newer)
	}
	if err != nil {
		return nil, err
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": o.BMH.ResourceVersion}, "status": json.RawMessage(status),
	})
	if err != nil {
		return nil, err
	}
	next := o.BMH.DeepCopy()
	return next, s.Client.Status().Patch(ctx, next, client.RawPatch(types.MergePatchType, patch), FieldOwner)
}

// oursBMH takes up the version of the host that is stored, after a conflict, if
// nobody else wrote its status: most often somebody has changed the spec.
func (s Store) oursBMH(ctx context.Context, o *Objects) bool {
	fresh := &metal3.BareMetalHost{}
	if err := s.Reader.Get(ctx, client.ObjectKeyFromObject(o.BMH), fresh); err != nil || fresh.UID != o.BMH.UID {
		return false
	}
	if !same(fresh.Status, o.BMH.Status) && (o.triedBMH == nil || !same(fresh.Status, *o.triedBMH)) {
		return false
	}
	o.BMH = fresh
	return true
}

// same compares what counts, as it is stored: times lose their fractions there.
func same(a, b metal3.BareMetalHostStatus) bool {
	x, errX := json.Marshal(quiet(a))
	y, errY := json.Marshal(quiet(b))
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// message is what a status says to people.
func message(st metal3.BareMetalHostStatus) string {
	if c := apimeta.FindStatusCondition(st.Conditions, metal3.ReadyCondition); c != nil {
		return c.Message
	}
	return ""
}

// quiet leaves out what alone is no reason to write.
func quiet(st metal3.BareMetalHostStatus) metal3.BareMetalHostStatus {
	st.LastUpdated = nil
	st.Conditions = append([]metav1.Condition(nil), st.Conditions...)
	for i := range st.Conditions {
		st.Conditions[i].LastTransitionTime = metav1.Time{}
		st.Conditions[i].Message = ""
		st.Conditions[i].ObservedGeneration = 0
	}
	return st
}

func mergePatch(old, new metal3.BareMetalHostStatus) ([]byte, error) {
	a, err := json.Marshal(old)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(new)
	if err != nil {
		return nil, err
	}
	return jsonpatch.CreateMergePatch(a, b)
}

func (s Store) saveRecord(ctx context.Context, o *Objects, h host.Host, x Extra) error {
	st := status(h, o.HR.Status)
	if x.BMC != nil {
		was := st.BMC
		st.BMC = x.BMC.DeepCopy()
		if was != nil {
			st.BMC.SecretVersion, st.BMC.Address, st.BMC.Options, st.BMC.Session = was.SecretVersion, was.Address, was.Options, was.Session
		}
	}
	if b := st.BMC; b != nil {
		if x.Session != "" {
			b.Session = x.Session
		}
		if strings.TrimSpace(o.BMH.Annotations[open.AnnotationPin]) != open.PinFirstUse {
			b.SPKI = "" // a later first use is a new one
		}
	}
	if x.Inventory != nil {
		st.Inventory = x.Inventory
	}
	if b := st.Boot; b != nil {
		if h.Boot.Redeemed && b.Redeemed == nil {
			b.Redeemed = micro(s.Now())
			b.KeyHash, b.IP, b.Level = x.KeyHash, x.AgentIP, v1alpha1.TrustLAN
		}
	}
	if x.FirstBoot != nil {
		st.FirstBoot = x.FirstBoot
	}
	if x.Console != nil {
		st.Console = x.Console
	}
	if x.Manifest != "" && h.LastTried != nil {
		st.Image = &v1alpha1.ImageRef{URL: h.LastTried.URL, Digest: x.Manifest}
	}
	if st.Operation != nil {
		st.Operation.Epoch = x.Epoch
	}
	stored := o.stored
	if stored == nil {
		stored = &o.HR.Status
	}
	if equality.Semantic.DeepEqual(significant(st), significant(*stored)) {
		return nil
	}
	hr := o.HR.DeepCopy()
	hr.Status = st
	if canWait(st, *stored) {
		o.HR, o.stored = hr, stored
		return nil
	}
	err := s.Client.Status().Update(ctx, hr, FieldOwner)
	if apierrors.IsConflict(err) && s.ours(ctx, o, *stored) {
		hr = o.HR.DeepCopy()
		hr.Status = st
		err = s.Client.Status().Update(ctx, hr, FieldOwner)
	}
	if err != nil {
		o.tried = &st
		return fmt.Errorf("writing the record of %s: %w", h.Key, err)
	}
	o.HR, o.stored, o.tried = hr, nil, nil
	return nil
}

// ours takes up the version of the record that is stored, after a conflict, if
// nobody else wrote it: a write of ours was carried out though its answer was lost
// (a time-out), or only a label was changed. Another owner's status is a fence.
func (s Store) ours(ctx context.Context, o *Objects, stored v1alpha1.HostRecordStatus) bool {
	fresh := &v1alpha1.HostRecord{}
	if err := s.Reader.Get(ctx, client.ObjectKeyFromObject(o.HR), fresh); err != nil || fresh.UID != o.HR.UID {
		return false
	}
	equal := equality.Semantic.DeepEqual
	if !equal(fresh.Status, stored) && (o.tried == nil || !equal(fresh.Status, *o.tried)) {
		return false
	}
	hr := o.HR.DeepCopy()
	hr.ObjectMeta = fresh.ObjectMeta
	o.HR, o.stored = hr, &fresh.Status
	return true
}
