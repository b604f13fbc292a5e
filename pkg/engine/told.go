package engine

import (
	"context"
	"strings"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/open"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

const (
	// maxQuirks bounds how many names are kept in the record.
	maxQuirks = 32
	// maxSession bounds a session's URI; a longer one is not kept.
	maxSession = 512
)

// told notes by which quirks a BMC is dealt with, and, if its key is believed at
// first use, which one that was.
func told(c bmc.Conn, found *v1alpha1.BMC, b *metal3.BareMetalHost) {
	if q, ok := c.(interface{ Quirks() []quirk.Name }); ok {
		names := q.Quirks()
		for _, n := range names[:min(len(names), maxQuirks)] {
			found.Quirks = append(found.Quirks, string(n))
		}
	}
	if k, ok := c.(interface{ SPKI() []byte }); ok && strings.TrimSpace(b.Annotations[open.AnnotationPin]) == open.PinFirstUse {
		found.SPKI = open.FormatPin(k.SPKI())
	}
}

// session names what is open on the BMC. It is recorded with what is written
// anyway, for the one who comes after a crash.
func session(c bmc.Conn) string {
	s, ok := c.(interface{ SessionURI() string })
	if !ok || len(s.SessionURI()) > maxSession {
		return ""
	}
	return s.SessionURI()
}

// renewBoot sets the disk as the boot device once more, on BMCs that override a
// single start (quirk no-continuous). Nothing depends on it: a start that is not
// ours to order has the machine's own boot order, in which the agent put the
// installed system first, and one that comes by the network gets the boot script
// that sends it on to its disk. So a BMC that refuses keeps nobody's machine off.
func (e *Engine) renewBoot(ctx context.Context, in Input, c bmc.Conn) {
	b, ok := c.(bmc.Boot)
	if !ok {
		return
	}
	o, err := b.BootOverride(ctx) // it also tells the quirks
	if err != nil || o.Target != bmc.BootNone || !o.Renew && !hasQuirk(c, quirk.NoContinuous) {
		return // what somebody else has set for this start is not ours to end
	}
	want := bmc.BootOverride{Target: bmc.BootDisk, Persistent: true, Mode: bmc.BootModeUEFI}
	if in.Host.Wants.Legacy {
		want.Mode = bmc.BootModeLegacy
	}
	if err := b.SetBootOverride(ctx, want); err != nil {
		e.Log.Info("the boot device was not set anew", "host", in.Host.Key, "err", err)
	}
}

func hasQuirk(c bmc.Conn, n quirk.Name) bool {
	q, ok := c.(interface{ Quirks() []quirk.Name })
	if !ok {
		return false
	}
	for _, has := range q.Quirks() {
		if has == n {
			return true
		}
	}
	return false
}
