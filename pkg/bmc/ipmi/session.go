package ipmi

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// session is an open RMCP+ session. It is used by one caller at a time.
type session struct {
	conn     net.Conn
	keys     keys
	guid     []byte // of the machine, as the BMC gave it
	console  uint32
	bmcID    uint32
	sequence uint32
	message  byte // sequence number of IPMI messages, 6 bits
	random   io.Reader
	pause    time.Duration // before a datagram is sent again; grows
	repeated bool          // a message of the key exchange was sent again
}

// tries of a datagram, the first included.
const tries = 4

// connect goes through the key exchange with the first suite that the BMC takes.
func connect(ctx context.Context, address string, creds bmc.Credentials, privilege byte, o Options) (*session, error) {
	dialer := net.Dialer{Timeout: 10 * time.Second}
	conn, err := dialer.DialContext(ctx, "udp", address)
	if err != nil {
		return nil, err
	}
	s := &session{conn: conn, random: o.Random, pause: o.Pause}
	for _, suite := range suites() {
		if err = s.exchangeKeys(ctx, suite, creds, privilege); s.repeated && outOfStep(err) {
			// A slow BMC that is asked twice may take the second time for a new
			// beginning, and what it said first for nothing.
			pause := s.pause
			s.pause = 4 * pause
			err = s.exchangeKeys(ctx, suite, creds, privilege)
			s.pause = pause
		}
		// Some BMCs do not refuse a suite, but say nothing at all.
		if err == nil {
			break
		}
		if another := refusesSuite(err) || errors.Is(err, errSilence) || errors.Is(err, errOtherSuite); !another || ctx.Err() != nil {
			break
		}
	}
	if err == nil {
		err = s.raise(ctx, privilege)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return s, nil
}

func (s *session) exchangeKeys(ctx context.Context, suite suite, creds bmc.Credentials, privilege byte) error {
	s.repeated = false
	random := make([]byte, 20)
	if _, err := io.ReadFull(s.random, random); err != nil {
		return err
	}
	h := newHandshake(suite, creds, privilege, random)
	if err := s.ask(ctx, h, payloadOpenRequest, h.openRequest(), payloadOpenResponse, h.openResponse); err != nil {
		return err
	}
	if err := s.ask(ctx, h, payloadRAKP1, h.rakp1(), payloadRAKP2, h.rakp2); err != nil {
		return err
	}
	return s.ask(ctx, h, payloadRAKP3, h.rakp3(), payloadRAKP4, func(b []byte) error {
		k, err := h.rakp4(b)
		s.keys, s.guid, s.console, s.bmcID = k, h.guid, h.console, h.bmcID
		return err
	})
}

// ask sends one message of the key exchange and takes the answer of its kind.
func (s *session) ask(ctx context.Context, h *handshake, kind byte, payload []byte, want byte, take func([]byte) error) error {
	sent := 0
	return s.exchange(ctx, tries-1, func() ([]byte, error) {
		sent++
		s.repeated = s.repeated || sent > 1
		return plain(kind, payload), nil
	}, func(b []byte) (bool, error) {
		p, err := parse(b, 0)
		if err != nil || p.kind != want || p.session != 0 || !h.mine(p.payload) {
			return false, nil // not what is waited for
		}
		return true, take(append([]byte(nil), p.payload...))
	})
}

// raise asks for the privilege level: a session begins at USER (chapter 22.18).
func (s *session) raise(ctx context.Context, privilege byte) error {
	granted, err := s.command(ctx, request{netFn: netFnApp, cmd: 0x3b, data: []byte{privilege}}, tries)
	if err == nil && len(granted) > 0 && granted[0]&0x0f < privilege {
		return rmcpStatus(0x0a)
	}
	var code completion
	if errors.As(err, &code) && (code == 0x80 || code == 0x81 || code == 0x82) {
		return rmcpStatus(0x0a)
	}
	return err
}

// command sends r, up to tries times, and returns the data of the answer.
func (s *session) command(ctx context.Context, r request, tries int) ([]byte, error) {
	s.message = (s.message + 1) & 0x3f
	message := r.pack(s.message) // the same at every try, so that the BMC sees the repetition
	var data []byte
	err := s.exchange(ctx, tries, func() ([]byte, error) {
		iv := make([]byte, 16)
		if _, err := io.ReadFull(s.random, iv); err != nil {
			return nil, err
		}
		s.sequence++
		return s.keys.seal(s.bmcID, s.sequence, message, iv)
	}, func(b []byte) (bool, error) {
		body, err := s.keys.open(b, s.console)
		if err != nil {
			return false, nil // forged, stray or broken: the answer may still come
		}
		code, d, err := r.response(body, s.message)
		if err != nil {
			return false, nil
		}
		if code != 0 {
			return true, completion(code)
		}
		data = d
		return true, nil
	})
	return data, err
}

// exchange sends a datagram and reads until one is taken, the pause is over or
// the context ends.
func (s *session) exchange(ctx context.Context, tries int, next func() ([]byte, error), take func([]byte) (bool, error)) error {
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buffer := make([]byte, maxPacket)
	for try := range tries {
		b, err := next()
		if err != nil {
			return err
		}
		deadline := time.Now().Add(s.pause * time.Duration(2+try) / 2)
		if err := s.conn.SetReadDeadline(deadline); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := s.conn.Write(b); err != nil {
			return err
		}
		for {
			n, err := s.conn.Read(buffer)
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				break
			}
			if err != nil {
				return err
			}
			if taken, err := take(buffer[:n]); taken {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return errSilence
}

// close ends the session (chapter 22.19). A BMC that does not answer loses it by
// itself after a minute.
func (s *session) close(ctx context.Context) error {
	_, err := s.command(ctx, request{netFn: netFnApp, cmd: 0x3c, data: le(s.bmcID)}, 1)
	return errors.Join(err, s.conn.Close())
}
