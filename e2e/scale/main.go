package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

type options struct {
	binary  string
	hosts   int
	threads int
	steady  time.Duration
	deploys bool
	online  bool
	profile string
}

func run(ctx context.Context, args []string, in io.Reader, out, diag io.Writer) error {
	if len(args) > 0 && args[0] == fleetArg {
		return runFleet(ctx, args[1:], in, out)
	}
	var o options
	var limit time.Duration
	f := flag.NewFlagSet("scale", flag.ContinueOnError)
	f.SetOutput(diag)
	f.StringVar(&o.binary, "binary", "bin/ingot", "the `file` to measure")
	f.IntVar(&o.hosts, "hosts", 1000, "machines to measure with")
	f.IntVar(&o.threads, "threads", 8, "clients that enrol at the same time")
	f.DurationVar(&o.steady, "steady", time.Minute, "how long to look at hosts at rest; 0: not at all")
	f.BoolVar(&o.deploys, "deploy", true, "deploy to the hosts too")
	f.BoolVar(&o.online, "online", false, "enrol hosts that shall be on: they wait in the agent")
	f.StringVar(&o.profile, "profile", "", "write CPU and heap profiles of the server into this `directory`")
	f.DurationVar(&limit, "timeout", 10*time.Minute, "give up after this")
	if err := f.Parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done within --timeout %s", limit))
	defer cancel()
	err := measure(ctx, o, out, diag)
	if ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	return err
}

// measure starts everything, takes the figures and prints them.
func measure(ctx context.Context, o options, out, diag io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "ingot-scale-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	image, err := serveImage()
	if err != nil {
		return err
	}
	defer image.Close()
	s, err := startServer(ctx, o.binary, dir, image.Addr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	k, err := newKube(s.Kubeconfig, o.profile)
	if err != nil {
		return err
	}
	boot, err := k.bootDoor(ctx)
	if err != nil {
		return err
	}
	fl, err := startFleet(ctx, boot, warmUp+o.hosts)
	if err != nil {
		return err
	}
	defer fl.stop()
	hosts, err := watchHosts(ctx, k)
	if err != nil {
		return err
	}
	b := &bench{options: o, server: s, kube: k, fleet: fl, hosts: hosts, image: image, diag: diag}
	if err := b.all(ctx); err != nil {
		fmt.Fprint(diag, hosts.summary())
		if tail := s.Tail(); tail != "" {
			fmt.Fprintf(diag, "the server's log ends with:\n%s\n", tail)
		}
		return err
	}
	return b.report(out)
}
