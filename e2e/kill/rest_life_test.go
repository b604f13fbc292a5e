//go:build e2e

package kill

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

func is404(err error) bool { return is(err, http.StatusNotFound) }

// enrol makes the node. One whose answer was lost is looked for by its name.
func (n *led) enrol(ctx context.Context) error {
	n.k.enters(n.name, restEnrol)
	at, err := bmc.ParseAddress(n.m.Address)
	if err != nil {
		return err
	}
	driver, info := "redfish", map[string]any{
		"redfish_address": at.BaseURL(), "redfish_system_id": at.System, "redfish_verify_ca": !n.m.Insecure,
		"redfish_username": n.m.Username, "redfish_password": n.m.Password,
	}
	if at.Protocol == bmc.ProtocolIPMI {
		driver, info = "ipmi", map[string]any{
			"ipmi_address": at.Host, "ipmi_port": at.Port, "ipmi_username": n.m.Username, "ipmi_password": n.m.Password,
		}
	}
	mode := "boot_mode:uefi"
	if n.m.Firmware == simbmc.ModeLegacy {
		mode = "boot_mode:bios"
	}
	n.want = restNode{Class: "class-" + n.name, Extra: map[string]string{"life": fmt.Sprint(n.lives)}}
	n.id, n.instance, n.ports = n.name, "", nil
	found := func(ctx context.Context) (bool, error) {
		err := n.door.get(ctx, "/nodes/"+n.name, nil)
		if is404(err) {
			return false, nil
		}
		return err == nil, err
	}
	err = n.door.change(ctx, restChange{phase: restEnrol, method: http.MethodPost, path: "/nodes", made: found, body: map[string]any{
		"name": n.name, "driver": driver, "driver_info": info, "resource_class": n.want.Class,
		"properties": map[string]any{"capabilities": mode}, "extra": n.want.Extra,
	}})
	if err != nil {
		return err
	}
	is, err := n.rests(ctx, "enroll")
	if err != nil {
		return err
	}
	n.id = is.UUID
	// Nobody asked for two.
	var list struct{ Nodes []restNode }
	if err := n.door.get(ctx, "/nodes", &list); err != nil {
		return err
	}
	if of := slices.DeleteFunc(list.Nodes, func(x restNode) bool { return x.Name != n.name }); len(of) != 1 {
		return fmt.Errorf("%d nodes are named %s: %+v", len(of), n.name, of)
	}
	return n.holds(ctx)
}

// spare is the address of a NIC that is put in and taken out.
func (n *led) spare() string { return fmt.Sprintf("02:00:5e:00:01:%02x", n.number) }

func (n *led) makePorts(ctx context.Context) error {
	for _, mac := range []string{strings.ToLower(n.m.MAC), n.spare()} {
		found := func(ctx context.Context) (bool, error) {
			id, err := n.port(ctx, mac)
			return id != "", err
		}
		err := n.door.change(ctx, restChange{phase: restPort, method: http.MethodPost, path: "/ports", made: found, body: map[string]any{
			"node_uuid": n.id, "address": mac, "pxe_enabled": mac != n.spare(),
		}})
		if err != nil {
			return err
		}
		n.ports = append(n.ports, mac)
	}
	return nil
}

// port finds a port of the node by its address; empty: there is none. One of a node
// that was deleted may be there for a while.
func (n *led) port(ctx context.Context, mac string) (string, error) {
	var list struct {
		Ports []struct{ UUID string } `json:"ports"`
	}
	err := n.door.get(ctx, "/ports?address="+mac+"&node="+n.id, &list)
	if err != nil || len(list.Ports) == 0 {
		return "", err
	}
	return list.Ports[0].UUID, nil
}

func (n *led) dropPort(ctx context.Context) error {
	id, err := n.port(ctx, n.spare())
	if err != nil || id == "" {
		return fmt.Errorf("the port %s, which was acknowledged: %q %w", n.spare(), id, err)
	}
	err = n.door.change(ctx, restChange{phase: restPortGone, method: http.MethodDelete, path: "/ports/" + id, gone: true})
	n.ports = slices.DeleteFunc(n.ports, func(mac string) bool { return mac == n.spare() })
	return err
}

