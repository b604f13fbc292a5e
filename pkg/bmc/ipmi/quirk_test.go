package ipmi

import (
	"fmt"
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
