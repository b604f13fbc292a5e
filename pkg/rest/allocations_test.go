package rest

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/node"
)

// free makes an available node.
func (d *door) free(name, class string, traits ...string) string {
	d.t.Helper()
	id := d.newNode(name, body{"resource_class": class})
	d.has(id, func(n *ironic.Node) { n.Traits = traits })
	d.rests(id, ironic.Available)
	return id
}

func (d *door) allocation(ident string) map[string]any {
	d.t.Helper()
	return d.want(http.StatusOK, http.MethodGet, "/v1/allocations/"+ident, nil)
}

func TestAllocation(t *testing.T) {
	d := newDoor(t)
	a, b, c := d.free("n1", "big", "CUSTOM_GPU"), d.free("n2", "big"), d.free("n3", "small")
	made := d.want(http.StatusCreated, http.MethodPost, "/v1/allocations", body{"name": "n2", "resource_class": "big"})
	id := made["uuid"].(string)
	if made["state"] != "allocating" || made["node_uuid"] != nil || made["last_error"] != nil || len(made["candidate_nodes"].([]any)) != 0 {
		t.Errorf("made %v", made)
	}
	got := d.allocation("n2")
	if got["state"] != "active" || got["node_uuid"] != b || got["uuid"] != id {
		t.Errorf("the node of its name comes first: %v", got)
	}
	if n, _ := d.nodes.Get(b); n.InstanceUUID == nil || *n.InstanceUUID != id || n.AllocationUUID == nil || *n.AllocationUUID != id {
		t.Errorf("node %v %v", n.InstanceUUID, n.AllocationUUID)
	}
	if got := d.want(http.StatusOK, http.MethodGet, "/v1/nodes/n2/allocation", nil); got["uuid"] != id {
		t.Errorf("of the node %v", got)
	}
	d.refused(http.StatusNotFound, "Allocation for node n1 was not found", http.MethodGet, "/v1/nodes/n1/allocation", nil)
	for _, tc := range []struct {
		name, says string
		sent       body
	}{
		{"traits", "no suitable nodes have the requested traits CUSTOM_TPM", body{"resource_class": "big", "traits": []string{"CUSTOM_TPM"}}},
		{"class", "no available nodes match the resource class huge", body{"resource_class": "huge"}},
		{"candidates", "none of the requested nodes are available and match the resource class big", body{"resource_class": "big", "candidate_nodes": []string{"n3"}}},
		{"taken", "none of the requested nodes are available and match the resource class big", body{"resource_class": "big", "candidate_nodes": []string{b}}},
	} {
		made := d.want(http.StatusCreated, http.MethodPost, "/v1/allocations", tc.sent)
		got := d.allocation(made["uuid"].(string))
		if text, _ := got["last_error"].(string); got["state"] != "error" || !strings.HasSuffix(text, ": "+tc.says+".") || got["node_uuid"] != nil {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
	made = d.want(http.StatusCreated, http.MethodPost, "/v1/allocations", body{"name": "gpu", "resource_class": "big", "traits": []string{"CUSTOM_GPU"}, "candidate_nodes": []string{"n1", "n2"}})
	if list := made["candidate_nodes"].([]any); list[0] != a || list[1] != b {
		t.Errorf("candidates %v", list)
	}
	if got := d.allocation("gpu"); got["node_uuid"] != a {
		t.Errorf("gpu %v", got)
	}
	if n, _ := d.nodes.Get(a); len(texts(n.InstanceInfo["traits"])) != 1 {
		t.Errorf("the instance's traits %v", n.InstanceInfo)
	}
	for _, tc := range []struct {
		says string
		sent body
	}{
		{"The resource_class field is mandatory when not backfilling", body{}},
		{"Nodes cannot be found: n9", body{"resource_class": "big", "candidate_nodes": []string{"n1", "n9"}}},
		{"Cannot create allocation with invalid name 'a b'", body{"resource_class": "big", "name": "a b"}},
		{"not valid under any of the given schemas", body{"resource_class": "big", "traits": []string{"gpu"}}},
		{"'state' was unexpected", body{"resource_class": "big", "state": "active"}},
	} {
		d.refused(http.StatusBadRequest, tc.says, http.MethodPost, "/v1/allocations", tc.sent)
	}
	d.refused(http.StatusConflict, "An allocation with name gpu already exists.", http.MethodPost, "/v1/allocations", body{"name": "gpu", "resource_class": "big"})
	if got := d.ids("/v1/allocations?state=active&resource_class=big&node=n1", "allocations"); len(got) != 1 {
		t.Errorf("filtered %v", got)
	}
	d.refused(http.StatusBadRequest, "Node n9 could not be found.", http.MethodGet, "/v1/allocations?node=n9", nil)

	if got := d.want(http.StatusOK, http.MethodPatch, "/v1/allocations/gpu", append(patchOf("replace", "/name", "gpu-2"), patchOf("add", "/extra/a", 1)...)); got["name"] != "gpu-2" || got["node_uuid"] != a || got["state"] != "active" {
		t.Errorf("patched %v", got)
	}
	d.refused(http.StatusBadRequest, "", http.MethodPatch, "/v1/allocations/gpu-2", patchOf("replace", "/resource_class", "x"))

	d.rests(a, ironic.Active)
	d.refused(http.StatusConflict, "because the node is active", http.MethodDelete, "/v1/allocations/gpu-2", nil)
	d.has(a, func(n *ironic.Node) { n.Maintenance = true })
	d.want(http.StatusNoContent, http.MethodDelete, "/v1/allocations/gpu-2", nil)
	d.want(http.StatusNoContent, http.MethodDelete, "/v1/nodes/n2/allocation", nil)
	for _, id := range []string{a, b, c} {
		if n, _ := d.nodes.Get(id); n.InstanceUUID != nil {
			t.Errorf("node %s keeps its instance %s", id, *n.InstanceUUID)
		}
	}
	d.refused(http.StatusNotFound, "Allocation gpu-2 could not be found.", http.MethodGet, "/v1/allocations/gpu-2", nil)
}

func TestVersionsOfAllocations(t *testing.T) {
	d := newDoor(t)
	d.free("n1", "big")
	d.want(http.StatusCreated, http.MethodPost, "/v1/allocations", body{"name": "a", "resource_class": "big"})
	versioned(t, d, &allocationKind, "/v1/allocations/a", nil)
	name := patchOf("replace", "/name", "a")
	d.version("1.56").refused(http.StatusMethodNotAllowed, "", http.MethodPatch, "/v1/allocations/a", name)
	d.version("1.57").want(http.StatusOK, http.MethodPatch, "/v1/allocations/a", name)
	d.version("1.57").refused(http.StatusBadRequest, "Cannot set node when creating an allocation in this API version", http.MethodPost, "/v1/allocations", body{"node": "n1"})
	d.version("1.59").refused(http.StatusNotAcceptable, "", http.MethodPost, "/v1/allocations", body{"resource_class": "big", "owner": "p"})
	d.version("1.59").refused(http.StatusNotAcceptable, "", http.MethodGet, "/v1/allocations?owner=p", nil)
	d.version("1.60").want(http.StatusOK, http.MethodGet, "/v1/allocations?owner=p", nil)
}

func TestBackfill(t *testing.T) {
	d := newDoor(t)
	n := d.free("n1", "big")
	d.refused(http.StatusBadRequest, `Node must be in the "active" state, but the current state is "available"`, http.MethodPost, "/v1/allocations", body{"node": "n1", "name": "early"})
	if got := d.allocation("early"); got["state"] != "error" || got["node_uuid"] != nil {
		t.Errorf("a failed one: %v", got)
	}
	d.rests(n, ironic.Active)
	instance := "11111111-2222-4333-8444-555555555555"
	d.has(n, func(n *ironic.Node) { n.InstanceUUID = &instance })
	d.refused(http.StatusConflict, "Node "+n+" is associated with instance "+instance, http.MethodPost, "/v1/allocations", body{"node": "n1", "uuid": "11111111-2222-4333-8444-666666666666"})
	made := d.want(http.StatusCreated, http.MethodPost, "/v1/allocations", body{"node": "n1"})
	if made["uuid"] != instance || made["state"] != "active" || made["node_uuid"] != n || made["resource_class"] != "big" {
		t.Errorf("made %v", made)
	}
}

// Two allocations of one moment and one node: one gets it, the other says why not.
func TestAllocationsRace(t *testing.T) {
	d := newDoor(t)
	id := d.free("n1", "big")
	ctx, now := t.Context(), d.s.Now()
	d.nodes.Now = func() time.Time { return now }
	r := d.s.allocationResource()
	c := &call{Request: (&http.Request{Header: http.Header{}}).WithContext(ctx), s: d.s, version: ironic.MaxVersion}
	var objects []*node.Object
	for range 8 {
		o, err := r.store(c, &object{fields: map[string]any{"resource_class": "big", "state": allocating}})
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, o)
	}
	var wg sync.WaitGroup
	for _, o := range objects {
		wg.Go(func() {
			if err := d.s.allocate(ctx, o); err != nil {
				t.Errorf("allocation %s: %v", o.UUID, err)
			}
		})
	}
	wg.Wait()
	won := 0
	for _, o := range objects {
		switch got := d.allocation(o.UUID); got["state"] {
		case "active":
			won++
			if n, _ := d.nodes.Get(id); n.InstanceUUID == nil || *n.InstanceUUID != o.UUID {
				t.Errorf("the winner %s has not the node", o.UUID)
			}
		case "error":
		default:
			t.Errorf("left as %v", got)
		}
	}
	if won != 1 {
		t.Errorf("%d got the node", won)
	}
}

// dying is a client whose process ends after a number of writes.
type dying struct {
	client.Client
	left int
}

func (d *dying) write() error {
	if d.left--; d.left < 0 {
		return context.Canceled
	}
	return nil
}

func (d *dying) Update(ctx context.Context, o client.Object, opts ...client.UpdateOption) error {
	if err := d.write(); err != nil {
		return err
	}
	return d.Client.Update(ctx, o, opts...)
}

func (d *dying) Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
	if err := d.write(); err != nil {
		return err
	}
	return d.Client.Create(ctx, o, opts...)
}

