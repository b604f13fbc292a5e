package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ingot-metal/ingot/pkg/cli"
	"github.com/ingot-metal/ingot/pkg/kubeapi"
	"github.com/ingot-metal/ingot/pkg/serve"
)

func serveCommand(a *cli.App) *cobra.Command {
	s := &settings{}
	var apiAddress string
	var noFsync bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run everything in one process, with a Kubernetes API of its own",
		Long: `Run everything in one process: an embedded Kubernetes API, the controllers, the
boot servers, the agents' door and the REST root. No root is needed: DHCP and TFTP
are off until a ProvisioningNetwork names an interface.

When all doors answer, one line that begins with "ingot is ready" is printed.`,
		Example: `  ingot serve
  ingot serve --data-dir /tmp/a --api-address 127.0.0.1:0 --http-address 127.0.0.1:0
  kubectl --kubeconfig ~/.local/state/ingot/kubeconfig get baremetalhosts`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.complete(a, cmd); err != nil {
				return err
			}
			limitMemory(cmd.Context(), a.Env)
			return runServe(cmd.Context(), s, apiAddress, noFsync)
		},
	}
	s.flags(cmd.Flags(), a.DataDir())
	cmd.Flags().StringVar(&apiAddress, "api-address", "127.0.0.1:6443", "address of the embedded Kubernetes API")
	cmd.Flags().BoolVar(&noFsync, "no-fsync", false, "do not wait for the disk: faster, and a power cut loses data (tests)")
	return cmd
}

func runServe(ctx context.Context, s *settings, apiAddress string, noFsync bool) error {
	kubeapi.RouteLogs(s.Log)
	api, err := kubeapi.Start(ctx, kubeapi.Options{DataDir: s.DataDir, Address: apiAddress, NoFsync: noFsync, Log: s.Log})
	if err != nil {
		return err
	}
	s.REST, s.Embedded, s.APIAddress = api.RESTConfig(), true, api.RESTConfig().Host
	if s.ClientCA, err = parseCert(api.CA()); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		<-api.Done()
		cancel(errors.New("the embedded Kubernetes API ended"))
	}()
	err = serve.Run(ctx, s.Config)
	stop, done := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer done()
	return errors.Join(err, api.Stop(stop))
}

func parseCert(raw []byte) (*x509.Certificate, error) {
	b, _ := pem.Decode(raw)
	if b == nil {
		return nil, errors.New("the API's authority is no PEM")
	}
	c, err := x509.ParseCertificate(b.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the API's authority: %w", err)
	}
	return c, nil
}
