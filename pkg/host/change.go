package host

// ChangeKind is what a Change changes.
type ChangeKind string

// The kinds of change.
const (
	ChangeRAIDDelete ChangeKind = "raid-delete" // a volume, with what is on it
	ChangeRAIDMake   ChangeKind = "raid-make"
	ChangeSettings   ChangeKind = "settings" // of the firmware
	ChangeFirmware   ChangeKind = "firmware"
)

// Change is one thing that a BMC is asked to change about its machine. It is
// recorded before the BMC is asked, and again with what the BMC answered, so that
// after a crash it is looked for before it is asked for anew.
type Change struct {
	What   ChangeKind
	Target string // the volume, the component or what a person would call it
	For    string // Wants.RAID's or Wants.Firmware's short form, as of when it was decided
	Before string // ChangeFirmware: the version before it
	Op     string // what the BMC answered, as the engine recorded it; empty: not asked yet
	Reset  bool   // it waits for the machine's next start
}

// destroys reports whether data is lost by it.
func (c *Change) destroys() bool { return c != nil && c.What == ChangeRAIDDelete }

// maxChanges bounds the changes of one operation: settings that do not stay must
// not restart a machine for ever.
const maxChanges = 64

// raidDue reports whether other RAID volumes are declared than were last found.
func (h *Host) raidDue() bool { return h.Wants.RAID != "" && h.Wants.RAID != h.RAID }

// changes reports whether an operation has anything to change.
func (h *Host) changes(kind OpKind) bool {
	w := h.Wants
	switch kind {
	case OpPrepare:
		return h.raidDue() || w.Settings || w.Updates
	case OpService:
		asked := h.Node.Verb == VerbService
		return w.Settings && (w.LiveSettings || asked) || w.Updates && (w.LiveUpdates || asked)
	}
	return false
}

// asked reports whether what is declared still asks for a change that was decided
// before.
func (h *Host) asked(c *Change) bool {
	switch c.What {
	case ChangeRAIDDelete, ChangeRAIDMake:
		return h.State == Preparing && h.raidDue() && c.For == Short(h.Wants.RAID)
	}
	return c.For == h.Wants.Firmware && h.changes(h.Op.Kind)
}

// skipsChange reports whether an operation can do without one of the phases of a
// change.
func (h *Host) skipsChange(kind OpKind, p Phase) (skip, known bool) {
	c := (*Change)(nil)
	if h.Op != nil {
		c = h.Op.Change
	}
	switch p {
	case PhasePlan:
		return !h.changes(kind), true
	case PhaseChange, PhaseSettle:
		return c == nil, true
	case PhaseRestart:
		return c == nil || !c.Reset, true
	case PhaseSecureOn:
		return !h.Wants.SecureBoot, true
	case PhaseSecureOff:
		return !h.SecureBoot, true
	}
	return false, false
}

// changeOutcome follows the phases of a change. It reports whether it has moved the
// operation on itself.
func (s *stepper) changeOutcome(e Outcome) bool {
	h := &s.h
	op := h.Op
	switch op.Phase {
	case PhasePlan:
		if e.RAID != "" {
			h.RAID = e.RAID
		}
		op.Change = e.Change
		if e.Change == nil { // all that was declared is in force
			switch op.Kind {
			case OpPrepare:
				h.Wants.Settings, h.Wants.Updates = false, false
			case OpService:
				h.Wants.LiveSettings, h.Wants.LiveUpdates = false, false
			}
		}
	case PhaseChange:
		if e.Change == nil { // overtaken by what the BMC says
			s.replan()
			return true
		}
		op.Change = e.Change
		op.Made = op.Made || e.Change.What == ChangeRAIDMake
	case PhaseRestart:
		s.endAgent()
	case PhaseSettle:
		if op.Rounds++; op.Rounds >= maxChanges {
			s.failed(Problem{Code: "change-endless", Class: Wait, Seen: []string{"last changed: " + op.Change.Target}})
			return true
		}
		s.replan()
		return true
	case PhaseSecureOn:
		if !e.Switched && !op.Again {
			h.SecureBoot = false // a person has
		}
	case PhaseSecureOff:
		h.SecureBoot = false
	}
	return false
}

// replan looks again at what is to be changed.
func (s *stepper) replan() {
	op := s.h.Op
	op.Change = nil
	s.next("") // to the plan: it is the first phase of what changes anything
}

// serviceEnds reports whether a service of a machine in use has nothing to do any
// more, and nothing under way that had better be waited for.
func (s *stepper) serviceEnds() bool {
	op := s.h.Op
	if op.Kind != OpService || op.Phase != PhasePlan && (op.Phase != PhaseChange || op.Entered || op.Again) {
		return false
	}
	return !s.h.changes(OpService) || !s.h.Wants.Online && s.h.Node.Verb != VerbService
}

// Short is enough of a text to tell it from another, for the record.
func Short(text string) string {
	if text == "" {
		return ""
	}
	var h uint64 = 14695981039346656037 // FNV-1a
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 1099511628211
	}
	const digits = "0123456789abcdef"
	var b [16]byte
	for i := range b {
		b[15-i] = digits[h>>(4*i)&15]
	}
	return string(b[:])
}
