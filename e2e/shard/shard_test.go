//go:build e2e

package shard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"golang.org/x/sync/errgroup"
	coordv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/e2e/rig"
	"github.com/ingot-metal/ingot/pkg/crd"
	"github.com/ingot-metal/ingot/pkg/kubeapi"
	"github.com/ingot-metal/ingot/pkg/lab/fleet"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
	"github.com/ingot-metal/ingot/pkg/serve"
)

const (
	hosts     = 12
	namespace = "default"
	// patience bounds the way of a host from one rest to the next, whatever is done
	// to the managers meanwhile.
	patience = 4 * time.Minute
)

func TestMain(m *testing.M) {
	kubeapi.RouteLogs(slog.New(slog.DiscardHandler))
	ctrl.SetLogger(logr.Discard())
	m.Run()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	must(t, err)
	return n
}

// newAPI is a Kubernetes API with our kinds, below a directory that stays if the test
// fails. The managers' kubeconfig is api/kubeconfig in it.
func newAPI(t *testing.T) (string, client.Client) {
	t.Helper()
	dir, err := os.MkdirTemp("", "ingot-shard-")
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the managers' logs and the journal are in %s", dir)
			return
		}
		_ = os.RemoveAll(dir)
	})
	log := slog.New(slog.DiscardHandler)
	api, err := kubeapi.Start(t.Context(), kubeapi.Options{DataDir: filepath.Join(dir, "api"), Address: "127.0.0.1:0", NoFsync: true, Log: log})
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = api.Stop(ctx)
	})
	must(t, crd.Install(t.Context(), api.RESTConfig()))
	scheme, err := serve.Scheme()
	must(t, err)
	c, err := client.New(api.RESTConfig(), client.Options{Scheme: scheme})
	must(t, err)
	return dir, c
}

// TestReplicas takes machines to and fro, with two managers of which one after the
// other dies, or sleeps through its lease.
func TestReplicas(t *testing.T) {
	seed := uint64(number(t, "INGOT_SEED", int(time.Now().UnixNano()%1_000_000)))
	blows := number(t, "INGOT_KILLS", 40) / 5
	t.Logf("INGOT_SEED=%d, %d blows", seed, blows)
	binary, err := rig.Binary(t.TempDir())
	must(t, err)
	dir, c := newAPI(t)

	vip := newAddress(t)
	images := rig.NewImages()
	t.Cleanup(images.Close)
	journal, file, err := simbmc.OpenJournal(filepath.Join(dir, "journal.jsonl"), nil)
	must(t, err)
	t.Cleanup(func() { _ = file.Close() })
	f, err := fleet.New(fleet.Config{
		Count: hosts, Seed: seed, BootURL: vip.url(), Journal: journal,
		Protocols: []fleet.Protocol{fleet.RedfishHTTP, fleet.IPMI, fleet.RedfishTLS},
		Latency:   40 * time.Millisecond, POST: 100 * time.Millisecond,
	})
	must(t, err)
	t.Cleanup(f.Close)
	for _, name := range []string{"a", "b"} {
		m := newManager(t, binary, dir, filepath.Join(dir, "api", "kubeconfig"), name,
			"--allow-loopback", images.Host(), "--retry-unit", "200ms", "--boot-timeout", "2m", "--shards", "8")
		must(t, m.start())
		must(t, m.up(time.Minute)) // which keeps its ports from the next
		vip.managers = append(vip.managers, m)
	}
	go vip.run()
	d := &driver{c: c, managers: vip.managers, r: rand.New(rand.NewPCG(seed, 1)), blows: blows, logf: t.Logf}
	must(t, d.balanced(t.Context(), time.Minute))

	v := &view{c: c, hosts: map[string]seen{}, problems: map[string]int{}}
	g, ctx := errgroup.WithContext(t.Context())
	followed, stop := context.WithCancel(ctx)
	defer stop()
	go v.follow(followed)
	done := make(chan struct{})
	g.Go(func() error {
		defer close(done)
		return d.run(ctx)
	})
	rounds := make([]int, hosts)
	for i, m := range f.Machines() {
		s := &subject{c: c, v: v, journal: journal, m: m, images: images, r: rand.New(rand.NewPCG(seed, uint64(100+i)))}
		g.Go(func() error {
			if err := s.enrol(ctx); err != nil {
				return err
			}
			for n := uint64(1); ; n++ {
				if err := s.provision(ctx, n); err != nil {
					return err
				}
				if err := s.deprovision(ctx); err != nil {
					return err
				}
				rounds[i]++
				select {
				case <-done:
					return nil
				default:
				}
			}
		})
	}
	err = g.Wait()
	t.Logf("INGOT_SEED=%d: rounds of the hosts %v; %s", seed, rounds, d.report())
	t.Logf("problems that hosts met: %v", v.met())
	if err != nil {
		t.Fatal(err)
	}
	must(t, journal.Err())
	if d.killed == 0 || blows >= 4 && d.slept == 0 {
		t.Errorf("%d kills, %d sleeps: want some of each", d.killed, d.slept)
	}
	if len(v.met()) > 0 {
		t.Errorf("hosts met problems, though nothing but managers failed: %v", v.met())
	}
}

