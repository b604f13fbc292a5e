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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/lab"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
	"github.com/ingot-metal/ingot/pkg/lab/vm"
)

// qemuPatience bounds a way from one rest to the next: some boots under TCG, and
// more after boots that a kill cut short.
const qemuPatience = 8 * time.Minute

// TestQEMU takes two real bodies with real firmware from nothing to their own
// system and back, while the server is killed once in every phase and at every
// rest. INGOT_BOOT_FILES names the directory of vmlinuz-vm, initrd-vm.img and
// demo.raw.
func TestQEMU(t *testing.T) {
	files := os.Getenv("INGOT_BOOT_FILES")
	for _, name := range []string{"vmlinuz-vm", "initrd-vm.img", "demo.raw"} {
		if _, err := os.Stat(filepath.Join(files, name)); err != nil {
			t.Skipf("INGOT_BOOT_FILES=%s: %v (make images demo-image)", files, err)
		}
	}
	seed, kills := settings(t, 12)
	kills = min(kills, 12)
	dir := keptDir(t)
	demo := newDemo(t, filepath.Join(files, "demo.raw"))
	l, err := lab.Up(lab.Config{Dir: filepath.Join(dir, "lab"), Count: 2})
	must(t, err)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	s := newServer(t, dir, freePorts(t), "--boot-files", files, "--allow-loopback", demo.host(),
		"--retry-unit", "1s", "--boot-timeout", "90s")
	d := &driver{
		s: s, r: rand.New(rand.NewPCG(seed, 1)), kills: kills, share: 1, bound: qemuPatience, jitter: time.Second, spread: time.Second,
		table: map[string]int{}, done: make(chan struct{}), logf: t.Logf,
		wanted: []string{
			registering, inspectingBoot, inspectingAgent, preparingClean, available, provisionImage,
			provisionWrite, provisionRestart, provisioned, deprovisionBoot, deprovisionClean,
		},
	}
	began := time.Now()
	j := &journey{l: l, d: d, demo: demo}
	j.c = d.begin(t, filepath.Join(dir, "data", "kubeconfig"))
	g, ctx := errgroup.WithContext(t.Context())
	g.Go(func() error { return d.run(ctx) })
	g.Go(func() error { return j.run(ctx) })
	err = g.Wait()
	t.Logf("seed %d: %s\n%s", seed, time.Since(began).Round(time.Second), d.report())
	t.Logf("problems that hosts met: %v", d.v.met())
	if err != nil {
		t.Fatal(err)
	}
}

// journey is what the machines go through.
type journey struct {
	l    *lab.Lab
	c    client.WithWatch
	d    *driver
	demo *demo
}

func (j *journey) run(ctx context.Context) error {
	n := &v1alpha1.ProvisioningNetwork{ObjectMeta: metav1.ObjectMeta{Name: "lab"}, Spec: v1alpha1.ProvisioningNetworkSpec{
		Interface: "unix:" + j.l.Socket, Address: lab.ServerAddress, Flavour: v1alpha1.FlavourVM,
		Range: &v1alpha1.AddressRange{Start: lab.RangeStart, End: lab.RangeEnd}, Mode: v1alpha1.NetworkDHCP,
	}}
	err := insist(ctx, "the network", func(ctx context.Context) error {
		err := j.c.Create(ctx, n.DeepCopy())
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, way := range []struct {
		ahead  []string
		do     func(context.Context, lab.Machine) error
		state  metal3.ProvisioningState
		image  string
		writes int // of the image to each disk, so far
	}{
		{
			[]string{registering, inspectingBoot, inspectingAgent, preparingClean},
			func(ctx context.Context, m lab.Machine) error { return enrol(ctx, j.c, m.Name, m) },
			metal3.StateAvailable, "", 0,
		},
		{
			[]string{provisionImage, provisionWrite, provisionRestart},
			func(ctx context.Context, m lab.Machine) error {
				return change(ctx, j.c, m.Name, imageSpec(j.demo.picture))
			},
			metal3.StateProvisioned, j.demo.url, 1,
		},
		{
			[]string{deprovisionBoot, deprovisionClean},
			func(ctx context.Context, m lab.Machine) error {
				return change(ctx, j.c, m.Name, map[string]any{"image": nil})
			},
			metal3.StateAvailable, "", 1,
		},
	} {
		j.d.ahead.Store(&way.ahead)
		g, gctx := errgroup.WithContext(ctx)
		for _, m := range j.l.Machines {
			g.Go(func() error {
				if err := way.do(gctx, m); err != nil {
					return err
				}
				err := j.d.v.awaitHost(gctx, m.Name, string(way.state), qemuPatience, at(way.state, way.image))
				if err == nil && way.image != "" {
					err = j.up(gctx, m)
				}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return errors.Join(err, errors.New(show(j.l.Journal.Entries(""))))
		}
		if err := j.rest(ctx); err != nil {
			return err
		}
		for _, m := range j.l.Machines {
			if err := j.audit(m, way.writes, way.image != ""); err != nil {
				return errors.Join(err, errors.New(show(j.l.Journal.Entries(m.Name))))
			}
		}
	}
	return nil
}

// up waits until the installed system says who it is.
func (j *journey) up(ctx context.Context, m lab.Machine) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return j.l.VMs[m.Name].WaitSerial(ctx, "hostname="+m.Name)
}

// rest sees that a kill moves no machine at rest.
func (j *journey) rest(ctx context.Context) error {
	kinds := []string{simbmc.KindPower, simbmc.KindBoot, vm.KindStart, vm.KindEnd}
	j.d.ahead.Store(nil)
	before := len(j.l.Journal.Entries("", kinds...))
	if err := errors.Join(j.d.another(ctx), j.d.upAgain(ctx)); err != nil {
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
	sum, err := middle(disks[0], j.demo.size)
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
	picture
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
	d.picture = picture{url: d.srv.URL + "/demo.raw", digest: hex.EncodeToString(sum[:]), size: int64(len(b))}
	d.middle, err = middle(path, d.size)
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
