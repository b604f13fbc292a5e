package ipmi

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// Payload commands (chapter 24).
const (
	cmdActivate   = 0x48
	cmdDeactivate = 0x49
	cmdActivation = 0x4a
	solInstance   = 1

	// Encrypted and authenticated; alerts that share the serial line wait.
	activationOptions = 0x80 | 0x40 | 0x04
)

const opConsole = "use the console"

// console is an activated SOL payload with the session that holds it.
type console struct {
	s        *session
	quiet    time.Duration // without a word from the BMC before it is asked
	patience time.Duration // for its answer
	limit    int           // characters in a packet

	writing chan struct{} // held by whoever writes
	stopped chan struct{} // closed when the loop has ended

	mu      sync.Mutex
	changed sync.Cond // of what is below
	link    solLink
	dropped bool // characters that the machine would not take were given up
	window  map[byte]*replays
	asked   request // what the BMC is asked when it is quiet
	heard   time.Time
	pinged  time.Time
	lost    bool  // another has it: it is not ours to give back
	left    bool  // all is given back
	err     error // why it ended; nil: it has not
}

// OpenConsole implements bmc.Console by SOL (chapter 15). It has a session of its
// own, so that other commands do not wait for it; closing the Machine does not end
// it.
func (m *Machine) OpenConsole(ctx context.Context) (io.ReadWriteCloser, error) {
	const op = "open the console"
	creds, err := m.credentials(ctx, op)
	if err != nil {
		return nil, err
	}
	s, err := connect(ctx, m.address, creds, m.privilege, m.o)
	if err = classify(ctx, "log in", err); err != nil {
		if bmc.ClassOf(err) == bmc.Auth {
			m.denied.Store(&err)
		}
		return nil, err
	}
	limit, err := activate(ctx, s)
	if err != nil {
		quit, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.o.Pause)
		defer cancel()
		_ = s.close(quit)
		return nil, activationError(ctx, op, err)
	}
	c := &console{
		s: s, limit: limit, quiet: 15 * m.o.Pause, patience: 8 * m.o.Pause, heard: time.Now(),
		link:    solLink{retry: m.o.Pause / 4, pause: m.o.Pause},
		writing: make(chan struct{}, 1), stopped: make(chan struct{}), window: map[byte]*replays{},
		asked: request{netFn: netFnApp, cmd: cmdActivation, data: []byte{payloadSOL}},
	}
	c.changed.L = &c.mu
	go c.loop()
	stop := context.AfterFunc(ctx, func() { c.end(context.Cause(ctx)) })
	go func() {
		<-c.stopped
		stop()
		c.leave()
	}()
	return c, nil
}

// credentials as they are now.
func (m *Machine) credentials(ctx context.Context, op string) (bmc.Credentials, error) {
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-ctx.Done():
		return bmc.Credentials{}, &bmc.Error{Class: bmc.Busy, Code: bmc.CodeSlow, Op: op, Detail: "the BMC was busy with earlier requests", Err: ctx.Err()}
	}
	if m.closed {
		return bmc.Credentials{}, &bmc.Error{Class: bmc.Unreachable, Op: op, Detail: "the connection was closed"}
	}
	return m.creds, m.Refused()
}