// driver strikes one manager after the other, at random moments.
type driver struct {
	c        client.Client
	managers []*manager
	r        *rand.Rand
	blows    int
	logf     func(string, ...any)

	killed, slept, revived int
	moved                  []time.Duration
}

// run deals the blows; at its end, both managers are up.
func (d *driver) run(ctx context.Context) error {
	for n := range d.blows {
		pause(ctx, time.Duration(d.r.Int64N(int64(3*time.Second))))
		if ctx.Err() != nil {
			return nil
		}
		m := d.managers[d.r.IntN(len(d.managers))]
		sleeps := n%3 == 2
		began := time.Now()
		if sleeps {
			d.slept++
			if err := m.stop(); err != nil {
				return err
			}
		} else {
			d.killed++
			m.kill()
		}
		if err := d.left(ctx, m); err != nil {
			return err
		}
		took := time.Since(began)
		d.moved = append(d.moved, took)
		d.logf("blow %d: manager %s %s, its hosts moved in %s", n+1, m.name, map[bool]string{true: "sleeps", false: "is killed"}[sleeps], took.Round(10*time.Millisecond))
		// The other works on them for a while.
		pause(ctx, time.Duration(d.r.Int64N(int64(2*time.Second))))
		if sleeps {
			if err := m.cont(); err != nil {
				return err
			}
		} else {
			if err := m.start(); err != nil {
				return err
			}
			if err := m.up(time.Minute); err != nil {
				return err
			}
		}
		if err := d.balanced(ctx, time.Minute); err != nil {
			return err
		}
	}
	return nil
}

// slack is what a busy machine may take beyond the times of the leases.
const slack = time.Minute

// left waits until the hosts of a manager that does nothing are the others'. One of
// those that gives up meanwhile (a busy machine starves it of the API) is started
// again, as whatever runs it would.
func (d *driver) left(ctx context.Context, struck *manager) error {
	var failed error
	err := d.until(ctx, lease+2*retry+slack, "the hosts to move", func(members int, share []int) bool {
		for _, m := range d.managers {
			if m == struck {
				continue
			}
			revived, err := m.revive()
			if err != nil {
				failed = err
				return true
			}
			if revived {
				d.revived++
			}
		}
		return members == 1 && len(share) == 1
	})
	return errors.Join(err, failed)
}

// balanced waits until both have their share.
func (d *driver) balanced(ctx context.Context, limit time.Duration) error {
	var failed error
	err := d.until(ctx, limit, "two managers with four shards each", func(members int, share []int) bool {
		up := true
		for _, m := range d.managers {
			revived, err := m.revive()
			if err != nil {
				failed = err
				return true
			}
			if revived {
				d.revived++
			}
			up = up && m.serve.Load()
		}
		return up && members == 2 && slices.Equal(share, []int{4, 4})
	})
	return errors.Join(err, failed)
}

// until waits for a picture of the Leases: how many members there are, and how the
// eight shards are shared, all of which a live member holds.
func (d *driver) until(ctx context.Context, limit time.Duration, what string, ok func(members int, share []int) bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	last := ""
	for {
		var all coordv1.LeaseList
		err := d.c.List(ctx, &all, client.InNamespace("kube-system"), client.HasLabels{"ingot.dev/lease"})
		members, held := map[string]bool{}, map[string]int{}
		for _, l := range all.Items {
			if name, is := strings.CutPrefix(l.Name, "ingot-member-"); is {
				members[name] = true
			}
		}
		total := 0
		for _, l := range all.Items {
			if strings.HasPrefix(l.Name, "ingot-shard-") && l.Spec.HolderIdentity != nil && members[*l.Spec.HolderIdentity] {
				held[*l.Spec.HolderIdentity]++
				total++
			}
		}
		var share []int
		for _, n := range held {
			share = append(share, n)
		}
		if err == nil && total == 8 && ok(len(members), share) {
			return nil
		}
		if err == nil {
			last = fmt.Sprintf("%d members, %v", len(members), held)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("waited %s in vain for %s: %s", limit, what, last)
		}
		pause(ctx, 50*time.Millisecond)
	}
}

