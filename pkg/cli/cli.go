package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// Stdio is where a command reads and writes. Terminal says that a person sits at
// In and Out: progress is drawn and questions are asked.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
	Terminal bool
}

// System is the process's own.
func System() Stdio {
	return Stdio{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Terminal: term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd())),
	}
}

// App is what every command is made with.
type App struct {
	Stdio
	Env       func(string) string
	Now       func() time.Time
	root      bool // the user is root
	config    string
	namespace string
	running   bool // the arguments were understood
}

// Command makes a verb that is not of this package, such as serve.
type Command func(*App) *cobra.Command

// Run carries out one command line, without the program's name, and returns the
// exit code: 0 done, 1 failed, 2 wrong usage. Errors are printed.
func Run(ctx context.Context, args []string, env func(string) string, stdio Stdio, more ...Command) int {
	a := &App{Stdio: stdio, Env: env, Now: time.Now, root: os.Geteuid() == 0}
	root := a.Root(more...)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage), !a.running:
		fmt.Fprintf(a.Err, "ingot: %v\nsee: ingot --help, or ingot VERB --help\n", err)
		return exitUsage
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(a.Err, "ingot: interrupted")
		return exitFailed
	}
	fmt.Fprintf(a.Err, "ingot: %v\n", a.advise(err))
	return exitFailed
}

// Root is the command tree.
func (a *App) Root(more ...Command) *cobra.Command {
	root := &cobra.Command{
		Use:   "ingot",
		Short: "Provision bare metal: from a rack list to running operating systems",
		Example: `  ingot serve                          # start the service (see also: ingot lab up)
  ingot enroll rack.csv                # tell it about machines
  ingot hosts --watch                  # see them become available
  ingot provision w1 --image debian.qcow2 --ssh-key ~/.ssh/id_ed25519.pub --wait
  ingot explain w1                     # why does it not move?
  ingot console w1                     # what does its screen say?`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			a.running = true
			return FromEnvironment(cmd.Flags(), a.Env)
		},
	}
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	flags := root.PersistentFlags()
	flags.StringVar(&a.config, "kubeconfig", "", "kubeconfig of the API (default: $KUBECONFIG, then the one in ingot's data directory, then ~/.kube/config)")
	flags.StringVarP(&a.namespace, "namespace", "n", "", "namespace of the hosts (default: the kubeconfig's, else default)")
	root.AddCommand(
		a.enrollCommand(), a.importCommand(), a.hostsCommand(), a.inventoryCommand(), a.explainCommand(), a.consoleCommand(), a.powerCommand(),
		a.provisionCommand(), a.deprovisionCommand(), a.bmcCommand(), a.versionCommand(),
	)
	for _, c := range more {
		root.AddCommand(c(a))
	}
	return root
}

// FromEnvironment takes the flags that the command line does not name from their
// variables: --data-dir is INGOT_DATA_DIR. The API's is KUBECONFIG.
func FromEnvironment(f *pflag.FlagSet, env func(string) string) error {
	var err error
	f.VisitAll(func(fl *pflag.Flag) {
		name := "INGOT_" + strings.ToUpper(strings.ReplaceAll(fl.Name, "-", "_"))
		v := env(name)
		if fl.Changed || v == "" || err != nil || fl.Name == "kubeconfig" || fl.Name == "help" {
			return
		}
		if e := f.Set(fl.Name, v); e != nil {
			err = Usage("%s=%q: %v", name, v, e)
		}
	})
	return err
}

// usageError is wrong usage: exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Usage makes an error of wrong usage.
func Usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// oneHost and someHosts are the arguments of verbs about hosts.
func oneHost(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return Usage("name one host; ingot hosts lists them")
	}
	return nil
}

func someHosts(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return Usage("name one host or more; ingot hosts lists them")
	}
	return nil
}
