package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const (
	startTimeout = 20 * time.Second // QEMU's start, on a host that is busy
	quitTimeout  = 5 * time.Second
	qemuLogTail  = 2 << 10
)

// process is one run of QEMU.
type process struct {
	run     int
	pid     int
	qmp     *qmpClient
	done    chan struct{} // closed when the process is reaped and its last event was read
	kill    func() error
	logPath string

	mu     sync.Mutex
	reason string // of the last SHUTDOWN event
}

// launch starts QEMU and negotiates, for as long as the context allows; the
// machine stands still before its first instruction.
func launch(ctx context.Context, args []string, dir string, run int, serial func(net.Conn), onEvent func(name, reason string)) (*process, error) {
	logPath := filepath.Join(dir, qemuLogFile)
	logFile, err := os.OpenFile(logPath, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start qemu: %w", err)
	}
	defer func() { _ = logFile.Close() }()
	qmpOurs, qmpTheirs, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("start qemu: %w", err)
	}
	serialOurs, serialTheirs, err := socketPair()
	if err != nil {
		_, _ = qmpOurs.Close(), qmpTheirs.Close()
		return nil, fmt.Errorf("start qemu: %w", err)
	}

	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.ExtraFiles = []*os.File{qmpTheirs, serialTheirs} // qmpFD, serialFD
	// Ctrl-C on the lab's terminal is for the lab alone, which powers machines
	// off; its death, however sudden, is theirs.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}

	p := &process{run: run, done: make(chan struct{}), logPath: logPath}
	started, exited := make(chan error, 1), make(chan struct{})
	go func() {
		// PDEATHSIG is sent when the thread that forked ends, not the process:
		// this one stays until QEMU has gone (prctl(2)).
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // the reason comes from QMP, the complaint from the log
		}
		close(exited)
	}()
	err = <-started
	// Only QEMU's own copies may remain: their end is how its end is seen.
	_, _ = qmpTheirs.Close(), serialTheirs.Close()
	if err != nil {
		_, _ = qmpOurs.Close(), serialOurs.Close()
		return nil, fmt.Errorf("start qemu: %w", err)
	}
	p.pid, p.kill = cmd.Process.Pid, cmd.Process.Kill
	serialDone := make(chan struct{})
	go func() {
		defer close(serialDone)
		serial(serialOurs)
	}()

	p.qmp, err = newQMP(ctx, qmpOurs, func(name, reason string) {
		if name == "SHUTDOWN" {
			p.mu.Lock()
			p.reason = reason
			p.mu.Unlock()
		}
		onEvent(name, reason)
	})
	if err != nil {
		_ = cmd.Process.Kill()
		<-exited
		<-serialDone
		return nil, fmt.Errorf("start qemu: %w%s", err, p.complaint())
	}
	go func() {
		<-exited
		<-p.qmp.done
		<-serialDone
		close(p.done)
	}()
	return p, nil
}

// stop ends the process: it is asked first, so that what it has in hand reaches
// the disks.
func (p *process) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), quitTimeout)
	defer cancel()
	// The answer may be lost to the end of the connection.
	if err := p.qmp.run(ctx, "quit", nil); err == nil || errors.Is(err, errQMPClosed) {
		select {
		case <-p.done:
			return nil
		case <-ctx.Done():
		}
	}
	select {
	case <-p.done:
		return nil
	default:
	}
	p.mu.Lock()
	p.reason = "killed, did not answer"
	p.mu.Unlock()
	_ = p.kill() // an error means that it has just ended
	select {
	case <-p.done:
		return nil
	case <-time.After(quitTimeout):
		return fmt.Errorf("qemu, process %d, does not end", p.pid)
	}
}

// shutdownReason is why QEMU ended: guest-reset, guest-shutdown, host-qmp-quit …
// or nothing if it crashed.
func (p *process) shutdownReason() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reason
}

// complaint is the end of what QEMU wrote to its standard error.
func (p *process) complaint() string {
	b, err := os.ReadFile(p.logPath)
	if err != nil || len(bytes.TrimSpace(b)) == 0 {
		return ""
	}
	if len(b) > qemuLogTail {
		b = b[len(b)-qemuLogTail:]
	}
	return ": " + string(bytes.TrimSpace(b))
}

// socketPair is a connection of ours and the file of its other end, to be
// inherited.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "lab"), os.NewFile(uintptr(fds[1]), "qemu")
	conn, err := net.FileConn(ours)
	_ = ours.Close()
	if err != nil {
		_ = theirs.Close()
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return conn, theirs, nil
}
