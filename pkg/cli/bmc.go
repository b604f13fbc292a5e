package cli

import (
	"github.com/spf13/cobra"
)

// bmcCommand is the verbs that talk to BMCs themselves, without an API.
func (a *App) bmcCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "bmc",
		Short: "Find BMCs, and check one against what ingot needs of it",
		Long: `Find BMCs, and check one against what ingot needs of it. These verbs need no
running ingot: they talk to the BMCs themselves, from where you are.`,
		Example: `  ingot bmc scan 10.0.0.0/24 > rack.csv
  ingot bmc check redfish://10.0.0.3 --username admin`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return Usage("bmc what? scan or check; see ingot bmc --help")
		},
	}
	c.AddCommand(a.bmcScanCommand(), a.bmcCheckCommand())
	return c
}