// leads asks for a verb and waits until the node rests in the state that it leads to.
func (n *led) leads(verb, to string, more map[string]any) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := n.ask(ctx, verb, more); err != nil {
			return err
		}
		_, err := n.rests(ctx, to)
		return err
	}
}

// ask asks for a verb. One whose answer was lost is asked for again only if the node
// does not say that it was begun.
func (n *led) ask(ctx context.Context, verb string, more map[string]any) error {
	was, err := n.node(ctx)
	if err != nil {
		return err
	}
	body := map[string]any{"target": verb}
	for key, value := range more {
		body[key] = value
	}
	begun := func(ctx context.Context) (bool, error) {
		is, err := n.node(ctx)
		return is.State != was.State || is.Target != "" || is.Moved != was.Moved, err
	}
	phases := map[string]string{
		"manage": restManage, "inspect": restInspect, "provide": restProvide, "active": restDeploy, "rebuild": restRebuild,
		"deleted": restUndeploy, "clean": restClean,
	}
	return n.door.change(ctx, restChange{phase: phases[verb], method: http.MethodPut, path: "/nodes/" + n.id + "/states/provision", body: body, made: begun})
}

// powers switches the machine.
func (n *led) powers(target string) func(context.Context) error {
	return func(ctx context.Context) error {
		begun := func(ctx context.Context) (bool, error) {
			is, err := n.node(ctx)
			return is.Power == target || is.TargetPower == target, err
		}
		err := n.door.change(ctx, restChange{
			phase: restPower, method: http.MethodPut, path: "/nodes/" + n.id + "/states/power", body: map[string]any{"target": target}, made: begun,
		})
		if err != nil {
			return err
		}
		is, err := n.rests(ctx, "active")
		if err == nil && is.Power != target {
			err = fmt.Errorf("power is %s, want %s", is.Power, target)
		}
		return err
	}
}

type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

func (n *led) patched(ctx context.Context, ops ...operation) error {
	return n.door.change(ctx, restChange{phase: restPatch, method: http.MethodPatch, path: "/nodes/" + n.id, body: ops})
}

// patch changes what several objects keep: the attributes, the host, and a Secret.
func (n *led) patch(ctx context.Context) error {
	for range 2 {
		value := fmt.Sprint(n.r.IntN(1000))
		ops := []operation{
			{"add", "/description", "described " + value},
			{"add", "/extra/x" + value, value},
			{"add", "/driver_info/snmp_password", "hush " + value},
		}
		if err := n.patched(ctx, ops...); err != nil {
			return err
		}
		n.want.Description = "described " + value
		n.want.Extra["x"+value] = value
	}
	_, err := n.restsWherever(ctx)
	return err
}

// restsWherever waits until nothing is done to the node.
func (n *led) restsWherever(ctx context.Context) (restNode, error) {
	is, err := n.node(ctx)
	if err != nil {
		return is, err
	}
	return n.rests(ctx, is.State)
}

func (n *led) setTraits(ctx context.Context) error {
	n.want.Traits = []string{"CUSTOM_A", fmt.Sprintf("CUSTOM_%d", n.r.IntN(100))}
	err := n.door.change(ctx, restChange{
		phase: restTraits, method: http.MethodPut, path: "/nodes/" + n.id + "/traits", body: map[string]any{"traits": n.want.Traits},
	})
	if err != nil {
		return err
	}
	slices.Sort(n.want.Traits)
	return n.door.change(ctx, restChange{phase: restTraits, method: http.MethodPut, path: "/nodes/" + n.id + "/traits/CUSTOM_A"})
}

