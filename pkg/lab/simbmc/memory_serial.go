package simbmc

import (
	"io"
	"sync"
)

var _ SerialBody = (*Memory)(nil)

// serialBuffer is what one who is attached may leave unread; what was printed
// first is lost then, as on a line that nobody reads.
const serialBuffer = 32 << 10

// serialLine is a pretended machine's serial console: everybody who is attached
// reads what is printed, and what is typed comes back as an echo.
type serialLine struct {
	mu       sync.Mutex
	attached map[*serialEnd]bool
	typed    func([]byte)
}

// Print has the machine print on its serial console.
func (m *Memory) Print(text string) {
	m.serial.mu.Lock()
	defer m.serial.mu.Unlock()
	for e := range m.serial.attached {
		e.put(text)
	}
}

// OnTyped has what is typed at the console handed to f. Without it, and while the
// machine is off, it is lost.
func (m *Memory) OnTyped(f func([]byte)) {
	m.serial.mu.Lock()
	defer m.serial.mu.Unlock()
	m.serial.typed = f
}

// Serial implements SerialBody.
func (m *Memory) Serial() (io.ReadWriteCloser, error) {
	e := &serialEnd{m: m}
	e.more.L = &e.mu
	m.serial.mu.Lock()
	defer m.serial.mu.Unlock()
	if m.serial.attached == nil {
		m.serial.attached = map[*serialEnd]bool{}
	}
	m.serial.attached[e] = true
	return e, nil
}

// serialEnd is one who is attached.
type serialEnd struct {
	m    *Memory
	mu   sync.Mutex
	more sync.Cond
	text []byte
	over bool
}

func (e *serialEnd) put(text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.text = append(e.text, text...)
	if n := len(e.text) - serialBuffer; n > 0 {
		e.text = append(e.text[:0], e.text[n:]...)
	}
	e.more.Signal()
}

func (e *serialEnd) Read(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.text) == 0 && !e.over {
		e.more.Wait()
	}
	if len(e.text) == 0 {
		return 0, io.EOF
	}
	n := copy(b, e.text)
	e.text = append(e.text[:0], e.text[n:]...)
	return n, nil
}

func (e *serialEnd) Write(b []byte) (int, error) {
	e.m.mu.Lock()
	on := e.m.on
	e.m.mu.Unlock()
	e.m.serial.mu.Lock()
	typed := e.m.serial.typed
	e.m.serial.mu.Unlock()
	if on && typed != nil {
		typed(b)
	}
	return len(b), nil
}

func (e *serialEnd) Close() error {
	e.m.serial.mu.Lock()
	delete(e.m.serial.attached, e)
	e.m.serial.mu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
	e.more.Broadcast()
	return nil
}
