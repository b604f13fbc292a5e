package virtualbmc

import (
	"encoding/hex"
	"testing"
)

// FuzzPacket: whatever comes in, the server answers or is silent, and remembers
// no more than it may.
func FuzzPacket(f *testing.F) {
	for _, seed := range []string{
		"0600ff06000011be80000000",
		"0600ff07000000000000000000092018c8810c388e04a9",
		"0600ff0706100000000000000000200007000000010203040000000801000000010000080100000002000008010000000",
		"0600ff070600000000000000000000000000",
	} {
		b, _ := hex.DecodeString(seed)
		f.Add(b, b)
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		s, err := New(body(nil), Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range [][]byte{first, second} {
			s.handle(t.Context(), "192.0.2.1:1", p)
		}
		if len(s.sessions) > 1 || len(s.order) != len(s.sessions) {
			t.Errorf("%d sessions, %d in order", len(s.sessions), len(s.order))
		}
	})
}
