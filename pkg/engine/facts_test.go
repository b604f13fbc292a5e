package engine

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
	"github.com/ingot-metal/ingot/pkg/host"
)

// inspector is a BMC that tells an inventory.
type inspector struct {
	*board
	inv agent.Inventory
	err error
}

func (i inspector) Inspect(context.Context) (agent.Inventory, error) { return i.inv, i.err }

// told by a BMC that tells enough.
func facts() agent.Inventory {
	return agent.Inventory{
		Vendor: agent.Vendor{Manufacturer: "Maker\x00\n", Serial: " S1 "},
		CPU:    agent.CPU{Arch: "x86_64", Sockets: 2, Cores: 16, Threads: 32},
		Memory: agent.Memory{Physical: 64 << 30},
		Disks:  []agent.Disk{{Name: "Disk.Bay.0:Enclosure 1", Serial: "D1", Size: 1 << 40, Type: agent.DiskNVMe}},
		NICs:   []agent.NIC{{Name: "NIC.Embedded.1-1-1", MAC: "52:54:00:12:34:56"}},
	}
}

func TestFastInspection(t *testing.T) {
	r := newRig(t)
	r.in.Host.State, r.in.Host.Boot, r.in.Host.Power = host.Inspecting, nil, host.PowerOff
	r.BMCs = bmcs{conn: inspector{board: r.board, inv: facts()}}
	p := r.do(host.Action{Verb: host.ReadFacts})
	if o := p.Event.(host.Outcome); o.Problem != nil {
		t.Fatalf("problem %+v", o.Problem)
	}
	hw, ref := p.Extra.Hardware, p.Extra.Inventory
	if hw == nil || hw.SystemVendor.Manufacturer != "Maker" || hw.CPU.Count != 32 || hw.RAMMebibytes != 64<<10 ||
		len(hw.Storage) != 1 || hw.Storage[0].Type != metal3.NVME || hw.NIC[0].MAC != "52:54:00:12:34:56" {
		t.Errorf("hardware %+v", hw)
	}
	if ref == nil || ref.Boot != "" {
		t.Fatalf("inventory %+v", ref)
	}
	var kept agent.Inventory
	if err := json.Unmarshal(r.readBlob(strings.TrimPrefix(ref.Digest, "sha256:")), &kept); err != nil || kept.Vendor.Serial != "S1" {
		t.Errorf("kept is %+v, %v", kept.Vendor, err)
	}
	if len(r.board.ordered)+len(r.board.boots) != 0 {
		t.Error("the machine was switched")
	}
	// No disk is chosen, cleaned or written by it.
	r.in.HR.Status.Inventory, r.in.Host.Boot = ref, &host.Boot{ID: "b1", Redeemed: true}
	r.problem(host.Action{Verb: host.ChooseDisk}, "inspect-failed", host.Retry)
	r.problem(host.Action{Verb: host.RunStep, Step: host.PhaseClean}, "clean-failed", host.Retry)
}

