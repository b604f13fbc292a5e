package simbmc

import (
	"context"
	"sync"
)

// Memory is a body that is nothing but its state: what a pretended machine is
// built on. Its hooks say when it would run and what it would boot.
type Memory struct {
	info  Info
	start func(BootOverride)
	stop  func()

	serial serialLine

	power sync.Mutex // held while a power action runs, hooks included

	mu       sync.Mutex
	on       bool
	boot     BootOverride
	media    string
	inserted bool
}

var _ Body = (*Memory)(nil)

// NewMemory returns a machine that is off, with no override, in the firmware mode
// given. start is called at every start with the override that holds for it, stop
// at every end; they run one at a time and must not block. Either may be nil.
func NewMemory(info Info, mode BootMode, start func(BootOverride), stop func()) *Memory {
	if start == nil {
		start = func(BootOverride) {}
	}
	if stop == nil {
		stop = func() {}
	}
	return &Memory{
		info:  info,
		start: start,
		stop:  stop,
		boot:  BootOverride{Target: BootNone, Enabled: BootDisabled, Mode: mode},
	}
}

// Info implements Body.
func (m *Memory) Info() Info { return m.info }

// Power implements Body.
func (m *Memory) Power(context.Context) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.on, nil
}

// SetPower implements Body. The pretended operating system obeys at once.
func (m *Memory) SetPower(_ context.Context, a PowerAction) error {
	m.power.Lock()
	defer m.power.Unlock()
	on, _ := m.Power(context.Background())
	switch a {
	case PowerOn:
		if !on {
			m.up()
		}
	case ForceOff, GracefulShutdown:
		if on {
			m.down()
		}
	case ForceRestart, PowerCycle, GracefulRestart:
		if !on {
			return ErrState
		}
		m.down()
		m.up()
	case NMI:
		if !on {
			return ErrState
		}
	default:
		return ErrUnsupported
	}
	return nil
}

// Guest carries out what the machine's own system decided: a reboot or a power
// off. It does nothing once ctx, the run that decided it, has ended: a system
// that was switched off decides nothing.
func (m *Memory) Guest(ctx context.Context, reboot bool) {
	m.power.Lock()
	defer m.power.Unlock()
	if ctx.Err() != nil {
		return
	}
	m.down()
	if reboot {
		m.up()
	}
}

// up starts the machine; a Once override is used up by it.
func (m *Memory) up() {
	m.mu.Lock()
	m.on = true
	o := m.boot
	if m.boot.Enabled == BootOnce {
		m.boot.Target, m.boot.Enabled = BootNone, BootDisabled
	}
	m.mu.Unlock()
	m.start(o)
}

func (m *Memory) down() {
	m.mu.Lock()
	m.on = false
	m.mu.Unlock()
	m.stop()
}

// Boot implements Body.
func (m *Memory) Boot(context.Context) (BootOverride, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.boot, nil
}

// SetBoot implements Body.
func (m *Memory) SetBoot(_ context.Context, o BootOverride) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.boot = o
	return nil
}

// InsertMedia implements Body.
func (m *Memory) InsertMedia(_ context.Context, url string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.media, m.inserted = url, true
	return nil
}

// EjectMedia implements Body.
func (m *Memory) EjectMedia(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.media, m.inserted = "", false
	return nil
}

// Media implements Body.
func (m *Memory) Media(context.Context) (string, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.media, m.inserted, nil
}
