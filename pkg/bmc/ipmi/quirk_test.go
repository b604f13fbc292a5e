package ipmi

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bougou/go-ipmi/pkg/types"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// bootOptions plays Set and Get System Boot Options and keeps what was sent.
type bootOptions struct {
	sent   []string
	flags  []byte
	refuse byte // parameter that it does not know
	uefi   bool // a board that boots UEFI disks by selector 9 alone
}

func (o *bootOptions) answer(netFn, cmd byte, data []byte) ([]byte, types.CompletionCode, bool) {
	switch {
	case netFn == netFnChassis && cmd == 0x08:
		o.sent = append(o.sent, fmt.Sprintf("% x", data))
		if data[0] == o.refuse {
			return nil, 0x80, true // table 28-12: parameter not supported
		}
		if data[0] == paramFlags {
			o.flags = append([]byte(nil), data[1:]...)
		}
		return nil, 0, true
	case netFn == netFnChassis && cmd == 0x09:
		return append([]byte{1, data[0]}, o.flags...), 0, true
	}
	return nil, 0, false
}

// boots is what such a board starts from in UEFI mode.
func (o *bootOptions) boots() string {
	switch {
	case o.flags[1] == 0x24, !o.uefi && o.flags[1] == 0x08:
		return "disk"
	}
	return "nothing"
}

func quirky(t *testing.T, o *bootOptions, q quirk.Set) (*board, *Machine) {
	t.Helper()
	b, addr := goServer(t)
	o.flags = make([]byte, 5)
	b.intercept(o.answer)
	m, err := Open(t.Context(), addr, admin, Options{Pause: 100 * time.Millisecond, Quirks: q})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close(t.Context()) })
	return b, m
}

// TestQuirkIPMIUEFIDisk is quirk.IPMIUEFIDisk. Evidence: metal-stack/metal-core,
// its boot.go over goipmi, that was written against Supermicro boards:
//
//	Set boot order to UEFI HD persistently:
//	raw 0x00 0x08 0x05 0xe0 0x08 0x00 0x00 0x00  (IPMI 2.0)
//	raw 0x00 0x08 0x05 0xe0 0x24 0x00 0x00 0x00  (SMCIPMITool)
//
// and Ironic's drivers/modules/ipmitool.py (facts/bmc.md).
func TestQuirkIPMIUEFIDisk(t *testing.T) {
	for _, tc := range []struct {
		name  string
		on    bool
		set   bmc.BootOverride
		flags string
		boots string
	}{
		{name: "off", set: bmc.BootOverride{Target: bmc.BootDisk, Persistent: true, Mode: bmc.BootModeUEFI}, flags: "05 e0 08 00 00 00", boots: "nothing"},
		{name: "on", on: true, set: bmc.BootOverride{Target: bmc.BootDisk, Persistent: true, Mode: bmc.BootModeUEFI}, flags: "05 e0 24 00 00 00", boots: "disk"},
		{name: "on, once", on: true, set: bmc.BootOverride{Target: bmc.BootDisk, Mode: bmc.BootModeUEFI}, flags: "05 a0 24 00 00 00", boots: "disk"},
		{name: "on, legacy", on: true, set: bmc.BootOverride{Target: bmc.BootDisk, Mode: bmc.BootModeLegacy}, flags: "05 80 08 00 00 00", boots: "nothing"},
		{name: "on, PXE", on: true, set: bmc.BootOverride{Target: bmc.BootPXE, Persistent: true, Mode: bmc.BootModeUEFI}, flags: "05 e0 04 00 00 00", boots: "nothing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := &bootOptions{uefi: true}
			b, m := quirky(t, o, quirk.Set{quirk.IPMIUEFIDisk: tc.on})
			if err := m.SetBootOverride(t.Context(), tc.set); err != nil {
				t.Fatal(err)
			}
			b.look(func() {
				if all := strings.Join(o.sent, ", "); !strings.Contains(all, tc.flags) {
					t.Errorf("sent %s, want %s among it", all, tc.flags)
				}
				if got := o.boots(); got != tc.boots {
					t.Errorf("boots from %s, want %s", got, tc.boots)
				}
			})
			if got, err := m.BootOverride(t.Context()); err != nil || got != tc.set {
				t.Errorf("reads %+v, %v; want %+v", got, err, tc.set)
			}
		})
	}
}

