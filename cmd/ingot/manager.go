package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/ingot-metal/ingot/pkg/cli"
	"github.com/ingot-metal/ingot/pkg/serve"
)

func managerCommand(a *cli.App) *cobra.Command {
	s := &settings{}
	m := &metal3Flags{}
	cmd := &cobra.Command{
		Use:   "manager",
		Short: "Run the controllers and doors against a cluster",
		Long: `Run the same controllers and doors as ingot serve against a Kubernetes API that is
there already: the one that --kubeconfig names, or the cluster that this runs in.
With --namespace, hosts of those namespaces alone are seen, separated by commas.

Flags and variables of Metal3's baremetal-operator are taken where they mean
something here: docs/reference/metal3.md.`,
		Example: `  ingot manager --kubeconfig ~/.kube/config
  ingot manager --kubeconfig admin.conf --leader-elect=false --health-address 0`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			left, err := m.before(cmd.Flags(), os.Environ(), s)
			if err != nil {
				return err
			}
			if err := s.complete(a, cmd); err != nil {
				return err
			}
			if err := m.apply(cmd.Flags(), s); err != nil {
				return err
			}
			if err := s.Webhook.Check(); err != nil {
				return cli.Usage("%v", err)
			}
			for _, text := range left {
				s.Log.Warn(text)
			}
			cfg, _, err := a.Config()
			if err != nil {
				return err
			}
			s.REST, s.APIAddress = cfg, cfg.Host
			return serve.Run(cmd.Context(), s.Config)
		},
	}
	s.flags(cmd.Flags(), a.DataDir())
	cmd.Flags().StringVar(&s.Webhook.Service, "webhook-service", "", "namespace/name of the Service, port 443, behind which the API finds the admission webhooks; empty: none are served")
	cmd.Flags().StringVar(&s.Webhook.URL, "webhook-url", "", "https://host:port at which the API finds the admission webhooks, instead of a Service")
	cmd.Flags().StringVar(&s.Webhook.Address, "webhook-address", ":9443", "address of the admission webhooks")
	cmd.Flags().BoolVar(&s.LeaderElection, "leader-elect", true, "wait until no other manager leads")
	m.register(cmd.Flags())
	return cmd
}
