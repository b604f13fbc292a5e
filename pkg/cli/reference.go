package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// walk visits every command that a person may type, in the order of the help.
func walk(c *cobra.Command, visit func(*cobra.Command)) {
	visit(c)
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" && sub.Name() != "completion" {
			walk(sub, visit)
		}
	}
}

// Reference is docs/reference/cli.md: every verb with its flags and examples.
func Reference(root *cobra.Command) []byte {
	var b strings.Builder
	b.WriteString("# The command line\n\n" +
		"Written by `go test ./pkg/cli -run Reference -update`; do not edit.\n\n" +
		"A verb finds the API by `--kubeconfig`, then `KUBECONFIG`, then the `kubeconfig` in ingot's data directory " +
		"(`INGOT_DATA_DIR`, else `/var/lib/ingot` for root, else `$XDG_STATE_HOME/ingot`), then `~/.kube/config`. " +
		"Every flag but `--kubeconfig` has a variable: `--output` is `INGOT_OUTPUT`. " +
		"Exit codes: 0 done, 1 failed, 2 wrong usage.\n")
	walk(root, func(c *cobra.Command) {
		text := c.Long
		if text == "" {
			text = c.Short + "."
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n```\n%s\n```\n", c.CommandPath(), text, strings.TrimRight(c.Example, "\n"))
		flags := c.NonInheritedFlags()
		if flags.HasAvailableFlags() {
			fmt.Fprintf(&b, "\n```\n%s```\n", flags.FlagUsages())
		}
	})
	return []byte(b.String())
}