// TestQuirkIPMIBootTimer is quirk.IPMIBootTimer. Evidence: openstack/ironic
// 737076f, drivers/modules/ipmitool.py: "Some BMCs do not implement Option 0x03,
// such as OpenBMC and will error when we try to set this. Resulting in an abort";
// others get `timeout_disable = "0x00 0x08 0x03 0x08"`.
func TestQuirkIPMIBootTimer(t *testing.T) {
	for _, tc := range []struct {
		name string
		on   bool
		want string
	}{
		{name: "off", want: "00 01, 03 08, 04 01 01, 05 a0 04 00 00 00, 00 00"},
		{name: "on", on: true, want: "00 01, 04 01 01, 05 a0 04 00 00 00, 00 00"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := &bootOptions{refuse: paramValidBit}
			b, m := quirky(t, o, quirk.Set{quirk.IPMIBootTimer: tc.on})
			// Without the quirk the refusal is borne: the flags are what counts.
			if err := m.SetBootOverride(t.Context(), bmc.BootOverride{Target: bmc.BootPXE, Mode: bmc.BootModeUEFI}); err != nil {
				t.Fatal(err)
			}
			b.look(func() {
				if got := strings.Join(o.sent, ", "); got != tc.want {
					t.Errorf("sent %s, want %s", got, tc.want)
				}
			})
		})
	}
}

// virtualBMC answers as pyghmi 1.5.34 with VirtualBMC's methods does
// (pkg/lab/virtualbmc, testdata/pyghmi.txt): a device id of all zeros, flags that
// are always 80h with the device alone, a device that it does not know or none
// taken and ignored, CCh to a power cycle.
type virtualBMC struct {
	device byte
	on     bool
	orders []byte
}

func (v *virtualBMC) answer(netFn, cmd byte, data []byte) ([]byte, types.CompletionCode, bool) {
	switch {
	case netFn == netFnApp && cmd == 0x01:
		return []byte{0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0, true
	case netFn == netFnChassis && cmd == 0x01:
		if v.on {
			return []byte{1, 0, 0}, 0, true
		}
		return []byte{0, 0, 0}, 0, true
	case netFn == netFnChassis && cmd == 0x02:
		v.orders = append(v.orders, data[0])
		if data[0] == 2 {
			return nil, 0xcc, true
		}
		v.on = data[0] == 1 || data[0] == 3
		return nil, 0, true
	case netFn == netFnChassis && cmd == 0x08:
		if device := data[0] == paramFlags; device && data[2] != 0 {
			v.device = data[2]
		}
		return nil, 0, true
	case netFn == netFnChassis && cmd == 0x09:
		return []byte{1, 5, 0x80, v.device, 0, 0, 0}, 0, true
	}
	return nil, 0, false
}

// virtual opens one; state is what it keeps, at the moment.
func virtual(t *testing.T, o Options) (state func() virtualBMC, m *Machine) {
	t.Helper()
	b, addr := goServer(t)
	v := &virtualBMC{device: 0x04, on: true}
	b.intercept(v.answer)
	o.Pause = 20 * time.Millisecond
	var err error
	if m, err = Open(t.Context(), addr, admin, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close(t.Context()) })
	return func() (now virtualBMC) {
		b.look(func() { now = virtualBMC{device: v.device, on: v.on, orders: bytes.Clone(v.orders)} })
		return now
	}, m
}

