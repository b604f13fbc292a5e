package labnet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// ErrRoot is returned where the kernel's networking wants root.
var ErrRoot = errors.New("a bridge with TAP devices needs root: run as root, or use the switch, which needs none")

// interfaceName is what the kernel takes (IFNAMSIZ less one) and no option of
// ip(8) looks like.
var interfaceName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,14}$`)

// BridgeConfig names the parts of a bridge.
type BridgeConfig struct {
	Namespace string       // network namespace to make, and to remove with all in it
	Name      string       // the bridge in it; empty: br0
	Addr      netip.Prefix // the bridge's address
	Taps      []string     // TAP devices to make, one per NIC
	IP        string       // path of ip(8); empty: found in PATH
}

// Bridge is a network namespace with a bridge and TAP devices in it.
type Bridge struct {
	cfg BridgeConfig
}

// NewBridge makes the namespace, the bridge and the TAPs. On error nothing
// remains. A namespace of that name that exists is an error: it may be in use.
func NewBridge(ctx context.Context, cfg BridgeConfig) (*Bridge, error) {
	if cfg.Name == "" {
		cfg.Name = "br0"
	}
	if cfg.IP == "" {
		cfg.IP = "ip"
	}
	for _, name := range append([]string{cfg.Namespace, cfg.Name}, cfg.Taps...) {
		if !interfaceName.MatchString(name) {
			return nil, fmt.Errorf("bridge: %q is no name for an interface or namespace", name)
		}
	}
	if !cfg.Addr.IsValid() {
		return nil, errors.New("bridge: no address")
	}
	if os.Geteuid() != 0 {
		return nil, ErrRoot
	}
	b := &Bridge{cfg: cfg}
	if err := b.ip(ctx, "netns", "add", cfg.Namespace); err != nil {
		return nil, err
	}
	steps := [][]string{
		{"link", "set", "lo", "up"},
		// No spanning tree and no delay: a machine's first DHCP request counts.
		{"link", "add", cfg.Name, "type", "bridge", "stp_state", "0", "forward_delay", "0"},
		{"addr", "add", cfg.Addr.String(), "dev", cfg.Name},
		{"link", "set", cfg.Name, "up"},
	}
	for _, tap := range cfg.Taps {
		steps = append(steps,
			[]string{"tuntap", "add", tap, "mode", "tap"},
			[]string{"link", "set", tap, "master", cfg.Name, "up"})
	}
	for _, step := range steps {
		if err := b.ip(ctx, append([]string{"-n", cfg.Namespace}, step...)...); err != nil {
			return nil, errors.Join(err, b.Close())
		}
	}
	return b, nil
}

// Namespace is the network namespace that holds everything.
func (b *Bridge) Namespace() string { return b.cfg.Namespace }

// Addr is the bridge's address.
func (b *Bridge) Addr() netip.Prefix { return b.cfg.Addr }

// Taps are the names of the TAP devices, as configured.
func (b *Bridge) Taps() []string { return b.cfg.Taps }

// Command returns argv as it runs within the namespace. ip(8) replaces itself
// by the command, so that the process id is the command's own.
func (b *Bridge) Command(argv ...string) []string {
	return append([]string{b.cfg.IP, "netns", "exec", b.cfg.Namespace}, argv...)
}

// Close removes the namespace. The kernel removes the bridge and the TAPs with
// it, once no process is left inside: stop machines and servers first.
func (b *Bridge) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return b.ip(ctx, "netns", "del", b.cfg.Namespace)
}

func (b *Bridge) ip(ctx context.Context, args ...string) error {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, b.cfg.IP, args...)
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return nil
}