func (d *driver) report() string {
	slices.Sort(d.moved)
	if len(d.moved) == 0 {
		return "no blows"
	}
	return fmt.Sprintf("%d kills, %d sleeps (after %d of which the manager had led others, and was started again); hosts moved in %s (median), %s (longest), with leases of %s",
		d.killed, d.slept, d.revived, d.moved[len(d.moved)/2].Round(10*time.Millisecond), d.moved[len(d.moved)-1].Round(10*time.Millisecond), lease)
}

// seen is what the API last showed of a host.
type seen struct {
	bmh *metal3.BareMetalHost
	hr  *v1alpha1.HostRecord
}

// view follows the hosts.
type view struct {
	c client.Client

	mu       sync.Mutex
	hosts    map[string]seen
	problems map[string]int
}

func (v *view) follow(ctx context.Context) {
	for ctx.Err() == nil {
		var all metal3.BareMetalHostList
		var recs v1alpha1.HostRecordList
		if v.c.List(ctx, &all, client.InNamespace(namespace)) == nil && v.c.List(ctx, &recs, client.InNamespace(namespace)) == nil {
			v.mu.Lock()
			for i := range all.Items {
				s := v.hosts[all.Items[i].Name]
				s.bmh = &all.Items[i]
				v.hosts[all.Items[i].Name] = s
			}
			for i := range recs.Items {
				s := v.hosts[recs.Items[i].Name]
				if p := recs.Items[i].Status.Problem; p != nil && (s.hr == nil || s.hr.Status.Problem == nil || s.hr.Status.Problem.Code != p.Code) {
					v.problems[fmt.Sprintf("%s %v", p.Code, p.Seen)]++
				}
				s.hr = &recs.Items[i]
				v.hosts[recs.Items[i].Name] = s
			}
			v.mu.Unlock()
		}
		pause(ctx, 100*time.Millisecond)
	}
}

func (v *view) met() map[string]int {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := map[string]int{}
	for k, n := range v.problems {
		out[k] = n
	}
	return out
}

// await waits until a host rests in a state with an image.
func (v *view) await(ctx context.Context, name string, state metal3.ProvisioningState, image string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		v.mu.Lock()
		s := v.hosts[name]
		v.mu.Unlock()
		if s.bmh != nil && s.hr != nil && s.bmh.Status.Provisioning.State == state && s.bmh.Status.Provisioning.Image.URL == image &&
			s.bmh.Status.ErrorType == "" && s.bmh.Status.PoweredOn && s.hr.Status.Problem == nil &&
			(s.hr.Status.Operation == nil || state == metal3.StateProvisioned) {
			return nil
		}
		if ctx.Err() != nil {
			st, rec := []byte(nil), []byte(nil)
			if s.bmh != nil && s.hr != nil {
				st, _ = json.Marshal(s.bmh.Status.Provisioning) // plain data
				rec, _ = json.Marshal(s.hr.Status)
			}
			return fmt.Errorf("%s is stuck on its way to %s: %w\n  %s\n  %s", name, state, ctx.Err(), st, rec)
		}
		pause(ctx, 30*time.Millisecond)
	}
}

// subject is one machine.
type subject struct {
	c       client.Client
	v       *view
	journal *simbmc.Journal
	m       *fleet.Machine
	images  *rig.Images
	r       *rand.Rand
}

// What may happen to a machine between two rests.
var noticed = []string{
	simbmc.KindPower, simbmc.KindPowerError, simbmc.KindBoot, simbmc.KindMedia, simbmc.KindAuth,
	fleet.KindStart, fleet.KindAgent, fleet.KindErase, fleet.KindWriteBegin, fleet.KindWrite, fleet.KindConfig,
	fleet.KindOSUp, fleet.KindGuest, fleet.KindStuck,
}

// entries leave out a token that is good no more: a manager that slept through its
// lease closes its session, which the next owner has ended meanwhile. No password
// is tried in vain.
func (s *subject) entries() []simbmc.Entry {
	return slices.DeleteFunc(s.journal.Entries(s.m.Name, noticed...), func(e simbmc.Entry) bool {
		return e.Kind == simbmc.KindAuth && e.Detail == "token"
	})
}

