package shard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

func TestPlan(t *testing.T) {
	for _, tc := range []struct {
		name       string
		members    []string
		holders    []string
		take, give []int
	}{
		{name: "alone takes all", members: []string{"a"}, holders: []string{"", "", ""}, take: []int{0, 1, 2}},
		{name: "first by name takes one more", members: []string{"b", "a"}, holders: []string{"", "", ""}, take: []int{0, 1}},
		{name: "gives up what is more", members: []string{"a", "b"}, holders: []string{"a", "a", "a", "a"}, give: []int{2, 3}},
		{name: "takes what is free, not what is another's", members: []string{"a", "b"}, holders: []string{"b", "b", "", "b"}, take: []int{2}},
		{name: "balanced", members: []string{"a", "b"}, holders: []string{"b", "a", "a", "b"}},
		{name: "more members than shards", members: []string{"0", "1", "2", "3", "a"}, holders: []string{"", "", "", ""}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			take, give := plan("a", tc.members, tc.holders)
			if !slices.Equal(take, tc.take) || !slices.Equal(give, tc.give) {
				t.Errorf("take %v, give %v; want %v, %v", take, give, tc.take, tc.give)
			}
		})
	}
}

// Whatever the members' names, their shares come to all shards.
func TestQuota(t *testing.T) {
	for n := 1; n < 40; n++ {
		for k := 1; k < 7; k++ {
			var all []string
			for i := range k {
				all = append(all, fmt.Sprint("m", i))
			}
			sum := 0
			for _, m := range all {
				sum += quota(n, m, all)
			}
			if sum != n {
				t.Fatalf("%d shards, %d members: quotas come to %d", n, k, sum)
			}
		}
	}
}

// The hash is part of what replicas of different versions agree on.
func TestOf(t *testing.T) {
	got := []int{Of("default/node-0", 16), Of("default/node-1", 16), Of("rack/worker-7", 16), Of("rack/worker-7", 3)}
	if diff := cmp.Diff([]int{14, 1, 13, 2}, got); diff != "" {
		t.Error(diff)
	}
	count := make([]int, 16)
	for i := range 16000 {
		count[Of(fmt.Sprintf("default/node-%d", i), 16)]++
	}
	if low, high := slices.Min(count), slices.Max(count); low < 800 || high > 1200 {
		t.Errorf("16,000 hosts in 16 shards: between %d and %d", low, high)
	}
}

// world is an API and a clock that members share.
type world struct {
	t    *testing.T
	api  client.WithWatch
	now  time.Time
	next int
}

