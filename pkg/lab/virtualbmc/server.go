package virtualbmc

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"

	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// maxPacket is more than any packet of IPMI over LAN; pyghmi reads 3000 bytes
// (session.py 198).
const maxPacket = 3000

// maxSessions bounds what clients make the server remember: pyghmi forgets no
// session (serversession.py 187, 209), which a test server need not copy.
const maxSessions = 256

// Options of a Server. The defaults of the account are VirtualBMC's own.
type Options struct {
	Username, Password string    // empty: admin, password
	Random             io.Reader // nil: crypto/rand
}

// Server is one virtual BMC.
type Server struct {
	body   simbmc.Body
	o      Options
	guid   [16]byte
	domain domain

	mu       sync.Mutex // one packet at a time, as pyghmi's loop
	sessions map[string]*session
	order    []string // of sessions, the oldest first
}

// New returns the virtual BMC of body. Its GUID is made up anew, as pyghmi does
// for VirtualBMC, which gives it none (serversession.py 261): the same machine
// shows another one after each start of vbmcd.
func New(body simbmc.Body, o Options) (*Server, error) {
	if o.Username == "" {
		o.Username = "admin"
	}
	if o.Password == "" {
		o.Password = "password"
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	s := &Server{body: body, o: o, sessions: map[string]*session{}}
	if _, err := io.ReadFull(o.Random, s.guid[:]); err != nil {
		return nil, fmt.Errorf("make a guid: %w", err)
	}
	s.guid[6] = s.guid[6]&0x0f | 0x40 // uuid.uuid4(), in the order of RFC 4122
	s.guid[8] = s.guid[8]&0x3f | 0x80
	s.domain = domain{body: body}
	return s, nil
}

// Serve answers on conn until ctx ends or conn is closed; it closes conn.
func (s *Server) Serve(ctx context.Context, conn net.PacketConn) error {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	buf := make([]byte, maxPacket)
	for {
		n, from, err := conn.ReadFrom(buf)
		switch {
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			return fmt.Errorf("serve virtualbmc: %w", err)
		}
		if answer := s.handle(ctx, from.String(), bytes.Clone(buf[:n])); answer != nil {
			_, _ = conn.WriteTo(answer, from)
		}
	}
}

// handle answers one packet; nil is silence.
func (s *Server) handle(ctx context.Context, from string, p []byte) []byte {
	// session.py 1299 and serversession.py 331: RMCP of class IPMI alone. A ping
	// of ASF (class 6) is met with silence.
	if len(p) < 5 || p[0] != 0x06 || p[2] != 0xff || p[3] != 0x07 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.sessions[from]
	switch {
	case known == nil:
		return s.sessionless(from, p)
	case p[4] == 0x06:
		return known.packet(ctx, p)
	case len(p) >= 13 && bytes.Equal(p[5:13], make([]byte, 8)):
		// session.py 1321: a packet of IPMI 1.5 outside of any session means that
		// the port has a new owner.
		s.forget(from)
		return s.sessionless(from, p)
	}
	return nil // session.py 1336: of IPMI 1.5 nothing else is for this session
}

// sessionless is serversession.py 319.
func (s *Server) sessionless(from string, p []byte) []byte {
	if len(p) < 22 {
		return nil
	}
	if p[4] == 0x06 {
		switch p[5] {
		case payloadOpenRequest:
			return s.open(from, p[16:])
		case payloadIPMI:
			p = p[2:] // its header is two bytes longer
		default:
			return nil
		}
	}
	if len(p) < 22 || p[15]>>2 != netFnApp {
		return nil
	}
	switch p[19] {
	case 0x38:
		return authCapabilities(p)
	case 0x54:
		return cipherSuites(p)
	}
	return nil
}

func (s *Server) open(from string, request []byte) []byte {
	if len(request) < 8 {
		return nil
	}
	if len(s.order) == maxSessions {
		s.forget(s.order[0])
	}
	n := &session{server: s}
	s.sessions[from] = n
	s.order = append(s.order, from)
	return n.openResponse(request)
}

func (s *Server) forget(from string) {
	delete(s.sessions, from)
	for i, o := range s.order {
		if o == from {
			s.order = append(s.order[:i], s.order[i+1:]...)
			return
		}
	}
}

// authCapabilities answers Get Channel Authentication Capabilities with a
// constant (serversession.py 264 to 271, 280 to 291, 349 to 363): channel 1, IPMI
// 2.0 alone, user-level and per-message authentication, no anonymous login. Only
// a question for IPMI 2.0 about the channel it comes from gets it.
func authCapabilities(p []byte) []byte {
	if p[20]&0x80 == 0 || p[20]&0x0f != 0x0e {
		return nil
	}
	out := []byte{0x06, 0, 0xff, 0x07, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16}
	out = append(out, message(p, 0x38, []byte{0x00, 0x01, 0x80, 0x04, 0x02, 0, 0, 0, 0})...)
	return out
}

// cipherSuites answers Get Channel Cipher Suites (serversession.py 298 to 317):
// standard suite 3, HMAC-SHA1-96, AES-CBC-128.
func cipherSuites(p []byte) []byte {
	out := []byte{0x06, 0, 0xff, 0x07, 0x06, 0, 0, 0, 0, 0, 0, 0, 0, 0, 14, 0}
	return append(out, message(p, 0x54, []byte{0x00, 0x01, 0xc0, 0x03, 0x01, 0x41, 0x81})...)
}

// message answers the request in p, a packet of IPMI 1.5 or cut to its layout.
func message(p []byte, command byte, data []byte) []byte {
	bmc, client, lunSeq := p[14], p[17], p[18]
	head := []byte{client, lunSeq&0x03 | (netFnApp+1)<<2}
	body := append([]byte{bmc, p[15]&0x03 | lunSeq&0xfc, command}, data...)
	return slices.Concat(head, []byte{checksum(head)}, body, []byte{checksum(body)})
}

// checksum is IPMI 2.0 §13.8.
func checksum(b []byte) byte {
	var sum byte
	for _, c := range b {
		sum += c
	}
	return -sum
}
