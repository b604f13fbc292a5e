//go:build e2e

package shard

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ingot-metal/ingot/e2e/rig"
)

// Times of the managers' Leases, in seconds: short, so that much happens.
const (
	leaseSeconds, renewSeconds, retrySeconds = 6, 4, 1

	lease = leaseSeconds * time.Second
	retry = retrySeconds * time.Second
)

// manager is one ingot manager of the shipped binary.
type manager struct {
	binary string
	args   []string
	name   string
	http   int
	https  int
	rest   string // URL
	log    *os.File

	mu    sync.Mutex
	now   *rig.Process
	ready chan struct{}
	serve atomic.Bool // it may be asked: it is ready, and not stopped
}

func newManager(t *testing.T, binary, dir, kubeconfig, name string, more ...string) *manager {
	t.Helper()
	p, err := rig.NewPorts()
	must(t, err)
	home := filepath.Join(dir, name)
	must(t, os.MkdirAll(home, 0o700))
	boot, err := rig.Pretended(home)
	must(t, err)
	log, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	must(t, err)
	at := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
	m := &manager{binary: binary, name: name, http: p.HTTP, https: p.HTTPS, rest: "http://" + at(p.REST), log: log}
	m.args = append([]string{
		"manager", "--kubeconfig", kubeconfig, "--data-dir", home, "--boot-files", boot, "--flavour", "vm",
		"--rest-address", at(p.REST), "--http-address", at(p.HTTP), "--https-address", at(p.HTTPS),
		"--metrics-address", "0", "--health-address", "0",
		"--lease-duration-seconds", fmt.Sprint(leaseSeconds), "--renew-deadline-seconds", fmt.Sprint(renewSeconds), "--retry-period-seconds", fmt.Sprint(retrySeconds),
	}, more...)
	t.Cleanup(func() {
		m.kill()
		_ = log.Close()
	})
	return m
}

// start begins a life; the one before has ended.
func (m *manager) start() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ready = make(chan struct{})
	cmd := exec.Command(m.binary, m.args...)
	cmd.Stdout, cmd.Stderr = &untilReady{m: m, ready: m.ready}, m.log
	var err error
	m.now, err = rig.Start(cmd)
	return err
}

// untilReady looks for the ready line.
type untilReady struct {
	m     *manager
	ready chan struct{}
	once  sync.Once
	text  []byte
}

func (u *untilReady) Write(b []byte) (int, error) {
	u.text = append(u.text, b...)
	if bytes.Contains(u.text, []byte("ingot is ready")) {
		u.once.Do(func() {
			u.m.serve.Store(true)
			close(u.ready)
		})
	}
	return len(b), nil
}

// up waits until the manager is ready.
func (m *manager) up(limit time.Duration) error {
	select {
	case <-m.ready:
		return nil
	case <-m.now.Exited():
		return fmt.Errorf("manager %s ended by itself: %s", m.name, m.tail())
	case <-time.After(limit):
		return fmt.Errorf("manager %s is not ready: %s", m.name, m.tail())
	}
}

func (m *manager) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.serve.Store(false)
	if m.now != nil {
		_ = syscall.Kill(m.now.Pid(), syscall.SIGCONT)
		m.now.Kill()
	}
}

// stop has the manager stand still; cont has it go on as if nothing had been.
func (m *manager) stop() error {
	m.serve.Store(false)
	return syscall.Kill(m.now.Pid(), syscall.SIGSTOP)
}

func (m *manager) cont() error {
	m.serve.Store(true)
	return syscall.Kill(m.now.Pid(), syscall.SIGCONT)
}

// revive starts a manager again that has ended by itself, as a cluster does: one
// that slept and led others finds that it leads no more, and ends.
func (m *manager) revive() (bool, error) {
	select {
	case <-m.now.Exited():
	default:
		return false, nil
	}
	m.serve.Store(false)
	if tail := m.tail(); !strings.Contains(tail, "leader election lost") {
		return false, fmt.Errorf("manager %s ended by itself: %s", m.name, tail)
	}
	return true, m.start()
}

func (m *manager) tail() string {
	info, err := m.log.Stat()
	if err != nil {
		return err.Error()
	}
	const keep = 4 << 10
	text, _ := io.ReadAll(io.NewSectionReader(m.log, max(0, info.Size()-keep), keep))
	return string(text)
}

// address stands for a virtual address that leads to the boot door of a manager
// that lives, each time to another.
type address struct {
	l        net.Listener
	managers []*manager
	turn     atomic.Int64
}

func newAddress(t *testing.T) *address {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	a := &address{l: l}
	t.Cleanup(func() { _ = l.Close() })
	return a
}

func (a *address) url() string { return "http://" + a.l.Addr().String() }

func (a *address) run() {
	for {
		c, err := a.l.Accept()
		if err != nil {
			return
		}
		go a.lead(c)
	}
}

func (a *address) lead(c net.Conn) {
	defer c.Close()
	first := int(a.turn.Add(1))
	for i := range a.managers {
		m := a.managers[(first+i)%len(a.managers)]
		if !m.serve.Load() {
			continue
		}
		d, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", m.http))
		if err != nil {
			continue
		}
		defer d.Close()
		done := make(chan struct{}, 2)
		go func() { _, _ = io.Copy(d, c); done <- struct{}{} }()
		go func() { _, _ = io.Copy(c, d); done <- struct{}{} }()
		<-done
		return
	}
}
