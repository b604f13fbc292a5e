package dhcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// Ports of DHCPv4 (RFC 2131 §4.1) and of the PXE boot server (PXE 2.1 §2.2.2).
const (
	ServerPort     = 67
	ClientPort     = 68
	BootServerPort = 4011
)

// Mode says what the server hands out.
type Mode string

const (
	// ModeDHCP hands out addresses and boot options. The zero Mode is this one.
	ModeDHCP Mode = "dhcp"
	// ModeProxy hands out boot options beside another server that gives addresses (PXE 2.1 §2.2.3: proxyDHCP). Serve port 4011 too then.
	ModeProxy Mode = "proxy"
)

// Reservation is what is on record for one network card.
type Reservation struct {
	IP       netip.Addr // zero: an address of the range
	Hostname string     // option 12; sent only when it is a valid label
}

// Hosts knows the machines. It is asked for every packet, so it should answer from memory.
type Hosts interface {
	// Lookup returns false for an unknown machine: it is given no answer.
	Lookup(ctx context.Context, mac net.HardwareAddr) (Reservation, bool)
}

// Reserver is what a [Hosts] may implement as well, so that an address reserved for one machine is never lent to another out of the range.
type Reserver interface {
	Reserved(ctx context.Context, ip netip.Addr) bool
}

// Config describes one network. All of it is fixed for the life of a [Server].
type Config struct {
	Mode     Mode
	ServerIP netip.Addr   // option 54: an address of this machine that the clients can reach
	Subnet   netip.Prefix // a client outside of it (by its relay's address) is not ours; a server outside of it answers relayed clients only
	// RangeStart to RangeEnd, both included, at most 65,536 addresses, are lent to known machines without a reserved address. May be zero.
	RangeStart, RangeEnd netip.Addr
	Gateway              netip.Addr // may be zero
	DNS, NTP             []netip.Addr
	LeaseTime            time.Duration // default one hour

	TFTPAddr  netip.Addr                        // default ServerIP
	ScriptURL func(mac net.HardwareAddr) string // what iPXE is told to run
	HTTPBase  string                            // "http://192.0.2.1:6180", for UEFI HTTP boot

	Leases  LeaseStore       // default [NewMemory] with a place for every address of the range
	Observe func(Event)      // called from several goroutines, must not block; may be nil
	Log     *slog.Logger     // default: discarded
	Now     func() time.Time // default time.Now
}

const (
	defaultLease = time.Hour
	maxRange     = 1 << 16
	// offerHold is how long an offered address is kept for the client that has not yet asked for it.
	offerHold = time.Minute
	// declineHold is how long an address stays unused after a client found somebody else using it.
	declineHold = 10 * time.Minute
)

// withDefaults checks the configuration and fills in what may be left out.
func (c Config) withDefaults() (Config, error) {
	if c.Mode == "" {
		c.Mode = ModeDHCP
	}
	if c.LeaseTime == 0 {
		c.LeaseTime = defaultLease
	}
	if !c.TFTPAddr.IsValid() {
		c.TFTPAddr = c.ServerIP
	}
	if c.Observe == nil {
		c.Observe = func(Event) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if err := c.check(); err != nil {
		return Config{}, err
	}
	if c.Leases == nil {
		c.Leases = NewMemory(int(c.rangeSize()))
	}
	return c, nil
}

func (c Config) check() error {
	switch {
	case c.Mode != ModeDHCP && c.Mode != ModeProxy:
		return fmt.Errorf("mode %q: want dhcp or proxy", c.Mode)
	case !c.ServerIP.Is4() || c.ServerIP.IsUnspecified():
		return fmt.Errorf("server address %v: want an IPv4 address", c.ServerIP)
	case !c.TFTPAddr.Is4():
		return fmt.Errorf("tftp address %v: want an IPv4 address", c.TFTPAddr)
	case !c.Subnet.IsValid() || !c.Subnet.Addr().Is4():
		return fmt.Errorf("subnet %v: want an IPv4 prefix", c.Subnet)
	case c.Gateway.IsValid() && !c.Subnet.Contains(c.Gateway):
		return fmt.Errorf("gateway %v is outside of %v", c.Gateway, c.Subnet)
	case c.LeaseTime < time.Minute || c.LeaseTime > 365*24*time.Hour:
		return fmt.Errorf("lease time %v: want a minute to a year", c.LeaseTime)
	case c.ScriptURL == nil:
		return errors.New("no script URL")
	case c.RangeStart.IsValid() != c.RangeEnd.IsValid():
		return errors.New("a range needs both its ends")
	}
	for _, a := range append(append([]netip.Addr{}, c.DNS...), c.NTP...) {
		if !a.Is4() {
			return fmt.Errorf("name or time server %v: want an IPv4 address", a)
		}
	}
	if !c.RangeStart.IsValid() {
		return nil
	}
	switch {
	case !c.Subnet.Contains(c.RangeStart) || !c.Subnet.Contains(c.RangeEnd):
		return fmt.Errorf("range %v to %v is outside of %v", c.RangeStart, c.RangeEnd, c.Subnet)
	case c.RangeEnd.Less(c.RangeStart):
		return fmt.Errorf("range %v to %v ends before it begins", c.RangeStart, c.RangeEnd)
	case c.rangeSize() > maxRange:
		return fmt.Errorf("range %v to %v has more than %d addresses", c.RangeStart, c.RangeEnd, maxRange)
	}
	return nil
}

func (c Config) rangeSize() uint32 {
	if !c.RangeStart.IsValid() {
		return 0
	}
	return number(c.RangeEnd) - number(c.RangeStart) + 1
}

func (c Config) inRange(ip netip.Addr) bool {
	return c.RangeStart.IsValid() && !ip.Less(c.RangeStart) && !c.RangeEnd.Less(ip)
}

// lendable reports whether an address of the range may be lent at all: not the network's own addresses, nor those of its servers.
func (c Config) lendable(ip netip.Addr) bool {
	if !c.inRange(ip) || ip == c.ServerIP || ip == c.Gateway || ip == c.TFTPAddr {
		return false
	}
	for _, a := range append(append([]netip.Addr{}, c.DNS...), c.NTP...) {
		if ip == a {
			return false
		}
	}
	// A /31 (RFC 3021) and a /32 have no network or broadcast address.
	return c.Subnet.Bits() > 30 || ip != c.Subnet.Masked().Addr() && ip != c.broadcast()
}

func (c Config) broadcast() netip.Addr {
	return address(number(c.Subnet.Masked().Addr()) | (1<<(32-c.Subnet.Bits()) - 1))
}
