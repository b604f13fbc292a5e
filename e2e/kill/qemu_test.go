//go:build e2e

package kill

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/e2e/rig"
	"github.com/ingot-metal/ingot/pkg/lab"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
	"github.com/ingot-metal/ingot/pkg/lab/vm"
)

const (
	// qemuPatience bounds a way from one rest to the next: some boots under TCG, and
	// more after boots that a kill cut short.
	qemuPatience = 12 * time.Minute
	// qemuRounds bounds the lives that the machines go through until every phase
	// was hit. One does, as a rule: each of the machines passes through each phase.
	qemuRounds = 3
)

// TestQEMU takes two real bodies with real firmware from nothing to their own
// system and back, while the server is killed in every phase and at every rest.
// INGOT_BOOT_FILES names the directory of vmlinuz-vm, initrd-vm.img and demo.raw.
func TestQEMU(t *testing.T) {
	files := os.Getenv("INGOT_BOOT_FILES")
	for _, name := range []string{"vmlinuz-vm", "initrd-vm.img", "demo.raw"} {
		if _, err := os.Stat(filepath.Join(files, name)); err != nil {
			t.Skipf("INGOT_BOOT_FILES=%s: %v (make images demo-image)", files, err)
		}
	}
	seed := seeded(t)
	dir := keptDir(t)
	demo := newDemo(t, filepath.Join(files, "demo.raw"))
	l, err := lab.Up(lab.Config{Dir: filepath.Join(dir, "lab"), Count: 2})
	must(t, err)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	p, err := rig.NewPorts()
	must(t, err)
	s := newServer(t, dir, p, "--boot-files", files, "--allow-loopback", demo.host(), "--retry-unit", "1s", "--boot-timeout", "2m")
	d := &driver{
		s: s, r: rand.New(rand.NewPCG(seed, 1)), kills: 100, share: 1, logf: t.Logf,
		table: map[string]int{}, done: make(chan struct{}),
		delay: map[string]time.Duration{
			inspectingBoot: 20 * time.Second, inspectingAgent: 500 * time.Millisecond, provisionWrite: 2 * time.Second,
			deprovisionBoot: 20 * time.Second,
		},
		wanted: []string{
			registering, inspectingBoot, inspectingAgent, preparingClean, available, provisionImage,
			provisionWrite, provisionRestart, provisioned, deprovisionBoot, deprovisionClean, deleting,
		},
	}
	began := time.Now()
	j := &journey{l: l, d: d, demo: demo}
	j.c = d.begin(t, 2)
	g, ctx := errgroup.WithContext(t.Context())
	g.Go(func() error { return d.run(ctx) })
	g.Go(func() error {
		defer d.end()
		return j.run(ctx)
	})
	err = g.Wait()
	t.Logf("seed %d: %d rounds in %s\n%s", seed, j.round, time.Since(began).Round(time.Second), d.report())
	t.Logf("problems that hosts met: %v", d.v.met())
	if err != nil {
		t.Fatal(err)
	}
	if missed := d.missed(1); len(missed) > 0 {
		t.Errorf("no kill in: %s", strings.Join(missed, ", "))
	}
}

// journey is what the machines go through.
type journey struct {
	l     *lab.Lab
	c     client.WithWatch
	d     *driver
	demo  *demo
	round int
}

func (j *journey) run(ctx context.Context) error {
	n := rig.Network("unix:" + j.l.Socket)
	err := insist(ctx, "the network", func(ctx context.Context) error {
		err := j.c.Create(ctx, n.DeepCopy())
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	})
	for err == nil && j.round < qemuRounds && len(j.d.missed(1)) > 0 {
		j.round++
		err = j.life(ctx)
	}
	return err
}

// way is what leads both machines from one rest to the next.
type way struct {
	what   string
	ahead  []string
	do     func(ctx context.Context, name string, m lab.Machine) error
	ok     func(seen) bool
	up     bool // the installed system is to start
	writes int  // of the image to each disk, so far
}

// life leads the machines from nothing to their own system and back to nothing.
func (j *journey) life(ctx context.Context) error {
	for _, w := range []way{
		{
			"available",
			[]string{registering, inspectingBoot, inspectingAgent, preparingClean},
			func(ctx context.Context, name string, m lab.Machine) error { return enrol(ctx, j.c, name, m) },
			at(metal3.StateAvailable, ""), false, j.round - 1,
		},
		{
			"provisioned",
			[]string{provisionImage, provisionWrite, provisionRestart},
			func(ctx context.Context, name string, _ lab.Machine) error {
				return change(ctx, j.c, name, imageSpec(j.demo.Picture))
			},
			at(metal3.StateProvisioned, j.demo.URL), true, j.round,
		},
		{
			"available again",
			[]string{deprovisionBoot, deprovisionClean},
			func(ctx context.Context, name string, _ lab.Machine) error {
				return change(ctx, j.c, name, map[string]any{"image": nil})
			},
			at(metal3.StateAvailable, ""), false, j.round,
		},
		{
			"deleted",
			[]string{deleting},
			func(ctx context.Context, name string, _ lab.Machine) error { return remove(ctx, j.c, name) },
			func(s seen) bool { return s.bmh == nil }, false, j.round,
		},
	} {
		if err := j.lead(ctx, w); err != nil {
			return errors.Join(err, errors.New(show(j.l.Journal.Entries(""))))
		}
	}
	for _, m := range j.l.Machines {
		on, err := j.l.VMs[m.Name].Power(ctx)
		if err != nil {
			return err
		}
		if on {
			return fmt.Errorf("%s: the host is deleted, and the machine is on", m.Name)
		}
	}
	return nil
}

