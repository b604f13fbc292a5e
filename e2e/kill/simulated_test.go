//go:build e2e

package kill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/e2e/rig"
	"github.com/ingot-metal/ingot/pkg/lab"
	"github.com/ingot-metal/ingot/pkg/lab/fleet"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

const (
	simulatedHosts = 12
	// patience bounds every way from one rest to the next, kills on the way
	// included.
	patience = 6 * time.Minute
)

// What may happen to a machine between two rests.
var noticed = []string{
	simbmc.KindPower, simbmc.KindPowerError, simbmc.KindBoot, simbmc.KindMedia, simbmc.KindAuth,
	fleet.KindStart, fleet.KindAgent, fleet.KindErase, fleet.KindWriteBegin, fleet.KindWrite, fleet.KindConfig,
	fleet.KindOSUp, fleet.KindGuest, fleet.KindStuck,
}

// pretended is a server that is not started yet, and machines that it can boot.
type pretended struct {
	server   *rig.Server
	machines []*fleet.Machine
	images   *rig.Images
	journal  *simbmc.Journal
}

func newPretended(t *testing.T, seed uint64, count int, prefix string) pretended {
	t.Helper()
	dir := keptDir(t)
	p, err := rig.NewPorts()
	must(t, err)
	img := rig.NewImages()
	t.Cleanup(img.Close)
	boot, err := rig.Pretended(dir)
	must(t, err)
	journal, file, err := simbmc.OpenJournal(filepath.Join(dir, "journal.jsonl"), nil)
	must(t, err)
	t.Cleanup(func() { _ = file.Close() })
	f, err := fleet.New(fleet.Config{
		Count: count, Seed: seed, Prefix: prefix, BootURL: fmt.Sprintf("http://127.0.0.1:%d", p.HTTP), Journal: journal,
		Protocols: []fleet.Protocol{fleet.RedfishHTTP, fleet.IPMI, fleet.RedfishTLS},
		Firmware:  []simbmc.BootMode{simbmc.ModeUEFI, simbmc.ModeLegacy},
		Latency:   40 * time.Millisecond, POST: 100 * time.Millisecond,
	})
	must(t, err)
	t.Cleanup(f.Close)
	s := newServer(t, dir, p, "--boot-files", boot, "--allow-loopback", img.Host(),
		"--retry-unit", "200ms", "--boot-timeout", "2m")
	return pretended{s, f.Machines(), img, journal}
}

// TestSimulated takes twelve pretended machines through enrol, provision,
// deprovision and delete, in waves, while the server is killed.
func TestSimulated(t *testing.T) {
	seed, kills := seeded(t), killsOf(t)
	l := newPretended(t, seed, simulatedHosts, "")
	// Three in each phase are for a run of two hundred; a short one has time for less.
	least := min(3, kills/40)
	d := &driver{
		s: l.server, r: rand.New(rand.NewPCG(seed, 1)), kills: kills, least: least, strays: time.Second,
		table: map[string]int{}, done: make(chan struct{}), logf: t.Logf,
		wanted: []string{
			registering, inspectingBoot, inspectingAgent, preparingClean, available, provisionImage, provisionBoot,
			provisionWrite, provisionRestart, provisioned, deprovisionBoot, deprovisionClean, deleting,
		},
	}
	began := time.Now()
	c := d.begin(t, min(5, kills/5))
	w := &waves{c: c, v: d.v, d: d, images: l.images, journal: l.journal, r: rand.New(rand.NewPCG(seed, 2))}
	for i, m := range l.machines {
		w.subjects = append(w.subjects, &subject{w: w, m: m, r: rand.New(rand.NewPCG(seed, uint64(100+i)))})
	}

	g, ctx := errgroup.WithContext(t.Context())
	g.Go(func() error { return d.run(ctx) })
	g.Go(func() error { return w.run(ctx) })
	err := g.Wait()
	t.Logf("seed %d: %d waves in %s\n%s", seed, w.count, time.Since(began).Round(time.Second), d.report())
	problems := d.v.met()
	t.Logf("problems that hosts met: %v", problems)
	if err != nil {
		t.Fatal(err)
	}
	if len(problems) > 0 {
		t.Errorf("hosts met problems, though nothing but the server ever failed: %v", problems)
	}
	must(t, l.journal.Err())
	t.Logf("%d kills must hit each phase %d times", kills, least)
	if missed := d.missed(least); len(missed) > 0 {
		t.Errorf("fewer than %d kills in: %s", least, strings.Join(missed, ", "))
	}
}

// waves take all machines from rest to rest.
type waves struct {
	c        client.WithWatch
	v        *view
	d        *driver
	images   *rig.Images
	journal  *simbmc.Journal
	r        *rand.Rand
	subjects []*subject
	count    int
}

