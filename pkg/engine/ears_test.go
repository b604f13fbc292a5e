package engine

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/pkg/auth"
	"github.com/ingot-metal/ingot/pkg/bmc"
)

// talker is a BMC with an event service.
type talker struct {
	mute
	mu   sync.Mutex
	subs []bmc.Subscription
	n    int
	asks int
	err  error
	slow time.Duration // of Subscribe
}

func (t *talker) Subscriptions(context.Context) ([]bmc.Subscription, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asks++
	return slices.Clone(t.subs), t.err
}

func (t *talker) Subscribe(_ context.Context, s bmc.Subscription) (bmc.Subscription, error) {
	time.Sleep(t.slow)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n++
	s.ID = fmt.Sprintf("/redfish/v1/EventService/Subscriptions/%d", t.n)
	t.subs = append(t.subs, s)
	return s, nil
}

func (t *talker) Unsubscribe(_ context.Context, id string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.subs = slices.DeleteFunc(t.subs, func(s bmc.Subscription) bool { return s.ID == id })
	return nil
}

// destinations of the subscriptions, and of whom.
func (t *talker) destinations(token string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	for _, s := range t.subs {
		who := "other"
		if s.Context == token {
			who = "ours"
		}
		out = append(out, who+" "+s.Destination)
	}
	return out
}

func (t *talker) asked() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.asks
	t.asks = 0
	return n
}

func (t *talker) fails(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = err
}

// hearing is Ears with one BMC.
type hearing struct {
	*Ears
	bmc   *talker
	in    Input
	token string
	mu    sync.Mutex
	woken int
}

const ourDoor = "https://10.77.0.1:6183" + EventsPath

func newHearing(t *testing.T, conn bmc.Conn, door string) *hearing {
	t.Helper()
	ca, err := auth.NewCA(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	h := &hearing{}
	h.bmc, _ = conn.(*talker)
	e := &Engine{BMCs: bmcs{conn: conn}, CA: ca, Log: slog.New(slog.DiscardHandler)}
	h.Ears = NewEars(ctx, e, func(_ context.Context, a bmc.Address) string { return door }, func(types.NamespacedName) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.woken++
	})
	b := &metal3.BareMetalHost{}
	b.Namespace, b.Name, b.UID = "rack", "w1", "u1"
	b.Spec.BMC.Address = "redfish://10.0.0.3"
	h.in = Input{Key: rowKey("w1"), BMH: b}
	h.in.Host.Wants.SecretVersion = "v1"
	h.token = ca.Token(eventsPurpose(h.in))
	return h
}

// wakes since the last time.
func (h *hearing) wakes() int {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.woken
	h.woken = 0
	return n
}

func TestEarsSubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &talker{subs: []bmc.Subscription{{ID: "/other", Destination: "https://192.0.2.9/in", Context: "x"}}}
		h := newHearing(t, c, ourDoor)
		want := func(n int, all ...string) {
			t.Helper()
			synctest.Wait()
			if got := c.asked(); got != n {
				t.Errorf("the BMC was visited %d times, want %d", got, n)
			}
			if got := c.destinations(h.token); !slices.Equal(got, all) {
				t.Errorf("subscriptions %q, want %q", got, all)
			}
		}
		const other = "other https://192.0.2.9/in"
		h.Listen(h.in)
		pass(time.Second)
		want(1, other, "ours "+ourDoor)
		h.Listen(h.in)
		pass(time.Hour)
		want(0, other, "ours "+ourDoor)

		// A BMC that was silent may have forgotten.
		c.subs = c.subs[:1]
		h.Doubt(h.in.Key)
		h.Listen(h.in)
		pass(time.Second)
		want(1, other, "ours "+ourDoor)

		// After a start it is found again; one that leads where we were is replaced.
		h.hosts, h.byID = map[types.NamespacedName]*heard{}, map[string]types.NamespacedName{}
		h.Listen(h.in)
		pass(time.Second)
		want(1, other, "ours "+ourDoor)
		h.hosts, h.byID = map[types.NamespacedName]*heard{}, map[string]types.NamespacedName{}
		h.at = func(context.Context, bmc.Address) string { return "https://10.77.0.2:6183" + EventsPath }
		h.Listen(h.in)
		pass(time.Second)
		want(1, other, "ours https://10.77.0.2:6183"+EventsPath)

		// Another Secret is another login: perhaps another BMC.
		h.in.Host.Wants.SecretVersion = "v2"
		h.Listen(h.in)
		pass(time.Second)
		want(1, other, "ours https://10.77.0.2:6183"+EventsPath)

		h.Release(h.in)
		pass(time.Second)
		want(1, other)
		h.Release(h.in) // once more does nothing
		pass(time.Second)
		want(0, other)
		if h.Heard(h.token) {
			t.Error("a host that was let go of is heard")
		}
	})
}