func TestFastInspectionProblems(t *testing.T) {
	with := func(change func(*agent.Inventory)) bmc.Conn {
		inv := facts()
		change(&inv)
		return inspector{board: &board{}, inv: inv}
	}
	for _, tc := range []struct {
		name  string
		conn  bmc.Conn
		mac   string
		code  string
		class host.Class
		says  string
	}{
		{name: "IPMI", conn: mute{}, code: "inspect-fast-unsupported", class: host.Wait, says: "protocol"},
		{name: "a BMC that cannot", conn: inspector{err: &bmc.Error{Class: bmc.Unsupported, Op: "inspect"}}, code: "inspect-fast-unsupported", class: host.Wait},
		{name: "a BMC that is busy", conn: inspector{err: &bmc.Error{Class: bmc.Busy, Op: "inspect"}}, code: "bmc-slow", class: host.Retry},
		{name: "an error of no class", conn: inspector{err: errors.New("x")}, code: "bmc-transient", class: host.Retry},
		{
			name: "nothing but a name", conn: inspector{inv: agent.Inventory{Skipped: []agent.Skipped{{What: "memory", Reason: "404"}}}},
			code: "inspect-fast-unsupported", class: host.Wait, says: "the BMC tells no CPU, no memory, no network interface|the machine is off|not read: memory: 404",
		},
		{name: "no NIC", conn: with(func(i *agent.Inventory) { i.NICs = nil }), code: "inspect-fast-unsupported", class: host.Wait, says: "no network interface"},
		{name: "no NIC, but a MAC", mac: "52:54:00:12:34:56", conn: with(func(i *agent.Inventory) { i.NICs = nil })},
		{name: "no disks", conn: with(func(i *agent.Inventory) { i.Disks = nil })},
		{name: "a kernel's device", conn: with(func(i *agent.Inventory) { i.Disks[0].Name = "/dev/sda" }), code: "inspect-failed", class: host.Retry, says: "is no device"},
		{name: "a disk twice", conn: with(func(i *agent.Inventory) { i.Disks = append(i.Disks, i.Disks[0]) }), code: "inspect-failed", class: host.Retry, says: "twice"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			r.BMCs = bmcs{conn: tc.conn}
			r.in.BMH.Spec.BootMACAddress = tc.mac
			o := r.outcome(host.Action{Verb: host.ReadFacts})
			if tc.code == "" {
				if o.Problem != nil {
					t.Errorf("problem %+v", o.Problem)
				}
				return
			}
			p := r.problem(host.Action{Verb: host.ReadFacts}, tc.code, tc.class)
			for _, says := range strings.Split(tc.says, "|") {
				if !strings.Contains(strings.Join(p.Seen, "\n"), says) {
					t.Errorf("seen %q, want %q", p.Seen, says)
				}
			}
		})
	}
}

// TestFastInspectionOfRecordedTrees: what most makers' BMCs tell is enough, and
// becomes HardwareDetails. Of the others it is said what they lack.
func TestFastInspectionOfRecordedTrees(t *testing.T) {
	for set, lacks := range map[string]string{
		"dell-r750-idrac9": "", "hpe-dl360-gen12-ilo7": "", "dmtf-public-rackmount1": "",
		"lenovo-sr670-xcc": "the BMC tells no network interface", "supermicro-gb300-nvl": "the BMC tells no network interface", "openbmc-stock": "the BMC tells no CPU",
	} {
		t.Run(set, func(t *testing.T) {
			conn, s := recordedTree(t, set)
			r := newRig(t)
			r.BMCs, r.in.Host.State = bmcs{conn: conn}, host.Inspecting
			p := r.do(host.Action{Verb: host.ReadFacts})
			o := p.Event.(host.Outcome)
			if lacks != "" {
				if o.Problem == nil || o.Problem.Code != "inspect-fast-unsupported" || !strings.Contains(o.Problem.Seen[0], lacks) {
					t.Errorf("problem %+v, want %q", o.Problem, lacks)
				}
				return
			}
			if o.Problem != nil {
				t.Fatalf("problem %+v", o.Problem)
			}
			hw := p.Extra.Hardware
			t.Logf("%s %s: %d CPUs, %d MiB, %d NICs, %d disks", hw.SystemVendor.Manufacturer, hw.SystemVendor.ProductName, hw.CPU.Count, hw.RAMMebibytes, len(hw.NIC), len(hw.Storage))
			if hw.CPU.Count == 0 || hw.RAMMebibytes == 0 || len(hw.NIC) == 0 || p.Extra.Session == "" {
				t.Errorf("hardware %+v, session %q", hw, p.Extra.Session)
			}
			for _, e := range s.Journal() {
				if e.Method != http.MethodGet && !strings.HasSuffix(strings.TrimRight(e.Path, "/"), "/Sessions") {
					t.Errorf("%s %s", e.Method, e.Path)
				}
			}
		})
	}
}

// onceBoard is a BMC with quirk.NoContinuous, and with an HttpBootUri or without.
type onceBoard struct {
	*board
	quirks []quirk.Name
	now    bmc.BootOverride
	noURI  bool
}

func (b *onceBoard) Quirks() []quirk.Name { return b.quirks }

func (b *onceBoard) BootOverride(context.Context) (bmc.BootOverride, error) { return b.now, nil }

func (b *onceBoard) SetBootOverride(ctx context.Context, o bmc.BootOverride) error {
	if err := b.board.SetBootOverride(ctx, o); err != nil || o.HTTPURI == "" || !b.noURI {
		return err
	}
	return &bmc.Error{Class: bmc.Unsupported, Op: "boot"}
}