// activate takes the console, from another session if need be: there is but one
// and its holder may be long gone. It returns how many characters fit into a
// packet.
func activate(ctx context.Context, s *session) (limit int, err error) {
	var data []byte
	for range 3 {
		data, err = s.command(ctx, request{netFn: netFnApp, cmd: cmdActivate, data: []byte{payloadSOL, solInstance, activationOptions, 0, 0, 0}}, tries)
		if !has(err, 0x80) {
			break
		}
		_ = deactivate(ctx, s, tries)
		select {
		case <-time.After(s.pause / 2): // some need a moment
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	if err != nil {
		return 0, err
	}
	const fallback, most = 64, 200
	if len(data) < 6 {
		return fallback, nil
	}
	// Some count the header and some do not; some mix the bytes up.
	if size := int(binary.LittleEndian.Uint16(data[4:])); size > solHeader && size <= 1024 {
		return min(size-solHeader, most), nil
	}
	return fallback, nil
}

func deactivate(ctx context.Context, s *session, tries int) error {
	_, err := s.command(ctx, request{netFn: netFnApp, cmd: cmdDeactivate, data: []byte{payloadSOL, solInstance, 0, 0, 0, 0}}, tries)
	return err
}

// activationError says what Activate Payload's own codes mean (table 24-2).
func activationError(ctx context.Context, op string, err error) error {
	e := &bmc.Error{Class: bmc.Busy, Op: op, Err: err}
	switch {
	case has(err, 0x80):
		e.Detail = "somebody else holds the console and does not let go of it"
	case has(err, 0x82):
		e.Detail = "the BMC has no console session left"
	case has(err, 0x81):
		e.Class, e.Detail = bmc.Unsupported, "Serial over LAN is switched off in the BMC, or for this account"
	case has(err, 0x83):
		e.Class, e.Detail = bmc.Unsupported, "the BMC does not encrypt its console"
	default:
		return classify(ctx, op, err)
	}
	return e
}

// loop reads what the BMC sends, and sends again what it does not answer.
func (c *console) loop() {
	defer close(c.stopped)
	buffer := make([]byte, maxPacket)
	for {
		c.mu.Lock()
		if c.err != nil {
			c.mu.Unlock()
			return
		}
		c.tick(time.Now())
		_ = c.s.conn.SetReadDeadline(c.wake())
		over := c.err != nil
		c.mu.Unlock()
		if over {
			return
		}
		n, err := c.s.conn.Read(buffer)
		var timeout net.Error
		switch {
		case err == nil:
			c.received(buffer[:n])
		case errors.As(err, &timeout) && timeout.Timeout():
		default:
			c.end(err)
		}
	}
}

// wake is when the loop has something to do though nothing comes.
func (c *console) wake() time.Time {
	at := c.heard.Add(c.quiet)
	if !c.pinged.IsZero() {
		at = c.pinged.Add(c.patience / 4)
	}
	if due, ok := c.link.due(); ok && due.Before(at) {
		at = due
	}
	return at
}

// tick does what the time asks for. The caller holds mu.
func (c *console) tick(now time.Time) {
	p, send, spent := c.link.tick(now)
	if spent {
		c.dropped = true
		c.changed.Broadcast()
	}
	if send {
		c.transmit(payloadSOL, p.pack())
	}
	switch {
	case now.Sub(c.heard) >= c.quiet+c.patience:
		c.fail(errSilence)
	case now.Sub(c.heard) >= c.quiet && now.Sub(c.pinged) >= c.patience/4:
		c.pinged = now
		c.s.message = (c.s.message + 1) & 0x3f
		c.transmit(payloadIPMI, c.asked.pack(c.s.message))
	}
}

// transmit sends a payload; one that does not arrive is sent again by those who
// wait for its answer. The caller holds mu.
func (c *console) transmit(kind byte, payload []byte) {
	iv := make([]byte, 16)
	if _, err := io.ReadFull(c.s.random, iv); err != nil {
		c.fail(err)
		return
	}
	c.s.sequence++
	b, err := c.s.keys.sealKind(kind, c.s.bmcID, c.s.sequence, payload, iv)
	if err == nil {
		_, err = c.s.conn.Write(b)
	}
	if err != nil {
		c.fail(err)
	}
}

// received takes a datagram. What is not signed in this session, or was seen
// before, is as good as not received.
func (c *console) received(b []byte) {
	p, err := c.s.keys.openAny(b, c.s.console)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.window[p.kind]
	if w == nil {
		w = &replays{}
		c.window[p.kind] = w
	}
	if !w.fresh(p.number) {
		return
	}
	now := time.Now()
	c.heard, c.pinged = now, time.Time{}
	switch p.kind {
	case payloadSOL:
		in, err := parseSOL(p.payload)
		if err != nil {
			return
		}
		for _, answer := range c.link.receive(now, in) {
			c.transmit(payloadSOL, answer.pack())
		}
		if c.link.ended {
			c.lost = true
			c.fail(&bmc.Error{Class: bmc.Busy, Op: opConsole, Detail: "the console was taken by another, or the BMC ended it"})
		}
		c.changed.Broadcast()
	case payloadIPMI:
		// Capacity, then a bit for each instance that is active (table 24-6).
		code, data, err := c.asked.response(p.payload, c.s.message)
		if err == nil && code == 0 && len(data) >= 2 && data[1]&solInstance == 0 {
			c.lost = true
			c.fail(&bmc.Error{Class: bmc.Busy, Op: opConsole, Detail: "the console is no longer active"})
		}
	}
}

// fail ends the console for a reason. The caller holds mu.
func (c *console) fail(err error) {
	if c.err == nil {
		c.err = err
		// Wakes the loop, which looks at err before it sets another deadline.
		_ = c.s.conn.SetReadDeadline(time.Unix(1, 0))
		c.changed.Broadcast()
	}
}

func (c *console) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail(err)
}

// why is the error for whoever reads or writes. The caller holds mu.
func (c *console) why() error {
	switch {
	case errors.Is(c.err, io.EOF):
		return io.EOF
	case errors.Is(c.err, context.Canceled), errors.Is(c.err, context.DeadlineExceeded):
		return &bmc.Error{Class: bmc.Transient, Op: opConsole, Err: c.err} // says nothing of the BMC
	}
	return classify(context.Background(), opConsole, c.err)
}

// leave gives the console and the session back, with a time of its own: what
// ended the console does not keep it from being put down. The loop has ended.
func (c *console) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), 4*c.s.pause)
	defer cancel()
	attempts := 2
	if errors.Is(c.err, errSilence) {
		attempts = 1
	}
	if !c.lost {
		_ = deactivate(ctx, c.s, attempts)
	}
	_ = c.s.close(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = true
	c.changed.Broadcast()
}

