package dhcp

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"
)

var (
	// ErrTaken is what Claim returns for an address that another machine holds.
	ErrTaken = errors.New("address is taken")
	// ErrFull is what Claim returns when the store has no room.
	ErrFull = errors.New("lease store is full")
)

// Lease says that an address belongs to a machine until a time.
type Lease struct {
	MAC   MAC
	IP    netip.Addr
	Until time.Time
}

// LeaseStore remembers which address is whose. Each method is atomic; a machine holds at most one address.
type LeaseStore interface {
	// Find returns the machine's lease, an expired one too: RFC 2131 §4.3.1 wants it to be given the same address again.
	Find(ctx context.Context, mac MAC) (Lease, bool, error)
	// Claim gives the address to the machine, replacing any other it holds, unless another machine's lease of it ends after now (ErrTaken).
	Claim(ctx context.Context, l Lease, now time.Time) error
	// Release ends the lease if the machine holds that address; else it does nothing.
	Release(ctx context.Context, mac MAC, ip netip.Addr) error
	// Quarantine takes the address from whoever holds it and keeps it unused until the time.
	Quarantine(ctx context.Context, ip netip.Addr, until time.Time) error
}

// Memory is a [LeaseStore] that forgets at restart. Since addresses are chosen by a hash of the MAC, a restarted server chooses the same ones again.
type Memory struct {
	mu    sync.Mutex
	max   int
	byMAC map[MAC]netip.Addr
	byIP  map[netip.Addr]Lease // the zero MAC: in quarantine
}

// NewMemory makes a store of at most max leases.
func NewMemory(max int) *Memory {
	return &Memory{max: max, byMAC: map[MAC]netip.Addr{}, byIP: map[netip.Addr]Lease{}}
}

// Find implements [LeaseStore].
func (m *Memory) Find(_ context.Context, mac MAC) (Lease, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ip, ok := m.byMAC[mac]
	return m.byIP[ip], ok, nil
}

// Claim implements [LeaseStore].
func (m *Memory) Claim(_ context.Context, l Lease, now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	held, ok := m.byIP[l.IP]
	if ok && held.MAC != l.MAC && held.Until.After(now) {
		return ErrTaken
	}
	if !ok && len(m.byIP) >= m.max {
		m.forgetExpired(now)
		if len(m.byIP) >= m.max {
			return ErrFull
		}
	}
	delete(m.byMAC, held.MAC)
	if old, ok := m.byMAC[l.MAC]; ok {
		delete(m.byIP, old)
	}
	m.byMAC[l.MAC], m.byIP[l.IP] = l.IP, l
	return nil
}

// Release implements [LeaseStore].
func (m *Memory) Release(_ context.Context, mac MAC, ip netip.Addr) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if held, ok := m.byMAC[mac]; ok && held == ip {
		delete(m.byMAC, mac)
		delete(m.byIP, ip)
	}
	return nil
}

// Quarantine implements [LeaseStore].
func (m *Memory) Quarantine(_ context.Context, ip netip.Addr, until time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	held, ok := m.byIP[ip]
	if !ok && len(m.byIP) >= m.max {
		return ErrFull
	}
	delete(m.byMAC, held.MAC)
	m.byIP[ip] = Lease{IP: ip, Until: until}
	return nil
}

func (m *Memory) forgetExpired(now time.Time) {
	for ip, l := range m.byIP {
		if !l.Until.After(now) {
			delete(m.byIP, ip)
			delete(m.byMAC, l.MAC)
		}
	}
}
