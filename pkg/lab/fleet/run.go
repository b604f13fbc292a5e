package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/ingot-metal/ingot/agent"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// How firmware and iPXE insist on a network boot before they give up.
const (
	bootTries   = 7
	bootBackoff = 500 * time.Millisecond // doubled at every try: 31 s in all
	bootRound   = 2 * time.Second        // the longest wait for a server that is dead
)

// scriptRetry is the sleep at the end of a script whose kernel did not load.
const scriptRetry = 5 * time.Second

// outcome is how a ramdisk ends.
type outcome int

const (
	sits     outcome = iota // nothing more happens until somebody switches power
	reboots                 // the system restarts the machine
	powerOff                // the system switches it off
)

// run is one run of the machine, from the start of its firmware; ctx ends with
// the power.
func (m *Machine) run(ctx context.Context, o simbmc.BootOverride) {
	if !pause(ctx, m.fleet.cfg.POST) {
		return
	}
	network := false
	switch {
	case o.Enabled == simbmc.BootDisabled || o.Target == simbmc.BootNone:
		_, bootable := m.bootDisk()
		network = !bootable
	case o.Target == simbmc.BootPXE || o.Target == simbmc.BootUEFIHTTP:
		network = true
	case o.Target == simbmc.BootDisk:
	case o.Target == simbmc.BootCD:
		m.log(KindStart, "media")
		m.printFirmware("media")
		m.startMedia(ctx, o.Mode)
		return
	default:
		m.log(KindStuck, "nothing to start from "+string(o.Target))
		return
	}
	if !network {
		m.log(KindStart, "disk")
		m.printFirmware("disk")
		m.startDisk(ctx)
		return
	}
	m.log(KindStart, "network")
	m.printFirmware("network " + m.bootMAC())
	for {
		s, err := m.bootScript(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			m.log(KindStuck, err.Error())
			m.prints("PXE: %v\nNo bootable device.", err)
			return
		case s.local:
			m.startDisk(ctx)
			return
		}
		if m.load(ctx, s) == nil {
			m.startRamdisk(ctx, s, o.Mode)
			return
		}
		// The script's own way out: it asks for itself once more.
		if !pause(ctx, scriptRetry) {
			return
		}
	}
}

// pause waits; false: the power went first.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// bootDisk returns the index of the first disk that holds an image.
func (m *Machine) bootDisk() (int, bool) {
	m.mu.Lock()
	disks := slices.Clone(m.disks)
	m.mu.Unlock()
	for i, d := range disks {
		if d.bootable() != "" {
			return i, true
		}
	}
	return 0, false
}

func (m *Machine) startDisk(ctx context.Context) {
	i, ok := m.bootDisk()
	if !ok {
		m.log(KindStuck, "no bootable disk")
		m.prints("No bootable device.")
		return
	}
	if ctx.Err() == nil {
		serial, digest := m.onDisk(i)
		m.log(KindOSUp, serial+" "+digest)
		m.login()
	}
}

// bootMAC is the address that the machine shows to the network.
func (m *Machine) bootMAC() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.faults.MAC != "" {
		return m.faults.MAC
	}
	return m.MAC
}

// bootScript asks the boot door for the machine's script as iPXE does, and again
// while there is none. While nobody answers, firmware goes round its boot order
// until somebody does.
func (m *Machine) bootScript(ctx context.Context) (script, error) {
	delay := bootBackoff
	for tries := 0; ; delay *= 2 {
		s, err := m.fetchScript(ctx)
		if err == nil {
			return s, nil
		}
		if dead := (*url.Error)(nil); errors.As(err, &dead) {
			delay = min(delay, bootRound)
		} else if tries++; tries == bootTries {
			return s, err
		}
		if !pause(ctx, delay) {
			return script{}, ctx.Err()
		}
	}
}

func (m *Machine) fetchScript(ctx context.Context) (script, error) {
	m.mu.Lock()
	dark := m.faults.NoNetwork
	m.mu.Unlock()
	if dark {
		return script{}, errors.New("no server answers on the network")
	}
	mac := m.bootMAC()
	text, err := m.fetch(ctx, m.fleet.cfg.BootURL+"/boot/ipxe?mac="+url.QueryEscape(mac), "")
	if err != nil {
		return script{}, fmt.Errorf("boot script: %w", err)
	}
	return parseScript(text, mac)
}

// fetch reads a small file, or the first byte of a large one.
func (m *Machine) fetch(ctx context.Context, target, byteRange string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("User-Agent", "iPXE/1.21.1 (ingot fleet)")
	if byteRange != "" {
		req.Header.Set("Range", byteRange)
	}
	res, err := m.fleet.client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusPartialContent {
		return "", fmt.Errorf("%s answered %s", req.URL.Path, res.Status)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxScript+1))
	return string(text), err
}

// load asks for the first bytes of kernel and ramdisk, so that the server sees
// what it would see.
func (m *Machine) load(ctx context.Context, s script) error {
	for _, target := range append([]string{s.kernel}, s.initrd...) {
		if _, err := m.fetch(ctx, target, "bytes=0-0"); err != nil {
			return err
		}
	}
	return nil
}

// startRamdisk stands for a kernel that runs: it is the agent itself.
func (m *Machine) startRamdisk(ctx context.Context, s script, mode simbmc.BootMode) {
	m.mu.Lock()
	silent := m.faults.Silent
	m.mu.Unlock()
	m.printKernel(s.cmdline)
	if silent {
		m.prints("ingot-agent: no network interface has a link; tried eth0, eth1\ningot-agent: trying again in 5s")
		m.log(KindStuck, "the kernel runs and calls nobody")
		return
	}
	args, err := agent.ParseArgs(s.cmdline)
	if err != nil {
		m.log(KindStuck, "kernel command line: "+err.Error())
		return
	}
	m.log(KindAgent, args.BootID)
	m.prints("ingot-agent: boot %s, calling home", args.BootID)
	g := &guest{m: m, args: args, mode: mode}
	end, err := m.fleet.cfg.agent(ctx, g)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		m.log(KindStuck, "agent: "+err.Error())
		m.prints("ingot-agent: %v", err)
	case end == reboots:
		m.log(KindGuest, "reboot")
		m.body.Guest(ctx, true)
	case end == powerOff:
		m.log(KindGuest, "poweroff")
		m.body.Guest(ctx, false)
	}
}