func newWorld(t *testing.T) *world {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{coordv1.AddToScheme, corev1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return &world{t: t, api: fake.NewClientBuilder().WithScheme(s).Build(), now: time.Unix(1e9, 0)}
}

// replica is a member and how its world fails it.
type replica struct {
	*Member
	down  bool          // the API does not answer
	lose  bool          // what it answers is lost
	after func()        // between a request's beginning and its arrival
	clock time.Duration // by which its clock differs
	gone  []int         // told to Lost
}

func (w *world) replica(name string, change func(*Config)) *replica {
	w.t.Helper()
	r := &replica{}
	pass := func(do func() error) error {
		if r.down {
			return errors.New("connection refused")
		}
		if f := r.after; f != nil {
			r.after = nil
			f()
		}
		err := do()
		if r.lose && err == nil {
			return context.DeadlineExceeded
		}
		return err
	}
	cfg := Config{
		Client: interceptor.NewClient(w.api, interceptor.Funcs{
			List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, o ...client.ListOption) error {
				return pass(func() error { return c.List(ctx, l, o...) })
			},
			Update: func(ctx context.Context, c client.WithWatch, x client.Object, o ...client.UpdateOption) error {
				return pass(func() error { return c.Update(ctx, x, o...) })
			},
			Create: func(ctx context.Context, c client.WithWatch, x client.Object, o ...client.CreateOption) error {
				return pass(func() error { return c.Create(ctx, x, o...) })
			},
			Delete: func(ctx context.Context, c client.WithWatch, x client.Object, o ...client.DeleteOption) error {
				return pass(func() error { return c.Delete(ctx, x, o...) })
			},
		}),
		Namespace: "ns", Name: name, Door: "https://" + name, Shards: 6, Log: slog.New(slog.DiscardHandler),
		Now:   func() time.Time { return w.now.Add(r.clock) },
		NewID: func() string { w.next++; return fmt.Sprint(w.next) },
		Lost:  func(s []int) { r.gone = append(r.gone, s...) },
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if r.Member, err = New(cfg); err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) join(name string) *replica {
	w.t.Helper()
	r := w.replica(name, nil)
	if err := r.Join(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return r
}

// rounds lets time go by, with a round of each member every two seconds.
func (w *world) rounds(n int, all ...*replica) {
	for range n {
		w.now = w.now.Add(2 * time.Second)
		for _, r := range all {
			_ = r.round(w.t.Context()) // a failure is part of some tests
		}
	}
}

// claims are the epochs by shard; 0: not ours.
func (r *replica) claims() []int64 {
	out := make([]int64, r.shards)
	for i := range 10000 {
		key := fmt.Sprintf("default/node-%d", i)
		if c, ok := r.Claim(key); ok {
			out[Of(key, r.shards)] = c.Epoch
		}
		if i > 100 {
			break
		}
	}
	return out
}

func (r *replica) share() int {
	n := 0
	for _, e := range r.claims() {
		if e > 0 {
			n++
		}
	}
	return n
}

func TestShareAndHandOver(t *testing.T) {
	w := newWorld(t)
	a := w.join("a")
	if a.share() != 6 || a.Owner("default/node-0") != "" {
		t.Fatalf("the only replica has %d shards", a.share())
	}
	if c, _ := a.Claim("default/node-0"); !c.First || c.Epoch != 1 {
		t.Errorf("claim %+v", c)
	}
	b := w.join("b")
	w.rounds(2, a, b)
	if a.share() != 3 || b.share() != 3 || len(a.gone) != 3 {
		t.Fatalf("shares %d and %d, a was told of %v", a.share(), b.share(), a.gone)
	}
	for i, e := range b.claims() {
		if e != 0 && e < 2 {
			t.Errorf("shard %d has epoch %d again", i, e)
		}
	}
	for i := range 20 {
		key := fmt.Sprintf("default/node-%d", i)
		if _, ours := a.Claim(key); !ours && a.Owner(key) != "https://b" {
			t.Errorf("a says that %s is at %q", key, a.Owner(key))
		}
	}
	if got := a.Others(); !slices.Equal(got, []string{"https://b"}) {
		t.Errorf("others %v", got)
	}
	a.leave(t.Context())
	if a.share() != 0 {
		t.Error("a replica that has ended has hosts")
	}
	w.rounds(1, b)
	if b.share() != 6 {
		t.Errorf("after a has left, b has %d", b.share())
	}
}

// A replica that is killed is waited for, for one lease duration.
func TestKilled(t *testing.T) {
	w := newWorld(t)
	a, b := w.join("a"), w.join("b")
	w.rounds(3, a, b)
	w.rounds(7, b) // 14 s
	if b.share() != 3 {
		t.Fatalf("b took shards of a replica that may live: %d", b.share())
	}
	w.rounds(2, b)
	if b.share() != 6 {
		t.Errorf("b has %d shards 18 s after a was killed", b.share())
	}
	if a.share() != 0 {
		t.Error("a still claims hosts after its deadline")
	}
	// It was only asleep: it begins anew, as another.
	old := a.id
	w.rounds(4, a, b)
	if a.id == old || a.share() != 3 || b.share() != 3 || len(a.gone) != 6 {
		t.Errorf("a came back as %s (was %s) with %d and b has %d; a was told of %v", a.id, old, a.share(), b.share(), a.gone)
	}
}

// A start of the same exclusive replica waits for nobody.
func TestExclusive(t *testing.T) {
	w := newWorld(t)
	only := func(c *Config) { c.Exclusive = true }
	for epoch := range int64(3) {
		r := w.replica("embedded", only)
		if err := r.Join(t.Context()); err != nil {
			t.Fatal(err)
		}
		if c, ok := r.Claim("default/node-0"); !ok || c.Epoch != epoch+1 {
			t.Fatalf("start %d: claim %+v, %v", epoch, c, ok)
		}
	}
}

func TestAgree(t *testing.T) {
	w := newWorld(t)
	w.join("a")
	b := w.replica("b", func(c *Config) { c.Shards = 8 })
	var disagree *DisagreeError
	if err := b.Join(t.Context()); !errors.As(err, &disagree) || !strings.Contains(err.Error(), "--shards 6") {
		t.Errorf("another number of shards: %v", err)
	}
	b = w.replica("b", func(c *Config) { c.Shards = 0 })
	b.down = true
	if err := b.join(t.Context()); err == nil {
		t.Error("an API that is down lets a replica in")
	}
	b.down = false
	if err := b.Join(t.Context()); err != nil || b.shards != 6 {
		t.Errorf("no number: %d shards, %v", b.shards, err)
	}
}

func TestTimes(t *testing.T) {
	for _, c := range []Config{
		{Duration: 10 * time.Second, Deadline: 10 * time.Second},
		{Deadline: 3 * time.Second, Retry: 3 * time.Second},
		{Duration: time.Millisecond},
		{Shards: MaxShards + 1},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}

// An answer that is lost costs nothing that is not found again.
func TestLostAnswers(t *testing.T) {
	w := newWorld(t)
	a := w.join("a")
	a.lose = true
	w.rounds(3, a)
	a.lose = false
	w.rounds(2, a)
	if a.share() != 6 {
		t.Errorf("after lost answers, a has %d shards", a.share())
	}
	b := w.join("b")
	a.lose = true
	w.rounds(1, a, b) // its hand-over is carried out, and not heard of
	a.lose = false
	w.rounds(4, a, b)
	if a.share() != 3 || b.share() != 3 {
		t.Errorf("shares %d and %d", a.share(), b.share())
	}
}

// A renewal that was long on its way gives no right that others have taken over
// meanwhile.
func TestLateRenewal(t *testing.T) {
	w := newWorld(t)
	a, b := w.join("a"), w.join("b")
	w.rounds(3, a, b)
	w.now = w.now.Add(9 * time.Second) // within a's deadline
	a.after = func() { w.rounds(6, b) }
	_ = a.round(t.Context())
	if a.share() != 0 || b.share() != 6 {
		t.Errorf("a has %d, b %d", a.share(), b.share())
	}
}

// Whatever fails and whoever sleeps, no host has two owners, and no epoch comes
// twice to two of them.
func TestNeverTwo(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 7))
		w := newWorld(t)
		var all []*replica
		for i := range 3 {
			x := w.replica(fmt.Sprint("r", i), nil)
			x.clock = time.Duration(r.Int64N(int64(time.Hour)))
			all = append(all, x)
		}
		owned := map[[2]int64]*replica{} // shard, epoch
		check := func() {
			t.Helper()
			owner := map[int]*replica{}
			for _, x := range all {
				if x.shards == 0 {
					continue
				}
				for i, e := range x.claims() {
					if e == 0 {
						continue
					}
					if owner[i] != nil {
						t.Fatalf("seed %d: shard %d has two owners", seed, i)
					}
					owner[i] = x
					if o := owned[[2]int64{int64(i), e}]; o != nil && o != x {
						t.Fatalf("seed %d: epoch %d of shard %d was another's", seed, e, i)
					}
					owned[[2]int64{int64(i), e}] = x
				}
			}
		}
		asleep := map[*replica]int{}
		var step func(depth int)
		step = func(depth int) {
			w.now = w.now.Add(time.Duration(r.Int64N(int64(3 * time.Second))))
			check()
			x := all[r.IntN(len(all))]
			if asleep[x] > 0 {
				asleep[x]--
				return
			}
			x.down, x.lose = r.IntN(8) == 0, r.IntN(10) == 0
			if r.IntN(12) == 0 {
				asleep[x] = 3 + r.IntN(12)
			}
			if depth < 3 && r.IntN(4) == 0 { // others go on while its request is on its way
				n := 1 + r.IntN(8)
				busy := x
				x.after = func() {
					for range n {
						asleep[busy] = 100
						step(depth + 1)
					}
					asleep[busy] = 0
				}
			}
			if x.shards == 0 {
				x.joining = true
				_ = x.join(t.Context())
				x.joining = false
			} else {
				_ = x.round(t.Context())
			}
			x.after = nil
			check()
		}
		for range 150 {
			step(0)
		}
		for _, x := range all {
			x.down, x.lose, x.after = false, false, nil
			_ = x.agree(t.Context())
		}
		w.rounds(20, all...)
		for _, x := range all {
			if x.share() != 2 {
				t.Fatalf("seed %d: in the end shares are %d, %d, %d", seed, all[0].share(), all[1].share(), all[2].share())
			}
		}
	}
}