// allocate has an allocation choose the node. One that does not come out is deleted and
// made again, as Nova does.
func (n *led) allocate(ctx context.Context) error {
	name := fmt.Sprintf("%s-life-%d", n.name, n.lives)
	type allocation struct {
		UUID      string `json:"uuid"`
		State     string `json:"state"`
		Node      string `json:"node_uuid"`
		LastError string `json:"last_error"`
	}
	look := func(ctx context.Context) (a allocation, err error) {
		if err = n.door.get(ctx, "/allocations/"+name, &a); is404(err) {
			return a, nil
		}
		return a, err
	}
	for {
		found := func(ctx context.Context) (bool, error) {
			a, err := look(ctx)
			return a.UUID != "", err
		}
		err := n.door.change(ctx, restChange{phase: restAllocate, method: http.MethodPost, path: "/allocations", made: found, body: map[string]any{
			"name": name, "resource_class": n.want.Class, "candidate_nodes": []string{n.id}, "traits": []string{"CUSTOM_A"},
		}})
		if err != nil {
			return err
		}
		var a allocation
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); pause(ctx, 50*time.Millisecond) {
			if a, err = look(ctx); err != nil || a.State != "allocating" {
				break
			}
		}
		switch {
		case err != nil:
			return err
		case a.UUID == "":
			return fmt.Errorf("the allocation %s, which was acknowledged, is not there", name)
		case a.State == "active" && a.Node == n.id:
			n.instance = a.UUID
			n.want.Info = map[string]any{"traits": []any{"CUSTOM_A"}}
			return nil
		case a.State != "allocating":
			return fmt.Errorf("allocation %+v", a)
		}
		if err := n.endAllocation(ctx, a.UUID); err != nil {
			return err
		}
	}
}

func (n *led) endAllocation(ctx context.Context, id string) error {
	return n.door.change(ctx, restChange{phase: restRelease, method: http.MethodDelete, path: "/allocations/" + id, gone: true})
}

// release ends the allocation of one machine in two, and puts an instance of the
// client's own on it. The others' ends with what is deployed.
func (n *led) release(ctx context.Context) error {
	if n.r.IntN(2) == 0 {
		return nil
	}
	if err := n.endAllocation(ctx, n.instance); err != nil {
		return err
	}
	n.instance = ""
	if err := n.holds(ctx); err != nil {
		return err
	}
	own := uuid.NewString()
	err := n.patched(ctx, operation{"add", "/instance_uuid", own})
	n.instance = own
	return err
}

// choose says which image is to be written next.
func (n *led) choose(ctx context.Context) error {
	n.picture = n.images.Image(uint64(1 + n.r.IntN(3)))
	n.want.Info = map[string]any{
		"image_source": n.picture.URL, "image_os_hash_algo": "sha256", "image_os_hash_value": n.picture.Digest, "image_disk_format": "raw",
	}
	var ops []operation
	for key, value := range n.want.Info {
		ops = append(ops, operation{"add", "/instance_info/" + key, value})
	}
	return n.patched(ctx, ops...)
}

// deploy writes the image, with a config drive.
func (n *led) deploy(verb string) func(context.Context) error {
	return func(ctx context.Context) error {
		word := fmt.Sprintf("%s %s %d", verb, n.name, n.lives)
		err := n.leads(verb, "active", map[string]any{
			"configdrive": map[string]any{"meta_data": map[string]any{"uuid": n.instance}, "user_data": "#cloud-config\n# " + word + "\n"},
		})(ctx)
		if err != nil {
			return err
		}
		if !slices.Contains(n.m.Images(), n.picture.Digest) {
			return fmt.Errorf("no disk holds %s, but %v", n.picture.Digest, n.m.Images())
		}
		if !bytes.Contains(n.m.ConfigDrive(), []byte(word)) {
			return fmt.Errorf("the config drive is not the one that %s came with", verb)
		}
		return nil
	}
}

func (n *led) undeploy(ctx context.Context) error {
	n.instance, n.want.Info = "", nil
	return n.leads("deleted", "available", nil)(ctx)
}

// remove deletes the node.
func (n *led) remove(ctx context.Context) error {
	if err := n.door.change(ctx, restChange{phase: restDelete, method: http.MethodDelete, path: "/nodes/" + n.id, gone: true}); err != nil {
		return err
	}
	if err := n.door.get(ctx, "/nodes/"+n.id, nil); !is404(err) {
		return fmt.Errorf("a deleted node is still shown: %w", err)
	}
	return nil
}
