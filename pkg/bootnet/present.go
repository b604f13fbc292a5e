package bootnet

import (
	"fmt"
	"net"
	"os"
	"strings"
)

// Present is why a network cannot be served from here: its interface is not this
// machine's, or its address not that interface's. Nil: it can.
func Present(n Network) error {
	if path, ok := strings.CutPrefix(n.Interface, userspace); ok {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("there is no lab's switch: %w", err)
		}
		return nil
	}
	i, err := net.InterfaceByName(n.Interface)
	if err != nil {
		return fmt.Errorf("interface %s: %w", n.Interface, err)
	}
	addrs, err := i.Addrs()
	if err != nil {
		return fmt.Errorf("interface %s: %w", n.Interface, err)
	}
	for _, a := range addrs {
		if own, ok := a.(*net.IPNet); ok && own.IP.Equal(n.Addr.Addr().AsSlice()) {
			return nil
		}
	}
	return fmt.Errorf("interface %s does not have the address %s", n.Interface, n.Addr.Addr())
}
