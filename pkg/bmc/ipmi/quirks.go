package ipmi

import (
	"context"
	"encoding/hex"

	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// maxDeviceID is what is looked at of an answer to Get Device ID: IPMI has 11 or
// 15 bytes (chapter 20.1).
const maxDeviceID = 32

// Quirks lists the quirks of the machine's BMC, as far as they are known by now.
func (m *Machine) Quirks() []quirk.Name { return m.quirkSet().Names() }

// has reports whether the BMC has a quirk. What it is was read once: one command,
// none where Options.Quirks says. A BMC that does not answer it is taken for one
// of which nothing is known.
func (m *Machine) has(ctx context.Context, op string, n quirk.Name) bool {
	if m.o.Quirks == nil && m.device.Load() == nil {
		_, _ = m.deviceID(ctx, op)
	}
	return m.quirkSet().Has(n)
}

func (m *Machine) quirkSet() quirk.Set {
	set := m.o.Quirks
	if set == nil {
		var f quirk.Facts
		if id := m.device.Load(); id != nil {
			f.DeviceID = *id
		}
		set = quirk.Detect(f)
	}
	return quirk.Apply(set, m.o.QuirkOverride)
}

// deviceID sends Get Device ID and learns from the answer.
func (m *Machine) deviceID(ctx context.Context, op string) ([]byte, error) {
	answer, err := m.read(ctx, op, request{netFn: netFnApp, cmd: 0x01}, 5)
	if err != nil {
		return nil, err
	}
	id := hex.EncodeToString(answer[:min(len(answer), maxDeviceID)])
	m.device.Store(&id)
	return answer, nil
}
