package ipmi

import (
	"sync/atomic"
	"testing"

	"github.com/bougou/go-ipmi/pkg/types"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// Power and faults come in one command (chapter 28.2).
func TestGlance(t *testing.T) {
	b, addr := goServer(t)
	m, err := open(t, addr, admin)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		status []byte
		power  bmc.PowerState
		health string
	}{
		{name: "on", status: []byte{0x01, 0, 0}, power: bmc.PowerOn, health: "OK"},
		{name: "off", status: []byte{0x00, 0, 0}, power: bmc.PowerOff, health: "OK"},
		{name: "a fan", status: []byte{0x01, 0, 0x08}, power: bmc.PowerOn, health: "Critical"},
		{name: "the power supply", status: []byte{0x09, 0, 0}, power: bmc.PowerOn, health: "Critical"},
		{name: "a short answer", status: []byte{0x01}, power: bmc.PowerOn},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var others atomic.Int32 // commands but the one: it may be asked again on a slow machine
			b.intercept(func(netFn, cmd byte, _ []byte) ([]byte, types.CompletionCode, bool) {
				status := netFn == netFnChassis && cmd == 0x01
				if !status {
					others.Add(1)
				}
				return tc.status, 0, status
			})
			power, health, err := m.Glance(t.Context())
			if err != nil || power != tc.power || health != tc.health || others.Load() != 0 {
				t.Errorf("power %q, health %q, %d other commands, %v", power, health, others.Load(), err)
			}
		})
	}
}
