package simbmc

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/bougou/go-ipmi/pkg/bmc"
	"github.com/bougou/go-ipmi/pkg/clock"
	"github.com/bougou/go-ipmi/pkg/command/chassis"
	"github.com/bougou/go-ipmi/pkg/handlers"
	"github.com/bougou/go-ipmi/pkg/server"
	"github.com/bougou/go-ipmi/pkg/types"
	"github.com/google/uuid"
)

const (
	ipmiUser    = 2 // slot 1 is the anonymous user (IPMI 2.0 §6.9.1)
	ipmiChannel = 1
	ipmiPacket  = 1024 // bytes; the longest command over LAN is under 300
	ipmiVendor  = 7154 // IANA number of the IPMI forum itself
)

// ipmiFace is the state of the IPMI face beside the BMC's own.
type ipmiFace struct {
	b       *BMC
	server  *bmc.BMC
	sel     *selLog
	locator *locator

	mu    sync.Mutex
	boot  map[byte][]byte // boot option parameters as written, but 5's shared part
	fault error           // why the socket failed
}

// ServeIPMI answers RMCP+ on conn until ctx ends or conn is closed; it closes
// conn. A BMC serves IPMI once.
func (b *BMC) ServeIPMI(ctx context.Context, conn net.PacketConn) error {
	defer conn.Close()
	face, err := newIPMIFace(b)
	if err != nil {
		return err
	}
	b.mu.Lock()
	if b.ipmi != nil {
		b.mu.Unlock()
		return fmt.Errorf("ipmi of %s is served already", b.info.Name)
	}
	b.ipmi = face
	b.mu.Unlock()
	face.setWrongPassword(b.faults.get().WrongPassword)

	srv := server.NewServer(face.server, &faultConn{PacketConn: conn, face: face},
		server.WithHandlerRegistry(face.registry()), server.WithServerBufferSize(ipmiPacket))
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	err = srv.Serve(ctx)
	_ = srv.Close()
	face.mu.Lock()
	defer face.mu.Unlock()
	switch {
	case face.fault != nil:
		return fmt.Errorf("serve ipmi of %s: %w", b.info.Name, face.fault)
	case ctx.Err() != nil:
		return nil
	}
	return err
}

func newIPMIFace(b *BMC) (*ipmiFace, error) {
	guid, err := uuid.Parse(b.info.UUID)
	if err != nil {
		return nil, fmt.Errorf("uuid of %s: %w", b.info.Name, err)
	}
	slices.Reverse(guid[:]) // IPMI 2.0 §20.8: RFC 4122 fields, least significant byte first
	fru, err := types.PackFRU(types.FRUPackConfig{Product: &types.FRUPackProduct{
		Manufacturer: b.info.Manufacturer, Name: b.info.Model, Serial: b.info.Serial,
	}})
	if err != nil {
		return nil, fmt.Errorf("fru of %s: %w", b.info.Name, err)
	}
	clk := ipmiClock{Clock: clock.Real, now: b.cfg.Now}
	face := &ipmiFace{b: b, sel: newSEL(b.cfg.Now), locator: &locator{now: b.cfg.Now}, boot: map[byte][]byte{0: {0}, 3: {0}, 4: {0, 0}, 5: make([]byte, 5)}}
	face.server = bmc.New(bmc.DeviceInfo{
		DeviceID:                0x20,
		DeviceRevision:          1,
		FirmwareMajor:           1,
		IPMIVersion:             0x02, // 2.0: the least significant digit is in bits 7:4 (table 20-2)
		ManufacturerID:          ipmiVendor,
		ProductID:               1,
		AdditionalDeviceSupport: 0x87, // chassis, SEL, SDR repository, sensors (table 20-2); the library adds FRU
	}, guid, chassisHAL{b: b, fru: fru}, bmc.WithClock(clk), bmc.WithV15Disabled(),
		bmc.WithCipherSuites([]types.CipherSuiteID{types.CipherSuiteID3, types.CipherSuiteID17}))
	face.server.Sessions = bmc.NewSessionStoreWithOptions(clk, bmc.WithMaxSessions(b.cfg.SessionLimit))
	face.server.Sessions.SetOnRemove(face.server.SOL.DeactivateBySession)
	user, err := face.server.Users.Add(ipmiUser, b.cfg.Username)
	if err != nil {
		return nil, fmt.Errorf("ipmi user of %s: %w", b.info.Name, err)
	}
	user.SetPassword([]byte(b.cfg.Password))
	user.Enabled = true
	user.ChannelAccess[ipmiChannel] = bmc.UserChannelAccess{MaxPrivilege: bmc.PrivilegeLevelAdministrator, Enabled: true}
	return face, nil
}

