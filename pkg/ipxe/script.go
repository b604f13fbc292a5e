package ipxe

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// initrdName is the ramdisk's name inside of iPXE. A kernel started through its EFI stub finds the ramdisk by initrd=NAME in its arguments; BIOS ignores it.
const initrdName = "initrd.magic"

// Boot is what a machine is to start.
type Boot struct {
	Kernel, Initrd string // http URLs
	Args           Args   // the kernel's arguments, without initrd=
	// Script is the URL of this very script: after a failure it is fetched and run again, so that the server may have changed its mind.
	Script string
}

// Render writes the script. It never gives up by itself: a machine that was told to boot the agent must not go on to the system on its disk because a packet
// was lost; the server's own time limit ends it by a power cycle.
func (b Boot) Render() ([]byte, error) {
	var errs []error
	for _, u := range []struct{ what, url string }{{"kernel", b.Kernel}, {"initrd", b.Initrd}, {"script", b.Script}} {
		if err := checkURL(u.url); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", u.what, err))
		}
	}
	line := "initrd=" + initrdName
	if args := b.Args.String(); args != "" {
		line += " " + args
	}
	if len(line) > maxLine {
		errs = append(errs, fmt.Errorf("kernel arguments are %d characters long, at most %d are allowed", len(line), maxLine))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("ipxe script: %w", err)
	}
	return []byte(strings.Join([]string{
		"#!ipxe",
		"imgfree",
		"kernel " + b.Kernel + " " + line + " || goto failed",
		"initrd --name " + initrdName + " " + b.Initrd + " || goto failed",
		"boot || goto failed",
		":failed",
		"echo ingot: that did not work, once more in 5 seconds",
		"imgfree",
		"sleep 5",
		"chain --replace --autofree " + b.Script + " || goto failed",
		"",
	}, "\n")), nil
}

// Exit is the script of a machine for which nothing is ordered: on to its own disk.
//
// A BIOS often hangs or starts over when a network boot program returns, so there the first disk is started from here, and iPXE returns only if that fails.
// UEFI goes on to the next boot entry when an entry fails, but may stop at its menu when one succeeds (UEFI 2.10 §3.1.1), so iPXE returns a failure.
func Exit() []byte {
	return []byte(strings.Join([]string{
		"#!ipxe",
		"iseq ${platform} efi && goto efi ||",
		"sanboot --no-describe --drive 0x80 ||",
		"exit 0",
		":efi",
		"exit 1",
		"",
	}, "\n"))
}

// checkURL takes the URLs that iPXE of Debian can fetch and its shell leaves alone.
func checkURL(s string) error {
	if s == "" {
		return errors.New("no URL")
	}
	if strings.Trim(s, valueChars) != "" || len(s) > maxValue {
		return fmt.Errorf("URL %q has characters that are not allowed, or is too long", s)
	}
	u, err := url.Parse(s)
	if err != nil {
		return errors.New("URL does not parse")
	}
	if u.Scheme != "http" || u.Host == "" || u.User != nil {
		return fmt.Errorf("URL of scheme %q and host %q: want http, a host, and no user", u.Scheme, u.Host)
	}
	if _, err := netip.ParseAddr(u.Hostname()); err != nil && strings.Trim(u.Hostname(), keyChars) != "" {
		return fmt.Errorf("host %q is neither a name nor an address", u.Hostname())
	}
	return nil
}
