package redfish

import "encoding/json"

const (
	// maxPages bounds the pages of one collection.
	maxPages = 32
	// maxGathered bounds the bytes that are kept of one collection.
	maxGathered = 32 << 20
	// expandOne asks for the members in place of links to them (DSP0266 §7.3).
	expandOne = "?$expand=.($levels=1)"
)

// page is one answer of a collection (DSP0266 §9.6: the rest is at nextLink).
type page struct {
	Members list[json.RawMessage] `json:"Members"`
	Next    text                  `json:"Members@odata.nextLink"`
	Count   quantity              `json:"Members@odata.count"`
}

// all follows the pages from p on, within bounds and until there are so many
// members; more says that there are others. read reads a page, or returns false
// for one that is passed over, with all that come after it.
func (p page) all(most int, read func(uri string, out *page) (bool, error)) (members []json.RawMessage, more bool, err error) {
	for n, size := 1, 0; ; n++ {
		for _, m := range p.Members {
			size += len(m)
		}
		members = append(members, p.Members...)
		next := string(p.Next)
		if next == "" {
			return members, false, nil
		}
		if n == maxPages || len(members) >= most || size > maxGathered {
			return members, true, nil
		}
		p = page{}
		if ok, err := read(next, &p); !ok || err != nil {
			return members, true, err
		}
	}
}

// refOf tells a member that is a link from one that is there.
func refOf(raw json.RawMessage) resourceRef {
	var r resourceRef
	_ = json.Unmarshal(raw, &r) // what does not parse is no link
	return r
}

func refsOf(members []json.RawMessage) []resourceRef {
	out := make([]resourceRef, 0, len(members))
	for _, raw := range members {
		out = append(out, refOf(raw))
	}
	return out
}