// subject is one machine and what is declared for it.
type subject struct {
	w     *waves
	m     *fleet.Machine
	r     *rand.Rand
	name  string // of its host
	hosts int    // that it has been
	clean bool   // automated cleaning is declared
	agent bool   // it rests with an agent of ours in memory
}

// run does waves until the kills are spent, and one more without.
func (w *waves) run(ctx context.Context) error {
	comes := []string{registering, inspectingBoot, inspectingAgent, preparingClean}
	if err := w.all(ctx, comes, (*subject).enrol); err != nil {
		return err
	}
	for last := false; !last; {
		select {
		case <-w.d.done:
			last = true
		default:
		}
		w.count++
		newest := w.images.Image(uint64(w.count))
		before := w.images.Image(uint64(max(1, w.count-1)))
		installs := []string{provisionImage, provisionBoot, provisionWrite, provisionRestart}
		err := w.all(ctx, installs, func(s *subject, ctx context.Context) error {
			if s.r.IntN(4) == 0 {
				return s.provision(ctx, before)
			}
			return s.provision(ctx, newest)
		})
		if err != nil {
			return err
		}
		leaves := append([]string{deprovisionBoot, deprovisionClean, deleting}, comes...)
		err = w.all(ctx, leaves, func(s *subject, ctx context.Context) error {
			if s.r.IntN(2) == 0 {
				return s.replace(ctx)
			}
			return s.deprovision(ctx)
		})
		if err != nil {
			return err
		}
	}
	return w.leftovers(ctx)
}