func (s *subject) enrol(ctx context.Context) error {
	meta := metav1.ObjectMeta{Namespace: namespace, Name: s.m.Name}
	secret := &corev1.Secret{ObjectMeta: meta, Data: map[string][]byte{"username": []byte(s.m.Username), "password": []byte(s.m.Password)}}
	b := &metal3.BareMetalHost{ObjectMeta: meta}
	b.Spec.BMC = metal3.BMCDetails{Address: s.m.Address, CredentialsName: meta.Name, DisableCertificateVerification: s.m.Insecure}
	b.Spec.BootMACAddress, b.Spec.Online = s.m.MAC, true
	if err := errors.Join(s.c.Create(ctx, secret), s.c.Create(ctx, b)); err != nil {
		return err
	}
	if err := s.v.await(ctx, s.m.Name, metal3.StateAvailable, ""); err != nil {
		return errors.Join(err, s.story(0))
	}
	return s.audit(0, expect{power: "On", boots: 1, erases: len(s.m.Images())})
}

func (s *subject) change(ctx context.Context, spec map[string]any) error {
	patch, err := json.Marshal(map[string]any{"spec": spec})
	if err != nil {
		return err
	}
	b := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: s.m.Name}}
	return s.c.Patch(ctx, b, client.RawPatch(types.MergePatchType, patch))
}

func (s *subject) provision(ctx context.Context, n uint64) error {
	p := s.images.Image(n)
	mark := len(s.entries())
	err := s.change(ctx, map[string]any{"image": map[string]any{"url": p.URL, "checksum": p.Digest, "checksumType": "sha256", "format": "raw"}})
	if err == nil {
		err = s.v.await(ctx, s.m.Name, metal3.StateProvisioned, p.URL)
	}
	if err == nil {
		err = s.landed(ctx, mark, fleet.KindOSUp)
	}
	if err != nil {
		return errors.Join(err, s.story(mark))
	}
	if !slices.Contains(s.m.Images(), p.Digest) {
		return fmt.Errorf("%s: no disk holds %s, but %v", s.m.Name, p.Digest, s.m.Images())
	}
	return s.audit(mark, expect{power: "ForceOff On", boots: 1, writes: 1})
}

func (s *subject) deprovision(ctx context.Context) error {
	mark := len(s.entries())
	err := s.change(ctx, map[string]any{"image": nil})
	if err == nil {
		err = s.v.await(ctx, s.m.Name, metal3.StateAvailable, "")
	}
	if err == nil {
		err = s.landed(ctx, mark, fleet.KindErase)
	}
	if err != nil {
		return errors.Join(err, s.story(mark))
	}
	return s.audit(mark, expect{power: "ForceOff On", boots: 1, erases: len(s.m.Images())})
}

// landed waits until what a machine did last is of a kind: the ends of a manager's
// work and of the machine's are not the same moment.
func (s *subject) landed(ctx context.Context, mark int, kind string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		all := s.entries()[mark:]
		if n := len(all); n > 0 && all[n-1].Kind == kind {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: the machine did not come to %s", s.m.Name, kind)
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// expect is what may have been done to a machine between two rests.
type expect struct {
	power                 string
	boots, erases, writes int
}

// audit holds the journal against what was declared.
func (s *subject) audit(mark int, want expect) error {
	var power []string
	counts := map[string]int{}
	var last simbmc.Entry
	for _, e := range s.entries()[mark:] {
		if e.Kind == simbmc.KindBoot && last.Kind == e.Kind && last.Detail == e.Detail {
			continue // said again by the next owner, which changes nothing (docs/designs/0006)
		}
		last = e
		counts[e.Kind]++
		if e.Kind == simbmc.KindPower {
			power = append(power, e.Detail)
		}
	}
	got := expect{strings.Join(power, " "), counts[simbmc.KindBoot], counts[fleet.KindErase], counts[fleet.KindWriteBegin]}
	err := error(nil)
	if got != want || counts[fleet.KindWrite] != want.writes || counts[fleet.KindConfig] != want.writes {
		err = fmt.Errorf("%s: %+v, want %+v", s.m.Name, got, want)
	}
	for _, never := range []string{simbmc.KindPowerError, simbmc.KindMedia, simbmc.KindAuth, fleet.KindStuck} {
		if counts[never] > 0 {
			err = errors.Join(err, fmt.Errorf("%s: %d times %s", s.m.Name, counts[never], never))
		}
	}
	if err != nil {
		return errors.Join(err, s.story(mark))
	}
	return nil
}

// story is what happened to the machine, for whoever reads a failure.
func (s *subject) story(mark int) error {
	var b strings.Builder
	for _, e := range s.entries()[mark:] {
		fmt.Fprintf(&b, "\n  %s %s %s", e.Time.Format("15:04:05.000"), e.Kind, e.Detail)
	}
	return errors.New(b.String())
}

// pause waits; it is no wait for a condition but a pace.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
