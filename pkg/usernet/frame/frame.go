package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// HeaderLen is the length prefix.
	HeaderLen = 4
	// Min is an Ethernet header. Frames shorter than the 60 bytes of IEEE 802.3
	// are normal on a virtual wire, which needs no padding.
	Min = 14
	// Max holds a jumbo frame of 9000 bytes and its header.
	Max = 9216
)

// ErrLength is a length that no frame has. The stream cannot be read on: where
// the next frame begins is not known.
var ErrLength = errors.New("frame length out of bounds")

// Read returns the next frame with its length prefix in front, in memory of its
// own: Payload(wire) is the frame, and wire can be sent on as it is. An end
// between two frames is io.EOF, one inside a frame io.ErrUnexpectedEOF.
func Read(r io.Reader) (wire []byte, err error) {
	var head [HeaderLen]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < Min || n > Max {
		return nil, fmt.Errorf("%w: %d", ErrLength, n)
	}
	wire = make([]byte, HeaderLen+int(n))
	copy(wire, head[:])
	if _, err := io.ReadFull(r, wire[HeaderLen:]); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return wire, nil
}

// Payload is the frame within what Read and Wire return.
func Payload(wire []byte) []byte { return wire[HeaderLen:] }

// Wire returns a copy of the frame with its length prefix.
func Wire(frame []byte) ([]byte, error) {
	if len(frame) < Min || len(frame) > Max {
		return nil, fmt.Errorf("%w: %d", ErrLength, len(frame))
	}
	wire := make([]byte, HeaderLen, HeaderLen+len(frame))
	binary.BigEndian.PutUint32(wire, uint32(len(frame)))
	return append(wire, frame...), nil
}
