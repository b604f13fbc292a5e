package cli

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/bmctest"
	"github.com/ingot-metal/ingot/pkg/bmc/open"
	"github.com/ingot-metal/ingot/pkg/explain"
)

// bmcCheckFlags are the flags of ingot bmc check.
type bmcCheckFlags struct {
	username, passwordFile, ca, extras string
	insecure, write, yes, redact       bool
	timeout                            time.Duration
	out                                output
}

func (a *App) bmcCheckCommand() *cobra.Command {
	o := bmcCheckFlags{out: output{formats: []string{"table", "json", "markdown"}}}
	c := &cobra.Command{
		Use:   "check ADDRESS",
		Short: "Check a BMC against what ingot needs of it, and report",
		Long: `Check a BMC against what ingot needs of it: which capabilities it has, what it
says of itself, which quirks ingot knows of it, and what does not work. The report
is for you and for a bug: it holds no credentials, and with --redact nothing that
names the machine.

Nothing is changed unless --write is given, which sets boot overrides and switches
the machine off and on several times, and puts both back.

The password comes from --password-file, from INGOT_BMC_PASSWORD, or is asked for.`,
		Example: `  ingot bmc check redfish://10.0.0.3 --username admin
  ingot bmc check ipmi://10.0.0.4 --username ADMIN --password-file pass
  ingot bmc check redfish://10.0.0.3 --username admin --redact -o markdown > report.md
  ingot bmc check redfish://10.0.0.3 --username admin --write    # a machine that nobody needs`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return Usage("name one BMC, like redfish://10.0.0.3 or ipmi://10.0.0.4")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.bmcCheck(cmd.Context(), args[0], &o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.username, "username", "", "account of the BMC (default: $INGOT_BMC_USERNAME)")
	f.StringVar(&o.passwordFile, "password-file", "", "file that holds the password (default: $INGOT_BMC_PASSWORD, else it is asked for)")
	f.StringVar(&o.ca, "ca", "", "PEM file of the certificate authority of the BMC")
	f.BoolVar(&o.insecure, "insecure", false, "accept any certificate of the BMC")
	f.StringVar(&o.extras, "extras", "", "speak to the BMC as this provider does: amt or asrockrack (docs/reference/vendor-extras.md)")
	f.BoolVar(&o.write, "write", false, "also set boot overrides and switch the machine off and on")
	f.BoolVarP(&o.yes, "yes", "y", false, "with --write: do not ask")
	f.BoolVar(&o.redact, "redact", false, "leave out address, serial number, UUID and MAC addresses")
	f.DurationVar(&o.timeout, "timeout", time.Minute, "time for each reading")
	f.StringVarP(&o.out.format, "output", "o", "table", "table, json or markdown")
	return c
}

func (a *App) bmcCheck(ctx context.Context, address string, o *bmcCheckFlags) error {
	if err := o.out.check(); err != nil {
		return err
	}
	if o.timeout <= 0 {
		return Usage("--timeout must be more than 0")
	}
	addr, err := bmc.ParseAddress(address)
	if err != nil {
		return usageError{err}
	}
	opts, err := openOptions(o.ca, o.insecure)
	if err != nil {
		return err
	}
	opts.Extras = o.extras
	creds, err := a.bmcCredentials(o.username, o.passwordFile)
	if err != nil {
		return err
	}
	if o.write && !o.yes {
		if !a.Terminal {
			return Usage("--write switches the machine off and on: say --yes where nobody can be asked")
		}
		question := fmt.Sprintf("This switches the machine at %s off and on several times and ends what runs on it. Type yes: ", addr.Host)
		if ok, err := a.ask(question); !ok || err != nil {
			return err
		}
	}
	conn, err := open.Open(ctx, addr.String(), creds, opts)
	if err != nil {
		return checkLogin(ctx, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()

	report := newBMCReport(conn, addr, a.Now())
	each := func(bmctest.Result) {}
	if isTerminal(a.Err) {
		each = func(r bmctest.Result) { fmt.Fprintf(a.Err, "\r\x1b[K%s: %s %s", r.Capability, r.Check, r.Outcome) }
	}
	results := bmctest.Run(ctx, conn, bmctest.Options{Write: o.write, Timeout: o.timeout, Each: each})
	if isTerminal(a.Err) {
		fmt.Fprint(a.Err, "\r\x1b[K")
	}
	report.identify(ctx, conn, o.timeout)
	report.add(results)
	report.clean(creds, addr, o.redact)
	if err := report.print(a.Out, o.out.format); err != nil {
		return err
	}
	switch failed := report.count(bmctest.Failed); {
	case ctx.Err() != nil:
		return ctx.Err()
	case failed > 0:
		return fmt.Errorf("%d of %d checks failed: report it with ingot bmc check … --redact -o markdown", failed, len(results))
	}
	return nil
}

func openOptions(ca string, insecure bool) (open.Options, error) {
	o := open.Options{Insecure: insecure}
	if ca == "" {
		return o, nil
	}
	if insecure {
		return o, Usage("--ca and --insecure exclude each other")
	}
	text, err := os.ReadFile(ca)
	if err != nil {
		return o, err
	}
	o.RootCAs = x509.NewCertPool()
	if !o.RootCAs.AppendCertsFromPEM(text) {
		return o, fmt.Errorf("%s holds no certificate in PEM", ca)
	}
	return o, nil
}

// checkLogin says what a login that failed means. The error is a new one: what
// the root command advises of errors of the network is about the API.
func checkLogin(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	text := err.Error()
	var e *bmc.Error
	if errors.As(err, &e) {
		if d, ok := explain.Lookup(e.Code); ok {
			text += "\n" + d.Code + ": " + d.Cause
		}
		if e.Class == bmc.TLSIdentity {
			text += "\ngive the certificate authority of the BMC with --ca, or accept any certificate with --insecure"
		}
	}
	return errors.New(text)
}
