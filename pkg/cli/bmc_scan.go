package cli

import (
	"context"
	"encoding/csv"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/scan"
	"github.com/ingot-metal/ingot/pkg/enroll"
)

func (a *App) bmcScanCommand() *cobra.Command {
	var o scan.Options
	var secret string
	c := &cobra.Command{
		Use:   "scan CIDR",
		Short: "Find BMCs in an address range, as a list that ingot enroll takes",
		Long: `Find BMCs in an address range, and print them as CSV with the columns that
ingot enroll takes, and the column model, which becomes a label.

Each address is asked for the Redfish service root and for IPMI, which every BMC
gives to anybody; no credentials are sent. With --try-factory the account that
the maker documents is tried, once for each BMC that says who made it: it goes to
whoever answers there, and its password is printed into the list.

The range may have 65536 addresses, and be private unless --public is given: scan
only networks that are yours. An interruption prints what was found until then.`,
		Example: `  ingot bmc scan 10.0.0.0/24 --secret bmc > rack.csv   # all with the Secret bmc
  ingot bmc scan 10.0.0.0/24 --port 443,8000           # also sushy-tools
  ingot bmc scan 10.0.0.0/24 --try-factory > rack.csv && ingot enroll rack.csv`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return Usage("name one range, like 10.0.0.0/24")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.bmcScan(cmd.Context(), args[0], secret, o)
		},
	}
	f := c.Flags()
	f.IntSliceVar(&o.Ports, "port", []int{443}, "ports to ask for Redfish; others than 443 may be plain HTTP")
	f.IntVar(&o.IPMIPort, "ipmi-port", 623, "port to ask for IPMI; -1: none")
	f.IntVar(&o.Rate, "rate", 100, "addresses a second")
	f.IntVar(&o.Concurrency, "concurrency", 256, "addresses at a time")
	f.DurationVar(&o.Timeout, "timeout", 2*time.Second, "time for an answer")
	f.BoolVar(&o.Public, "public", false, "scan addresses that are not private")
	f.BoolVar(&o.Factory, "try-factory", false, "try the maker's documented account, once for each BMC")
	f.StringVar(&secret, "secret", "", "Secret that holds the credentials of those that --try-factory did not open")
	return c
}

func (a *App) bmcScan(ctx context.Context, prefix, secret string, o scan.Options) error {
	p, err := parsePrefix(prefix)
	if err != nil {
		return err
	}
	for _, port := range append([]int{max(o.IPMIPort, 1)}, o.Ports...) {
		if port < 1 || port > 65535 {
			return Usage("port %d is not between 1 and 65535", port)
		}
	}
	if o.Rate < 1 || o.Concurrency < 1 || o.Concurrency > 4096 || o.Timeout <= 0 {
		return Usage("--rate and --timeout must be more than 0, --concurrency between 1 and 4096")
	}
	if _, err := scan.Range(p, o.Public); err != nil {
		return usageError{fmt.Errorf("%w (--public)", err)}
	}
	// The list may go to a file while a person watches.
	draw := isTerminal(a.Err)
	if draw {
		o.Progress = func(done, total, found int) {
			fmt.Fprintf(a.Err, "\r%d of %d addresses, %d found ", done, total, found)
		}
	}
	found, err := scan.Run(ctx, p, o)
	if draw {
		fmt.Fprintln(a.Err)
	}
	if err != nil && ctx.Err() == nil {
		return err
	}
	if writeErr := a.writeFound(found, secret); writeErr != nil {
		return writeErr
	}
	return err
}

// parsePrefix takes one address as well.
func parsePrefix(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, Usage("%q is no range: write it like 10.0.0.0/24", s)
	}
	return p, nil
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// writeFound prints the list, and what is missing from it to stderr.
func (a *App) writeFound(found []scan.Found, secret string) error {
	if len(found) == 0 {
		fmt.Fprintln(a.Err, "No BMC answered. Is IPMI over LAN or Redfish switched on, and a firewall in between?")
		return nil
	}
	w := csv.NewWriter(a.Out)
	if err := w.Write(append(enroll.Columns(), "model")); err != nil {
		return err
	}
	missing := 0
	for _, f := range found {
		for _, r := range rows(f, secret) {
			if r["username"] == "" && r["secret"] == "" {
				missing++
			}
			var line []string
			for _, column := range append(enroll.Columns(), "model") {
				line = append(line, r[column])
			}
			if err := w.Write(line); err != nil {
				return err
			}
		}
	}
	w.Flush()
	if missing > 0 {
		fmt.Fprintf(a.Err, "Lines without credentials: %d. Fill in username and password, or name a Secret with --secret.\n", missing)
	}
	return w.Error()
}

// rows are the lines of one BMC: one for each machine behind it, as far as that
// is known.
func rows(f scan.Found, secret string) []map[string]string {
	name := "bmc-" + strings.NewReplacer(".", "-", ":", "-").Replace(f.Addr.StringExpanded())
	row := map[string]string{"name": name, "address": foundAddress(f, ""), "secret": secret}
	if f.Service != nil {
		row["model"] = label(f.Service.Vendor + " " + f.Service.Product)
	}
	if f.Login == nil || f.Login.Outcome != scan.Accepted {
		return []map[string]string{row}
	}
	row["username"], row["password"], row["secret"] = f.Login.Account.Username, f.Login.Account.Password, ""
	var out []map[string]string
	for i, s := range f.Login.Systems {
		r := map[string]string{}
		for k, v := range row {
			r[k] = v
		}
		if r["address"] = foundAddress(f, s.URI); len(f.Login.Systems) > 1 {
			r["name"] = name + "-" + strconv.Itoa(i+1)
		}
		if model := label(s.Manufacturer + " " + s.Model); model != "" {
			r["model"] = model
		}
		out = append(out, r)
	}
	if out == nil {
		return []map[string]string{row}
	}
	return out
}

// foundAddress is the BMC's address, without the port where it is the scheme's
// own.
func foundAddress(f scan.Found, system string) string {
	host := f.Addr.String()
	if f.Addr.Is6() {
		host = "[" + host + "]"
	}
	scheme, own, port := bmc.ProtocolIPMI+"://", 623, f.IPMI
	if f.Service != nil {
		port = f.Service.Port
		if scheme, own = "redfish://", 443; !f.Service.TLS {
			scheme, own = "redfish+http://", 80
		}
	}
	if port != own {
		host += ":" + strconv.Itoa(port)
	}
	return scheme + host + system
}

// label makes a label's value of what a BMC says.
func label(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_':
			return r
		}
		return '-'
	}, strings.Join(strings.Fields(s), " "))
	return strings.Trim(s[:min(len(s), 63)], "-._")
}
