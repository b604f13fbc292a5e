package controller

import (
	"context"
	"log/slog"
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/shard"
)

// A host is woken by a new ask, and by nothing else of its record.
func TestRecordAsks(t *testing.T) {
	record := func(version string, ask *v1alpha1.Ask) *v1alpha1.HostRecord {
		hr := &v1alpha1.HostRecord{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "w1", UID: "u", ResourceVersion: version}}
		hr.Spec.Ask = ask
		return hr
	}
	one, two := &v1alpha1.Ask{N: 1, Verb: host.VerbManage}, &v1alpha1.Ask{N: 2, Verb: host.VerbInspect}
	for _, tc := range []struct {
		name    string
		was, is *v1alpha1.HostRecord
		wakes   bool
	}{
		{name: "made without", is: record("2", nil)},
		{name: "made with one", is: record("2", one), wakes: true},
		{name: "our own write", was: record("2", one), is: record("3", &v1alpha1.Ask{N: 1, Verb: host.VerbManage})},
		{name: "the first", was: record("2", nil), is: record("3", one), wakes: true},
		{name: "the next", was: record("2", one), is: record("3", two), wakes: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &Hosts{Shares: shard.Sole(1), hosts: map[types.NamespacedName]*live{}}
			q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
			defer q.ShutDown()
			if tc.was == nil {
				c.records().Create(t.Context(), event.CreateEvent{Object: tc.is}, q)
			} else {
				c.records().Update(t.Context(), event.UpdateEvent{ObjectOld: tc.was, ObjectNew: tc.is}, q)
			}
			if wakes := q.Len() == 1; wakes != tc.wakes {
				t.Fatalf("woken %v, want %v", wakes, tc.wakes)
			}
			if !tc.wakes {
				return
			}
			// It is kept until the host knows its record.
			l, w := c.live(types.NamespacedName{Namespace: "rack", Name: "w1"}), host.Wants{}
			if c.heed(l, &w); w.Ask != nil {
				t.Fatalf("of a host without a record: %+v", w.Ask)
			}
			l.objs.HR = record("1", nil)
			if c.heed(l, &w); w.Ask == nil || w.Ask.N != tc.is.Spec.Ask.N || w.Ask.Verb != tc.is.Spec.Ask.Verb {
				t.Fatalf("taken up: %+v", w.Ask)
			}
			if l.heard != nil {
				t.Error("it will be taken up again")
			}
		})
	}
}

// A cleaning that is asked for sees the firmware settings that were declared before it,
// though the watch has not brought them yet.
func TestAskSeesItsSettings(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := metal3.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	api := func(version string, settings metal3.DesiredSettingsMap) client.Client {
		hfs := &metal3.HostFirmwareSettings{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "w1", UID: "f", ResourceVersion: version}}
		hfs.Spec.Settings = settings
		return fake.NewClientBuilder().WithScheme(scheme).WithObjects(hfs).Build()
	}
	for verb, want := range map[string]bool{host.VerbClean: true, host.VerbService: true, host.VerbInspect: false} {
		c := &Hosts{
			Client: api("1", nil), Reader: api("2", metal3.DesiredSettingsMap{"QuietBoot": intstr.FromString("true")}),
			Log: slog.New(slog.DiscardHandler), base: context.Background(), wake: make(chan event.GenericEvent, 1),
		}
		l, w := &live{}, host.Wants{}
		l.objs.BMH = &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "w1", UID: "h"}}
		l.objs.HR = &v1alpha1.HostRecord{ObjectMeta: metav1.ObjectMeta{UID: "r", ResourceVersion: "1"}}
		l.heard = &v1alpha1.HostRecord{ObjectMeta: metav1.ObjectMeta{UID: "r", ResourceVersion: "2"}, Spec: v1alpha1.HostRecordSpec{Ask: &v1alpha1.Ask{N: 1, Verb: verb}}}
		if err := c.declared(t.Context(), l, &w); err != nil || w.Settings {
			t.Fatalf("%s: before the ask: %v, %v", verb, w.Settings, err)
		}
		if c.heed(l, &w); l.firmware.behind != want {
			t.Errorf("%s: behind %v, want %v", verb, l.firmware.behind, want)
		}
		if err := c.declared(t.Context(), l, &w); err != nil || w.Settings != want || l.firmware.behind {
			t.Errorf("%s: settings due %v, want %v, behind %v, %v", verb, w.Settings, want, l.firmware.behind, err)
		}
	}
}

