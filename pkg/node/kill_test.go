package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/record"
)

// all is all that is stored, without what differs between two lives.
func (w *world) all() map[string]any {
	w.Helper()
	out := map[string]any{}
	for _, list := range []client.ObjectList{
		&metal3.BareMetalHostList{}, &v1alpha1.HostRecordList{}, &v1alpha1.NodeAttributesList{},
		&corev1.SecretList{}, &metal3.HostFirmwareSettingsList{}, &metal3.HostFirmwareComponentsList{},
	} {
		w.must(w.api.List(w.Context(), list))
		w.must(apimeta.EachListItem(list, func(o runtime.Object) error {
			m := o.(client.Object)
			m.SetResourceVersion("")
			raw, err := json.Marshal(m)
			if err != nil {
				return err
			}
			var doc map[string]any
			if err := json.Unmarshal(raw, &doc); err != nil {
				return err
			}
			out[fmt.Sprintf("%T %s", o, m.GetName())] = doc
			return nil
		}))
	}
	for _, n := range w.store.List() {
		out["node "+n.UUID] = n.Node
	}
	return out
}

// The process dies at each write of each change, before it is carried out or after.
// What is found after the next start, replayed, is what it would have been, or nothing
// was done.
func TestKilledAtEveryWrite(t *testing.T) {
	for _, tc := range []struct {
		name   string
		before func(*world)
		do     func(*world) error
		gone   bool // with the host goes the rest: that is the garbage collector's
	}{
		{name: "create", before: func(*world) {}, do: func(w *world) error {
			_, err := w.store.Create(w.Context(), full())
			return err
		}},
		{name: "create without a machine", before: func(*world) {}, do: func(w *world) error {
			_, err := w.store.Create(w.Context(), ironic.Node{Name: new("n1"), Driver: DriverFake, DriverInfo: ironic.Object{"ipmi_password": "x"}})
			return err
		}},
		{name: "update", before: func(w *world) { w.create(full()) }, do: func(w *world) error {
			n := w.node("Rack4.Unit7")
			d := n.Clone()
			d.Name, d.Description, d.Extra, d.Maintenance = new("other"), nil, ironic.Object{"x": 1.0}, false
			d.DriverInfo["redfish_address"], d.DriverInfo["redfish_password"] = "https://10.0.0.8", "secret2"
			d.Properties = ironic.Object{}
			_, err := w.store.Update(w.Context(), n, d)
			return err
		}},
		{name: "first update of kubectl's", before: func(w *world) {
			w.born("h1", func(b *metal3.BareMetalHost) {
				b.Spec.BMC = metal3.BMCDetails{Address: "ipmi://10.0.0.4", CredentialsName: "c"}
			})
		}, do: func(w *world) error {
			n := w.node("h1")
			d := n.Clone()
			d.Name, d.Extra, d.DriverInfo["ipmi_port"] = new("n1"), ironic.Object{"x": 1.0}, 6230.0
			_, err := w.store.Update(w.Context(), n, d)
			return err
		}},
		{name: "deploy", before: func(w *world) {
			w.managed("n1", "", "available", ironic.Node{InstanceInfo: ironic.Object{"image_source": "http://x", "image_checksum": "c"}})
		}, do: func(w *world) error {
			_, err := w.store.Ask(w.Context(), w.node("n1"), Asked{Verb: ironic.VerbActive, ConfigDrive: json.RawMessage(`{"user_data": "x"}`)})
			return err
		}},
		{name: "undeploy", before: func(w *world) {
			n := w.managed("n1", "", "available", ironic.Node{InstanceInfo: ironic.Object{"image_source": "http://x", "image_checksum": "c"}})
			_, err := w.store.Ask(w.Context(), n, Asked{Verb: ironic.VerbActive, ConfigDrive: json.RawMessage(`{"user_data": "x"}`)})
			w.must(err)
			w.rests("n1", "", "provisioned")
		}, do: func(w *world) error {
			_, err := w.store.Ask(w.Context(), w.node("n1"), Asked{Verb: ironic.VerbDeleted})
			return err
		}},
		{name: "clean", before: func(w *world) {
			w.managed("n1", ironic.Manageable, "registering", ironic.Node{TargetRAIDConfig: ironic.Object{"logical_disks": []any{map[string]any{"raid_level": "1"}}}})
		}, do: func(w *world) error {
			_, err := w.store.Ask(w.Context(), w.node("n1"), Asked{Verb: ironic.VerbClean, Steps: []ironic.Step{
				{Interface: "raid", Step: "create_configuration"},
				{Interface: "bios", Step: "apply_configuration", Args: ironic.Object{"settings": []any{map[string]any{"name": "a", "value": "b"}}}},
			}})
			return err
		}},
		{name: "power", before: func(w *world) { w.managed("n1", ironic.Manageable, "registering", ironic.Node{}) }, do: func(w *world) error {
			_, err := w.store.Ask(w.Context(), w.node("n1"), Asked{Power: ironic.PowerOn})
			return err
		}},
		{name: "delete", gone: true, before: func(w *world) { w.managed("n1", ironic.Manageable, "registering", ironic.Node{}) }, do: func(w *world) error {
			return w.store.Delete(w.Context(), w.node("n1"))
		}},
		{name: "delete one in use", gone: true, before: func(w *world) { w.managed("n1", "", "provisioned", ironic.Node{}) }, do: func(w *world) error {
			return w.store.Delete(w.Context(), w.node("n1"))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			whole := newWorld(t)
			tc.before(whole)
			nothing := whole.all()
			first := whole.writes
			whole.must(tc.do(whole))
			writes := whole.writes - first
			want := whole.all()
			if writes == 0 {
				t.Fatal("nothing is written")
			}
			t.Logf("%d writes", writes)
			for k := 1; k <= writes; k++ {
				for _, lost := range []bool{false, true} {
					w := newWorld(t)
					tc.before(w)
					w.kill, w.lost = w.writes+k, lost
					if err := tc.do(w); !errors.Is(err, errKilled) && !(k == writes || lost) && err == nil {
						t.Errorf("write %d: %v", k, err)
					}
					w.restart()
					w.must(w.store.Replay(t.Context()))
					got := w.all()
					if tc.gone {
						for key := range got {
							if _, ok := want[key]; !ok && len(w.store.List()) == 0 {
								delete(got, key)
							}
						}
						if len(w.store.List()) == 0 {
							continue
						}
					}
					if cmp.Equal(got, nothing) {
						if k > 2 {
							t.Errorf("write %d, lost %v: given up late", k, lost)
						}
						continue
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("write %d, lost %v: %s", k, lost, diff)
					}
					before := w.writes
					if w.must(w.store.Replay(t.Context())); w.writes != before {
						t.Errorf("write %d: a second replay writes", k)
					}
				}
			}
		})
	}
}

