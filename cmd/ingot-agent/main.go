package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ingot-metal/ingot/agent"
	"github.com/ingot-metal/ingot/agent/bare"
	"github.com/ingot-metal/ingot/agent/deploy"
	"github.com/ingot-metal/ingot/agent/inspect"
	"github.com/ingot-metal/ingot/agent/raid"
)

// lastWords is how long a fatal message stays on the screen.
const lastWords = time.Minute

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "ingot-agent is the init of ingot's ramdisk; it is not run by hand")
		os.Exit(2)
	}
	log := slog.New(bare.NewConsole("ingot-agent", os.Stdout))
	end, err := run(context.Background(), log)
	if err != nil {
		log.Error("cannot go on; powering off in a minute", "err", err)
		time.Sleep(lastWords)
	} else {
		log.Info("the end", "reboot", end.Reboot, "why", end.Reason)
	}
	bare.Halt(end.Reboot)
}

// run is everything between boot and the end.
func run(ctx context.Context, log *slog.Logger) (end agent.End, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	if err := bare.Mount(log); err != nil {
		return end, err
	}
	bare.QuietKernel()
	go bare.PowerButton(ctx, log, func() { bare.Halt(false) })
	n, err := bare.LoadModules("/modules", "/sys", log)
	if err != nil {
		return end, err
	}
	log.Info("starting", "build", version(), "modules", n)
	if m := (deploy.Runner{Dir: deploy.Dir}).Methods(); len(m) > 0 {
		log.Info("deploy methods", "there are", m)
	}
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return end, err
	}
	args, err := agent.ParseArgs(string(cmdline))
	if err != nil {
		return end, fmt.Errorf("kernel arguments: %w", err)
	}
	arrays := raid.System{Sys: "/sys", Dev: "/dev", Log: log}
	arrays.Assemble(ctx)
	here := inspect.Here(args.MAC)
	here.Array = arrays.Array
	// A third for us; the rest is page tables, the kernel and the ramdisk.
	debug.SetMemoryLimit(int64(here.MemoryMiB()) << 20 / 3)
	if err := bare.Network(ctx, args.MAC, log); err != nil {
		return end, err
	}
	return agent.Run(ctx, agent.Config{
		Args: args, Log: log, Build: version(),
		Identity: agent.Identity{MACs: here.MACs(), SMBIOS: here.UUID(), MemoryMiB: here.MemoryMiB(), Firmware: here.Mode()},
		Devices:  &machine{here: here, arrays: arrays, log: log},
		SetClock: func(now time.Time) {
			tv := unix.NsecToTimeval(now.UnixNano())
			if err := unix.Settimeofday(&tv); err != nil {
				log.Warn("the clock was not set", "err", err)
			}
		},
	})
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
