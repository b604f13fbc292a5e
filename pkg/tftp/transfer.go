package tftp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// transfer is one file on its way to one client.
type transfer struct {
	server *Server
	client netip.AddrPort
	name   string
	req    request
	raw    string // the request's bytes, to know a repeated one
	send   func([]byte)

	in    chan []byte // ACKs and ERRORs of the client
	stop  chan struct{}
	once  sync.Once
	begun atomic.Bool // the client acknowledged something

	acked, size int64
}

var (
	errSilent   = errors.New("no answer")
	errReplaced = errors.New("the client asked anew")
)

// clientError is an ERROR packet's text.
type clientError string

func (e clientError) Error() string { return string(e) }

// deliver hands over a packet; what is not taken at once is lost, as on the wire. The channel is never closed.
func (t *transfer) deliver(b []byte) {
	select {
	case t.in <- append([]byte{}, b...):
	default:
	}
}

func (t *transfer) end() { t.once.Do(func() { close(t.stop) }) }

// pump feeds a transfer from a socket of its own. RFC 1350 §4: packets from elsewhere are not for it.
func (t *transfer) pump(conn net.PacketConn) {
	buf := make([]byte, 2048)
	for {
		n, addr, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		udp, ok := addr.(*net.UDPAddr)
		if !ok || n < 4 {
			continue
		}
		if p := udp.AddrPort(); p.Addr().Unmap() == t.client.Addr() && p.Port() == t.client.Port() {
			t.deliver(buf[:n])
		}
	}
}

func (t *transfer) run(ctx context.Context, open File) {
	t.observe(Requested, "")
	err := t.file(ctx, open)
	var told clientError
	switch {
	case err == nil:
		t.observe(Done, "")
	case errors.As(err, &told):
		t.observe(Aborted, err.Error())
	case errors.Is(err, errReplaced):
		t.observe(Aborted, err.Error())
	case errors.Is(err, errSilent):
		t.send(errorPacket(errUndefined, "timeout"))
		t.observe(Stalled, err.Error())
	case ctx.Err() != nil:
		t.send(errorPacket(errUndefined, "server stops"))
	default:
		t.send(errorPacket(errUndefined, "file cannot be read"))
		t.observe(Refused, err.Error())
		t.server.cfg.Log.Warn("tftp file", "name", t.name, "error", err)
	}
}

func (t *transfer) file(ctx context.Context, open File) error {
	f, size, err := open()
	if err != nil {
		return err
	}
	defer f.Close()
	if t.size = size; size > MaxFile {
		return fmt.Errorf("%d bytes are more than the %d that go by TFTP", size, MaxFile)
	}
	if oack := t.req.oack(size); oack != nil {
		if err := t.exchange(ctx, oack, 0); err != nil {
			return err
		}
	}
	buf := make([]byte, 4+t.req.block)
	for block, left := uint16(1), size; ; block++ { // the number wraps to 0, as clients expect
		n := min(left, int64(t.req.block))
		if _, err := io.ReadFull(f, buf[4:4+n]); err != nil {
			return fmt.Errorf("at byte %d: %w", t.acked, err)
		}
		binary.BigEndian.PutUint16(buf, opDATA)
		binary.BigEndian.PutUint16(buf[2:], block)
		if err := t.exchange(ctx, buf[:4+n], block); err != nil {
			return err
		}
		t.acked += n
		if left -= n; n < int64(t.req.block) { // a full last block is followed by an empty one
			return nil
		}
	}
}

// exchange sends a packet until its block is acknowledged. A repeated ACK of an earlier block causes nothing: answering it would double every packet from
// there on (RFC 1123 §4.2.3.1, the sorcerer's apprentice).
func (t *transfer) exchange(ctx context.Context, packet []byte, block uint16) error {
	wait := t.server.cfg.Timeout
	if t.req.timeout > 0 {
		wait = t.req.timeout
	}
	for try := range retries {
		t.send(packet)
		timer := time.NewTimer(min(wait<<try, 10*time.Second))
		err := t.await(ctx, timer.C, block)
		timer.Stop()
		if !errors.Is(err, errSilent) {
			return err
		}
	}
	return fmt.Errorf("%w to block %d after %d tries", errSilent, block, retries)
}

func (t *transfer) await(ctx context.Context, timeout <-chan time.Time, block uint16) error {
	for {
		select {
		case b := <-t.in:
			switch {
			case binary.BigEndian.Uint16(b) == opERROR:
				return clientError(errorText(b))
			case len(b) >= 4 && binary.BigEndian.Uint16(b) == opACK && binary.BigEndian.Uint16(b[2:]) == block:
				t.begun.Store(true)
				return nil
			}
		case <-timeout:
			return errSilent
		case <-t.stop:
			return errReplaced
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (t *transfer) observe(k Kind, detail string) {
	t.server.cfg.Observe(Event{
		Kind: k, Time: t.server.cfg.Now(), Client: t.client, Name: t.name, Bytes: t.acked, Size: t.size, Block: t.req.block, Detail: detail,
	})
}
