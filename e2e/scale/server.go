package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// server is the ingot serve that is measured.
type server struct {
	cmd        *exec.Cmd
	kubeconfig string
	log        *tail
	startedIn  time.Duration
}

// readyTimeout bounds a start.
const readyTimeout = 90 * time.Second

func startServer(ctx context.Context, binary, dir, image string) (*server, error) {
	data, boot := filepath.Join(dir, "data"), filepath.Join(dir, "boot")
	if err := os.MkdirAll(boot, 0o700); err != nil {
		return nil, err
	}
	for _, name := range []string{"vmlinuz-vm", "initrd-vm.img"} {
		if err := os.WriteFile(filepath.Join(boot, name), []byte("pretended\n"), 0o600); err != nil {
			return nil, err
		}
	}
	s := &server{kubeconfig: filepath.Join(data, "kubeconfig"), log: &tail{}}
	s.cmd = exec.Command(binary, "serve", "--data-dir", data, "--boot-files", boot, "--flavour", "vm",
		"--api-address", "127.0.0.1:0", "--rest-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0",
		"--https-address", "127.0.0.1:0", "--metrics-address", "0", "--health-address", "0",
		"--allow-loopback", image, "--log-level", "warn")
	s.cmd.Stderr = s.log
	out, err := begin(s.cmd)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	_, err = awaitLine(ctx, out, "ingot is ready")
	s.startedIn = time.Since(began)
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("%s did not start: %w\n%s", binary, err, s.log)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return s, nil
}

// stop ends the server, by force if it does not end by itself.
func (s *server) stop() { end(s.cmd, 20*time.Second) }

// begin starts a child that ends when this process does, whatever ends it.
func begin(cmd *exec.Cmd) (*bufio.Reader, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return bufio.NewReader(out), cmd.Start()
}

func end(cmd *exec.Cmd, patience time.Duration) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait() // its end is what we want, whatever its code
	kill.Stop()
}

// awaitLine reads lines until one that begins with prefix.
func awaitLine(ctx context.Context, r *bufio.Reader, prefix string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	type answer struct {
		line string
		err  error
	}
	found := make(chan answer, 1)
	go func() {
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				found <- answer{err: errors.New("it ended before it was ready")}
				return
			}
			if strings.HasPrefix(line, prefix) {
				found <- answer{line: line}
				return
			}
		}
	}()
	select {
	case a := <-found:
		return a.line, a.err
	case <-ctx.Done():
		return "", fmt.Errorf("it was not ready in time: %w", ctx.Err())
	}
}