// Read implements io.Reader.
func (c *console) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.link.buffer) == 0 {
		if c.err != nil {
			return 0, c.why()
		}
		c.changed.Wait()
	}
	n, answer, resume := c.link.read(b)
	if resume && c.err == nil {
		c.transmit(payloadSOL, answer.pack())
	}
	return n, nil
}

// Write implements io.Writer: it returns when the machine has taken everything.
func (c *console) Write(b []byte) (written int, err error) {
	select {
	case c.writing <- struct{}{}:
		defer func() { <-c.writing }()
	case <-c.stopped:
		return 0, io.ErrClosedPipe
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for written < len(b) {
		if c.err != nil {
			return written, c.why()
		}
		piece := append([]byte(nil), b[written:min(len(b), written+c.limit)]...)
		c.dropped = false
		c.transmit(payloadSOL, c.link.send(time.Now(), piece).pack())
		_ = c.s.conn.SetReadDeadline(time.Now()) // the loop has an earlier time to wake now
		for c.link.out != nil && c.err == nil {
			c.changed.Wait()
		}
		switch {
		case c.err != nil:
			return written, c.why()
		case c.dropped:
			return written, &bmc.Error{
				Class: bmc.Busy, Op: opConsole,
				Detail: fmt.Sprintf("the machine's serial line did not take %d characters", len(b)-written),
			}
		}
		written += len(piece)
	}
	return written, nil
}

// Close implements io.Closer. It returns when the BMC has been told.
func (c *console) Close() error {
	c.end(io.EOF)
	<-c.stopped
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.left {
		c.changed.Wait()
	}
	return nil
}
