package quirk

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/pkg/spell"
)

// Override is an operator's word on the quirks of a BMC. The zero value has
// nothing to say.
type Override struct {
	Force  []Name // on, whatever was detected
	Forbid []Name // off, whatever was detected
}

// maxOverride bounds what is parsed: all names together have less than 1 KiB.
const maxOverride = 4 << 10

// ParseOverride reads a list such as "vmedia-patch,-etag-required": a name
// forces a quirk, a name after a minus forbids it.
func ParseOverride(s string) (Override, error) {
	var o Override
	if len(s) > maxOverride {
		return o, fmt.Errorf("the list of quirks is longer than %d bytes", maxOverride)
	}
	for item := range strings.SplitSeq(s, ",") {
		item = strings.ToLower(strings.TrimSpace(item))
		if item == "" {
			continue
		}
		bare, forbid := strings.CutPrefix(item, "-")
		n := Name(strings.TrimSpace(bare))
		if !Known(n) {
			return Override{}, fmt.Errorf("no quirk is called %s; the closest are %s", clip(string(n)), strings.Join(closest(string(n)), ", "))
		}
		list, other := &o.Force, o.Forbid
		if forbid {
			list, other = &o.Forbid, o.Force
		}
		if slices.Contains(other, n) {
			return Override{}, fmt.Errorf("quirk %s is both forced and forbidden", n)
		}
		if !slices.Contains(*list, n) {
			*list = append(*list, n)
		}
	}
	return o, nil
}

// String is the list that ParseOverride reads.
func (o Override) String() string {
	items := make([]string, 0, len(o.Force)+len(o.Forbid))
	for _, n := range o.Force {
		items = append(items, string(n))
	}
	for _, n := range o.Forbid {
		items = append(items, "-"+string(n))
	}
	return strings.Join(items, ",")
}

// Apply returns s as o wants it. s stays as it is.
func Apply(s Set, o Override) Set {
	out := Set{}
	maps.Copy(out, s)
	for _, n := range o.Force {
		out[n] = true
	}
	for _, n := range o.Forbid {
		delete(out, n)
	}
	return out
}

// near is how many names an error offers.
const near = 3

// closest lists the names that a person may have meant, the best first.
func closest(s string) []string {
	names := make([]string, 0, len(All()))
	for _, i := range All() {
		names = append(names, string(i.Name))
	}
	return spell.Nearest(s, names, spell.Any)[:near]
}

// clip quotes what a person wrote for an error.
func clip(s string) string {
	if len(s) > 64 {
		return fmt.Sprintf("%q…", s[:64])
	}
	return fmt.Sprintf("%q", s)
}