// A host that goes while its BMC is being visited leaves nothing behind.
func TestEarsReleaseMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &talker{slow: time.Second}
		h := newHearing(t, c, ourDoor)
		h.Listen(h.in)
		pass(100 * time.Millisecond)
		h.Release(h.in)
		pass(10 * time.Second)
		if got := c.destinations(h.token); len(got) != 0 || c.n != 1 {
			t.Errorf("subscriptions %q after %d were made", got, c.n)
		}
	})
}

// Who cannot push is asked once; who is away is asked again.
func TestEarsGiveUp(t *testing.T) {
	for _, tc := range []struct {
		name  string
		conn  bmc.Conn
		door  string
		err   error
		again bool
	}{
		{name: "no events", conn: mute{}, door: ourDoor},
		{name: "our door is not reached", conn: &talker{}},
		{name: "unsupported", conn: &talker{}, door: ourDoor, err: &bmc.Error{Class: bmc.Unsupported}},
		{name: "forbidden", conn: &talker{}, door: ourDoor, err: &bmc.Error{Class: bmc.Forbidden}},
		{name: "busy", conn: &talker{}, door: ourDoor, err: &bmc.Error{Class: bmc.Busy}, again: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHearing(t, tc.conn, tc.door)
				if h.bmc != nil {
					h.bmc.fails(tc.err)
				}
				for range 5 {
					h.Listen(h.in)
					pass(time.Second)
				}
				if h.bmc == nil {
					return
				}
				if n := h.bmc.asked(); n > 1 {
					t.Errorf("visited %d times in five seconds", n)
				}
				h.bmc.fails(nil)
				pass(15 * time.Minute)
				if n := h.bmc.asked(); (n == 1) != tc.again {
					t.Errorf("visited %d times later", n)
				}
			})
		})
	}
}

func TestHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHearing(t, &talker{}, ourDoor)
		h.Listen(h.in)
		pass(time.Second)
		for _, bad := range []string{
			"", "x", h.token[:tokenID], h.token[:len(h.token)-1], h.token + "0", strings.ToUpper(h.token),
			h.token[:tokenID] + strings.Repeat("0", len(h.token)-tokenID),
		} {
			if h.Heard(bad) {
				t.Errorf("heard %q", bad)
			}
		}
		if n := h.wakes(); n != 0 {
			t.Errorf("strangers woke the host %d times", n)
		}
		if !h.Heard(h.token) || h.wakes() != 1 {
			t.Error("the BMC is not heard")
		}

		// Ten at once, then one a second, and the last word is never lost.
		pass(time.Minute)
		for range 1000 {
			h.Heard(h.token)
		}
		if n := h.wakes(); n != wakeBurst {
			t.Errorf("woken %d times at once", n)
		}
		pass(wakeEvery)
		if n := h.wakes(); n != 1 {
			t.Errorf("woken %d times after the last word", n)
		}
		begun := time.Now()
		for time.Since(begun) < time.Minute {
			h.Heard(h.token)
			pass(10 * time.Millisecond)
		}
		if n := h.wakes(); n < 50 || n > 130 {
			t.Errorf("woken %d times in a minute", n)
		}
	})
}

// After a start, ten thousand BMCs are not visited at once.
func TestEarsVisitInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &talker{}
		h := newHearing(t, c, ourDoor)
		for i := range 200 {
			in := h.in
			in.Key = rowKey(fmt.Sprint(i))
			in.BMH = in.BMH.DeepCopy()
			in.BMH.UID = types.UID(fmt.Sprint(i))
			h.Listen(in)
		}
		pass(time.Second)
		if n := c.asked(); n > subscribeBurst+subscribeRate {
			t.Errorf("%d visits in the first second", n)
		}
		pass(10 * time.Second)
		if n := len(c.destinations("")); n != 200 {
			t.Errorf("%d of 200 are subscribed", n)
		}
	})
}

// Our own subscription goes where a user's finds no room, and does not come back by
// itself.
func TestYield(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHearing(t, &talker{subs: []bmc.Subscription{{ID: "/x/Subscriptions/9", Destination: "https://other", Context: "c"}}}, ourDoor)
		if h.Yield(t.Context(), h.in.Key) {
			t.Error("a host that is not known gave something up")
		}
		h.Listen(h.in)
		synctest.Wait()
		if !h.Yield(t.Context(), h.in.Key) {
			t.Error("nothing was given up")
		}
		h.Listen(h.in)
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := h.bmc.destinations(h.token); !slices.Equal(got, []string{"other https://other"}) {
			t.Errorf("at the BMC %v", got)
		}
		if h.Yield(t.Context(), h.in.Key) {
			t.Error("it was given up twice")
		}
		h.bmc.fails(&bmc.Error{Class: bmc.Unreachable})
		if h.Yield(t.Context(), h.in.Key) {
			t.Error("something was given up on a BMC that does not answer")
		}
	})
}
