// Package dhcp answers the DHCP of machines that ingot knows, tells each firmware where its loader is, and stays silent to all others.
//
// A [Server] is handed its sockets ([Server.Serve] takes any [net.PacketConn]: a kernel socket of [Listen], or one of a userspace network stack) and asks
// two things of its owner: who a machine is ([Hosts]) and where leases are kept ([LeaseStore]). It knows nothing of Kubernetes, TFTP or HTTP beyond the
// names it hands out.
//
// What it speaks: RFC 2131 and 2132 (DISCOVER, REQUEST in its four states, DECLINE, RELEASE, INFORM), relays (giaddr, option 82 echoed, link selection of
// RFC 3527), RFC 4578 and PXE 2.1 (options 43, 60, 93, 97, the boot server's port 4011), UEFI 2.10 §24.7 HTTP boot, and iPXE's option 175.
//
//	client                        how it is told apart        what it is given
//	iPXE                          option 77 "iPXE", or 175    its script's URL
//	UEFI HTTP boot, x86-64        60 HTTPClient, arch 16      URL of ipxe.efi
//	UEFI PXE, x86-64              60 PXEClient, arch 7 or 9   snponly.efi by TFTP
//	BIOS PXE                      60 PXEClient, arch 0        undionly.kpxe by TFTP
//	another architecture          any other arch              an address only, event [WrongArch]
//	an operating system           none of these               an address only
//
// In [ModeProxy] another server gives the addresses, and only boot options are handed out.
//
// Everything seen is reported as an [Event], among them the answers of other servers: give Serve a socket on which those are seen as well
// ([ListenReplies], or any socket bound to port 68) and their address and MAC are known.
package dhcp
