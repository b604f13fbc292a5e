package simbmc

import (
	"context"
	"io"
	"sync"

	"github.com/bougou/go-ipmi/pkg/hal"
)

// SerialBody is a Body with a serial console. Serial attaches to it: what is read
// is what the machine prints from now on, what is written is typed. It stays
// attached when the machine is switched off and on.
type SerialBody interface {
	Serial() (io.ReadWriteCloser, error)
}

// consoleHAL hands the body's serial console to the library's SOL.
type consoleHAL struct{ body SerialBody }

func (h consoleHAL) Open(context.Context) (hal.ConsoleConn, error) {
	line, err := h.body.Serial()
	if err != nil {
		return nil, err
	}
	c := &consoleConn{line: line}
	c.room.L = &c.mu
	go c.fetch()
	return c, nil
}

// consoleBuffer holds a console's output until the next SOL packet; a machine
// that prints faster waits, as for a slow serial line.
const consoleBuffer = 16 << 10

// consoleConn reads ahead, because the library may not wait for characters.
type consoleConn struct {
	line io.ReadWriteCloser

	mu     sync.Mutex
	room   sync.Cond
	ahead  []byte
	closed bool
	err    error
}

func (c *consoleConn) fetch() {
	buf := make([]byte, 4<<10)
	for {
		n, err := c.line.Read(buf)
		c.mu.Lock()
		for len(c.ahead)+n > consoleBuffer && !c.closed {
			c.room.Wait()
		}
		c.ahead = append(c.ahead, buf[:n]...)
		c.err = err
		over := c.closed || err != nil
		c.mu.Unlock()
		if over {
			return
		}
	}
}

// ReadAvailable implements hal.ConsoleConn.
func (c *consoleConn) ReadAvailable(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.ahead) == 0 {
		return 0, c.err
	}
	n := copy(p, c.ahead)
	c.ahead = append(c.ahead[:0], c.ahead[n:]...)
	c.room.Signal()
	return n, nil
}

// Write implements hal.ConsoleConn. Typing into a machine that is off is not an
// error that would end the console: the characters are lost.
func (c *consoleConn) Write(p []byte) (int, error) {
	_, _ = c.line.Write(p)
	return len(p), nil
}

// SendBreak implements hal.ConsoleConn.
func (*consoleConn) SendBreak(context.Context) error { return hal.ErrNotSupported }

// Close implements hal.ConsoleConn.
func (c *consoleConn) Close() error {
	c.mu.Lock()
	c.closed = true
	c.room.Signal()
	c.mu.Unlock()
	return c.line.Close()
}
