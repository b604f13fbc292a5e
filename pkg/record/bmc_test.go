package record

import (
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/bmc/open"
	"github.com/ingot-metal/ingot/pkg/host"
)

// What is learnt of a BMC on the way costs no write of its own, and is there when
// something else was written.
func TestSessionAndQuirksComeWithOtherWrites(t *testing.T) {
	w := newWorld(t, readSchemas(t), declared(func(b *metal3.BareMetalHost) { b.Annotations[open.AnnotationPin] = "first-use" }))
	h := host.Host{Key: "rack/w1", State: host.Registering, Good: "v1", GoodAt: "redfish://10.0.0.3", GoodWith: "o1"}
	pin := open.FormatPin(make([]byte, 32))
	w.save(h, Extra{BMC: &v1alpha1.BMC{Protocol: "redfish", SPKI: pin, Quirks: []string{"no-continuous"}}, Session: "/redfish/v1/Sessions/1"})
	first := w.stored().Status.BMC
	if first == nil || first.SPKI != pin || first.Options != "o1" || first.Session != "/redfish/v1/Sessions/1" || len(first.Quirks) != 1 {
		t.Fatalf("stored is %+v", first)
	}
	if n := w.save(h, Extra{Session: "/redfish/v1/Sessions/2"}); n != 0 {
		t.Errorf("%d writes for another session", n)
	}
	known := *first
	known.Quirks = append(known.Quirks, "no-boot-write")
	if n := w.save(h, Extra{BMC: &known}); n != 0 {
		t.Errorf("%d writes for another quirk", n)
	}
	h.Dirty = true
	w.save(h, Extra{BMC: &known, Session: "/redfish/v1/Sessions/3"})
	if got := w.stored().Status.BMC; got.Session != "/redfish/v1/Sessions/3" || len(got.Quirks) != 2 || got.SecretVersion != "v1" || got.SPKI != pin {
		t.Errorf("stored is %+v", got)
	}
	// The annotation goes: the next first use is a new one.
	delete(w.objs.BMH.Annotations, open.AnnotationPin)
	w.save(h, Extra{})
	if got := w.stored().Status.BMC; got.SPKI != "" {
		t.Errorf("still pinned is %s", got.SPKI)
	}
}

// An inspection without a boot is recorded when it begins: it may take a while,
// and the BMC's key is known by then.
func TestFactsAreRecordedAtOnce(t *testing.T) {
	w := newWorld(t, readSchemas(t), declared(func(b *metal3.BareMetalHost) { b.Annotations[open.AnnotationPin] = "first-use" }))
	h := host.Host{
		Key: "rack/w1", State: host.Inspecting, Good: "v1", GoodAt: "redfish://10.0.0.3",
		Op: &host.Op{Kind: host.OpInspect, Phase: host.PhaseFacts},
	}
	w.save(h, Extra{BMC: &v1alpha1.BMC{SPKI: open.FormatPin(make([]byte, 32))}})
	if st := w.stored().Status; st.Operation == nil || st.Operation.Phase != string(host.PhaseFacts) || st.BMC == nil || st.BMC.SPKI == "" {
		t.Errorf("stored is %+v", st)
	}
	if got := w.restart(h.Wants); got.Op == nil || got.Op.Phase != host.PhaseFacts {
		t.Errorf("after a restart it does %+v", got.Op)
	}
}
