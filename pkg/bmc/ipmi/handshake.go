package ipmi

import (
	"crypto/hmac"
	"encoding/binary"
	"fmt"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// handshake is the key exchange of chapters 13.17 to 13.24, without I/O.
type handshake struct {
	suite    suite
	tag      byte // marks the messages of this exchange
	creds    bmc.Credentials
	role     byte // privilege level, with "look the name up, not the level"
	console  uint32
	bmcID    uint32
	random   [16]byte // ours
	theirs   []byte
	guid     []byte
	password []byte
}

const nameOnlyLookup = 0x10

func newHandshake(s suite, creds bmc.Credentials, privilege byte, random []byte) *handshake {
	h := &handshake{suite: s, tag: byte(s.id), creds: creds, role: privilege | nameOnlyLookup, password: []byte(creds.Password)}
	copy(h.random[:], random[:16])
	h.console = binary.LittleEndian.Uint32(random[16:]) | 1 // never zero
	return h
}

// mine reports whether an answer belongs to this exchange. The one to an earlier
// suite, sent twice because the BMC was slow, may still come; it would be taken
// for this one's refusal. A zero is forgiven: not all copy the tag.
func (h *handshake) mine(b []byte) bool {
	return len(b) > 0 && (b[0] == h.tag || b[0] == 0)
}

// name is the role, user name and its length, as three of the codes cover them.
func (h *handshake) name() []byte {
	return append([]byte{h.role, byte(len(h.creds.Username))}, h.creds.Username...)
}

func le(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }

func (h *handshake) openRequest() []byte {
	b := append([]byte{h.tag, 0, 0, 0}, le(h.console)...)
	for i, algorithm := range []byte{h.suite.auth, h.suite.integrity, 1 /* AES-CBC-128 */} {
		b = append(b, byte(i), 0, 0, 8, algorithm, 0, 0, 0)
	}
	return b
}

func (h *handshake) openResponse(b []byte) error {
	if err := h.begins(b, 36); err != nil {
		return err
	}
	if b[16] != h.suite.auth || b[24] != h.suite.integrity || b[32] != 1 {
		return fmt.Errorf("%w: %w", errPacket, errOtherSuite)
	}
	h.bmcID = binary.LittleEndian.Uint32(b[8:])
	return nil
}

// begins checks what all answers of the exchange begin with.
func (h *handshake) begins(b []byte, size int) error {
	if len(b) < 2 {
		return fmt.Errorf("%w: %d bytes", errPacket, len(b))
	}
	if b[1] != 0 {
		return rmcpStatus(b[1])
	}
	if len(b) < size || binary.LittleEndian.Uint32(b[4:]) != h.console {
		return fmt.Errorf("%w: %d bytes, or another session's", errPacket, len(b))
	}
	return nil
}

func (h *handshake) rakp1() []byte {
	b := append([]byte{h.tag, 0, 0, 0}, le(h.bmcID)...)
	b = append(b, h.random[:]...)
	b = append(b, h.role, 0, 0, byte(len(h.creds.Username)))
	return append(b, h.creds.Username...)
}

// rakp2 proves that the BMC knows the password; a mismatch means that ours is
// another one.
func (h *handshake) rakp2(b []byte) error {
	size := h.suite.hash().Size()
	if err := h.begins(b, 40+size); err != nil {
		return err
	}
	h.theirs, h.guid = b[8:24], b[24:40]
	want := h.suite.mac(h.password, le(h.console), le(h.bmcID), h.random[:], h.theirs, h.guid, h.name())
	if !hmac.Equal(want, b[40:40+size]) {
		return errPassword
	}
	return nil
}

func (h *handshake) rakp3() []byte {
	b := append([]byte{h.tag, 0, 0, 0}, le(h.bmcID)...)
	return append(b, h.suite.mac(h.password, h.theirs, le(h.console), h.name())...)
}

func (h *handshake) rakp4(b []byte) (keys, error) {
	if err := h.begins(b, 8+h.suite.code); err != nil {
		return keys{}, err
	}
	sik := h.suite.mac(h.password, h.random[:], h.theirs, h.name())
	want := h.suite.mac(sik, h.random[:], le(h.bmcID), h.guid)[:h.suite.code]
	if !hmac.Equal(want, b[8:8+h.suite.code]) {
		return keys{}, errPassword
	}
	// Chapter 13.32: 20 bytes of a constant, whatever the hash.
	constant := func(c byte) []byte {
		out := make([]byte, 20)
		for i := range out {
			out[i] = c
		}
		return out
	}
	return keys{suite: h.suite, k1: h.suite.mac(sik, constant(1)), k2: h.suite.mac(sik, constant(2))}, nil
}
