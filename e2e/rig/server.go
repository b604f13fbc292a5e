package rig

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
	"sync"
	"time"
)

// readyWithin bounds a start. It takes a second on a machine that does nothing
// else.
const readyWithin = 3 * time.Minute

// Ports of a server's doors on loopback. The zero value leaves the choice to the
// kernel at each start.
type Ports struct{ API, REST, HTTP, HTTPS int }

// NewPorts finds ports below the range that the kernel takes clients' ports from
// (ip_local_port_range, from 32768), so that nobody takes one while the server
// is dead.
func NewPorts() (Ports, error) {
	// Processes that start one after the other begin far from each other.
	next := 20000 + os.Getpid()*16%10000
	var err error
	free := func() int {
		for range 2000 {
			next++
			l, e := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", next))
			if e == nil {
				_ = l.Close()
				return next
			}
			err = e
		}
		return 0
	}
	p := Ports{API: free(), REST: free(), HTTP: free(), HTTPS: free()}
	if p.API == 0 || p.REST == 0 || p.HTTP == 0 || p.HTTPS == 0 {
		return p, fmt.Errorf("no free port: %w", err)
	}
	return p, nil
}

// Binary returns the path of the binary to test: the one that INGOT_BINARY names,
// or one that is built in dir.
func Binary(dir string) (string, error) {
	if path := os.Getenv("INGOT_BINARY"); path != "" {
		return path, nil
	}
	path := filepath.Join(dir, "ingot")
	if out, err := exec.Command("go", "build", "-o", path, "github.com/ingot-metal/ingot/cmd/ingot").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}

// Pretended makes a directory of boot files for machines that are pretended.
func Pretended(dir string) (string, error) {
	boot := filepath.Join(dir, "boot")
	if err := os.MkdirAll(boot, 0o700); err != nil {
		return "", err
	}
	for _, name := range []string{"vmlinuz-vm", "initrd-vm.img"} {
		if err := os.WriteFile(filepath.Join(boot, name), []byte("pretended\n"), 0o600); err != nil {
			return "", err
		}
	}
	return boot, nil
}

// Server is an ingot serve of its own, with fsync, for one user at a time.
type Server struct {
	Binary     string
	Dir        string // data and log
	Kubeconfig string
	REST       string // URL of the Ironic-compatible door; of no use where the kernel chose its port

	args []string
	log  *os.File
	now  *life
}

// life is one process of a server.
type life struct {
	*Process
	began   time.Time
	ready   chan struct{} // closed at the ready line
	readyIn time.Duration // set before ready closes
}

// NewServer prepares a server below dir; more are further arguments, which count
// before those that every server gets.
func NewServer(binary, dir string, p Ports, more ...string) (*Server, error) {
	data := filepath.Join(dir, "data")
	log, err := os.OpenFile(filepath.Join(dir, "serve.log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	at := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
	return &Server{
		Binary: binary, Dir: dir, Kubeconfig: filepath.Join(data, "kubeconfig"), REST: "http://" + at(p.REST), log: log,
		args: append([]string{
			"serve", "--data-dir", data, "--flavour", "vm", "--api-address", at(p.API), "--rest-address", at(p.REST),
			"--http-address", at(p.HTTP), "--https-address", at(p.HTTPS), "--metrics-address", "0", "--health-address", "0",
		}, more...),
	}, nil
}

// Start begins a life. The one before has ended.
func (s *Server) Start() error {
	l := &life{began: time.Now(), ready: make(chan struct{})}
	cmd := exec.Command(s.Binary, s.args...)
	cmd.Stdout, cmd.Stderr = &readyWatch{life: l}, s.log
	var err error
	if l.Process, err = Start(cmd); err != nil {
		return err
	}
	s.now = l
	return nil
}

// WaitReady waits for the ready line. A server that ends by itself is an error.
func (s *Server) WaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	select {
	case <-s.now.ready:
		return nil
	case <-s.now.exited:
		return s.Ended()
	case <-ctx.Done():
		return fmt.Errorf("ingot serve has not been ready for %s: %w\n%s", time.Since(s.now.began).Round(time.Second), ctx.Err(), s.Tail())
	}
}

// ReadyIn is how long the start of a server that is ready took.
func (s *Server) ReadyIn() time.Duration { return s.now.readyIn }

// Pid is the server's process id.
func (s *Server) Pid() int { return s.now.Pid() }

// Kill sends SIGKILL and returns when the process is gone.
func (s *Server) Kill() {
	if s.now != nil {
		s.now.Kill()
	}
}

// Close stops the server for good.
func (s *Server) Close() error {
	if s.now != nil {
		s.now.Stop(20 * time.Second)
	}
	return s.log.Close()
}

// Ended reports a server that ended though nobody killed it.
func (s *Server) Ended() error {
	select {
	case <-s.now.exited:
		return errors.Join(errors.New("ingot serve ended by itself"), s.now.err, errors.New(s.Tail()))
	default:
		return nil
	}
}

// Tail is the end of the server's log.
func (s *Server) Tail() string {
	const keep = 4 << 10
	info, err := s.log.Stat()
	if err != nil {
		return err.Error()
	}
	text, err := io.ReadAll(io.NewSectionReader(s.log, max(0, info.Size()-keep), keep))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// readyWatch looks for the ready line in what a server prints.
type readyWatch struct {
	life *life
	once sync.Once
	line []byte
}

func (w *readyWatch) Write(b []byte) (int, error) {
	w.line = append(w.line, b...)
	if bytes.HasPrefix(w.line, []byte("ingot is ready")) && bytes.Contains(w.line, []byte("\n")) {
		w.once.Do(func() {
			w.life.readyIn = time.Since(w.life.began)
			close(w.life.ready)
		})
	}
	return len(b), nil
}
