package usernet

import (
	"encoding/hex"
	"strings"
	"testing"
)

var testMAC = [6]byte{0x52, 0x54, 0, 0xab, 0, 1}

// solicitation is what iPXE sends once it has a link: RFC 4861 §4.1 from its
// link-local address to all routers.
func solicitation(t *testing.T) []byte {
	t.Helper()
	f, err := hex.DecodeString(strings.ReplaceAll(
		"333300000002 525400000005 86dd"+
			"6000000000083aff"+
			"fe80000000000000505400fffe000005"+
			"ff020000000000000000000000000002"+
			"8500 0000 00000000", " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestAdvertise(t *testing.T) {
	with := func(change func(f []byte)) []byte {
		f := solicitation(t)
		change(f)
		return f
	}
	tests := []struct {
		name    string
		in      []byte
		dstMAC  string
		dstIP   string
		refused bool
	}{
		{name: "from an address", in: solicitation(t), dstMAC: "525400000005", dstIP: "fe80000000000000505400fffe000005"},
		{name: "from none", in: with(func(f []byte) { clear(f[22:38]) }), dstMAC: "333300000001", dstIP: "ff020000000000000000000000000001"},
		{name: "crossed a router", in: with(func(f []byte) { f[21] = 254 }), refused: true},
		{name: "an advertisement", in: with(func(f []byte) { f[54] = 134 }), refused: true},
		{name: "from a group address", in: with(func(f []byte) { f[6] = 0x33 }), refused: true},
		{name: "IPv4", in: with(func(f []byte) { f[12], f[13] = 8, 0 }), refused: true},
		{name: "cut short", in: solicitation(t)[:60], refused: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := advertise(tt.in, testMAC)
			if ok == tt.refused {
				t.Fatalf("answered %v, want %v", ok, !tt.refused)
			}
			if tt.refused {
				return
			}
			if got, want := hex.EncodeToString(got[:6]), tt.dstMAC; got != want {
				t.Errorf("to %s, want %s", got, want)
			}
			if got, want := hex.EncodeToString(got[22:38]), "fe80000000000000505400fffeab0001"; got != want {
				t.Errorf("source %s, want %s", got, want)
			}
			if got, want := hex.EncodeToString(got[38:54]), tt.dstIP; got != want {
				t.Errorf("destination %s, want %s", got, want)
			}
			// A packet with its checksum in place sums to zero.
			if sum := icmp6Checksum(got[14:]); sum != 0 {
				t.Errorf("checksum is off by %#x", sum)
			}
		})
	}
}

func FuzzAdvertise(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, 62))
	f.Fuzz(func(t *testing.T, in []byte) {
		if answer, ok := advertise(in, testMAC); ok && len(answer) != 70 {
			t.Fatalf("answer of %d bytes", len(answer))
		}
	})
}
