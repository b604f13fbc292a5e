package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"syscall"
	"time"
)

func main() {
	// The child ends with the thread that started it (PR_SET_PDEATHSIG), so it
	// must be the one that lives as long as the process.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "poll:", err)
		os.Exit(1)
	}
}

type options struct {
	bmcs    int
	every   time.Duration
	profile string
	strict  bool
}

func run(ctx context.Context, args []string, in io.Reader, out, diag io.Writer) error {
	if len(args) > 0 && args[0] == rackArg {
		return runRack(ctx, in, out)
	}
	var o options
	var limit time.Duration
	f := flag.NewFlagSet("poll", flag.ContinueOnError)
	f.SetOutput(diag)
	f.IntVar(&o.bmcs, "bmcs", 10000, "BMCs to poll, at most 60,000")
	f.DurationVar(&o.every, "every", time.Minute, "time between two polls of a host")
	f.StringVar(&o.profile, "profile", "", "write a CPU and a heap profile of the second round into this `directory`")
	f.BoolVar(&o.strict, "strict", false, "fail when a budget is not met")
	f.DurationVar(&limit, "timeout", 10*time.Minute, "give up after this")
	if err := f.Parse(args); err != nil {
		return err
	}
	if o.bmcs < 1 || o.bmcs > maxBMCs || o.every < time.Second {
		return fmt.Errorf("--bmcs %d --every %s: want 1 to %d, and a second or more", o.bmcs, o.every, maxBMCs)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done within --timeout %s", limit))
	defer cancel()
	b, err := measure(ctx, o, diag)
	if err != nil {
		if ctx.Err() != nil {
			return errors.Join(context.Cause(ctx), err)
		}
		return err
	}
	return b.report(out)
}

// profiled runs fn, with profiles of it if a directory is named.
func (o options) profiled(fn func() error) error {
	if o.profile == "" {
		return fn()
	}
	write := func(name string, save func(io.Writer) error) error {
		f, err := os.Create(o.profile + "/" + name)
		if err != nil {
			return err
		}
		return errors.Join(save(f), f.Close())
	}
	f, err := os.Create(o.profile + "/poll.cpu")
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	err = fn()
	pprof.StopCPUProfile()
	return errors.Join(err, f.Close(), write("poll.heap", pprof.WriteHeapProfile))
}