// all does something with every machine, begun within a second so that they are
// not in step, and then sees that a kill moves none of them.
func (w *waves) all(ctx context.Context, ahead []string, do func(*subject, context.Context) error) error {
	w.d.ahead.Store(&ahead)
	g, gctx := errgroup.WithContext(ctx)
	for _, s := range w.subjects {
		g.Go(func() error {
			pause(gctx, time.Duration(s.r.Int64N(int64(time.Second))))
			return do(s, gctx)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	w.d.ahead.Store(nil)
	before := len(w.journal.Entries("", noticed...))
	if err := w.d.another(ctx); err != nil {
		return err
	}
	if moved := w.journal.Entries("", noticed...)[before:]; len(moved) > 0 {
		return fmt.Errorf("hosts at rest were touched: %v", moved)
	}
	return nil
}

// leftovers of hosts that were deleted are collected.
func (w *waves) leftovers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	err := w.v.await(ctx, "records of deleted hosts to go", func(all map[string]seen) bool { return len(all) == len(w.subjects) })
	if err != nil {
		return fmt.Errorf("records of deleted hosts are still there: %w", err)
	}
	return nil
}

// mark is how much of the journal has been seen.
func (s *subject) mark() int { return len(s.w.journal.Entries(s.m.Name, noticed...)) }

func (s *subject) since(mark int) []simbmc.Entry {
	return s.w.journal.Entries(s.m.Name, noticed...)[mark:]
}

// landed waits until the machine runs what it is to run: the ends of the server
// and of the machine are not the same moment.
func (s *subject) landed(ctx context.Context, mark int, kind string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		all := s.since(mark)
		if n := len(all); n > 0 && all[n-1].Kind == kind {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: the machine did not come to %s: %s", s.name, kind, show(all))
		}
		pause(ctx, 10*time.Millisecond)
	}
}

func (s *subject) enrol(ctx context.Context) error {
	s.hosts++
	s.name = fmt.Sprintf("%s-%d", s.m.Name, s.hosts)
	s.clean = true
	mark := s.mark()
	m := lab.Machine{
		Address: s.m.Address, Username: s.m.Username, Password: s.m.Password, MAC: s.m.MAC,
		Insecure: s.m.Insecure, Legacy: s.m.Firmware == simbmc.ModeLegacy,
	}
	if err := enrol(ctx, s.w.c, s.name, m); err != nil {
		return err
	}
	if err := s.w.v.awaitHost(ctx, s.name, "available", patience, at(metal3.StateAvailable, "")); err != nil {
		return errors.Join(err, s.story(mark))
	}
	s.agent = true
	return s.audit(mark, expect{power: "On", boots: 1, erases: len(s.m.Images())})
}

func (s *subject) provision(ctx context.Context, p rig.Picture) error {
	mark := s.mark()
	if err := change(ctx, s.w.c, s.name, imageSpec(p)); err != nil {
		return err
	}
	if err := s.w.v.awaitHost(ctx, s.name, "provisioned", patience, at(metal3.StateProvisioned, p.URL)); err != nil {
		return errors.Join(err, s.story(mark))
	}
	if err := s.landed(ctx, mark, fleet.KindOSUp); err != nil {
		return err
	}
	if !slices.Contains(s.m.Images(), p.Digest) {
		return fmt.Errorf("%s: no disk holds %s, but %v", s.name, p.Digest, s.m.Images())
	}
	want := expect{power: "ForceOff On", boots: 1, writes: 1, digest: p.Digest}
	if !s.agent {
		want.power, want.boots = "ForceOff On ForceOff On", 2
	}
	s.agent = false
	return s.audit(mark, want)
}

func (s *subject) deprovision(ctx context.Context) error {
	s.clean = s.r.IntN(3) > 0
	mark := s.mark()
	spec := map[string]any{"image": nil, "automatedCleaningMode": "metadata"}
	want := expect{power: "ForceOff On", boots: 1, erases: len(s.m.Images())}
	ends := fleet.KindErase
	if !s.clean {
		spec["automatedCleaningMode"] = "disabled"
		want.erases, want.boots, ends = 0, 0, fleet.KindOSUp
	}
	if err := change(ctx, s.w.c, s.name, spec); err != nil {
		return err
	}
	if err := s.w.v.awaitHost(ctx, s.name, "available", patience, at(metal3.StateAvailable, "")); err != nil {
		return errors.Join(err, s.story(mark))
	}
	s.agent = s.clean
	if err := s.landed(ctx, mark, ends); err != nil {
		return err
	}
	return s.audit(mark, want)
}

// replace deletes the host, in use or not, and enrols its machine as another.
func (s *subject) replace(ctx context.Context) error {
	used := s.r.IntN(2) == 0
	if !used {
		if err := s.deprovision(ctx); err != nil {
			return err
		}
	}
	mark := s.mark()
	if err := remove(ctx, s.w.c, s.name); err != nil {
		return err
	}
	if err := s.w.v.awaitHost(ctx, s.name, "deleted", patience, func(x seen) bool { return x.bmh == nil }); err != nil {
		return errors.Join(err, s.story(mark))
	}
	want := expect{power: "ForceOff On ForceOff", boots: 1, erases: len(s.m.Images())}
	if !s.clean || !used {
		want = expect{power: "ForceOff"}
	}
	if err := s.audit(mark, want); err != nil {
		return err
	}
	return s.enrol(ctx)
}

// expect is what may have been done to a machine between two rests.
type expect struct {
	power  string // actions, in order
	boots  int    // boot overrides
	erases int    // of disks
	writes int    // of images
	digest string // of the image
}

// audit holds the journal against what was declared.
func (s *subject) audit(mark int, want expect) error {
	var power []string
	counts := map[string]int{}
	var last simbmc.Entry
	for _, e := range s.since(mark) {
		if e.Kind == simbmc.KindBoot && last.Kind == e.Kind && last.Detail == e.Detail {
			continue // said again after a kill, which changes nothing (docs/designs/0006)
		}
		last = e
		counts[e.Kind]++
		switch e.Kind {
		case simbmc.KindPower:
			power = append(power, e.Detail)
		case fleet.KindWriteBegin, fleet.KindWrite:
			if !strings.HasSuffix(e.Detail, " "+want.digest) {
				return errors.Join(fmt.Errorf("%s: %s of another image than %s", s.name, e.Kind, want.digest), s.story(mark))
			}
		}
	}
	var errs []error
	check := func(what string, got, want any) {
		if got != want {
			errs = append(errs, fmt.Errorf("%s: %s: got %v, want %v", s.name, what, got, want))
		}
	}
	check("power actions", strings.Join(power, " "), want.power)
	check("boot overrides", counts[simbmc.KindBoot], want.boots)
	check("erased disks", counts[fleet.KindErase], want.erases)
	check("image writes begun", counts[fleet.KindWriteBegin], want.writes)
	check("image writes done", counts[fleet.KindWrite], want.writes)
	check("config drives", counts[fleet.KindConfig], want.writes)
	for _, never := range []string{simbmc.KindPowerError, simbmc.KindMedia, simbmc.KindAuth, fleet.KindStuck} {
		check(never, counts[never], 0)
	}
	if len(errs) > 0 {
		errs = append(errs, s.story(mark))
	}
	return errors.Join(errs...)
}

// story is what happened to the machine, for whoever reads a failure.
func (s *subject) story(mark int) error { return errors.New(show(s.since(mark))) }

func show(entries []simbmc.Entry) string {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "  %s %s %s %s\n", e.Time.Format("15:04:05.000"), e.Machine, e.Kind, e.Detail)
	}
	return b.String()
}
