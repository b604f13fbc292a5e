//go:build e2e

package kill

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/host"
)

// namespace of the hosts.
const namespace = "default"

// seen is what the API last showed of one host.
type seen struct {
	bmh *metal3.BareMetalHost
	hr  *v1alpha1.HostRecord
}

// view follows the hosts through the API, across restarts of the server.
type view struct {
	c    client.WithWatch
	logf func(string, ...any)

	mu       sync.Mutex
	hosts    map[string]seen
	watches  int            // that a server serves at this moment
	problems map[string]int // by code
	changed  chan struct{}  // closed and replaced at every change
}

func newView(c client.WithWatch, logf func(string, ...any)) *view {
	return &view{c: c, logf: logf, hosts: map[string]seen{}, problems: map[string]int{}, changed: make(chan struct{})}
}

// follow keeps the view up to date until the context ends.
func (v *view) follow(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() {
		v.followKind(ctx, func() client.ObjectList { return &metal3.BareMetalHostList{} }, func(s *seen, o client.Object) {
			s.bmh = nil
			if o != nil {
				s.bmh = o.(*metal3.BareMetalHost)
			}
		})
	})
	wg.Go(func() {
		v.followKind(ctx, func() client.ObjectList { return &v1alpha1.HostRecordList{} }, func(s *seen, o client.Object) {
			old := s.hr
			s.hr = nil
			if o == nil {
				return
			}
			s.hr = o.(*v1alpha1.HostRecord)
			if p := s.hr.Status.Problem; p != nil && (old == nil || old.Status.Problem == nil || old.Status.Problem.Code != p.Code) {
				v.problems[p.Code]++
			}
		})
	})
	wg.Wait()
}

func (v *view) followKind(ctx context.Context, list func() client.ObjectList, set func(*seen, client.Object)) {
	for ctx.Err() == nil {
		if v.followOnce(ctx, list(), set) != nil {
			pause(ctx, 20*time.Millisecond) // the server is dead or starting
		}
	}
}

// followOnce lists, and then watches until the server dies.
func (v *view) followOnce(ctx context.Context, l client.ObjectList, set func(*seen, client.Object)) error {
	try, cancel := context.WithTimeout(ctx, 3*time.Second)
	err := v.c.List(try, l, client.InNamespace(namespace))
	cancel()
	if err != nil {
		return err
	}
	listed := map[string]client.Object{}
	switch l := l.(type) {
	case *metal3.BareMetalHostList:
		for i := range l.Items {
			listed[l.Items[i].Name] = &l.Items[i]
		}
	case *v1alpha1.HostRecordList:
		for i := range l.Items {
			listed[l.Items[i].Name] = &l.Items[i]
		}
	}
	v.change(func() {
		for name := range v.hosts {
			if listed[name] == nil {
				v.put(name, nil, set)
			}
		}
		for name, o := range listed {
			v.put(name, o, set)
		}
	})
	ctx, cancel = context.WithCancel(ctx)
	defer cancel()
	w, err := v.c.Watch(ctx, l, client.InNamespace(namespace), &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: l.GetResourceVersion()}})
	if err != nil {
		return err
	}
	defer w.Stop()
	v.change(func() { v.watches++ })
	defer v.change(func() { v.watches-- })
	for e := range w.ResultChan() {
		o, ok := e.Object.(client.Object)
		if !ok {
			return apierrors.FromObject(e.Object)
		}
		v.change(func() {
			if e.Type == watch.Deleted {
				v.put(o.GetName(), nil, set)
				return
			}
			v.put(o.GetName(), o, set)
		})
	}
	return nil
}

func (v *view) put(name string, o client.Object, set func(*seen, client.Object)) {
	s := v.hosts[name]
	set(&s, o)
	v.hosts[name] = s
	if s.bmh == nil && s.hr == nil {
		delete(v.hosts, name)
	}
}

func (v *view) change(f func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f()
	close(v.changed)
	v.changed = make(chan struct{})
}

// live reports whether the view is that of a server that is up; v.mu is held.
func (v *view) live() bool { return v.watches == 2 }

