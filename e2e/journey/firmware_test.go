package journey_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/pkg/lab/fleet"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
	"github.com/ingot-metal/ingot/pkg/lab/treebmc"
)

// treeMachine is a machine without an agent, whose BMC has settings, updates and
// RAID. Its test runs alone, before the parallel ones.
func treeMachine(t *testing.T) (*machine, *treebmc.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	r := &rack{t: t, ctx: ctx, ns: fmt.Sprintf("rack-%d", shared.racks.Add(1)), journal: simbmc.NewJournal(nil, nil)}
	r.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: r.ns}})
	const password = "correct-horse-battery"
	b, err := treebmc.New(treebmc.Small(), treebmc.Options{Username: "admin", Password: password, TaskReads: 6, PowerReads: 2})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(b)
	t.Cleanup(srv.Close)
	t.Cleanup(r.clear)
	shared.mu.Lock()
	shared.passwords = append(shared.passwords, password)
	shared.mu.Unlock()
	return &machine{Machine: &fleet.Machine{
		Name: "tree", Address: "redfish+" + srv.URL + "/redfish/v1/Systems/1", Username: "admin", Password: password, MAC: "52:54:00:fa:00:01",
	}, r: r, host: "tree"}, b
}

// asked counts what a BMC was asked to change.
func asked(b *treebmc.Server) map[string]int {
	out := map[string]int{}
	for _, e := range b.Journal() {
		if e.Method != http.MethodGet && !strings.Contains(e.Path, "Sessions") {
			path := strings.TrimPrefix(e.Path, "/redfish/v1/")
			if e.Method == http.MethodDelete {
				path = path[:strings.LastIndex(path, "/")]
			}
			out[e.Method+" "+path]++
		}
	}
	return out
}

// A host's RAID, settings and firmware are declared, and become so, over a restart
// of the service in the middle of an update, with nothing done twice.
func TestFirmwareAndRAID(t *testing.T) {
	m, b := treeMachine(t)
	r := m.r
	// A person may declare settings before there is a host.
	hfs := &metal3.HostFirmwareSettings{ObjectMeta: metav1.ObjectMeta{Namespace: r.ns, Name: m.host}}
	hfs.Spec.Settings = metal3.DesiredSettingsMap{"Threads": intstr.FromInt32(16)}
	r.create(hfs)
	raid := func(level string, disks ...string) *metal3.RAIDConfig {
		v := metal3.HardwareRAIDVolume{Level: level, PhysicalDisks: disks}
		if len(disks) > 0 {
			v.Controller = "RAID"
		}
		return &metal3.RAIDConfig{HardwareRAIDVolumes: []metal3.HardwareRAIDVolume{v}}
	}
	m.enrol(func(b *metal3.BareMetalHost) {
		b.Spec.Online, b.Spec.InspectionMode, b.Spec.AutomatedCleaningMode = false, metal3.InspectionModeDisabled, metal3.CleaningModeDisabled
		b.Spec.RAID = raid("0", "D0")
	})
	prepared := func(level string) {
		t.Helper()
		m.await("prepared with RAID "+level, func() bool {
			b := m.read()
			r := b.Status.Provisioning.RAID
			return b.Status.Provisioning.State == metal3.StateAvailable && b.Status.ErrorType == "" &&
				r != nil && len(r.HardwareRAIDVolumes) == 1 && r.HardwareRAIDVolumes[0].Level == level
		})
	}
	prepared("0")
	get := func(o client.Object) {
		t.Helper()
		if err := shared.Get(r.ctx, m.key(), o); err != nil {
			t.Fatal(err)
		}
	}
	m.await("shown", func() bool {
		get(hfs)
		return hfs.Status.Settings["Threads"] == "16" && apimeta.IsStatusConditionFalse(hfs.Status.Conditions, "ChangeDetected")
	})
	schema := &metal3.FirmwareSchema{}
	if err := shared.Get(r.ctx, client.ObjectKey{Namespace: hfs.Status.FirmwareSchema.Namespace, Name: hfs.Status.FirmwareSchema.Name}, schema); err != nil {
		t.Fatal(err)
	}
	if !metav1.IsControlledBy(hfs, m.read()) || len(schema.OwnerReferences) != 1 || schema.OwnerReferences[0].UID != hfs.UID {
		t.Errorf("owners %+v, of the schema %+v", hfs.OwnerReferences, schema.OwnerReferences)
	}

	hfc := &metal3.HostFirmwareComponents{}
	m.await("shown with its components", func() bool { return shared.Get(r.ctx, m.key(), hfc) == nil && len(hfc.Status.Components) == 2 })
	before := hfc.DeepCopy()
	hfc.Spec.Updates = []metal3.FirmwareUpdate{{Component: "bios", URL: "http://10.0.0.1/bios-2.5.0.bin"}}
	if err := shared.Patch(r.ctx, hfc, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	m.change(func(b *metal3.BareMetalHost) { b.Spec.RAID = raid("1") })
	m.await("in the middle of an update", func() bool {
		op := m.record().Status.Operation
		return op != nil && op.Change != nil && op.Change.What == "firmware" && op.Phase == "settle"
	})
	if rep := m.explain(); !strings.Contains(rep.WaitsFor, "bios") {
		t.Errorf("it waits for %q", rep.WaitsFor)
	}
	if err := shared.restart(); err != nil {
		t.Fatal(err)
	}
	prepared("1")
	m.await("updated", func() bool {
		get(hfc)
		return len(hfc.Status.Updates) == 1 && apimeta.IsStatusConditionFalse(hfc.Status.Conditions, "ChangeDetected")
	})
	if c := hfc.Status.Components[0]; c.Component != "bios" || c.InitialVersion != "1.0.0" || c.CurrentVersion != "2.5.0" || c.LastVersionFlashed != "2.5.0" {
		t.Errorf("component %+v", c)
	}
	const volumes = "Systems/1/Storage/RAID/Volumes"
	got := asked(b)
	for what, want := range map[string]int{
		"POST " + volumes: 2, "DELETE " + volumes: 1, "PATCH Systems/1/Bios/Settings": 1,
		"POST UpdateService/Actions/UpdateService.SimpleUpdate": 1,
	} {
		if got[what] != want {
			t.Errorf("%s: %d times, want %d", what, got[what], want)
		}
	}

	// What cannot be is told, and harms nobody.
	get(hfs)
	bad := hfs.DeepCopy()
	hfs.Spec.Settings["Threads"] = intstr.FromInt32(1000)
	if err := shared.Patch(r.ctx, hfs, client.MergeFrom(bad)); err != nil {
		t.Fatal(err)
	}
	m.awaitEvent("ValidationFailed", "from 1 to 64")
	m.awaitState(metal3.StateAvailable)
	if now := asked(b); fmt.Sprint(now) != fmt.Sprint(got) {
		t.Errorf("the BMC was asked %v, before %v", now, got)
	}
}
