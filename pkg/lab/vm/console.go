package vm

import (
	"context"
	"fmt"
	"io"
	"os"
)

// Serial attaches to the console, as a cable does: what is read is what the
// machine prints from now on, across restarts; what is written is typed. It makes
// a Machine a simbmc.SerialBody.
func (m *Machine) Serial() (io.ReadWriteCloser, error) {
	return m.serial.attach()
}

// attachment is a reader of the log from where it stood.
type attachment struct {
	log    *serialLog
	out    *io.PipeReader
	cancel context.CancelFunc
	done   chan struct{}
}

func (l *serialLog) attach() (io.ReadWriteCloser, error) {
	l.mu.Lock()
	f, err := os.Open(l.path)
	turn, size := l.turn, l.size
	l.mu.Unlock()
	if err == nil {
		_, err = f.Seek(size, io.SeekStart)
	}
	if err != nil {
		return nil, fmt.Errorf("serial log: %w", err)
	}
	out, in := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	a := &attachment{log: l, out: out, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(a.done)
		err := l.followFile(ctx, in, f, turn)
		_ = f.Close()
		if err == nil { // rotated: all of the new file is new
			err = l.follow(ctx, in)
		}
		_ = in.CloseWithError(err)
	}()
	return a, nil
}

func (a *attachment) Read(b []byte) (int, error)  { return a.out.Read(b) }
func (a *attachment) Write(b []byte) (int, error) { return a.log.write(b) }

// Close implements io.Closer.
func (a *attachment) Close() error {
	a.cancel()
	_ = a.out.Close()
	<-a.done
	return nil
}
