package node

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/host"
)

// Where a phase shows as a step: in the course of a cleaning (prepare, deprovision), of
// a deployment (prepare, provision), and of a service. An empty text is {}.
var phaseSteps = map[host.Phase]struct{ clean, prepared, deploy string }{
	host.PhaseVerify:       {},
	host.PhaseFacts:        {},
	host.PhaseImage:        {},
	host.PhaseRamdisk:      {},
	host.PhaseOff:          {prepared: "deploy.deploy 100", deploy: "deploy.deploy 100"},
	host.PhaseRamdiskMedia: {prepared: "deploy.deploy 100", deploy: "deploy.deploy 100"},
	host.PhaseNetBoot:      {prepared: "deploy.deploy 100", deploy: "deploy.deploy 100"},
	host.PhaseOrder:        {prepared: "deploy.deploy 100", deploy: "deploy.deploy 100"},
	host.PhaseStart:        {prepared: "deploy.deploy 100", deploy: "deploy.deploy 100"},
	host.PhaseHello:        {prepared: "deploy.deploy 100", deploy: "deploy.deploy 100"},
	host.PhaseInspect:      {prepared: "deploy.deploy 100", deploy: "deploy.deploy 100"},
	host.PhaseDisk:         {deploy: "deploy.write_image 80"},
	host.PhaseClean:        {clean: "deploy.erase_devices_metadata 99"},
	host.PhaseSoftRAID:     {clean: "raid.delete_configuration 0", prepared: "raid.apply_configuration"},
	host.PhaseWrite:        {deploy: "deploy.write_image 80"},
	host.PhaseDeploy:       {},
	host.PhaseStop:         {deploy: "deploy.tear_down_agent 40"},
	host.PhaseSecureOn:     {deploy: "deploy.prepare_instance_boot 60"},
	host.PhaseSecureOff:    {},
	host.PhaseDiskBoot:     {deploy: "deploy.prepare_instance_boot 60"},
	host.PhaseEject:        {deploy: "deploy.prepare_instance_boot 60"},
	host.PhaseInsert:       {deploy: "deploy.prepare_instance_boot 60"},
	host.PhaseMediaBoot:    {deploy: "deploy.prepare_instance_boot 60"},
	host.PhaseRun:          {deploy: "deploy.boot_instance 20"},
	host.PhaseSoftOff:      {},
	host.PhaseForceOff:     {},
	host.PhaseReset:        {},
	// These show by what is changed.
	host.PhasePlan:    {},
	host.PhaseChange:  {},
	host.PhaseRestart: {},
	host.PhaseSettle:  {},
}

// allPhases are those that pkg/host has, read from its source.
func allPhases(t *testing.T) []host.Phase {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "../host/host.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var all []host.Phase
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(v.Names[0].Name, "Phase") {
			return true
		}
		text, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, host.Phase(text))
		return false
	})
	return all
}

func told(step ironic.Object) string {
	if len(step) == 0 {
		return ""
	}
	text := fmt.Sprint(step["interface"], ".", step["step"])
	if p, ok := step["priority"]; ok {
		text += fmt.Sprint(" ", p)
	}
	return text
}

func TestStepOfEachPhase(t *testing.T) {
	all := allPhases(t)
	if len(all) != len(phaseSteps) {
		t.Errorf("pkg/host has %d phases, %d are known here", len(all), len(phaseSteps))
	}
	for _, phase := range all {
		want, known := phaseSteps[phase]
		if !known {
			t.Errorf("nobody said how the phase %q shows", phase)
		}
		for _, tc := range []struct {
			op    host.OpKind
			state ironic.State
			want  string
		}{
			{host.OpPrepare, ironic.Cleaning, want.clean},
			{host.OpPrepare, ironic.CleanWait, want.clean},
			{host.OpDeprovision, ironic.CleanWait, want.clean},
			{host.OpPrepare, ironic.Deploying, want.prepared},
			{host.OpProvision, ironic.Deploying, want.deploy},
			{host.OpProvision, ironic.DeployWait, want.deploy},
			{host.OpService, ironic.Servicing, ""},
			{host.OpVerify, ironic.Cleaning, ""},
			{host.OpPowerOn, ironic.Deploying, ""},
			{host.OpDeprovision, ironic.Deleting, ""},
			{host.OpPrepare, ironic.CleanFail, ""},
			{host.OpProvision, ironic.DeployFail, ""},
			{host.OpService, ironic.ServiceFail, ""},
			{host.OpInspect, ironic.InspectWait, ""},
		} {
			d := ironic.Node{}
			showStep(&d, tc.state, work{op: tc.op, phase: phase})
			want := [3]string{}
			switch tc.state {
			case ironic.Cleaning, ironic.CleanWait:
				want[0] = tc.want
			default:
				want[1] = tc.want
			}
			if got := [3]string{told(d.CleanStep), told(d.DeployStep), told(d.ServiceStep)}; got != want {
				t.Errorf("%s at %s, %q: %q, want %q", tc.op, phase, tc.state, got, want)
			}
		}
	}
}

