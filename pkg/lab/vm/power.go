package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// Power says whether the machine is on.
func (m *Machine) Power(context.Context) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.on, nil
}

// SetPower carries out a power action. On for a machine that is on and ForceOff
// for one that is off are done already.
func (m *Machine) SetPower(ctx context.Context, a simbmc.PowerAction) error {
	if err := m.acquire(ctx); err != nil {
		return err
	}
	defer m.release()
	// Between a guest's reset and the next process the machine is on without
	// one; the actions below replace the start that is due.
	on, err := m.Power(ctx)
	if err != nil {
		return err
	}
	switch a {
	case simbmc.PowerOn:
		if on {
			return nil
		}
		return m.start(ctx)
	case simbmc.ForceOff:
		return m.stop()
	}
	if !on {
		return fmt.Errorf("%s: %w", a, simbmc.ErrState)
	}
	switch a {
	case simbmc.ForceRestart, simbmc.PowerCycle:
		return errors.Join(m.stop(), m.start(ctx))
	case simbmc.GracefulShutdown:
		return m.press(ctx, "system_powerdown", false)
	case simbmc.GracefulRestart:
		return m.press(ctx, "system_powerdown", true)
	case simbmc.NMI:
		return m.press(ctx, "inject-nmi", false)
	default:
		return fmt.Errorf("%s: %w", a, simbmc.ErrUnsupported)
	}
}

// press asks the guest, which may not listen.
func (m *Machine) press(ctx context.Context, command string, again bool) error {
	m.mu.Lock()
	p := m.proc
	m.again = again
	m.mu.Unlock()
	if p == nil {
		return nil // in the middle of a reset: nobody hears the button
	}
	return p.qmp.run(ctx, command, nil)
}

// start launches QEMU with the boot order that the settings ask for. The caller
// holds op.
func (m *Machine) start(ctx context.Context) error {
	if err := m.startProcess(ctx); err != nil {
		m.mu.Lock()
		m.on = false
		m.mu.Unlock()
		return fmt.Errorf("machine %s: %w", m.cfg.Name, err)
	}
	return nil
}

func (m *Machine) startProcess(ctx context.Context) error {
	// A client that hangs up in the middle of a restart does not leave the
	// machine off.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTimeout)
	defer cancel()
	before := m.settings()
	plan := before.plan()
	if plan.uefi {
		if err := makeVars(m.cfg.OVMFVars, filepath.Join(m.cfg.Dir, varsFile)); err != nil {
			return err
		}
	}
	// Counted before it is tried: a run's number is never used twice.
	counted := before
	counted.Runs++
	if err := m.keep(counted); err != nil {
		return err
	}
	run := counted.Runs
	for _, log := range m.logs {
		if err := log.begin(run); err != nil {
			return err
		}
	}
	args := argv(m.cfg, plan, run)
	if m.cfg.Wrap != nil {
		args = m.cfg.Wrap(args...)
	}
	p, err := launch(ctx, args, m.cfg.Dir, run, m.serial.record, func(name, _ string) {
		if name == "GUEST_PANICKED" {
			m.cfg.Journal.Add(m.cfg.Name, KindPanic, fmt.Sprintf("run %d", run))
		}
	})
	if err != nil {
		return errors.Join(err, m.foldLogs(run))
	}
	if m.media != "" {
		err = insertCD(ctx, p.qmp, filepath.Join(m.cfg.Dir, mediaFile))
	}
	if err == nil {
		err = p.qmp.run(ctx, "cont", nil)
	}
	if err == nil {
		// From here on the firmware follows the override: it is spent.
		err = m.keep(before.followed())
	}
	if err != nil {
		return errors.Join(err, p.stop(), m.foldLogs(run))
	}
	m.cfg.Journal.Add(m.cfg.Name, KindStart, fmt.Sprintf("run %d, %s, first %s", run, before.Mode, plan.order[0]))
	m.mu.Lock()
	m.proc, m.on, m.again = p, true, false
	m.mu.Unlock()
	m.watchers.Go(func() { m.watch(p) })
	return nil
}

// stop ends QEMU and forgets a start that is due. The caller holds op.
func (m *Machine) stop() error {
	m.mu.Lock()
	p := m.proc
	m.mu.Unlock()
	if p != nil {
		if err := p.stop(); err != nil {
			return fmt.Errorf("machine %s: %w", m.cfg.Name, err)
		}
		m.ended(p)
	}
	m.mu.Lock()
	m.on = false
	m.mu.Unlock()
	return nil
}

// ended records the end of a process once. The caller holds op.
func (m *Machine) ended(p *process) {
	m.mu.Lock()
	first := m.proc == p
	if first {
		m.proc = nil
	}
	m.mu.Unlock()
	if !first {
		return
	}
	reason := or(p.shutdownReason(), "crashed"+p.complaint())
	if err := m.foldLogs(p.run); err != nil {
		reason += "; " + err.Error()
	}
	m.cfg.Journal.Add(m.cfg.Name, KindEnd, fmt.Sprintf("run %d: %s", p.run, reason))
}

// watch waits for the end of a process that nobody here has stopped, and starts
// the next one after a reset.
func (m *Machine) watch(p *process) {
	select {
	case <-p.done:
	case <-m.closing:
		return
	}
	select {
	case m.op <- struct{}{}:
	case <-m.closing:
		return
	}
	if m.process() != p { // stopped by us
		m.release()
		return
	}
	m.ended(p)
	m.mu.Lock()
	reset := p.shutdownReason() == "guest-reset" || m.again && p.shutdownReason() == "guest-shutdown"
	m.on = reset
	m.mu.Unlock()
	m.release()
	if !reset {
		return
	}
	select {
	case <-time.After(resetDelay):
	case <-m.closing:
		return
	}
	select {
	case m.op <- struct{}{}:
	case <-m.closing:
		return
	}
	defer m.release()
	m.mu.Lock()
	due := m.on && m.proc == nil && !m.closed
	m.mu.Unlock()
	if due {
		if err := m.start(context.Background()); err != nil {
			m.cfg.Journal.Add(m.cfg.Name, simbmc.KindPowerError, "reset: "+err.Error())
		}
	}
}

func (m *Machine) foldLogs(run int) error {
	var errs []error
	for i, log := range m.logs {
		if err := log.fold(run); err != nil {
			errs = append(errs, fmt.Errorf("disk %d: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

// makeVars gives the machine UEFI variables of its own, once.
func makeVars(template, path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	in, err := os.Open(template)
	if err != nil {
		return fmt.Errorf("uefi firmware is not installed (apt-get install ovmf): %w", err)
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