// spec.online of a node that is merely enrolled follows its machine, and so does that
// of one that was switched off softly; it is left alone once the door has declared
// something else.
func TestFollowPower(t *testing.T) {
	manageable := host.Node{Hold: host.Manageable, Asked: 1}
	on := func(n host.Node, declared bool) host.Host {
		return host.Host{Key: "rack/w1", State: host.Registering, Power: host.PowerOn, Node: n, Wants: host.Wants{Online: declared}}
	}
	off := on(manageable, false)
	off.Power = host.PowerOff
	shut := func(verb string) host.Host {
		h := on(host.Node{Verb: verb, Asked: 1}, true)
		h.State, h.Power = host.Provisioned, host.PowerOff
		return h
	}
	for _, tc := range []struct {
		name        string
		before, now host.Host
		stale       bool // somebody has changed the host meanwhile
		want        bool
	}{
		{name: "has become manageable", before: on(host.Node{Verb: host.VerbManage, Asked: 1}, false), now: on(manageable, false), want: true},
		{name: "was switched on by hand", before: off, now: on(manageable, false), want: true},
		{name: "the door declares what goes with its next ask", before: on(manageable, true), now: on(manageable, false)},
		{name: "and does so just now", before: off, now: on(manageable, false), stale: true},
		{name: "waits to be adopted", before: on(host.Node{Verb: host.VerbAdopt}, false), now: on(host.Node{Verb: host.VerbAdopt}, false), want: true},
		{name: "enrolled", before: off, now: on(host.Node{Hold: host.Enroll}, false)},
		{name: "was switched off softly", before: on(host.Node{Verb: host.VerbSoftOff, Asked: 1}, true), now: shut(host.VerbSoftOff), want: false},
		{name: "was so, and that was not written", before: shut(host.VerbSoftOff), now: shut(host.VerbSoftOff), want: false},
		{name: "is to be switched off softly", before: on(manageable, true), now: on(host.Node{Verb: host.VerbSoftOff, Asked: 1}, true), want: true},
		{name: "is restarted", before: on(host.Node{Verb: host.VerbSoftReboot}, true), now: shut(host.VerbSoftReboot), want: true},
		{name: "led by nobody", before: off, now: on(host.Node{}, false)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			scheme := runtime.NewScheme()
			if err := metal3.AddToScheme(scheme); err != nil {
				t.Fatal(err)
			}
			b := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "w1"}}
			b.Spec.Online = tc.now.Wants.Online
			api := fake.NewClientBuilder().WithScheme(scheme).WithObjects(b).Build()
			c := &Hosts{Client: api, Reader: api, Log: slog.New(slog.DiscardHandler), base: context.Background(), wake: make(chan event.GenericEvent, 1)}
			l := &live{h: tc.now}
			l.objs.BMH = &metal3.BareMetalHost{}
			if err := api.Get(t.Context(), client.ObjectKeyFromObject(b), l.objs.BMH); err != nil {
				t.Fatal(err)
			}
			if tc.stale {
				other := l.objs.BMH.DeepCopy()
				other.Spec.Description = "x"
				if err := api.Update(t.Context(), other); err != nil {
					t.Fatal(err)
				}
			}
			c.followPower(t.Context(), l, tc.before)
			got := &metal3.BareMetalHost{}
			if err := api.Get(t.Context(), client.ObjectKeyFromObject(b), got); err != nil {
				t.Fatal(err)
			}
			if got.Spec.Online != tc.want {
				t.Errorf("online %v, want %v", got.Spec.Online, tc.want)
			}
		})
	}
}