// setWrongPassword changes the account itself, because RAKP proves a password
// without sending it.
func (f *ipmiFace) setWrongPassword(wrong bool) {
	password := []byte(f.b.cfg.Password)
	if wrong {
		password = []byte(rand.Text()[:20])
	}
	_ = f.server.Users.Update(ipmiUser, func(u *bmc.User) error { // the slot exists
		u.SetPassword(password)
		return nil
	})
}

// registry is the library's command set, with what touches the machine replaced:
// its chassis interface does not know a soft shutdown from a reset, and takes a
// reset of the BMC for one of the machine.
func (f *ipmiFace) registry() *handlers.Registry {
	r := handlers.NewRegistry()
	r.Use(func(next handlers.Handler) handlers.Handler {
		return handlers.HandlerFunc(func(ctx context.Context, h *handlers.HandlerContext, data []byte) ([]byte, types.CompletionCode, error) {
			if h.Session != nil {
				if _, busy := f.b.faults.takeBusy(); busy {
					return nil, types.CodeNodeBusy, nil
				}
			}
			return next.Handle(ctx, h, data)
		})
	})
	handlers.RegisterAllHandlers(r)
	r.RegisterFunc(types.CommandChassisControl, f.chassisControl)
	r.RegisterFunc(types.CommandGetChassisStatus, f.chassisStatus)
	r.RegisterFunc(types.CommandChassisIdentify, f.locator.identify)
	f.sel.register(r)
	f.registerSensors(r)
	r.RegisterFunc(types.CommandGetSystemBootOptions, f.getBootOption)
	r.RegisterFunc(types.CommandSetSystemBootOptions, f.setBootOption)
	r.RegisterFunc(types.CommandGetSystemGUID, func(context.Context, *handlers.HandlerContext, []byte) ([]byte, types.CompletionCode, error) {
		return slices.Clone(f.server.GUID[:]), types.CodeOK, nil
	})
	for _, c := range []types.Command{types.CommandColdReset, types.CommandWarmReset} {
		r.RegisterFunc(c, func(context.Context, *handlers.HandlerContext, []byte) ([]byte, types.CompletionCode, error) {
			f.b.DropSessions()
			return nil, types.CodeOK, nil
		})
	}
	return r
}

// chassisControl is IPMI 2.0 §28.3.
func (f *ipmiFace) chassisControl(ctx context.Context, _ *handlers.HandlerContext, data []byte) ([]byte, types.CompletionCode, error) {
	if len(data) < 1 {
		return nil, types.CodeRequestDataTruncated, nil
	}
	var action PowerAction
	switch chassis.ChassisControl(data[0] & 0x0f) {
	case chassis.ChassisControlPowerDown:
		action = ForceOff
	case chassis.ChassisControlPowerUp:
		action = PowerOn
	case chassis.ChassisControlPowerCycle:
		action = PowerCycle
	case chassis.ChassisControlHardReset:
		action = ForceRestart
	case chassis.ChassisControlDiagnosticInterrupt:
		action = NMI
	case chassis.ChassisControlSoftShutdown:
		action = GracefulShutdown
	default:
		return nil, types.CodeParameterOutOfRange, nil
	}
	return nil, completion(f.b.power(ctx, action)), nil
}

// completion turns a body's refusal into a completion code (IPMI 2.0 table 5-2).
func completion(err error) types.CompletionCode {
	switch {
	case err == nil:
		return types.CodeOK
	case errors.Is(err, ErrState):
		return types.CodeNotSupported // D5h: not in the present state
	case errors.Is(err, ErrUnsupported):
		return types.CodeRequestDataFieldInvalid
	case errors.Is(err, errPending):
		return types.CodeNodeBusy
	default:
		return types.CodeUnspecifiedError
	}
}

// ipmiClock is a clock whose slow tickers never tick: the library ticks every 3 s
// to drop idle sessions, which it also does whenever one is opened. A thousand
// faces would wake 333 times a second for nothing. An active console ticks.
type ipmiClock struct {
	clock.Clock
	now func() time.Time
}

func (c ipmiClock) Now() time.Time { return c.now() }

func (c ipmiClock) NewTicker(d time.Duration) clock.Ticker {
	if d < time.Second {
		return c.Clock.NewTicker(d)
	}
	return stillTicker{}
}

type stillTicker struct{}

func (stillTicker) C() <-chan time.Time { return nil }
func (stillTicker) Stop()               {}