// TestQuirkIPMIPlainBoot is quirk.IPMIPlainBoot; the evidence is virtualBMC's.
func TestQuirkIPMIPlainBoot(t *testing.T) {
	for _, tc := range []struct {
		name string
		o    Options
		on   bool
	}{
		{name: "off", o: Options{QuirkOverride: quirk.Override{Forbid: []quirk.Name{quirk.IPMIPlainBoot}}}},
		{name: "detected", on: true},
		{name: "given", o: Options{Quirks: quirk.Set{quirk.IPMIPlainBoot: true}}, on: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, m := virtual(t, tc.o)
			for _, set := range []bmc.BootOverride{
				{Target: bmc.BootDisk, Mode: bmc.BootModeUEFI},
				{Target: bmc.BootPXE, Mode: bmc.BootModeLegacy, Persistent: true},
				{Target: bmc.BootNone},
			} {
				err := m.SetBootOverride(t.Context(), set)
				if !tc.on {
					wantError(t, err, bmc.Protocol, "", "took the order, but shows")
					continue
				}
				want := bmc.BootOverride{Target: set.Target, Persistent: true}
				if set.Target == bmc.BootNone {
					want.Target = bmc.BootDisk
				}
				if got, readErr := m.BootOverride(t.Context()); err != nil || readErr != nil || got != want {
					t.Errorf("%+v: %v; shows %+v, %v", set, err, got, readErr)
				}
			}
		})
	}
}

// TestQuirkIPMINoCycle is quirk.IPMINoCycle; the evidence is virtualBMC's.
func TestQuirkIPMINoCycle(t *testing.T) {
	state, m := virtual(t, Options{QuirkOverride: quirk.Override{Forbid: []quirk.Name{quirk.IPMINoCycle}}})
	wantError(t, m.SetPower(t.Context(), bmc.ActionCycle), bmc.BadRequest, "", "0xcc")
	if v := state(); len(v.orders) != 1 {
		t.Errorf("orders % x", v.orders)
	}
	state, m = virtual(t, Options{})
	err := m.SetPower(t.Context(), bmc.ActionCycle)
	if v := state(); err != nil || !v.on || !bytes.Equal(v.orders, []byte{0, 1}) {
		t.Errorf("%v; on %t, orders % x", err, v.on, v.orders)
	}
}

func TestQuirksOfADeviceID(t *testing.T) {
	for _, tc := range []struct {
		name string
		id   []byte // nil: not answered
		want bool
	}{
		{name: "pyghmi", id: []byte{0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0}, want: true},
		{name: "zeros, but of the usual length", id: []byte{0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0}},
		{name: "a maker", id: []byte{0x20, 0x81, 1, 0x10, 2, 0xbf, 0x7c, 0x2a, 0, 1, 2, 0, 0, 0, 0}},
		{name: "no answer"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, addr := goServer(t)
			asked := 0
			b.intercept(func(netFn, cmd byte, _ []byte) ([]byte, types.CompletionCode, bool) {
				if netFn != netFnApp || cmd != 0x01 {
					return nil, 0, false
				}
				asked++
				if tc.id == nil {
					return nil, 0xc1, true
				}
				return tc.id, 0, true
			})
			m, err := open(t, addr, admin)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if got := m.has(t.Context(), "test", quirk.IPMIPlainBoot); got != tc.want {
					t.Errorf("has it: %t", got)
				}
			}
			if got := slices.Contains(m.Quirks(), quirk.IPMIPlainBoot); got != tc.want {
				t.Errorf("lists %v", m.Quirks())
			}
			b.look(func() {
				if tc.id != nil && asked != 1 {
					t.Errorf("asked %d times", asked)
				}
			})
		})
	}
}

// What IPMI has no word for is refused before it is asked for.
func TestWhatIPMILacks(t *testing.T) {
	state, m := virtual(t, Options{})
	wantError(t, m.SetPower(t.Context(), bmc.ActionSoftReset), bmc.Unsupported, "", "not to restart")
	wantError(t, m.SetBootOverride(t.Context(), bmc.BootOverride{Target: bmc.BootPXE, HTTPURI: "http://192.0.2.1/x.efi"}), bmc.Unsupported, "", "takes no address")
	if v := state(); len(v.orders) > 0 || v.device != 0x04 {
		t.Errorf("orders % x, device %#x", v.orders, v.device)
	}
}