func TestStepByWhatIsDone(t *testing.T) {
	for _, tc := range []struct {
		name  string
		state ironic.State
		work  work
		want  string
	}{
		{name: "settings", state: ironic.Cleaning, work: work{op: host.OpPrepare, phase: host.PhaseChange, change: host.ChangeSettings}, want: "bios.apply_configuration 0"},
		{name: "settings wait for a restart", state: ironic.Cleaning, work: work{op: host.OpPrepare, phase: host.PhaseRestart, change: host.ChangeSettings}, want: "bios.apply_configuration 0"},
		{name: "firmware", state: ironic.CleanWait, work: work{op: host.OpPrepare, phase: host.PhaseSettle, change: host.ChangeFirmware}, want: "firmware.update 0"},
		{name: "a volume is made", state: ironic.Cleaning, work: work{op: host.OpPrepare, phase: host.PhaseSettle, change: host.ChangeRAIDMake}, want: "raid.create_configuration 0"},
		{name: "a volume is deleted", state: ironic.Cleaning, work: work{op: host.OpPrepare, phase: host.PhaseChange, change: host.ChangeRAIDDelete}, want: "raid.delete_configuration 0"},
		{name: "a change of another version", state: ironic.Cleaning, work: work{op: host.OpPrepare, phase: host.PhaseChange, change: "x"}},
		{name: "what was changed is read", state: ironic.Cleaning, work: work{op: host.OpPrepare, phase: host.PhasePlan, change: host.ChangeSettings}},
		{name: "arrays are made", state: ironic.CleanWait, work: work{op: host.OpPrepare, phase: host.PhaseSoftRAID, arrays: true}, want: "raid.create_configuration 0"},
		{name: "settings in use", state: ironic.Servicing, work: work{op: host.OpService, phase: host.PhaseChange, change: host.ChangeSettings}, want: "bios.apply_configuration 0"},
		{name: "firmware in use", state: ironic.ServiceWait, work: work{op: host.OpService, phase: host.PhaseSettle, change: host.ChangeFirmware}, want: "firmware.update 0"},
		{name: "settings before a deployment", state: ironic.Deploying, work: work{op: host.OpPrepare, phase: host.PhaseChange, change: host.ChangeSettings}, want: "bios.apply_configuration"},
		{name: "firmware before a deployment", state: ironic.Deploying, work: work{op: host.OpPrepare, phase: host.PhaseChange, change: host.ChangeFirmware}, want: "firmware.update"},
		{name: "a volume before a deployment", state: ironic.Deploying, work: work{op: host.OpPrepare, phase: host.PhaseChange, change: host.ChangeRAIDDelete}, want: "raid.apply_configuration"},
		{name: "a method of the ramdisk", state: ironic.DeployWait, work: work{op: host.OpProvision, phase: host.PhaseDeploy, method: "install_coreos"}, want: "deploy.install_coreos"},
		{name: "a disk for a method", state: ironic.DeployWait, work: work{op: host.OpProvision, phase: host.PhaseDisk, method: "install_coreos"}},
		{name: "an ISO is inserted", state: ironic.Deploying, work: work{op: host.OpProvision, phase: host.PhaseInsert, live: true}, want: "deploy.deploy 100"},
		{name: "an ISO is booted", state: ironic.Deploying, work: work{op: host.OpProvision, phase: host.PhaseRun, live: true}, want: "deploy.deploy 100"},
		{name: "an ISO is written nowhere", state: ironic.Deploying, work: work{op: host.OpProvision, phase: host.PhaseWrite, live: true}},
		{name: "held", state: ironic.CleanHold, want: "<nil>.hold"},
		{name: "held in deployment", state: ironic.DeployHold, want: "<nil>.hold"},
		{name: "held in service", state: ironic.ServiceHold, want: "<nil>.hold"},
	} {
		d := ironic.Node{}
		showStep(&d, tc.state, tc.work)
		if got := told(d.CleanStep) + told(d.DeployStep) + told(d.ServiceStep); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

// What is in the document follows what the host does.
func TestStepsOfADocument(t *testing.T) {
	w := newWorld(t)
	w.managed("n1", "", "available", ironic.Node{})
	show := func(state metal3.ProvisioningState, op *v1alpha1.Operation, spec func(*metal3.BareMetalHostSpec)) []string {
		t.Helper()
		if spec != nil {
			w.kubectl("n1", func(b *metal3.BareMetalHost) { spec(&b.Spec) })
		}
		w.lives("n1", func(b *metal3.BareMetalHostStatus, r *v1alpha1.HostRecordStatus) {
			b.Provisioning.State, r.Operation, r.Boot = state, op, &v1alpha1.Boot{ID: "b"}
		})
		n := w.node("n1")
		if len(n.DriverInternalInfo) != 1 {
			t.Errorf("driver_internal_info %v", n.DriverInternalInfo)
		}
		return []string{told(n.CleanStep), told(n.DeployStep), told(n.ServiceStep)}
	}
	op := func(kind host.OpKind, phase host.Phase) *v1alpha1.Operation {
		return &v1alpha1.Operation{Kind: string(kind), Phase: string(phase)}
	}
	changing := op(host.OpService, host.PhaseChange)
	changing.Change = &v1alpha1.Change{What: string(host.ChangeFirmware)}
	arrays := func(s *metal3.BareMetalHostSpec) {
		s.RAID = &metal3.RAIDConfig{SoftwareRAIDVolumes: []metal3.SoftwareRAIDVolume{{Level: "1"}}}
	}
	for _, tc := range []struct {
		state metal3.ProvisioningState
		op    *v1alpha1.Operation
		spec  func(*metal3.BareMetalHostSpec)
		want  []string
	}{
		{state: "preparing", op: op(host.OpPrepare, host.PhaseHello), want: []string{"", "", ""}},
		{state: "preparing", op: op(host.OpPrepare, host.PhaseClean), want: []string{"deploy.erase_devices_metadata 99", "", ""}},
		{state: "preparing", op: op(host.OpPrepare, host.PhaseSoftRAID), spec: arrays, want: []string{"raid.create_configuration 0", "", ""}},
		{state: "available", want: []string{"", "", ""}},
		{state: "provisioning", op: op(host.OpProvision, host.PhaseWrite), want: []string{"", "deploy.write_image 80", ""}},
		{state: "provisioned", op: changing, want: []string{"", "", "firmware.update 0"}},
		{state: "provisioned", want: []string{"", "", ""}},
		{
			state: "provisioning", op: op(host.OpProvision, host.PhaseMediaBoot), want: []string{"", "deploy.deploy 100", ""},
			spec: func(s *metal3.BareMetalHostSpec) {
				s.Image = &metal3.Image{URL: "http://i", DiskFormat: new("live-iso")}
			},
		},
		{
			state: "provisioning", op: op(host.OpProvision, host.PhaseDeploy), want: []string{"", "deploy.m", ""},
			spec: func(s *metal3.BareMetalHostSpec) { s.CustomDeploy = &metal3.CustomDeploy{Method: "m"} },
		},
	} {
		if got := show(tc.state, tc.op, tc.spec); !slices.Equal(got, tc.want) {
			t.Errorf("%s %+v: %q, want %q", tc.state, tc.op, got, tc.want)
		}
	}
}