// While a change is half done, kubectl changes something else, and something of it.
func TestReplayKeepsWhatIsNewer(t *testing.T) {
	w := newWorld(t)
	w.create(full())
	n := w.node("Rack4.Unit7")
	d := n.Clone()
	d.Description, d.Maintenance, d.Extra = new("client's"), false, nil
	w.kill, w.lost = w.writes+2, true // the intent and the host are written, the rest is not
	if _, err := w.store.Update(t.Context(), n, d); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	b := w.host("rack4.unit7")
	b.Spec.Description, b.Spec.Architecture = "kubectl's", "aarch64"
	w.must(w.api.Update(t.Context(), b))
	w.restart()
	w.must(w.store.Replay(t.Context()))
	if b := w.host("rack4.unit7"); b.Spec.Description != "kubectl's" || b.Spec.Architecture != "aarch64" || b.Annotations[record.AnnotationMaintenance] != "" {
		t.Errorf("%+v", b)
	}
	if n := w.node("Rack4.Unit7"); len(n.Extra) != 0 || n.Maintenance || n.Attrs.Spec.Intent != nil {
		t.Errorf("%v %v", n.Extra, n.Maintenance)
	}
}

// Another replica's change is left to it for a while.
func TestReplayLeavesOthersTime(t *testing.T) {
	w := newWorld(t)
	w.create(full())
	n := w.node("Rack4.Unit7")
	d := n.Clone()
	d.Description, d.Extra = new("client's"), nil
	w.kill = w.writes + 2
	if _, err := w.store.Update(t.Context(), n, d); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	w.restart()
	w.store.Conductor = "another"
	w.must(w.store.Replay(t.Context()))
	if w.host("rack4.unit7").Spec.Description != "here" {
		t.Error("it was not left alone")
	}
	w.now = w.now.Add(time.Minute)
	w.must(w.store.replay(t.Context(), false))
	if w.host("rack4.unit7").Spec.Description != "client's" {
		t.Error("it was left alone")
	}
}

// What the process itself could not finish is finished by the next request, which is
// told to come again.
func TestNextRequestFinishes(t *testing.T) {
	w := newWorld(t)
	w.create(full())
	n := w.node("Rack4.Unit7")
	d := n.Clone()
	d.Description, d.Extra = new("first"), nil
	w.kill = w.writes + 2
	if _, err := w.store.Update(t.Context(), n, d); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	w.kill = 0
	if _, err := w.store.Update(t.Context(), n, d); !errors.Is(err, ErrChanged) {
		t.Fatal(err)
	}
	if n := w.node("Rack4.Unit7"); *n.Description != "first" || n.Attrs.Spec.Intent != nil {
		t.Errorf("%v", *n.Description)
	}
	// A node that was begun is not begun twice.
	w.kill = w.writes + 2
	other := ironic.Node{Name: new("other"), Driver: DriverFake}
	if _, err := w.store.Create(t.Context(), other); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	w.kill = 0
	if _, err := w.store.Create(t.Context(), other); !errors.Is(err, ErrExists) {
		t.Fatal(err)
	}
	w.node("other")
	if got := len(w.store.List()); got != 2 {
		t.Errorf("%d nodes", got)
	}
}

// A Secret that is replaced goes along with the change, whenever the process dies: the
// controller's mark would keep it when its host goes.
func TestReplacedSecretGoes(t *testing.T) {
	change := func(w *world) error {
		n := w.node("Rack4.Unit7")
		d := n.Clone()
		d.Extra, d.DriverInfo["redfish_password"] = nil, "secret2"
		_, err := w.store.Update(w.Context(), n, d)
		return err
	}
	marked := func() *world {
		w := newWorld(t)
		w.create(full())
		var all corev1.SecretList
		w.must(w.api.List(t.Context(), &all))
		for i := range all.Items {
			all.Items[i].Finalizers = []string{"baremetalhost.metal3.io/secret"}
			w.must(w.api.Update(t.Context(), &all.Items[i]))
		}
		w.restart()
		return w
	}
	whole := marked()
	first := whole.writes
	whole.must(change(whole))
	for k := 3; k <= whole.writes-first; k++ { // before that nothing is changed
		for _, lost := range []bool{false, true} {
			w := marked()
			w.kill, w.lost = w.writes+k, lost
			_ = change(w)
			w.restart()
			w.must(w.store.Replay(t.Context()))
			var all corev1.SecretList
			w.must(w.api.List(t.Context(), &all))
			if len(all.Items) != 1 || all.Items[0].Name != w.host("rack4.unit7").Spec.BMC.CredentialsName {
				t.Errorf("write %d, lost %v: %d Secrets", k, lost, len(all.Items))
			}
		}
	}
}
