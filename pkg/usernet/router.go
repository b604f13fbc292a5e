package usernet

import (
	"encoding/binary"
)

const (
	etherIPv6  = 0x86dd
	ipv6Header = 40
	protoICMP6 = 58
	ndHopLimit = 255 // RFC 4861 §6.1: anything else has crossed a router
	ndSolicit  = 133 // RFC 4861 §4.1
	ndAdvert   = 134 // RFC 4861 §4.2
	advertLen  = 16
)

// advertise answers an IPv6 router solicitation with an advertisement that says
// "no router, no DHCPv6 here": lifetime 0, neither the M nor the O flag, no
// prefix. Without one iPXE's netdev_link wait goes on for 16 seconds before it
// turns to IPv4.
func advertise(f []byte, mac [6]byte) (answer []byte, ok bool) {
	const eth = 14
	if len(f) < eth+ipv6Header+8 || binary.BigEndian.Uint16(f[12:]) != etherIPv6 {
		return nil, false
	}
	ip := f[eth:]
	if ip[0]>>4 != 6 || ip[6] != protoICMP6 || ip[7] != ndHopLimit ||
		ip[ipv6Header] != ndSolicit || ip[ipv6Header+1] != 0 {
		return nil, false
	}
	asker, src := f[6:12], ip[8:24]
	if asker[0]&1 != 0 || src[0] == 0xff {
		return nil, false
	}

	answer = make([]byte, eth+ipv6Header+advertLen)
	copy(answer[6:], mac[:])
	binary.BigEndian.PutUint16(answer[12:], etherIPv6)
	out := answer[eth:]
	out[0] = 6 << 4
	binary.BigEndian.PutUint16(out[4:], advertLen)
	out[6], out[7] = protoICMP6, ndHopLimit
	self := linkLocal(mac)
	copy(out[8:], self[:])
	// RFC 4861 §6.2.6: to the asker, or to all nodes if it has no address yet.
	if [16]byte(src) == ([16]byte{}) {
		copy(answer, []byte{0x33, 0x33, 0, 0, 0, 1})
		out[24], out[25], out[39] = 0xff, 0x02, 1
	} else {
		copy(answer, asker)
		copy(out[24:], src)
	}
	body := out[ipv6Header:]
	body[0] = ndAdvert // all else is zero
	binary.BigEndian.PutUint16(body[2:], icmp6Checksum(out))
	return answer, true
}

// linkLocal is the address of RFC 4291 appendix A for a MAC address.
func linkLocal(mac [6]byte) [16]byte {
	return [16]byte{
		0xfe, 0x80, 8: mac[0] ^ 2, 9: mac[1], 10: mac[2], 11: 0xff,
		12: 0xfe, 13: mac[3], 14: mac[4], 15: mac[5],
	}
}

// icmp6Checksum is that of RFC 4443 §2.3, over the pseudo-header of RFC 8200
// §8.1. The checksum field of the packet is zero.
func icmp6Checksum(ip []byte) uint16 {
	sum := uint32(len(ip)-ipv6Header) + protoICMP6
	for b := ip[8:]; len(b) >= 2; b = b[2:] { // addresses, then the message: of even length
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
