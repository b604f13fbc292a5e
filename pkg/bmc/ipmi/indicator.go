package ipmi

import (
	"context"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// Indicator reads whether the locator is lit, for a while or for good (Get
// Chassis Status, chapter 28.2).
func (m *Machine) Indicator(ctx context.Context) (bool, error) {
	const op = "read indicator"
	status, err := m.read(ctx, op, request{netFn: netFnChassis, cmd: 0x01}, 3)
	if err != nil {
		return false, err
	}
	lit, known := identify(status)
	if !known {
		return false, &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the BMC does not say whether the locator is lit"}
	}
	return lit, nil
}

func identify(status []byte) (lit, known bool) {
	return status[2]&0x30 != 0, status[2]&0x40 != 0
}

// SetIndicator lights the locator until it is put out (Chassis Identify, chapter
// 28.5), and reads back from a BMC that tells.
func (m *Machine) SetIndicator(ctx context.Context, lit bool) error {
	const op = "set indicator"
	data := []byte{0} // for no time: off
	if lit {
		data = []byte{0, 1} // for good; IPMI 1.5 has no such byte
	}
	err := m.write(ctx, op, request{netFn: netFnChassis, cmd: 0x04, data: data}, tries)
	if lit && has(err, 0xc7, 0xcc) {
		return &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the BMC lights its locator for seconds only", Err: err}
	}
	if err != nil {
		return err
	}
	status, err := m.read(ctx, op, request{netFn: netFnChassis, cmd: 0x01}, 3)
	if err != nil {
		return err
	}
	if now, known := identify(status); known && now != lit {
		return &bmc.Error{Class: bmc.Protocol, Op: op, Detail: "the BMC took the order, but does not show it"}
	}
	return nil
}
