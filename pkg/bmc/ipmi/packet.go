package ipmi

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // suite 3 is SHA-1, and all that old BMCs have
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
)

// suite is a cipher suite (chapter 22.15.2).
type suite struct {
	id              int
	auth, integrity byte
	hash            func() hash.Hash
	code            int // bytes of an integrity code, and of RAKP message 4's check value
}

// suites in the order they are offered. Both encrypt with AES-CBC-128.
func suites() []suite {
	return []suite{
		{id: 17, auth: 3, integrity: 4, hash: sha256.New, code: 16},
		{id: 3, auth: 1, integrity: 1, hash: sha1.New, code: 12},
	}
}

func (s suite) mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(s.hash, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// Payload types (chapter 13.27.3).
const (
	payloadIPMI         = 0x00
	payloadSOL          = 0x01
	payloadOpenRequest  = 0x10
	payloadOpenResponse = 0x11
	payloadRAKP1        = 0x12
	payloadRAKP2        = 0x13
	payloadRAKP3        = 0x14
	payloadRAKP4        = 0x15

	flagEncrypted     = 0x80
	flagAuthenticated = 0x40
)

const (
	rmcpSize   = 4
	headerSize = 12 // of the session, behind the RMCP header
	maxPacket  = 1024
)

var (
	errPacket = errors.New("malformed packet")
	errCode   = errors.New("integrity code does not match")
)

// packet is an RMCP+ datagram, taken apart (chapter 13.6).
type packet struct {
	kind    byte // payload type with its flags
	session uint32
	number  uint32 // of the packet in its session
	payload []byte
	signed  []byte // what the integrity code covers
	code    []byte
}

func appendHeader(b []byte, kind byte, session, sequence uint32, length int) []byte {
	b = append(b, 0x06, 0x00, 0xff, 0x07) // RMCP, class IPMI, no acknowledgement
	b = append(b, 0x06, kind)
	b = binary.LittleEndian.AppendUint32(b, session)
	b = binary.LittleEndian.AppendUint32(b, sequence)
	return binary.LittleEndian.AppendUint16(b, uint16(length))
}

// plain packs what goes before a session.
func plain(kind byte, payload []byte) []byte {
	return append(appendHeader(nil, kind, 0, 0, len(payload)), payload...)
}

// parse takes a datagram apart; codeSize is the length of integrity codes.
func parse(b []byte, codeSize int) (packet, error) {
	if len(b) < rmcpSize+headerSize || b[0] != 0x06 || b[3]&0x1f != 0x07 || b[4] != 0x06 {
		return packet{}, fmt.Errorf("%w: no RMCP+", errPacket)
	}
	p := packet{kind: b[5], session: binary.LittleEndian.Uint32(b[6:]), number: binary.LittleEndian.Uint32(b[10:])}
	length := int(binary.LittleEndian.Uint16(b[14:]))
	end := rmcpSize + headerSize + length
	if end > len(b) {
		return packet{}, fmt.Errorf("%w: %d bytes of payload announced", errPacket, length)
	}
	p.payload = b[rmcpSize+headerSize : end]
	if p.kind&flagAuthenticated == 0 {
		return p, nil
	}
	cut := len(b) - codeSize
	if cut < end+2 {
		return packet{}, fmt.Errorf("%w: no trailer", errPacket)
	}
	p.signed, p.code = b[rmcpSize:cut], b[cut:]
	if pad := int(b[cut-2]); end+pad+2 != cut {
		return packet{}, fmt.Errorf("%w: trailer of %d bytes", errPacket, cut-end)
	}
	return p, nil
}

// keys protect a session.
type keys struct {
	suite  suite
	k1, k2 []byte
}

// seal packs an encrypted and signed IPMI message.
func (k keys) seal(session, sequence uint32, payload, iv []byte) ([]byte, error) {
	return k.sealKind(payloadIPMI, session, sequence, payload, iv)
}

// sealKind packs an encrypted and signed payload.
func (k keys) sealKind(kind byte, session, sequence uint32, payload, iv []byte) ([]byte, error) {
	body, err := encrypt(k.k2, iv, payload)
	if err != nil {
		return nil, err
	}
	b := appendHeader(nil, kind|flagEncrypted|flagAuthenticated, session, sequence, len(body))
	b = append(b, body...)
	pad := byte(0)
	for (len(b)-rmcpSize+2)%4 != 0 {
		b = append(b, 0xff)
		pad++
	}
	b = append(b, pad, 0x07)
	return append(b, k.suite.mac(k.k1, b[rmcpSize:])[:k.suite.code]...), nil
}

// open checks and decrypts what seal packs. Anything that is not signed and
// encrypted is refused, whatever it says of itself.
func (k keys) open(b []byte, session uint32) ([]byte, error) {
	p, err := k.openAny(b, session)
	if err != nil {
		return nil, err
	}
	if p.kind != payloadIPMI {
		return nil, fmt.Errorf("%w: payload type %#x", errPacket, p.kind)
	}
	return p.payload, nil
}

// openAny does so for any payload type; the packet it returns has its payload
// decrypted and its kind without flags.
func (k keys) openAny(b []byte, session uint32) (packet, error) {
	const flags = flagEncrypted | flagAuthenticated
	p, err := parse(b, k.suite.code)
	if err != nil {
		return packet{}, err
	}
	if p.kind&flags != flags || p.session != session {
		return packet{}, fmt.Errorf("%w: payload type %#x of session %#x", errPacket, p.kind, p.session)
	}
	if !hmac.Equal(k.suite.mac(k.k1, p.signed)[:k.suite.code], p.code) {
		return packet{}, errCode
	}
	p.kind &^= flags
	p.payload, err = decrypt(k.k2, p.payload)
	return p, err
}

// encrypt is chapter 13.29: the initialization vector, then payload, 1, 2, 3 …
// and the number of these pad bytes.
func encrypt(k2, iv, payload []byte) ([]byte, error) {
	block, err := aes.NewCipher(k2[:16])
	if err != nil {
		return nil, err
	}
	text := append([]byte(nil), payload...)
	pad := byte(0)
	for (len(text)+1)%aes.BlockSize != 0 {
		pad++
		text = append(text, pad)
	}
	text = append(text, pad)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(text, text)
	return append(append([]byte(nil), iv...), text...), nil
}

func decrypt(k2, b []byte) ([]byte, error) {
	if len(b) < 2*aes.BlockSize || len(b)%aes.BlockSize != 0 {
		return nil, fmt.Errorf("%w: %d encrypted bytes", errPacket, len(b))
	}
	block, err := aes.NewCipher(k2[:16])
	if err != nil {
		return nil, err
	}
	text := make([]byte, len(b)-aes.BlockSize)
	cipher.NewCBCDecrypter(block, b[:aes.BlockSize]).CryptBlocks(text, b[aes.BlockSize:])
	pad := int(text[len(text)-1])
	if pad >= aes.BlockSize {
		return nil, fmt.Errorf("%w: %d bytes of padding", errPacket, pad)
	}
	return text[:len(text)-1-pad], nil
}

const (
	addressBMC     = 0x20
	addressConsole = 0x81
)

// request is an IPMI command (chapter 13.8).
type request struct {
	netFn, cmd byte
	lun        byte // logical unit, 0 to 3; some sensors are behind another than 0
	data       []byte
}

func (r request) pack(sequence byte) []byte {
	b := []byte{addressBMC, r.netFn<<2 | r.lun}
	b = append(b, checksum(b))
	b = append(b, addressConsole, sequence<<2, r.cmd)
	b = append(b, r.data...)
	return append(b, checksum(b[3:]))
}

// response returns the completion code and the data of the answer to r.
func (r request) response(b []byte, sequence byte) (byte, []byte, error) {
	if len(b) < 8 || checksum(b[:2]) != b[2] || checksum(b[3:len(b)-1]) != b[len(b)-1] {
		return 0, nil, fmt.Errorf("%w: message of %d bytes", errPacket, len(b))
	}
	if b[1]>>2 != r.netFn+1 || b[4]>>2 != sequence || b[5] != r.cmd {
		return 0, nil, fmt.Errorf("%w: answer to another command", errPacket)
	}
	return b[6], b[7 : len(b)-1], nil
}

// checksum makes the sum of all bytes zero.
func checksum(b []byte) byte {
	var sum byte
	for _, c := range b {
		sum += c
	}
	return -sum
}
