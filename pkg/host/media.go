package host

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"
)

// FormatLiveISO is the spec.image.format of an image that is booted from a
// virtual drive, and touches no disk.
const FormatLiveISO = "live-iso"

// Live reports whether the image is booted from a virtual drive. A custom deploy
// method takes an image of any format its own way.
func (i *Image) Live() bool { return i != nil && i.Format == FormatLiveISO && i.Method == "" }

// same reports whether two images come to the same thing on a machine: another
// checksum alone is no reason to install it anew (Metal3).
func (i *Image) same(j *Image) bool { return i.URL == j.URL && i.Method == j.Method }

// Media is what we put into a machine's virtual drive. It is recorded before it
// is done, so that it is taken out whatever happens in between.
type Media struct {
	URL string
	Use MediaUse
	In  bool // read back
}

// MediaUse is what a virtual drive is used for.
type MediaUse string

// The uses.
const (
	MediaLive    MediaUse = "live-iso" // the machine boots from it
	MediaData    MediaUse = "data"     // a DataImage
	MediaRamdisk MediaUse = "ramdisk"  // the agent, made by an external builder
)

// Ramdisk is what an external builder made for a host (a PreprovisioningImage):
// an ISO, or a ramdisk with or without a kernel of its own.
type Ramdisk struct {
	Kernel, Initrd, Params string
	ISO                    string
}

// iso is the ISO that the agent comes in; empty: it comes over the network.
func (h *Host) iso() string {
	if h.Ramdisk == nil {
		return ""
	}
	return h.Ramdisk.ISO
}

// installed reports whether the machine runs what was put on it.
func (h *Host) installed() bool { return h.State == Provisioned || h.State == ExternallyProvisioned }

// drive is what belongs into the virtual drive at the machine's next start; nil:
// nothing.
func (h *Host) drive() *Media {
	switch {
	case h.State == Provisioning && h.LastTried.Live():
		return &Media{URL: h.LastTried.URL, Use: MediaLive}
	case h.installed() && h.Provisioned.Live():
		return &Media{URL: h.Provisioned.URL, Use: MediaLive}
	case h.installed() && h.Wants.DataImage != "":
		return &Media{URL: h.Wants.DataImage, Use: MediaData}
	}
	return nil
}

// livePhases are those of a provisioning that touches no disk.
var livePhases = []Phase{PhaseStop, PhaseInsert, PhaseMediaBoot, PhaseRun}

// skipsMedia is Host.skips for what is inserted or booted instead of an image
// that our agent writes; ok says that the phase is decided.
func (h *Host) skipsMedia(kind OpKind, p Phase) (skip, ok bool) {
	live := kind == OpProvision && h.LastTried.Live()
	if live && !slices.Contains(livePhases, p) {
		return true, true
	}
	d := h.drive()
	switch p {
	case PhaseRamdisk:
		return h.Agent() || !h.Wants.BuildsRamdisk, true
	case PhaseRamdiskMedia:
		return h.Agent() || h.iso() == "", true
	case PhaseInsert:
		return d == nil || kind == OpProvision && !live, true
	case PhaseMediaBoot:
		return d == nil || d.Use != MediaLive, true
	case PhaseDiskBoot:
		return live, true
	case PhaseWrite:
		return h.LastTried != nil && h.LastTried.Method != "", true
	case PhaseDeploy:
		return h.LastTried == nil || h.LastTried.Method == "", true
	case PhaseOff:
		// What is in the drive may be what runs: off before it is taken out.
		if kind == OpDeprovision && h.ejects(kind) {
			return h.Power == PowerOff, true
		}
	case PhaseEject:
		return !h.ejects(kind), true
	}
	return false, false
}

// ejects reports whether an operation empties the drive.
func (h *Host) ejects(kind OpKind) bool {
	if h.Media == nil {
		return false
	}
	switch kind {
	case OpPowerOff:
		return h.State == PoweringOffBeforeDelete
	case OpDeprovision:
		return h.Media.Use != MediaRamdisk // that is what the cleaning boots
	}
	return h.drive() == nil
}

