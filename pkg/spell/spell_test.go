package spell

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNearest(t *testing.T) {
	known := []string{"redfish", "redfish-virtualmedia", "ipmi", "libvirt"}
	for _, tc := range []struct {
		name string
		word string
		most int
		want []string
	}{
		{name: "a letter too few", word: "redfsh", most: 3, want: []string{"redfish"}},
		{name: "case", word: "IPMI", most: 0, want: []string{"ipmi"}},
		{name: "a part", word: "virtual", most: 2, want: []string{"redfish-virtualmedia"}},
		{name: "as far as the part of another: in their order", word: "libvir", most: 1, want: []string{"libvirt"}},
		{name: "too short a part", word: "vi", most: 2},
		{name: "far from all", word: "snmp-trap", most: 3},
		{name: "however far, the nearest first", word: "ipmx", most: Any, want: []string{"ipmi", "libvirt", "redfish", "redfish-virtualmedia"}},
		{name: "nothing", most: 3},
		{name: "longer than any word", word: strings.Repeat("x", 1<<20), most: 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := Nearest(tc.word, known, tc.most)
			if len(got) == 0 {
				got = nil
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzNearest(f *testing.F) {
	f.Add("redfish", "ipmi", 2)
	f.Add("", "\xff", -1)
	f.Fuzz(func(t *testing.T, word, known string, most int) {
		if len(Nearest(word, []string{known}, most)) > 1 {
			t.Error("one word, found twice")
		}
		if got := Nearest(known, []string{known}, 0); len(got) != 1 {
			t.Errorf("a word is not itself: %q", got)
		}
	})
}
