package virtualbmc

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // cipher suite 3 is all that pyghmi's server speaks
	"encoding/binary"
	"io"
)

// Payload types (IPMI 2.0 table 13-16).
const (
	payloadIPMI         = 0x00
	payloadOpenRequest  = 0x10
	payloadOpenResponse = 0x11
	payloadRAKP1        = 0x12
	payloadRAKP2        = 0x13
	payloadRAKP3        = 0x14
	payloadRAKP4        = 0x15

	encrypted     = 0x80 // flags of the payload type
	authenticated = 0x40
)

const macSize = 12 // HMAC-SHA1-96

// session is pyghmi's ServerSession (serversession.py 32). It is found by the
// client's address and never ends.
type session struct {
	server *Server

	clientID, managedID []byte // 4 bytes each, little-endian
	rm, rc              []byte
	role                byte
	username            []byte

	sik, k1, k2 []byte // once the client has proved itself
	up          bool   // what is sent is authenticated and encrypted
	sequence    uint32 // of what is sent
	lowest      uint32 // of what may still come in
	privilege   byte   // 0: never asked for
}

// packet is session.py 1375.
func (s *session) packet(ctx context.Context, p []byte) []byte {
	if len(p) < 16 {
		return nil
	}
	payload := p[16:]
	switch p[5] & 0x3f {
	case payloadOpenRequest:
		if len(payload) < 8 {
			return nil
		}
		return s.openResponse(payload)
	case payloadRAKP1:
		return s.rakp1(payload)
	case payloadRAKP3:
		return s.rakp3(payload)
	case payloadIPMI:
		body := s.unseal(p)
		if len(body) < 7 { // session.py 1628: the checksums are not looked at
			return nil
		}
		return s.command(ctx, body)
	}
	return nil
}

// openResponse is serversession.py 41: suite 3 and the privilege level of an
// administrator, whatever was asked for. On a session that is up it goes out
// sealed with the old keys (session.py 863 to 866), so that a client must take
// another port for its next session.
func (s *session) openResponse(request []byte) []byte {
	s.clientID = bytes.Clone(request[4:8])
	s.managedID = s.random(4)
	out := []byte{request[0], 0, 4, 0}
	out = append(out, s.clientID...)
	out = append(out, s.managedID...)
	out = append(
		out,
		0, 0, 0, 8, 1, 0, 0, 0, // RAKP-HMAC-SHA1
		1, 0, 0, 8, 1, 0, 0, 0, // HMAC-SHA1-96
		2, 0, 0, 8, 1, 0, 0, 0, // AES-CBC-128
	)
	return s.seal(payloadOpenResponse, out)
}

// rakp1 is serversession.py 101. No name and an unknown name are met with
// silence (107, 111); the password is proved before the client has proved any.
func (s *session) rakp1(p []byte) []byte {
	if len(p) < 28 || p[27] == 0 || string(p[28:]) != s.server.o.Username {
		return nil
	}
	s.rm, s.role, s.username = bytes.Clone(p[8:24]), p[24], bytes.Clone(p[28:])
	s.rc = s.random(16)
	code := mac(s.password(), s.clientID, s.managedID, s.rm, s.rc, s.server.guid[:], s.name())
	out := append([]byte{p[0], 0, 0, 0}, s.clientID...)
	out = append(out, s.rc...)
	out = append(out, s.server.guid[:]...)
	return s.seal(payloadRAKP2, append(out, code...))
}

// rakp3 is serversession.py 140: a wrong proof and a client's refusal are met
// with silence (159, 163). The password is the key K_G as well (123).
func (s *session) rakp3(p []byte) []byte {
	if len(p) < 8 || s.rc == nil {
		return nil
	}
	sik := mac(s.password(), s.rm, s.rc, s.name())
	if !hmac.Equal(p[8:], mac(s.password(), s.rc, s.clientID, s.name())) || p[1] != 0 {
		return nil
	}
	s.sik = sik
	s.k1 = mac(sik, bytes.Repeat([]byte{1}, 20))
	s.k2 = mac(sik, bytes.Repeat([]byte{2}, 20))
	out := append([]byte{p[0], 0, 0, 0}, s.clientID...)
	out = append(out, mac(sik, s.rm, s.managedID, s.server.guid[:])[:macSize]...)
	packet := s.seal(payloadRAKP4, out)
	s.up, s.sequence = true, 1 // serversession.py 199 to 203
	return packet
}

func (s *session) password() []byte { return []byte(s.server.o.Password) }

// name is the role, the name's length and the name, as three of the codes cover
// them.
func (s *session) name() []byte {
	return append([]byte{s.role, byte(len(s.username))}, s.username...)
}

func mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha1.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

func (s *session) random(n int) []byte {
	b := make([]byte, n)
	_, _ = io.ReadFull(s.server.o.Random, b) // zeroes are as good to a test
	return b
}

// seal is session.py 830. The handshake's packets go out bare, with session and
// sequence number 0.
func (s *session) seal(kind byte, payload []byte) []byte {
	out := []byte{0x06, 0, 0xff, 0x07, 0x06}
	if !s.up {
		out = append(out, kind)
		out = append(out, make([]byte, 8)...)
		out = binary.LittleEndian.AppendUint16(out, uint16(len(payload)))
		return append(out, payload...)
	}
	out = append(out, kind|encrypted|authenticated)
	out = append(out, s.clientID...)
	out = binary.LittleEndian.AppendUint32(out, s.sequence)
	s.sequence++
	plain := bytes.Clone(payload)
	pad := (16 - (len(plain)+1)%16) % 16
	for i := range pad {
		plain = append(plain, byte(i+1))
	}
	plain = append(plain, byte(pad))
	block, err := aes.NewCipher(s.k2[:16])
	if err != nil {
		return nil
	}
	iv := s.random(16)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(plain, plain)
	out = binary.LittleEndian.AppendUint16(out, uint16(len(iv)+len(plain)))
	out = append(out, iv...)
	out = append(out, plain...)
	trailer := (4 - (len(out)-2)%4) % 4
	out = append(out, bytes.Repeat([]byte{0xff}, trailer)...)
	out = append(out, byte(trailer), 0x07)
	return append(out, mac(s.k1, out[4:])[:macSize]...)
}

// unseal is session.py 1393 to 1433. A sequence number may come again, and the
// command is then carried out again; only an older one is dropped (1418).
func (s *session) unseal(p []byte) []byte {
	if s.k1 == nil || p[5]&authenticated == 0 || len(p) < 16+macSize {
		return nil
	}
	signed, code := p[4:len(p)-macSize], p[len(p)-macSize:]
	if !hmac.Equal(mac(s.k1, signed)[:macSize], code) || !bytes.Equal(p[6:10], s.managedID) {
		return nil
	}
	sequence := binary.LittleEndian.Uint32(p[10:])
	if sequence < s.lowest && s.lowest != 0xffffffff {
		return nil
	}
	s.lowest = sequence
	size := int(binary.LittleEndian.Uint16(p[14:]))
	if size > len(p)-16-macSize {
		return nil
	}
	payload := p[16 : 16+size]
	if p[5]&encrypted == 0 {
		return payload // pyghmi takes it
	}
	if size < 32 || size%16 != 0 {
		return nil
	}
	block, err := aes.NewCipher(s.k2[:16])
	if err != nil {
		return nil
	}
	plain := bytes.Clone(payload[16:])
	cipher.NewCBCDecrypter(block, payload[:16]).CryptBlocks(plain, plain)
	pad := int(plain[len(plain)-1]) + 1
	if pad > len(plain) {
		return nil
	}
	return plain[:len(plain)-pad]
}
