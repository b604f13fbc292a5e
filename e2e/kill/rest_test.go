//go:build e2e

package kill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/e2e/rig"
	"github.com/ingot-metal/ingot/pkg/lab/fleet"
)

// restPatience bounds every way from one rest to the next, kills on the way included.
const restPatience = 4 * time.Minute

// restMachines are led through the REST door at a time.
const restMachines = 6

// TestREST has clients of the REST door lead six pretended machines through all that
// Ironic's clients ask for, while the server is killed: two times in three between a
// change and its answer. What was acknowledged is there, what was asked for is done
// once, and of nodes that were deleted nothing is left.
func TestREST(t *testing.T) {
	seed, kills := seeded(t), killsOf(t)/2 // each is a start that twenty stages wait for
	l := newPretended(t, seed, restMachines, "rest")
	s := l.server
	must(t, s.Start())
	must(t, s.WaitReady(t.Context()))
	c, err := s.Client()
	must(t, err)
	k := newRESTKiller(s, rand.New(rand.NewPCG(seed, 1)), kills)
	door := newRESTDoor(s.REST, k)
	began := time.Now()
	g, ctx := errgroup.WithContext(t.Context())
	g.Go(func() error { return k.run(ctx) })
	for i, m := range l.machines {
		n := &led{
			subject: &subject{w: &waves{journal: l.journal}, m: m, name: m.Name}, c: c, door: door, k: k, images: l.images, number: i,
			r: rand.New(rand.NewPCG(seed, uint64(100+i))),
		}
		g.Go(func() error { return n.run(ctx) })
	}
	err = g.Wait()
	t.Logf("seed %d: %s\n%s", seed, time.Since(began).Round(time.Second), k.report())
	if err != nil {
		t.Fatal(err)
	}
	must(t, nothingLeft(t.Context(), c, t.Logf))
	must(t, l.journal.Err())
	if k.cuts() < kills/4 {
		t.Errorf("%d of %d kills cut a change off from its answer: too few to say anything", k.cuts(), kills)
	}
}

// nothingLeft waits until there is nothing left of nodes that are deleted.
func nothingLeft(ctx context.Context, c client.Client, logf func(string, ...any)) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		left, swept, err := leftOver(ctx, c)
		if err == nil && len(left) == 0 {
			logf("%d Secrets of nodes that were never made wait for the sweep", swept)
			return nil
		}
		pause(ctx, 200*time.Millisecond)
		if ctx.Err() != nil {
			return fmt.Errorf("left of deleted nodes: %w\n%s", errors.Join(err, ctx.Err()), strings.Join(left, "\n"))
		}
	}
}

// leftOver lists what is stored of nodes, and counts the Secrets apart that a kill kept
// from coming into use: pkg/node deletes them when they are five minutes old.
func leftOver(ctx context.Context, c client.Client) (left []string, unused int, err error) {
	for _, list := range []client.ObjectList{
		&metal3.BareMetalHostList{}, &metal3.HardwareDataList{}, &metal3.HostFirmwareSettingsList{}, &v1alpha1.HostRecordList{},
		&v1alpha1.HostTimelineList{}, &v1alpha1.NodeAttributesList{}, &v1alpha1.NodeResourceList{}, &corev1.SecretList{},
	} {
		if err := c.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return left, unused, err
		}
		err := apimeta.EachListItem(list, func(o runtime.Object) error {
			m := o.(client.Object)
			_, secret := o.(*corev1.Secret)
			switch {
			case secret && m.GetLabels()["ingot.dev/node"] == "":
				return nil
			case secret && len(m.GetOwnerReferences()) == 0:
				unused++
				return nil
			}
			left = append(left, fmt.Sprintf("%T %s %v", o, m.GetName(), m.GetFinalizers()))
			return nil
		})
		if err != nil {
			return left, unused, err
		}
	}
	return left, unused, nil
}

// led is a machine that a client of the REST door leads.
type led struct {
	*subject
	c      client.Client
	door   *restDoor
	k      *restKiller
	images *rig.Images
	r      *rand.Rand
	number int
	lives  int

	id       string // of its node
	want     restNode
	instance string // that is on it
	picture  rig.Picture
	ports    []string // MAC addresses that ports were made of
}

