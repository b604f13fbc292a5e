package vm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// Kinds of journal entry beside those of simbmc.
const (
	KindStart = "qemu-start" // detail: run, firmware, first boot device
	KindEnd   = "qemu-end"   // detail: run and why
	KindPanic = "guest-panic"
)

// resetDelay keeps a machine that resets in a circle from taking the host's
// processors with it.
const resetDelay = 100 * time.Millisecond

var errClosed = errors.New("the machine was closed")

// Machine is one machine. Its methods may be called from several goroutines.
type Machine struct {
	cfg    Config
	serial *serialLog
	logs   []*diskLog

	// op admits one change of power, boot or media at a time. It is a channel so
	// that waiting for it ends with the caller's context.
	op chan struct{}

	mu       sync.Mutex
	set      settings
	proc     *process // nil: off
	on       bool     // stays true while a reset replaces the process
	again    bool     // GracefulRestart: start when the guest has powered off
	media    string
	closed   bool
	watchers sync.WaitGroup
	closing  chan struct{}
}

// New makes the machine's files, or takes over those of a lab that has ended.
// The machine is off.
func New(cfg Config) (*Machine, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("machine %s: %w", cfg.Name, err)
	}
	m := &Machine{cfg: cfg, op: make(chan struct{}, 1), closing: make(chan struct{})}
	if m.set, err = loadSettings(filepath.Join(cfg.Dir, settingsFile), cfg.Mode); err != nil {
		return nil, fmt.Errorf("machine %s: %w", cfg.Name, err)
	}
	for i, d := range cfg.Disks {
		if err := makeDisk(diskFile(cfg.Dir, i), d.SizeBytes); err != nil {
			return nil, fmt.Errorf("machine %s: %w", cfg.Name, err)
		}
		log := &diskLog{dir: cfg.Dir, index: i, size: d.SizeBytes}
		// The run during which the last lab ended.
		if err := log.fold(m.set.Runs); err != nil {
			return nil, fmt.Errorf("machine %s: disk %d: %w", cfg.Name, i, err)
		}
		m.logs = append(m.logs, log)
	}
	if err := removeIfThere(filepath.Join(cfg.Dir, mediaFile)); err != nil {
		return nil, fmt.Errorf("machine %s: %w", cfg.Name, err)
	}
	if m.serial, err = openSerial(filepath.Join(cfg.Dir, serialFile), cfg.SerialBytes); err != nil {
		return nil, fmt.Errorf("machine %s: %w", cfg.Name, err)
	}
	return m, nil
}

// makeDisk makes a sparse file. One of another size is somebody's disk and is
// not cut or grown.
func makeDisk(path string, size int64) error {
	fi, err := os.Stat(path)
	if err == nil {
		if fi.Size() != size {
			return fmt.Errorf("%s has %d bytes, the configuration says %d: remove it, or keep its size", path, fi.Size(), size)
		}
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

func loadSettings(path string, mode simbmc.BootMode) (settings, error) {
	s := settings{Mode: mode, Override: simbmc.BootOverride{Target: simbmc.BootNone, Enabled: simbmc.BootDisabled, Mode: mode}}
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// keep replaces the settings, on disk first. The caller holds op.
func (m *Machine) keep(s settings) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	path := filepath.Join(m.cfg.Dir, settingsFile)
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	m.mu.Lock()
	m.set = s
	m.mu.Unlock()
	return nil
}

func (m *Machine) acquire(ctx context.Context) error {
	select {
	case m.op <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		<-m.op
		return errClosed
	}
	return nil
}

func (m *Machine) release() { <-m.op }

func (m *Machine) process() *process {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.proc
}

func (m *Machine) settings() settings {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.set
}

// Info returns the machine's facts.
func (m *Machine) Info() simbmc.Info {
	info := simbmc.Info{
		UUID: m.cfg.UUID, Name: m.cfg.Name, Manufacturer: m.cfg.Manufacturer, Model: m.cfg.Model,
		Serial: m.cfg.Serial, CPUs: m.cfg.CPUs, MemoryMiB: m.cfg.MemoryMiB,
	}
	for _, n := range m.cfg.NICs {
		info.MACs = append(info.MACs, n.MAC)
	}
	for _, d := range m.cfg.Disks {
		info.Disks = append(info.Disks, d.shown())
	}
	return info
}

// Boot returns the override that the next start will follow.
func (m *Machine) Boot(context.Context) (simbmc.BootOverride, error) {
	return m.settings().Override, nil
}

// SetBoot replaces the override. The mode stays when a Once override is spent.
func (m *Machine) SetBoot(ctx context.Context, o simbmc.BootOverride) error {
	if err := m.acquire(ctx); err != nil {
		return err
	}
	defer m.release()
	s, err := m.settings().set(m.cfg, o)
	if err != nil {
		return err
	}
	return m.keep(s)
}

// Run is the number of the last start of QEMU, as in WriteRange.
func (m *Machine) Run() int { return m.settings().Runs }

// PID is the process of QEMU, and 0 if the machine is off.
func (m *Machine) PID() int {
	if p := m.process(); p != nil {
		return p.pid
	}
	return 0
}

// FollowSerial copies the console from the beginning of its log, then as it
// grows, until the context ends.
func (m *Machine) FollowSerial(ctx context.Context, w io.Writer) error {
	return m.serial.follow(ctx, w)
}

// WaitSerial returns when the text stands in the console's log.
func (m *Machine) WaitSerial(ctx context.Context, text string) error {
	err := m.serial.follow(ctx, &matcher{text: []byte(text)})
	if errors.Is(err, errSeen) {
		return nil
	}
	return fmt.Errorf("%s: wait for %q on the console: %w", m.cfg.Name, text, err)
}

// WriteSerial types into the console.
func (m *Machine) WriteSerial(b []byte) (int, error) { return m.serial.write(b) }

// SerialPath is the file of the console's log.
func (m *Machine) SerialPath() string { return m.serial.path }

// WriteLog returns what was written to a disk since it was made, in order. The
// record is made below the guest; while the machine runs, the last requests may
// not be in it yet.
func (m *Machine) WriteLog(disk int) ([]WriteRange, error) {
	if disk < 0 || disk >= len(m.logs) {
		return nil, fmt.Errorf("%s has no disk %d", m.cfg.Name, disk)
	}
	return m.logs[disk].ranges(m.settings().Runs)
}

// DiskSHA256 is the digest, in lower-case hex, of the first n bytes of a disk.
func (m *Machine) DiskSHA256(disk int, n int64) (string, error) {
	if disk < 0 || disk >= len(m.logs) || n > m.logs[disk].size {
		return "", fmt.Errorf("%s has no disk %d of %d bytes", m.cfg.Name, disk, n)
	}
	f, err := os.Open(diskFile(m.cfg.Dir, disk))
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	if _, err := io.CopyN(sum, f, n); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// Close pulls the plug and lets go of the files, which stay.
func (m *Machine) Close() error {
	m.op <- struct{}{}
	defer m.release()
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	close(m.closing)
	m.mu.Unlock()
	err := m.stop()
	m.watchers.Wait()
	return errors.Join(err, m.serial.close())
}
