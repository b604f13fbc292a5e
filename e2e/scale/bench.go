package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/ingot-metal/ingot/e2e/rig"
)

// warmUp is how many machines go first.
const warmUp = 20

// bench takes the figures, one after the other.
type bench struct {
	options
	server *rig.Server
	kube   *kube
	fleet  *fleetChild
	hosts  *hosts
	image  *image
	diag   io.Writer

	small, full memory // after a garbage collection: with warmUp hosts, with all
	verify      float64
	boot        float64
	power       float64
	enrol       stretch
	rest        stretch
	deploy      stretch
}

// stretch is what happened between two moments.
type stretch struct {
	took     time.Duration
	cpu      time.Duration // of the server
	others   time.Duration // of whoever else used the machine
	writes   counts
	requests float64 // to BMCs, of the machines that are measured
	logins   float64 // to all BMCs
}

// mark is a moment.
type mark struct {
	at     time.Time
	cpu    time.Duration
	others time.Duration
	writes counts
	asked  asked
}

func (b *bench) mark(ctx context.Context) (mark, error) {
	at := time.Now() // what follows is no part of what came before
	c, err := cpu(b.server.Pid())
	if err != nil {
		return mark{}, err
	}
	all, err := busy()
	if err != nil {
		return mark{}, err
	}
	others := all - c
	for _, pid := range []int{os.Getpid(), b.fleet.process.Pid()} {
		c, err := cpu(pid)
		if err != nil {
			return mark{}, err
		}
		others -= c
	}
	w, err := b.kube.writes(ctx)
	if err != nil {
		return mark{}, err
	}
	a, err := b.fleet.asked()
	return mark{at: at, cpu: c, others: others, writes: w, asked: a}, err
}

// between runs fn and says what it cost.
func (b *bench) between(ctx context.Context, fn func() error) (stretch, error) {
	before, err := b.mark(ctx)
	if err != nil {
		return stretch{}, err
	}
	if err := fn(); err != nil {
		return stretch{}, err
	}
	after, err := b.mark(ctx)
	return stretch{
		took: after.at.Sub(before.at), cpu: after.cpu - before.cpu, others: after.others - before.others, writes: after.writes.since(before.writes),
		requests: float64(after.asked.Others - before.asked.Others), logins: float64(after.asked.Logins - before.asked.Logins),
	}, err
}

// settle is how long a server is left alone before its memory is read: what an
// agent or a BMC keeps open for a few seconds is closed then.
const settle = 10 * time.Second

// settled returns the server's memory some time after its last work.
func (b *bench) settled(ctx context.Context) (memory, error) {
	if err := rig.Pause(ctx, settle); err != nil {
		return memory{}, err
	}
	if err := b.kube.collect(ctx); err != nil {
		return memory{}, err
	}
	return memoryOf(b.server.Pid())
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.diag, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

func (b *bench) all(ctx context.Context) error {
	first, others := b.fleet.machines[:warmUp], b.fleet.machines[warmUp:]
	b.say("%d hosts go first", len(first))
	if err := b.ofOne(ctx, first); err != nil {
		return err
	}
	var err error
	if b.small, err = b.settled(ctx); err != nil {
		return err
	}

	b.say("enrolling %d hosts", len(others))
	b.kube.profiled(ctx, "enrol", 20*time.Second, b.diag)
	b.enrol, err = b.between(ctx, func() error {
		err := each(ctx, b.threads, others, func(ctx context.Context, m machine) error {
			return b.kube.enrol(ctx, m, nil, object{"online": b.online})
		})
		if err != nil {
			return err
		}
		return b.hosts.await(ctx, others, b.available(b.online))
	})
	if err != nil {
		return fmt.Errorf("enrol: %w", err)
	}
	if b.full, err = b.settled(ctx); err != nil {
		return err
	}

	if b.steady > 0 {
		b.say("hosts at rest for %s", b.steady)
		b.kube.profiled(ctx, "rest", min(b.steady, 20*time.Second), b.diag)
		if b.rest, err = b.between(ctx, func() error { return rig.Pause(ctx, b.steady) }); err != nil {
			return err
		}
	}

	if !b.deploys {
		return nil
	}
	b.say("deploying to %d hosts", len(others))
	b.kube.profiled(ctx, "deploy", 20*time.Second, b.diag)
	b.deploy, err = b.between(ctx, func() error {
		err := each(ctx, b.threads, others, func(ctx context.Context, m machine) error {
			return b.kube.change(ctx, m, object{"spec": object{
				"online": true,
				"image": object{
					"url": b.image.URL, "checksum": b.image.Checksum, "checksumType": "sha256", "format": "raw",
				},
			}})
		})
		if err != nil {
			return err
		}
		return b.hosts.await(ctx, others, func(s string) bool { return strings.HasPrefix(s, "provisioned") })
	})
	if err != nil {
		return fmt.Errorf("deploy: %w", err)
	}
	return nil
}

// ofOne leads the first machines through the parts of the way, one part at a
// time, and counts the requests to their BMCs.
func (b *bench) ofOne(ctx context.Context, ms []machine) error {
	part := func(change func(context.Context, machine) error, until func(string) bool) (float64, error) {
		before, err := b.fleet.asked()
		if err != nil {
			return 0, err
		}
		if err := each(ctx, b.threads, ms, change); err != nil {
			return 0, err
		}
		if err := b.hosts.await(ctx, ms, until); err != nil {
			return 0, err
		}
		after, err := b.fleet.asked()
		return float64(after.First-before.First) / float64(len(ms)), err
	}
	var err error
	b.verify, err = part(func(ctx context.Context, m machine) error {
		return b.kube.enrol(ctx, m, map[string]string{"inspect.metal3.io": "disabled"}, object{"automatedCleaningMode": "disabled", "online": false})
	}, b.available(false))
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	b.power, err = part(func(ctx context.Context, m machine) error {
		return b.kube.change(ctx, m, object{"spec": object{"online": true}})
	}, b.available(true))
	if err != nil {
		return fmt.Errorf("power: %w", err)
	}
	b.boot, err = part(func(ctx context.Context, m machine) error {
		return b.kube.change(ctx, m, object{
			"metadata": object{"annotations": object{"inspect.metal3.io": ""}},
			"spec":     object{"online": false},
		})
	}, b.available(false))
	if err != nil {
		return fmt.Errorf("boot: %w", err)
	}
	return nil
}

// available is a host at rest, with its power as it should be.
func (b *bench) available(on bool) func(string) bool {
	want := "available"
	if on {
		want += ", on"
	}
	return func(s string) bool { return s == want }
}
