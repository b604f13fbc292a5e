//go:build e2e

package kill

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// readyWithin bounds a start.
const readyWithin = 90 * time.Second

// ports of a server. They are chosen below the range that the kernel takes
// clients' ports from (ip_local_port_range, from 32768), so that nobody takes
// one while the server is dead.
type ports struct{ api, rest, http, https int }

func freePorts(t *testing.T) ports {
	t.Helper()
	next := 20000 + os.Getpid()%8000
	free := func() int {
		for range 2000 {
			next++
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", next))
			if err == nil {
				_ = l.Close()
				return next
			}
		}
		t.Fatal("no free port")
		return 0
	}
	return ports{api: free(), rest: free(), http: free(), https: free()}
}

// build makes the binary that is shipped; INGOT_BINARY names one that is made.
func build(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("INGOT_BINARY"); path != "" {
		return path
	}
	path := filepath.Join(t.TempDir(), "ingot")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "../../cmd/ingot").CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// server is an ingot serve that is killed and started again on the same data
// directory and ports.
type server struct {
	binary string
	args   []string
	log    *os.File

	now *process
}

// process is one life of a server.
type process struct {
	cmd     *exec.Cmd
	began   time.Time
	ready   chan struct{} // closed at the ready line
	readyIn time.Duration // set before ready closes
	exited  chan struct{}
	err     error // set before exited closes
}

func newServer(t *testing.T, dir string, p ports, more ...string) *server {
	t.Helper()
	log, err := os.Create(filepath.Join(dir, "serve.log"))
	if err != nil {
		t.Fatal(err)
	}
	at := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
	s := &server{binary: build(t), log: log, args: append([]string{
		"serve", "--data-dir", filepath.Join(dir, "data"), "--api-address", at(p.api), "--rest-address", at(p.rest),
		"--http-address", at(p.http), "--https-address", at(p.https), "--metrics-address", "0", "--health-address", "0",
		"--flavour", "vm",
	}, more...)}
	t.Cleanup(func() {
		s.kill()
		_ = log.Close()
	})
	return s
}

// start begins a life. The thread that starts the child waits for it too, since
// the child ends with that thread (PR_SET_PDEATHSIG): a test that is killed
// leaves no server behind.
func (s *server) start() error {
	p := &process{began: time.Now(), ready: make(chan struct{}), exited: make(chan struct{})}
	p.cmd = exec.Command(s.binary, s.args...)
	p.cmd.Stdout = &readyWatch{p: p}
	p.cmd.Stderr = s.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := p.cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return err
	}
	s.now = p
	return nil
}

// waitReady waits for the ready line. A server that ends by itself is an error.
func (s *server) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	select {
	case <-s.now.ready:
		return nil
	case <-s.now.exited:
		return fmt.Errorf("the server ended by itself: %w\n%s", s.now.err, s.tail())
	case <-ctx.Done():
		return fmt.Errorf("the server is not ready: %w\n%s", ctx.Err(), s.tail())
	}
}

// kill sends SIGKILL and returns when the process is gone.
func (s *server) kill() {
	if s.now == nil {
		return
	}
	_ = s.now.cmd.Process.Kill() // gone already is what is wanted
	<-s.now.exited
}

// ended reports a server that ended though nobody killed it.
func (s *server) ended() error {
	select {
	case <-s.now.exited:
		return errors.Join(errors.New("the server ended by itself"), s.now.err, errors.New(s.tail()))
	default:
		return nil
	}
}

// tail is the end of the server's log.
func (s *server) tail() string {
	const keep = 4 << 10
	info, err := s.log.Stat()
	if err != nil {
		return err.Error()
	}
	f, err := os.Open(s.log.Name())
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	text, err := io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-keep), keep))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// readyWatch looks for the ready line in what a server prints.
type readyWatch struct {
	p    *process
	once sync.Once
	line []byte
}

func (w *readyWatch) Write(b []byte) (int, error) {
	w.line = append(w.line, b...)
	if bytes.Contains(w.line, []byte("\n")) && strings.HasPrefix(string(w.line), "ingot is ready") {
		w.once.Do(func() {
			w.p.readyIn = time.Since(w.p.began)
			close(w.p.ready)
		})
	}
	return len(b), nil
}