// settle waits until everything that a server had shown before it died has been
// seen.
func (v *view) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_ = v.await(ctx, "the end of the watches", func(map[string]seen) bool { return v.watches == 0 }) // seen enough by then
}

// await waits until a picture of all hosts is as wanted, and says so if that
// takes long.
func (v *view) await(ctx context.Context, what string, ok func(map[string]seen) bool) error {
	began := time.Now()
	remind := time.NewTicker(time.Minute)
	defer remind.Stop()
	for {
		v.mu.Lock()
		good, changed := ok(v.hosts), v.changed
		v.mu.Unlock()
		if good {
			return nil
		}
		select {
		case <-changed:
		case <-remind.C:
			v.logf("waiting for %s for %s; hosts by phase: %v", what, time.Since(began).Round(time.Second), v.phases())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// awaitHost waits until one host is as wanted, and says how it stood if that
// never was.
func (v *view) awaitHost(ctx context.Context, name, what string, limit time.Duration, ok func(seen) bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := v.await(ctx, name+" to be "+what, func(all map[string]seen) bool { return ok(all[name]) }); err != nil {
		return fmt.Errorf("%s is stuck: not %s after %s: %w\n%s", name, what, limit, err, v.describe(name))
	}
	return nil
}

// met are the problems that hosts met, by code.
func (v *view) met() map[string]int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.problems)
}

func (v *view) describe(name string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.hosts[name]
	if s.bmh == nil {
		return "no BareMetalHost"
	}
	status, _ := json.Marshal(s.bmh.Status.Provisioning) // plain data
	record := []byte("no record")
	if s.hr != nil {
		record, _ = json.Marshal(s.hr.Status)
	}
	return fmt.Sprintf("  phase %s, error %q %q\n  provisioning %s\n  record %s",
		phaseOf(s), s.bmh.Status.ErrorType, s.bmh.Status.ErrorMessage, status, record)
}

// phases counts the hosts in each phase.
func (v *view) phases() map[string]int {
	v.mu.Lock()
	defer v.mu.Unlock()
	in := map[string]int{}
	for _, s := range v.hosts {
		if s.bmh != nil {
			in[phaseOf(s)]++
		}
	}
	return in
}

// phases of the life cycle that kills are counted by.
const (
	registering      = "registering"
	inspectingBoot   = "inspecting/boot"
	inspectingAgent  = "inspecting/inspect"
	preparingClean   = "preparing/clean"
	available        = "available"
	provisionImage   = "provisioning/image"
	provisionBoot    = "provisioning/boot"
	provisionWrite   = "provisioning/write"
	provisionRestart = "provisioning/restart into disk"
	provisioned      = "provisioned"
	deprovisionBoot  = "deprovisioning/boot"
	deprovisionClean = "deprovisioning/clean"
	deleting         = "powering off, deleting"
)

// phaseOf is the phase that a host was last seen in.
func phaseOf(s seen) string {
	phase := host.Phase("")
	if s.hr != nil && s.hr.Status.Operation != nil {
		phase = host.Phase(s.hr.Status.Operation.Phase)
	}
	switch state := host.State(s.bmh.Status.Provisioning.State); state {
	case host.None, host.Registering:
		return registering
	case host.Inspecting:
		if phase == host.PhaseInspect {
			return inspectingAgent
		}
		return inspectingBoot
	case host.Preparing:
		return preparingClean
	case host.Provisioning:
		switch phase {
		case host.PhaseOff, host.PhaseNetBoot, host.PhaseOrder, host.PhaseStart, host.PhaseHello, host.PhaseInspect:
			return provisionBoot
		case host.PhaseWrite:
			return provisionWrite
		case host.PhaseStop, host.PhaseDiskBoot, host.PhaseRun:
			return provisionRestart
		}
		return provisionImage
	case host.Deprovisioning:
		if phase == host.PhaseClean {
			return deprovisionClean
		}
		return deprovisionBoot
	case host.PoweringOffBeforeDelete, host.Deleting:
		return deleting
	default:
		return string(state)
	}
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
