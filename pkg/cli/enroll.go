package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/enroll"
)

func (a *App) enrollCommand() *cobra.Command {
	var yes, skipBad bool
	c := &cobra.Command{
		Use:   "enroll FILE.csv|yaml|json",
		Short: "Add or change hosts from a list of a rack",
		Long: `Add or change hosts from a list: CSV, YAML or JSON with the columns
  ` + strings.Join(enroll.Columns(), ",") + `
in any order; any other column becomes a label. YAML and JSON may also hold
BareMetalHost and Secret manifests. What would change is shown first, checked by
the API, and applied with --yes or after a typed yes.`,
		Example: `  ingot enroll rack.csv            # shows what would change, and asks
  ingot enroll rack.csv --yes
  ingot enroll rack.csv --skip-bad # the good lines, although others are bad

  $ cat rack.csv
  name,address,username,password,mac,rack,unit
  w1,redfish://10.0.0.3/redfish/v1/Systems/1,admin,…,52:54:00:12:34:56,r1,7`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return Usage("name one file that ends in .csv, .yaml or .json")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.enroll(cmd.Context(), args[0], yes, skipBad)
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "apply without asking")
	c.Flags().BoolVar(&skipBad, "skip-bad", false, "apply the good lines although others are bad")
	return c
}

func (a *App) enroll(ctx context.Context, path string, yes, skipBad bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, namespace, err := a.Config()
	if err != nil {
		return err
	}
	set, err := enroll.Parse(path, f, enroll.Options{Namespace: namespace, Address: bmcAddress})
	if err != nil {
		return err
	}
	if n := len(set.Problems); n > 0 {
		fmt.Fprintln(a.Err, set.Problems.Error())
		if !skipBad {
			return fmt.Errorf("%s has %d problems, nothing was changed: correct them, or use --skip-bad to go on with the %d good hosts", path, n, set.Hosts())
		}
	}
	if len(set.Objects) == 0 {
		return errors.New(path + " has no good line")
	}
	c, err := a.connect()
	if err != nil {
		return err
	}
	diff, err := enroll.Plan(ctx, c, set.Objects)
	if err != nil {
		return err
	}
	if err := diff.Write(a.Out); err != nil {
		return err
	}
	if n := diff.Count(enroll.Refused); n > 0 && !skipBad {
		return fmt.Errorf("the API refuses %d objects, nothing was changed: correct them, or use --skip-bad to go on with the others", n)
	}
	if !diff.Pending() {
		return nil
	}
	if !yes {
		if !a.Terminal {
			fmt.Fprintln(a.Err, "Nothing was changed. Apply it with --yes.")
			return nil
		}
		if ok, err := a.ask("Apply? Type yes: "); !ok || err != nil {
			return err
		}
	}
	done := 0
	err = diff.Apply(ctx, c, func(enroll.Change) { done++ })
	fmt.Fprintf(a.Out, "applied %d of %d\n", done, diff.Count(enroll.Create, enroll.Update))
	if err == nil {
		fmt.Fprintln(a.Err, "See them with: ingot hosts --watch")
	}
	return err
}

// bmcAddress checks an address and returns its full form.
func bmcAddress(s string) (string, error) {
	address, err := bmc.ParseAddress(s)
	if err != nil {
		return "", err
	}
	return address.String(), nil
}

// ask answers whether a person typed yes.
func (a *App) ask(question string) (bool, error) {
	fmt.Fprint(a.Err, question)
	answer, err := bufio.NewReader(io.LimitReader(a.In, 1024)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if strings.TrimSpace(answer) != "yes" {
		fmt.Fprintln(a.Err, "Nothing was changed.")
		return false, nil
	}
	return true, nil
}