func TestBootIsRenewedAtPowerOn(t *testing.T) {
	disk := bmc.BootOverride{Target: bmc.BootDisk, Persistent: true, Mode: bmc.BootModeUEFI}
	for _, tc := range []struct {
		name   string
		state  host.State
		quirks []quirk.Name
		now    bmc.BootOverride
		change host.PowerChange
		err    error
		want   []bmc.BootOverride
	}{
		{name: "a BMC that overrides once", state: host.Provisioned, quirks: []quirk.Name{quirk.NoContinuous}, now: bmc.BootOverride{Target: bmc.BootNone}, want: []bmc.BootOverride{disk}},
		{name: "one that says so", state: host.Provisioned, now: bmc.BootOverride{Target: bmc.BootNone, Renew: true}, want: []bmc.BootOverride{disk}},
		{name: "a refusal keeps no machine off", state: host.Provisioned, now: bmc.BootOverride{Target: bmc.BootNone, Renew: true}, err: &bmc.Error{Class: bmc.BadRequest}, want: []bmc.BootOverride{disk}},
		{name: "another BMC", state: host.Provisioned, now: bmc.BootOverride{Target: bmc.BootNone}},
		{name: "somebody wants the setup", state: host.Provisioned, quirks: []quirk.Name{quirk.NoContinuous}, now: bmc.BootOverride{Target: bmc.BootSetup}},
		{name: "the agent is to be started", state: host.Provisioning, quirks: []quirk.Name{quirk.NoContinuous}, now: bmc.BootOverride{Target: bmc.BootNone}},
		{name: "not ours to boot", state: host.ExternallyProvisioned, quirks: []quirk.Name{quirk.NoContinuous}, now: bmc.BootOverride{Target: bmc.BootNone}},
		{name: "off", state: host.Provisioned, change: host.ChangeForce, quirks: []quirk.Name{quirk.NoContinuous}, now: bmc.BootOverride{Target: bmc.BootNone}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			r.board.once, r.in.Host.State = tc.err, tc.state
			r.BMCs = bmcs{conn: &onceBoard{board: r.board, quirks: tc.quirks, now: tc.now}}
			if tc.change == "" {
				tc.change = host.ChangeOn
			}
			if o := r.outcome(host.Action{Verb: host.SetPower, Power: tc.change}); o.Problem != nil || len(r.board.ordered) != 1 {
				t.Errorf("outcome %+v", o)
			}
			if !slices.Equal(r.board.boots, tc.want) {
				t.Errorf("set %+v, want %+v", r.board.boots, tc.want)
			}
		})
	}
}

func TestUEFIHTTPAddress(t *testing.T) {
	const uri = "http://10.77.0.1:6180/boot/file/ipxe.efi"
	with := bmc.BootOverride{Target: bmc.BootUEFIHTTP, Mode: bmc.BootModeUEFI, HTTPURI: uri}
	without := with
	without.HTTPURI = ""
	for _, tc := range []struct {
		name  string
		url   string
		noURI bool
		want  []bmc.BootOverride
	}{
		{name: "a BMC that takes it", url: uri, want: []bmc.BootOverride{with}},
		{name: "a BMC that leaves it to DHCP", url: uri, noURI: true, want: []bmc.BootOverride{with, without}},
		{name: "nobody knows the network", want: []bmc.BootOverride{without}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			r.LoaderURL = func() string { return tc.url }
			r.in.BMH.Spec.BMC.Address = "redfish-uefihttp://10.0.0.3"
			r.BMCs = bmcs{conn: &onceBoard{board: r.board, noURI: tc.noURI}}
			if o := r.outcome(host.Action{Verb: host.SetBoot}); o.Problem != nil || !slices.Equal(r.board.boots, tc.want) {
				t.Errorf("problem %+v, set %+v, want %+v", o.Problem, r.board.boots, tc.want)
			}
			r.board.boots = nil
			if r.outcome(host.Action{Verb: host.SetBoot, FromDisk: true}); r.board.boots[0].HTTPURI != "" {
				t.Error("the disk has an address")
			}
		})
	}
}
