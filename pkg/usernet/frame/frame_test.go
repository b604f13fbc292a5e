package frame_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/usernet/frame"
)

func TestRead(t *testing.T) {
	good := append([]byte{0, 0, 0, 14}, bytes.Repeat([]byte{7}, 14)...)
	tests := []struct {
		name string
		in   []byte
		want []byte
		err  error
	}{
		{name: "one frame", in: good, want: good},
		{name: "end between frames", in: nil, err: io.EOF},
		{name: "end in the length", in: good[:2], err: io.ErrUnexpectedEOF},
		{name: "end after the length", in: good[:4], err: io.ErrUnexpectedEOF},
		{name: "end in the frame", in: good[:9], err: io.ErrUnexpectedEOF},
		{name: "too short to be a frame", in: []byte{0, 0, 0, 13, 1, 2, 3}, err: frame.ErrLength},
		{name: "longer than any frame", in: []byte{0xff, 0xff, 0xff, 0xff, 1}, err: frame.ErrLength},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := frame.Read(bytes.NewReader(tt.in))
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("wire (-want +got):\n%s", diff)
			}
		})
	}
}

// A stream of any bytes is read as bounded frames, each of which is written
// back as it came.
func FuzzRead(f *testing.F) {
	f.Add(append([]byte{0, 0, 0, 14}, make([]byte, 20)...))
	f.Add([]byte{0, 0, 0x24, 0, 1, 2, 3})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		for {
			wire, err := frame.Read(r)
			if err != nil {
				return
			}
			again, err := frame.Wire(frame.Payload(wire))
			if err != nil || !bytes.Equal(wire, again) {
				t.Fatalf("wire %x came back as %x, %v", wire, again, err)
			}
		}
	})
}