func (d *dying) Patch(ctx context.Context, o client.Object, p client.Patch, opts ...client.PatchOption) error {
	if err := d.write(); err != nil {
		return err
	}
	return d.Client.Patch(ctx, o, p, opts...)
}

// An allocation that was cut short after any of its writes is finished at the next
// start, as if nothing had happened.
func TestAllocationIsFinishedAfterARestart(t *testing.T) {
	for left := range 12 {
		d := newDoor(t)
		id := d.free("n1", "big")
		real := d.nodes.Client
		d.nodes.Client = &dying{real, left}
		code, made, _ := d.do(http.MethodPost, "/v1/allocations", body{"name": "a", "resource_class": "big"})
		d.nodes.Client = real
		if code != http.StatusCreated {
			if len(d.nodes.Objects(node.KindAllocation)) != 0 {
				t.Errorf("%d writes: %d %v, and something is left", left, code, made)
			}
			continue
		}
		later := d.s.Now().Add(2 * atRest)
		d.s.Now = func() time.Time { return later }
		for range 2 {
			if err := d.s.FinishInterrupted(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		got := d.allocation("a")
		n, _ := d.nodes.Get(id)
		if got["state"] != "active" || got["node_uuid"] != id || n.InstanceUUID == nil || *n.InstanceUUID != got["uuid"] {
			t.Errorf("%d writes: %v, instance %v", left, got, n.InstanceUUID)
		}
	}
}

// An allocation that was cut short lets go of the node that it took when its client
// gives it up.
func TestAllocationThatWasCutShortIsDropped(t *testing.T) {
	for left := range 12 {
		d := newDoor(t)
		id := d.free("n1", "big")
		real := d.nodes.Client
		d.nodes.Client = &dying{real, left}
		code, _, _ := d.do(http.MethodPost, "/v1/allocations", body{"name": "a", "resource_class": "big"})
		d.nodes.Client = real
		if code != http.StatusCreated {
			continue
		}
		// What a change of one node left half done is replayed at the start.
		if err := d.nodes.Replay(t.Context()); err != nil {
			t.Fatal(err)
		}
		d.want(http.StatusNoContent, http.MethodDelete, "/v1/allocations/a", nil)
		if n, _ := d.nodes.Get(id); n.InstanceUUID != nil || n.AllocationUUID != nil {
			t.Errorf("%d writes: the node keeps instance %v of allocation %v", left, n.InstanceUUID, n.AllocationUUID)
		}
	}
}

// What was given back elsewhere takes its allocation with it.
func TestAllocationGoesWithItsInstance(t *testing.T) {
	d := newDoor(t)
	id := d.free("n1", "big")
	d.want(http.StatusCreated, http.MethodPost, "/v1/allocations", body{"name": "a", "resource_class": "big"})
	d.has(id, func(n *ironic.Node) { n.InstanceUUID, n.AllocationUUID = nil, nil })
	if err := d.s.FinishInterrupted(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.allocation("a") // too fresh to judge
	later := d.s.Now().Add(2 * atRest)
	d.s.Now = func() time.Time { return later }
	if err := d.s.FinishInterrupted(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.refused(http.StatusNotFound, "", http.MethodGet, "/v1/allocations/a", nil)
}

// A host that lost its boot address between two writes gets it at the next start.
func TestBootMACIsFinishedAfterARestart(t *testing.T) {
	d := newDoor(t)
	n := d.newNode("n1", nil)
	d.newPort(n, "52:54:00:ab:00:01", nil)
	host, _ := d.nodes.Get(n)
	b := host.Host.DeepCopy()
	b.Spec.BootMACAddress = ""
	if err := d.nodes.Client.Update(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	d.nodes.Observe(b)
	if err := d.s.FinishInterrupted(t.Context()); err != nil {
		t.Fatal(err)
	}
	if host, _ = d.nodes.Get(n); host.Host.Spec.BootMACAddress != "52:54:00:ab:00:01" {
		t.Errorf("boot MAC %q", host.Host.Spec.BootMACAddress)
	}
}