func (j *journey) lead(ctx context.Context, w way) error {
	j.d.ahead.Store(&w.ahead)
	g, gctx := errgroup.WithContext(ctx)
	for i, m := range j.l.Machines {
		name := fmt.Sprintf("%s-%d", m.Name, j.round)
		g.Go(func() error {
			// One after the other: whoever was missed in a short phase may be met in
			// it with the next.
			pause(gctx, time.Duration(i)*3*time.Second)
			if err := w.do(gctx, name, m); err != nil {
				return err
			}
			err := j.d.v.awaitHost(gctx, name, w.what, qemuPatience, w.ok)
			if err == nil && w.up {
				err = j.up(gctx, name, m)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := j.rest(ctx); err != nil {
		return err
	}
	for _, m := range j.l.Machines {
		if err := j.audit(m, w.writes, w.up); err != nil {
			return err
		}
	}
	return nil
}

// up waits until the installed system says who it is.
func (j *journey) up(ctx context.Context, name string, m lab.Machine) error {
	ctx, cancel := context.WithTimeout(ctx, 6*time.Minute)
	defer cancel()
	return j.l.VMs[m.Name].WaitSerial(ctx, "hostname="+name)
}

// rest sees that a kill moves no machine at rest.
func (j *journey) rest(ctx context.Context) error {
	kinds := []string{simbmc.KindPower, simbmc.KindBoot, vm.KindStart, vm.KindEnd}
	j.d.ahead.Store(nil)
	before := len(j.l.Journal.Entries("", kinds...))
	if err := j.d.another(ctx); err != nil {
		return err
	}
	if moved := j.l.Journal.Entries("", kinds...)[before:]; len(moved) > 0 {
		return fmt.Errorf("hosts at rest were touched: %s", show(moved))
	}
	return nil
}

// audit counts the writes of one place in the middle of the image, below the
// guest, and compares the disk.
func (j *journey) audit(m lab.Machine, writes int, holds bool) error {
	ranges, err := j.l.VMs[m.Name].WriteLog(0)
	if err != nil {
		return err
	}
	got := 0
	for _, r := range ranges {
		if r.Op == vm.OpWrite && r.Offset <= j.demo.probe && j.demo.probe < r.Offset+r.Length {
			got++
		}
	}
	if got != writes {
		return fmt.Errorf("%s: the image was written %d times, want %d", m.Name, got, writes)
	}
	if !holds {
		return nil
	}
	disks, err := filepath.Glob(filepath.Join(m.Disk, "disk0.raw"))
	if err != nil || len(disks) != 1 {
		return fmt.Errorf("%s: disk files %v: %w", m.Name, disks, err)
	}
	sum, err := middle(disks[0], j.demo.Size)
	if err != nil {
		return err
	}
	if sum != j.demo.middle {
		return fmt.Errorf("%s: the disk does not hold the image", m.Name)
	}
	return nil
}

// demo is the image that is written, as served from the test's process.
type demo struct {
	rig.Picture
	srv    *httptest.Server
	middle string // digest of all but the partition tables
	probe  int64  // a place that is written once in a write of the image
}

func newDemo(t *testing.T, path string) *demo {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	d := &demo{srv: httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, path)
	}))}
	t.Cleanup(d.srv.Close)
	sum := sha256.Sum256(b)
	d.Picture = rig.Picture{URL: d.srv.URL + "/demo.raw", Digest: hex.EncodeToString(sum[:]), Size: int64(len(b))}
	d.middle, err = middle(path, d.Size)
	must(t, err)
	const block = 64 << 10
	blocks := slices.Collect(slices.Chunk(b, block))
	for i := len(blocks) / 4; i < len(blocks); i++ {
		if !bytes.Equal(blocks[i], make([]byte, len(blocks[i]))) {
			d.probe = int64(i)*block + block/2
			return d
		}
	}
	t.Fatal("the image is empty")
	return nil
}

func (d *demo) host() string { return strings.TrimPrefix(d.srv.URL, "http://") }

// middle is the digest of an image without the first and the last MiB, where the
// partition tables are, which the agent repairs for the disk's size.
func middle(path string, size int64) (string, error) {
	const edge = 1 << 20
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(f, edge, size-2*edge)); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