// unwanted reports whether something is in the drive of a machine that is off and
// stays off, and does not belong there.
func (s *stepper) unwanted() bool {
	h := &s.h
	return h.Media != nil && h.Power == PowerOff && h.drive() == nil && !s.wantsOn()
}

// enterMedia makes the action of a phase of the virtual drive. It reports false
// where there is nothing to do any more.
func (s *stepper) enterMedia(a *Action) bool {
	h, op := &s.h, s.h.Op
	m := h.drive()
	if op.Phase == PhaseRamdiskMedia && h.iso() != "" {
		m = &Media{URL: h.iso(), Use: MediaRamdisk}
	}
	switch {
	case op.Phase == PhaseEject:
		a.Verb = EjectMedia
		return true
	case m == nil:
		return false
	}
	a.Verb, a.Media = InsertMedia, m.URL
	h.Media = m
	return true
}

// stale reports whether the operation puts something into the drive that is no
// longer asked for.
func (s *stepper) stale() bool {
	h := &s.h
	if h.Op.Kind != OpPowerOn || h.Op.Phase != PhaseInsert || !h.Op.Entered {
		return false
	}
	d := h.drive()
	return d == nil || h.Media == nil || d.URL != h.Media.URL
}

// ramdiskAnswered takes the external builder's answer, if it is there.
func (s *stepper) ramdiskAnswered() bool {
	h, w := &s.h, &s.h.Wants
	switch {
	case !w.BuildsRamdisk: // switched off while it was waited for
	case w.RamdiskProblem != nil:
		s.failed(*w.RamdiskProblem)
		return true
	case w.Ramdisk == nil:
		return false
	default:
		h.Ramdisk = w.Ramdisk
	}
	s.finish(PhaseRamdisk)
	return true
}

// mediaFacts mark a problem as one of the virtual drive.
func (s *stepper) mediaFacts() map[string]string {
	if s.h.Media == nil {
		return nil
	}
	return map[string]string{"media": plain(s.h.Media.URL)}
}

// digest tells URLs apart where they are recorded, and shows none.
func digest(s string) string {
	if s == "" {
		return ""
	}
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(s)) // never fails (hash.Hash)
	return strconv.FormatUint(sum.Sum64(), 16)
}

// plain is a URL without credentials.
func plain(raw string) string {
	scheme, rest, found := strings.Cut(raw, "://")
	if !found {
		return "(a URL without a scheme)"
	}
	host, path, _ := strings.Cut(rest, "/")
	if i := strings.LastIndex(host, "@"); i >= 0 {
		host = host[i+1:]
	}
	return scheme + "://" + host + "/" + path
}

// mediaTimeout is the problem of a phase that took too long and names no agent.
func (s *stepper) mediaTimeout(op *Op, after time.Duration) Problem {
	notDone := []string{fmt.Sprintf("not done after %s", after)}
	switch op.Phase {
	case PhaseInsert, PhaseRamdiskMedia:
		return Problem{Code: "media-insert", Class: Retry, Seen: notDone, Facts: s.mediaFacts()}
	case PhaseEject:
		return Problem{Code: "media-eject", Class: Retry, Seen: notDone, Facts: s.mediaFacts()}
	case PhaseDeploy:
		return Problem{Code: "deploy-failed", Class: Retry, Seen: []string{fmt.Sprintf("not finished after %s", after)}}
	case PhaseRamdisk:
		_, name, _ := strings.Cut(s.h.Key, "/")
		return Problem{Code: "ramdisk-waiting", Class: Retry, Facts: map[string]string{"image": name}, Seen: []string{
			fmt.Sprintf("PreprovisioningImage %s has neither become Ready nor Error for what it asks now, in %s", s.h.Key, after),
		}}
	}
	return slowBMC(op, after)
}

// WaitsForStart is what a host at rest waits for whose DataImage is to be put in
// or taken out.
const WaitsForStart = "the machine's next start: the virtual drive is changed then, for its DataImage"

// driveDiffers reports whether a DataImage, or its deletion, waits for the next
// start.
func (h *Host) driveDiffers() bool {
	d := h.drive()
	switch {
	case d == nil:
		return h.Media != nil
	case d.Use == MediaLive:
		return false // it runs
	}
	return h.Media == nil || d.URL != h.Media.URL || !h.Media.In
}
