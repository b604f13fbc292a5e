// Command bench measures what the Ironic-compatible door costs: CPU a call and the
// 99th percentile of list, detail, one and create, with 1 and 8 clients, beside the
// budgets of the design, and beside a real Ironic where one is named.
//
//	go run ./e2e/ironic/bench --nodes 1000
//	go run ./e2e/ironic/bench --nodes 1000 --reference http://127.0.0.1:16385 --pids 12,34
//
// CPU is that of the server's processes and their children, from /proc. The nodes
// are of the test driver: nothing here waits for a machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ingot-metal/ingot/e2e/rig"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, diag io.Writer) error {
	var binary, reference, pids string
	var count int
	var each, limit time.Duration
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(diag)
	f.StringVar(&binary, "binary", "bin/ingot", "the `file` to measure")
	f.StringVar(&reference, "reference", "", "`URL` of an Ironic without nodes, to measure as well")
	f.StringVar(&pids, "pids", "", "its processes, as `PID,PID`; their children count too")
	f.IntVar(&count, "nodes", 1000, "nodes to measure with")
	f.DurationVar(&each, "each", 5*time.Second, "how long to send each kind of request")
	f.DurationVar(&limit, "timeout", 20*time.Minute, "give up after this")
	if err := f.Parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done within --timeout %s", limit))
	defer cancel()
	sides := []side{{name: "ingot"}}
	if reference != "" {
		s := side{name: "Ironic", url: strings.TrimRight(reference, "/")}
		for _, p := range strings.Split(pids, ",") {
			pid, err := strconv.Atoi(p)
			if err != nil {
				return fmt.Errorf("--pids: %w", err)
			}
			s.pids = append(s.pids, pid)
		}
		sides = append(sides, s)
	}
	dir, err := os.MkdirTemp("", "ingot-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	server, err := start(ctx, binary, dir)
	if err != nil {
		return err
	}
	sides[0].url, sides[0].pids = server.REST, []int{server.Pid()}
	// One side after the other: both would like all the cores.
	for i := range sides {
		fmt.Fprintf(diag, "%s: %d nodes\n", sides[i].name, count)
		if err := sides[i].measure(ctx, count, each); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", sides[i].name, err), context.Cause(ctx), server.Close())
		}
	}
	if err := server.Close(); err != nil {
		return err
	}
	report(out, count, sides)
	return nil
}

func start(ctx context.Context, binary, dir string) (*rig.Server, error) {
	boot, err := rig.Pretended(dir)
	if err != nil {
		return nil, err
	}
	ports, err := rig.NewPorts()
	if err != nil {
		return nil, err
	}
	s, err := rig.NewServer(binary, dir, ports, "--boot-files", boot)
	if err != nil {
		return nil, err
	}
	if err := s.Start(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.WaitReady(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}
