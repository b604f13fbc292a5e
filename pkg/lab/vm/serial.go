package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// typeTimeout bounds one write to a console.
const typeTimeout = 5 * time.Second

// serialLog keeps what machines write to the console, across restarts, in a
// file of bounded size and one older one.
type serialLog struct {
	path string
	max  int64

	mu      sync.Mutex
	f       *os.File
	size    int64
	turn    int           // how often the file was rotated
	changed chan struct{} // closed and replaced at every write
	guest   net.Conn      // the console of the QEMU that runs
}

func openSerial(path string, limit int64) (*serialLog, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("serial log: %w", err)
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("serial log: %w", err), f.Close())
	}
	return &serialLog{path: path, max: limit, f: f, size: fi.Size(), changed: make(chan struct{})}, nil
}

// record reads a console until it is closed.
func (l *serialLog) record(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	l.mu.Lock()
	l.guest = conn
	l.mu.Unlock()
	buf := make([]byte, 32<<10)
	for {
		n, err := conn.Read(buf)
		if n > 0 {
			l.append(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

// append never fails the machine: a console that cannot be kept is lost, as on
// a cable that is pulled.
func (l *serialLog) append(b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size > 0 && l.size+int64(len(b)) > l.max {
		if err := os.Rename(l.path, l.path+".1"); err == nil {
			if f, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC|os.O_APPEND, 0o600); err == nil {
				_ = l.f.Close()
				l.f, l.size = f, 0
				l.turn++
			}
		}
	}
	n, _ := l.f.Write(b)
	l.size += int64(n)
	close(l.changed)
	l.changed = make(chan struct{})
}

// write types into the console of the machine.
func (l *serialLog) write(b []byte) (int, error) {
	l.mu.Lock()
	conn := l.guest
	l.mu.Unlock()
	if conn == nil {
		return 0, errors.New("console: the machine is off")
	}
	// A guest that does not read its console holds nobody up.
	if err := conn.SetWriteDeadline(time.Now().Add(typeTimeout)); err != nil {
		return 0, fmt.Errorf("console: %w", err)
	}
	return conn.Write(b)
}

// follow copies the log from its beginning, then what is added, until the
// context ends or w fails. What a slow w misses in a rotation is still in the
// file it holds open.
func (l *serialLog) follow(ctx context.Context, w io.Writer) error {
	for {
		l.mu.Lock()
		f, err := os.Open(l.path)
		turn := l.turn
		l.mu.Unlock()
		if err != nil {
			return fmt.Errorf("serial log: %w", err)
		}
		err = l.followFile(ctx, w, f, turn)
		_ = f.Close()
		if err != nil {
			return err
		}
	}
}

// followFile returns nil when the file was rotated away and all of it is read.
func (l *serialLog) followFile(ctx context.Context, w io.Writer, f *os.File, turn int) error {
	for {
		l.mu.Lock()
		changed, rotated := l.changed, l.turn != turn
		l.mu.Unlock()
		if _, err := io.Copy(w, f); err != nil {
			return err
		}
		if rotated {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (l *serialLog) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.f.Close()
}

var errSeen = errors.New("seen")

// matcher is a writer that returns errSeen once the text has gone by.
type matcher struct {
	text []byte
	tail []byte
}

func (m *matcher) Write(b []byte) (int, error) {
	m.tail = append(m.tail, b...)
	if bytes.Contains(m.tail, m.text) {
		return 0, errSeen
	}
	if keep := len(m.text) - 1; len(m.tail) > keep {
		m.tail = append(m.tail[:0], m.tail[len(m.tail)-keep:]...)
	}
	return len(b), nil
}
