// Command bench measures what the Ironic-compatible door costs, beside the budgets
// of the design, and beside a real Ironic where one is named:
//
//   - the life of pretended machines (pkg/lab/fleet) with Redfish BMCs, from enrolment
//     to deletion, asked for by 8 clients: hosts a second, CPU and BMC requests a host
//   - CPU a call and the 99th percentile of list, detail, one and create, with 1 and 8
//     clients; these nodes are of the test driver
//
// For example:
//
//	go run ./e2e/ironic/bench --nodes 1000
//	go run ./e2e/ironic/bench --nodes 1000 --reference http://127.0.0.1:16385 --pids 12,34
//
// CPU is that of the server's processes and their children, from /proc. A machine that
// is deployed runs the loop of ingot's agent and fetches the image from ingot, or it
// pretends to be ironic-python-agent, which would fetch it from elsewhere.
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
	var hosts, count int
	var each, limit time.Duration
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(diag)
	f.StringVar(&binary, "binary", "bin/ingot", "the `file` to measure")
	f.StringVar(&reference, "reference", "", "`URL` of an Ironic without nodes, to measure as well")
	f.StringVar(&pids, "pids", "", "its processes, as `PID,PID`; their children count too")
	f.IntVar(&hosts, "hosts", 100, "machines to lead through their life; 0: none")
	f.IntVar(&count, "nodes", 1000, "nodes to send requests about")
	f.DurationVar(&each, "each", 5*time.Second, "how long to send each kind of request")
	f.DurationVar(&limit, "timeout", 20*time.Minute, "give up after this")
	if err := f.Parse(args); err != nil {
		return err
	}
	if hosts < 0 || hosts > maxHosts {
		return fmt.Errorf("--hosts is 0 to %d", maxHosts)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done within --timeout %s", limit))
	defer cancel()
	img := serveImage()
	defer img.Close()
	sides := []side{{name: "ingot", image: img}}
	if reference != "" {
		s := side{name: "Ironic", url: strings.TrimRight(reference, "/"), image: img}
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
	ports, err := rig.NewPorts()
	if err != nil {
		return err
	}
	server, err := start(ctx, binary, dir, ports, img.host())
	if err != nil {
		return err
	}
	sides[0].url, sides[0].pids = server.REST, []int{server.Pid()}
	sides[0].boot = fmt.Sprintf("http://127.0.0.1:%d", ports.HTTP)
	// One side after the other: both would like all the cores.
	for i := range sides {
		if err := sides[i].run(ctx, hosts, count, each, diag); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", sides[i].name, err), context.Cause(ctx), server.Close())
		}
	}
	if err := server.Close(); err != nil {
		return err
	}
	if hosts > 0 {
		reportLives(out, hosts, sides)
	}
	report(out, count, sides)
	return nil
}

// run takes the figures of one side. Machines go first: what they ask of the list
// of all nodes is cheap then.
func (s *side) run(ctx context.Context, hosts, count int, each time.Duration, diag io.Writer) error {
	if hosts > 0 {
		fmt.Fprintf(diag, "%s: %d machines\n", s.name, hosts)
		if err := s.live(ctx, hosts); err != nil {
			return err
		}
	}
	fmt.Fprintf(diag, "%s: %d nodes\n", s.name, count)
	return s.measure(ctx, count, each)
}

func start(ctx context.Context, binary, dir string, ports rig.Ports, image string) (*rig.Server, error) {
	boot, err := rig.Pretended(dir)
	if err != nil {
		return nil, err
	}
	s, err := rig.NewServer(binary, dir, ports, "--boot-files", boot, "--allow-loopback", image)
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