// restNode is what is looked at of a node's document.
type restNode struct {
	UUID        string            `json:"uuid"`
	Name        string            `json:"name"`
	State       string            `json:"provision_state"`
	Target      string            `json:"target_provision_state"`
	Power       string            `json:"power_state"`
	TargetPower string            `json:"target_power_state"`
	Moved       string            `json:"provision_updated_at"`
	LastError   string            `json:"last_error"`
	Reservation string            `json:"reservation"`
	Description string            `json:"description"`
	Class       string            `json:"resource_class"`
	Instance    string            `json:"instance_uuid"`
	Allocation  string            `json:"allocation_uuid"`
	Extra       map[string]string `json:"extra"`
	Info        map[string]any    `json:"instance_info"`
	Traits      []string          `json:"traits"`
	Internal    map[string]any    `json:"driver_internal_info"`
}

// run leads the machine through one life after the other until the kills are spent.
func (n *led) run(ctx context.Context) error {
	for {
		n.lives++
		if err := n.life(ctx); err != nil {
			return fmt.Errorf("%s, life %d: %w", n.name, n.lives, err)
		}
		select {
		case <-n.k.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
	}
}

// life leads the machine from its enrolment to its deletion.
func (n *led) life(ctx context.Context) error {
	disks := len(n.m.Images())
	erase := expect{power: "On ForceOff", boots: 1, erases: disks}
	if err := n.enrol(ctx); err != nil {
		return err
	}
	stages := []struct {
		phase string
		want  expect
		do    func(context.Context) error
	}{
		{restPort, expect{}, n.makePorts},
		{restManage, expect{}, n.leads("manage", "manageable", nil)},
		{restPatch, expect{}, n.patch},
		{restInspect, expect{power: "On ForceOff", boots: 1}, n.leads("inspect", "manageable", nil)},
		{restTraits, expect{}, n.setTraits},
		{restPortGone, expect{}, n.dropPort},
		{restProvide, erase, n.leads("provide", "available", nil)},
		{restAllocate, expect{}, n.allocate},
		{restRelease, expect{}, n.release},
		{restPatch, expect{}, n.choose},
		{restDeploy, expect{power: "On ForceOff On", boots: 2, writes: 1}, n.deploy("active")},
		{restPatch, expect{}, n.patch},
		{restPower, expect{power: "ForceOff"}, n.powers("power off")},
		{restPower, expect{power: "On"}, n.powers("power on")},
		{restPatch, expect{}, n.choose},
		{restRebuild, expect{power: "ForceOff On ForceOff On", boots: 2, writes: 1}, n.deploy("rebuild")},
		{restUndeploy, expect{power: "ForceOff On ForceOff", boots: 1, erases: disks}, n.undeploy},
		{restManage, expect{}, n.leads("manage", "manageable", nil)},
		{restClean, erase, n.leads("clean", "manageable", map[string]any{
			"clean_steps": []any{map[string]any{"interface": "deploy", "step": "erase_devices_metadata"}},
		})},
		{restDelete, expect{}, n.remove},
	}
	for _, st := range stages {
		if st.phase == restRebuild && n.r.IntN(3) == 0 {
			continue
		}
		n.k.enters(n.name, st.phase)
		mark := n.mark()
		if err := st.do(ctx); err != nil {
			return fmt.Errorf("%s: %w\n%w", st.phase, err, n.story(mark))
		}
		if st.want.writes > 0 || st.want.power == "On" {
			if err := n.landed(ctx, mark, fleet.KindOSUp); err != nil {
				return fmt.Errorf("%s: %w", st.phase, err)
			}
		}
		if st.want.writes > 0 {
			st.want.digest = n.picture.Digest
		}
		if err := n.did(mark, st.want); err != nil {
			return fmt.Errorf("%s: %w", st.phase, err)
		}
		if st.phase == restDelete {
			continue
		}
		if err := n.holds(ctx); err != nil {
			return fmt.Errorf("%s: %w", st.phase, err)
		}
	}
	return nil
}

// did is audit, where a power off that is hard may have begun as a soft one: spec.online
// may be seen before the ask, which says so.
func (n *led) did(mark int, want expect) error {
	err := n.audit(mark, want)
	if want.power != "ForceOff" || err == nil {
		return err
	}
	for _, soft := range []string{"GracefulShutdown", "GracefulShutdown ForceOff"} {
		want.power = soft
		if n.audit(mark, want) == nil {
			return nil
		}
	}
	return err
}

// node reads the node's document. It was acknowledged once, so it is there.
func (n *led) node(ctx context.Context) (restNode, error) {
	var is restNode
	err := n.door.get(ctx, "/nodes/"+n.id, &is)
	if is404(err) {
		err = fmt.Errorf("an acknowledged node is not there: %w", err)
	}
	return is, err
}

// rests waits until the node rests in a state.
func (n *led) rests(ctx context.Context, state string) (restNode, error) {
	ctx, cancel := context.WithTimeout(ctx, restPatience)
	defer cancel()
	for {
		is, err := n.node(ctx)
		switch {
		case err != nil:
			return is, err
		case is.LastError != "" && is.Reservation == "":
			return is, fmt.Errorf("in %s: last_error %s", is.State, is.LastError)
		case is.State == state && is.Target == "" && is.TargetPower == "" && is.Reservation == "":
			return is, nil
		}
		if pause(ctx, 100*time.Millisecond); ctx.Err() != nil {
			return is, fmt.Errorf("stuck in %s (%s) on the way to %s, power %s (%s): %w", is.State, is.Target, state, is.Power, is.TargetPower, ctx.Err())
		}
	}
}

// holds holds the node's document against what was acknowledged.
func (n *led) holds(ctx context.Context) error {
	is, err := n.node(ctx)
	if err != nil {
		return err
	}
	w := n.want
	var wrong []error
	check := func(what string, got, want any) {
		if fmt.Sprint(got) != fmt.Sprint(want) {
			wrong = append(wrong, fmt.Errorf("an acknowledged change is lost: %s is %v, want %v", what, got, want))
		}
	}
	check("name", is.Name, n.name)
	check("description", is.Description, w.Description)
	check("resource_class", is.Class, w.Class)
	check("extra", is.Extra, w.Extra)
	check("traits", is.Traits, w.Traits)
	check("instance_uuid", is.Instance, n.instance)
	for key, value := range w.Info {
		check("instance_info/"+key, is.Info[key], value)
	}
	if len(w.Info) == 0 {
		check("instance_info", is.Info, map[string]any{})
	}
	var list struct {
		Ports []struct{ Address string } `json:"ports"`
	}
	if err := n.door.get(ctx, "/nodes/"+n.id+"/ports", &list); err != nil {
		return errors.Join(append(wrong, err)...)
	}
	for _, mac := range n.ports {
		count := 0
		for _, p := range list.Ports {
			if p.Address == mac {
				count++
			}
		}
		check("ports of "+mac, count, 1)
	}
	if slices.ContainsFunc(list.Ports, func(p struct{ Address string }) bool { return p.Address == n.spare() }) != slices.Contains(n.ports, n.spare()) {
		wrong = append(wrong, fmt.Errorf("ports are %v, want %v", list.Ports, n.ports))
	}
	return errors.Join(append(wrong, n.settled(ctx, is))...)
}

// settled waits until no change of the node is half done.
func (n *led) settled(ctx context.Context, is restNode) error {
	name, _ := is.Internal["ingot_host"].(string)
	_, name, _ = strings.Cut(name, "/")
	ctx, cancel := context.WithTimeout(ctx, restPatience)
	defer cancel()
	for {
		a := &v1alpha1.NodeAttributes{}
		err := n.c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, a)
		if err == nil && (a.Spec.Intent == nil || len(a.Spec.Intent.Raw) == 0) {
			return nil
		}
		if pause(ctx, 50*time.Millisecond); ctx.Err() != nil {
			return fmt.Errorf("a change of %s stays half done: %w %+v", name, errors.Join(err, ctx.Err()), a.Spec.Intent)
		}
	}
}
