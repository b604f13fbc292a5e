// Command ingot turns racked metal into working nodes: the service, its
// controllers for a cluster, a lab of emulated machines, and the verbs for
// people.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/ingot-metal/ingot/pkg/cli"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// serve and manager hand their own logger on; the verbs have none.
	ctrl.SetLogger(logr.Discard())
	return cli.Run(ctx, os.Args[1:], os.Getenv, cli.System(), serveCommand, managerCommand, labCommand)
}
