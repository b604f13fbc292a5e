package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Listen opens a kernel socket for DHCP on one interface: bound to it, able to broadcast, and to nobody else's port. It sets no SO_REUSEPORT: with it a
// second server on this machine would silently get half of the relayed packets. It needs CAP_NET_BIND_SERVICE.
func Listen(ctx context.Context, ifname string, port int) (net.PacketConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) {
			failed = errors.Join(
				unix.BindToDevice(int(fd), ifname),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1),
			)
		})
		return errors.Join(err, failed)
	}}
	conn, err := lc.ListenPacket(ctx, "udp4", ":"+strconv.Itoa(port))
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return nil, fmt.Errorf("port %d on %s is held by another DHCP server of this machine: %w", port, ifname, err)
	case err != nil:
		return nil, fmt.Errorf("listen for DHCP on %s: %w", ifname, err)
	}
	return conn, nil
}
