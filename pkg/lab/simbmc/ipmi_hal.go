package simbmc

import (
	"context"

	"github.com/bougou/go-ipmi/pkg/hal"
)

// chassisHAL shows the library the power state, the FRU, the sensor records and
// the console, and nothing else that it could change.
type chassisHAL struct {
	b   *BMC
	fru []byte
}

func (h chassisHAL) Chassis() hal.ChassisHAL { return powerHAL{b: h.b} }
func (h chassisHAL) Storage() hal.StorageHAL { return storageHAL{fru: h.fru} }
func (chassisHAL) Sensors() hal.SensorHAL    { return nil }
func (chassisHAL) Network() hal.NetworkHAL   { return nil }
func (chassisHAL) GPIO() hal.GPIOHAL         { return nil }
func (chassisHAL) I2C() hal.I2CHAL           { return nil }
func (chassisHAL) Close() error              { return nil }

// Console is nil for a body without one: there is no SOL then.
func (h chassisHAL) Console() hal.ConsoleHAL {
	if body, ok := h.b.body.(SerialBody); ok {
		return consoleHAL{body: body}
	}
	return nil
}

// powerHAL implements the methods that the library's remaining chassis handlers
// call; the embedded interface is nil because the others have been replaced.
type powerHAL struct {
	hal.ChassisHAL
	b *BMC
}

func (h powerHAL) PowerState(ctx context.Context) (bool, error) { return h.b.body.Power(ctx) }
func (powerHAL) IntrusionState(context.Context) (bool, error)   { return false, hal.ErrNotSupported }
func (powerHAL) Identify(context.Context, uint8) error          { return nil }

// storageHAL holds one FRU, device 0, that nobody writes.
type storageHAL struct{ fru []byte }

func (h storageHAL) FRU() hal.FRUStore { return fruHAL(h) }
func (storageHAL) SDR() hal.SDRStore   { return sdrHAL{} }

type fruHAL struct{ fru []byte }

func (h fruHAL) Read(_ context.Context, id uint8) ([]byte, error) {
	if id != 0 {
		return nil, hal.ErrNotFound
	}
	return h.fru, nil
}

func (fruHAL) Write(context.Context, uint8, []byte) error { return hal.ErrNotSupported }
func (fruHAL) Delete(context.Context, uint8) error        { return hal.ErrNotSupported }
func (fruHAL) DeviceIDs(context.Context) ([]uint8, error) { return []uint8{0}, nil }
