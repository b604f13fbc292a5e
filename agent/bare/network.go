package bare

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/vishvananda/netlink"

	"github.com/ingot-metal/ingot/agent/inspect"
)

// Bounds of coming up. A switch with spanning tree passes nothing for 30 s.
const (
	nicsAppear = 30 * time.Second
	dhcpLimit  = 3 * time.Minute
)

// Network brings up the interface that booted, or all of them where that is not
// known, and returns with the first address.
func Network(ctx context.Context, mac string, log *slog.Logger) error {
	here := &inspect.Collector{Sys: "/sys"}
	if lo, err := netlink.LinkByName("lo"); err == nil {
		if err := netlink.LinkSetUp(lo); err != nil {
			log.Warn("loopback is down", "err", err)
		}
	}
	wait, cancel := context.WithTimeout(ctx, nicsAppear)
	defer cancel()
	names := WaitFor(wait, func() []string { return ours(here, mac) })
	if len(names) == 0 {
		names = here.Ethernet()
		if len(names) == 0 {
			return errors.New("no network interface: its driver is not in this ramdisk")
		}
		log.Warn("the interface that booted is not there; trying all", "mac", mac, "have", strings.Join(names, " "))
	}
	ctx, stop := context.WithTimeout(ctx, dhcpLimit)
	defer stop()
	found := make(chan error, len(names))
	for _, name := range names {
		go func() { found <- address(ctx, name, log) }()
	}
	var errs []error
	for range names {
		err := <-found
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// ours is the interface with the MAC, or every one if none was named.
func ours(here *inspect.Collector, mac string) (out []string) {
	for _, name := range here.Ethernet() {
		b, err := os.ReadFile("/sys/class/net/" + name + "/address")
		if err == nil && (mac == "" || strings.EqualFold(strings.TrimSpace(string(b)), mac)) {
			out = append(out, name)
		}
	}
	return out
}

// address gets and sets the address of one interface.
func address(ctx context.Context, name string, log *slog.Logger) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(WaitFor(ctx, func() []string { return carrier(name) })) == 0 {
		return fmt.Errorf("%s: no link", name)
	}
	c, err := nclient4.New(name, nclient4.WithTimeout(2*time.Second), nclient4.WithRetry(3))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for {
		lease, err := c.Request(ctx)
		if err == nil {
			if err := apply(link, lease.ACK); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			log.Info("network is up", "interface", name, "mac", link.Attrs().HardwareAddr.String(), "ip", lease.ACK.YourIPAddr.String())
			go keep(c, link, lease, log)
			return nil
		}
		if ctx.Err() != nil {
			return errors.Join(fmt.Errorf("%s: no DHCP server answered: %w", name, err), c.Close())
		}
		log.Info("no DHCP answer yet", "interface", name)
	}
}

func carrier(name string) []string {
	b, err := os.ReadFile("/sys/class/net/" + name + "/carrier")
	if err != nil || strings.TrimSpace(string(b)) != "1" {
		return nil
	}
	return []string{name}
}

func apply(link netlink.Link, ack *dhcpv4.DHCPv4) error {
	mask := ack.SubnetMask()
	if mask == nil {
		mask = ack.YourIPAddr.DefaultMask()
	}
	if ack.YourIPAddr.To4() == nil || ack.YourIPAddr.IsUnspecified() || mask == nil {
		return errors.New("the DHCP answer has no usable address")
	}
	if err := netlink.AddrReplace(link, &netlink.Addr{IPNet: &net.IPNet{IP: ack.YourIPAddr, Mask: mask}}); err != nil {
		return fmt.Errorf("setting the address: %w", err)
	}
	if gw := ack.Router(); len(gw) > 0 {
		if err := netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: gw[0]}); err != nil {
			return fmt.Errorf("setting the route: %w", err)
		}
	}
	return nil
}

// keep renews the lease at half its life (RFC 2131, 4.4.5). A server that is
// away costs nothing: the address stays, and it is asked again.
func keep(c *nclient4.Client, link netlink.Link, lease *nclient4.Lease, log *slog.Logger) {
	for {
		time.Sleep(max(lease.ACK.IPAddressLeaseTime(time.Hour)/2, 10*time.Second))
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		renewed, err := c.Renew(ctx, lease)
		cancel()
		if err != nil {
			log.Warn("the lease was not renewed; keeping the address", "err", err)
			continue
		}
		lease = renewed
		if err := apply(link, lease.ACK); err != nil {
			log.Warn("the renewed lease was not applied", "err", err)
		}
	}
}
