package ipmi

import (
	"strings"
	"testing"

	"github.com/bougou/go-ipmi/pkg/types"
)

// area packs an inventory of one area: a product's, or a board's.
func area(product bool, fields ...string) []byte {
	body := []byte{1, 0, 25}
	if !product {
		body = append(body, 0, 0, 0) // date of manufacture
	}
	for _, f := range fields {
		body = append(append(body, 0xc0|byte(len(f))), f...)
	}
	body = append(body, 0xc1)
	for len(body)%8 != 7 {
		body = append(body, 0)
	}
	body[1] = byte(len(body)+1) / 8
	body = append(body, checksum(body))
	header := []byte{1, 0, 0, 1, 0, 0, 0, 0}
	if product {
		header[3], header[4] = 0, 1
	}
	header[7] = checksum(header)
	return append(header, body...)
}

func TestParseFRU(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   []byte
		want fru
	}{
		{name: "product", in: area(true, "Maker", "Model", "P-1", "2.0", "SN1", "asset"), want: fru{"Maker", "Model", "SN1"}},
		{name: "one letter", in: area(true, "Maker", "Model", "", "2", "SN1"), want: fru{"Maker", "Model", "SN1"}},
		{name: "cut short", in: area(true, "Maker", "Model"), want: fru{"Maker", "Model", ""}},
		{name: "board", in: area(false, "Maker", "Board", "SN2", "P-2"), want: fru{"Maker", "Board", "SN2"}},
		{name: "nothing", in: nil},
		{name: "bad sum", in: append(area(true, "Maker", "Model", "", "2", "SN1")[:30], 0, 0)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := parseFRU(tc.in); got != tc.want {
				t.Errorf("%+v, want %+v", got, tc.want)
			}
		})
	}
}

func FuzzFRU(f *testing.F) {
	packed, err := types.PackFRU(types.FRUPackConfig{Product: &types.FRUPackProduct{Manufacturer: "a", Name: "b", Version: "c", Serial: "d"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed)
	f.Add(area(true, "Maker", "Model", "P-1", "2.0", "SN1"))
	f.Add(area(false, "Maker", "Board", "SN2"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 8 { // the sums are no obstacle
			b[7] = 0
			b[7] = checksum(b[:8])
			for _, at := range []int{int(b[3]) * 8, int(b[4]) * 8} {
				if at > 0 && at+1 < len(b) {
					if end := at + int(b[at+1])*8; end <= len(b) && end > at+2 {
						b[end-1] = 0
						b[end-1] = checksum(b[at:end])
					}
				}
			}
		}
		got := parseFRU(b)
		for _, s := range []string{got.manufacturer, got.product, got.serial} {
			if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) || len(s) > 2*63 {
				t.Fatalf("%q", s)
			}
		}
	})
}
