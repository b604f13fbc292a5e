package dhcp

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
)

// MAC is an Ethernet address as a map's key.
type MAC [6]byte

// HardwareAddr returns the address in the standard library's form.
func (m MAC) HardwareAddr() net.HardwareAddr { return net.HardwareAddr(m[:]) }

func (m MAC) String() string { return m.HardwareAddr().String() }

// macOf takes an address from a packet: six bytes, not a group's, not all zero.
func macOf(hw net.HardwareAddr) (MAC, error) {
	if len(hw) != 6 {
		return MAC{}, fmt.Errorf("hardware address of %d bytes", len(hw))
	}
	m := MAC(hw)
	if m == (MAC{}) || m[0]&1 == 1 {
		return MAC{}, fmt.Errorf("hardware address %v is no station's", hw)
	}
	return m, nil
}

func number(ip netip.Addr) uint32 {
	b := ip.As4()
	return binary.BigEndian.Uint32(b[:])
}

func address(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}

// addrOf turns a packet's field into an address; the zero Addr stands for none and for 0.0.0.0.
func addrOf(ip net.IP) netip.Addr {
	a, ok := netip.AddrFromSlice(ip.To4())
	if !ok || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

func ipOf(a netip.Addr) net.IP {
	if !a.IsValid() {
		return net.IPv4zero
	}
	return net.IP(a.AsSlice())
}

func ipsOf(as []netip.Addr) []net.IP {
	out := make([]net.IP, len(as))
	for i, a := range as {
		out[i] = ipOf(a)
	}
	return out
}
