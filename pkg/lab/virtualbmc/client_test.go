package virtualbmc

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"
)

// client speaks IPMI byte by byte, so that what a server answers can be compared
// with what another does.
type client struct {
	t    *testing.T
	conn *net.UDPConn

	console, managed []byte
	k1, k2           []byte
	guid             []byte
	sequence         uint32
	message          byte
}

func newClient(t *testing.T, addr *net.UDPAddr) *client {
	t.Helper()
	conn, err := net.DialUDP("udp4", nil, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{t: t, conn: conn, console: []byte{1, 2, 3, 4}}
}

// ask sends p and returns the answer, nil for silence: a question that came after
// it, from somebody else, was answered and p was not. Servers take one packet after
// another.
func (c *client) ask(p []byte) []byte {
	c.t.Helper()
	if _, err := c.conn.Write(p); err != nil {
		c.t.Fatal(err)
	}
	if answer := receive(c.conn, 300*time.Millisecond); answer != nil {
		return answer
	}
	other, err := net.Dial("udp4", c.conn.RemoteAddr().String())
	if err != nil {
		c.t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.Write(question(0x8e)); err != nil {
		c.t.Fatal(err)
	}
	if receive(other, 20*time.Second) == nil {
		c.t.Fatal("the server is gone")
	}
	return receive(c.conn, 20*time.Millisecond)
}

func receive(conn net.Conn, within time.Duration) []byte {
	_ = conn.SetReadDeadline(time.Now().Add(within))
	buf := make([]byte, maxPacket)
	n, err := conn.Read(buf)
	if err != nil {
		return nil
	}
	return buf[:n]
}

// question is Get Channel Authentication Capabilities, which needs no session.
func question(channel byte) []byte {
	m := []byte{0x20, netFnApp << 2, 0, 0x81, 3 << 2, 0x38, channel, 0x04, 0}
	m[2], m[8] = checksum(m[:2]), checksum(m[3:8])
	return append([]byte{0x06, 0, 0xff, 0x07, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}, m...)
}

func bare(kind byte, payload []byte) []byte {
	p := []byte{0x06, 0, 0xff, 0x07, 0x06, kind, 0, 0, 0, 0, 0, 0, 0, 0}
	p = binary.LittleEndian.AppendUint16(p, uint16(len(payload)))
	return append(p, payload...)
}

// openRequest asks for a cipher suite by its algorithms.
func (c *client) openRequest(auth, integrity byte) []byte {
	b := append([]byte{7, 0, 0, 0}, c.console...)
	for i, a := range []byte{auth, integrity, 1} {
		b = append(b, byte(i), 0, 0, 8, a, 0, 0, 0)
	}
	return bare(payloadOpenRequest, b)
}

// login goes through the key exchange and says where it ended.
func (c *client) login(user, password string) string {
	c.t.Helper()
	open := c.ask(c.openRequest(3, 4)) // suite 17: SHA-256
	if open == nil {
		return "silence to the open request"
	}
	if len(open) != 16+36 {
		return fmt.Sprintf("open response of %d bytes", len(open))
	}
	c.managed = open[24:28]
	rm := make([]byte, 16)
	_, _ = rand.Read(rm)
	const role = 0x14
	r1 := append([]byte{7, 0, 0, 0}, c.managed...)
	r1 = append(r1, rm...)
	r1 = append(r1, role, 0, 0, byte(len(user)))
	r2 := c.ask(bare(payloadRAKP1, append(r1, user...)))
	if r2 == nil {
		return "silence to RAKP 1"
	}
	r2 = r2[16:]
	rc, guid, code := r2[8:24], r2[24:40], r2[40:]
	c.guid = guid
	name := append([]byte{role, byte(len(user))}, user...)
	note := ""
	if !hmac.Equal(code, mac([]byte(password), c.console, c.managed, rm, rc, guid, name)) {
		note = "another password, "
	}
	r3 := append([]byte{7, 0, 0, 0}, c.managed...)
	r3 = append(r3, mac([]byte(password), rc, c.console, name)...)
	r4 := c.ask(bare(payloadRAKP3, r3))
	if r4 == nil {
		return note + "silence to RAKP 3"
	}
	sik := mac([]byte(password), rm, rc, name)
	if !bytes.Equal(r4[16+8:], mac(sik, rm, c.managed, guid)[:macSize]) {
		return note + "wrong RAKP 4"
	}
	c.k1, c.k2 = mac(sik, bytes.Repeat([]byte{1}, 20)), mac(sik, bytes.Repeat([]byte{2}, 20))
	return fmt.Sprintf("open, algorithms %d %d %d, tag %d", open[16+16], open[16+24], open[16+32], r4[16])
}

// command returns completion code and data in hex, or "silence".
func (c *client) command(netFn, command byte, data ...byte) string {
	c.t.Helper()
	c.sequence++
	c.message = (c.message + 1) & 0x3f
	head := []byte{0x20, netFn << 2}
	rest := append([]byte{0x81, c.message << 2, command}, data...)
	m := slices.Concat(head, []byte{checksum(head)}, rest, []byte{checksum(rest)})
	pad := (16 - (len(m)+1)%16) % 16
	for i := range pad {
		m = append(m, byte(i+1))
	}
	m = append(m, byte(pad))
	iv := make([]byte, 16)
	_, _ = rand.Read(iv)
	block, err := aes.NewCipher(c.k2[:16])
	if err != nil {
		c.t.Fatal(err)
	}
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(m, m)
	p := []byte{0x06, 0, 0xff, 0x07, 0x06, encrypted | authenticated}
	p = append(p, c.managed...)
	p = binary.LittleEndian.AppendUint32(p, c.sequence)
	p = binary.LittleEndian.AppendUint16(p, uint16(len(iv)+len(m)))
	p = append(append(p, iv...), m...)
	trailer := (4 - (len(p)-2)%4) % 4
	p = append(p, bytes.Repeat([]byte{0xff}, trailer)...)
	p = append(p, byte(trailer), 0x07)
	answer := c.ask(append(p, mac(c.k1, p[4:])[:macSize]...))
	if answer == nil {
		return "silence"
	}
	return c.read(answer, netFn, command)
}

func (c *client) read(p []byte, netFn, command byte) string {
	c.t.Helper()
	if len(p) < 16+32+macSize || !bytes.Equal(p[6:10], c.console) {
		return fmt.Sprintf("another session's packet % x", p)
	}
	if !bytes.Equal(mac(c.k1, p[4:len(p)-macSize])[:macSize], p[len(p)-macSize:]) {
		return "a packet with a wrong code"
	}
	size := int(binary.LittleEndian.Uint16(p[14:]))
	plain := bytes.Clone(p[32 : 16+size])
	block, err := aes.NewCipher(c.k2[:16])
	if err != nil {
		c.t.Fatal(err)
	}
	cipher.NewCBCDecrypter(block, p[16:32]).CryptBlocks(plain, plain)
	m := plain[:len(plain)-1-int(plain[len(plain)-1])]
	if m[0] != 0x81 || m[1] != (netFn+1)<<2 || m[2] != checksum(m[:2]) || m[3] != 0x20 || m[4] != c.message<<2 || m[5] != command || m[len(m)-1] != checksum(m[3:len(m)-1]) {
		return fmt.Sprintf("a message % x", m)
	}
	return fmt.Sprintf("%02x % x", m[6], m[7:len(m)-1])
}
