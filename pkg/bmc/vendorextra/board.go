package vendorextra

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bmc-toolbox/bmclib/v2/providers/asrockrack"
	"github.com/bmc-toolbox/common"
	"github.com/go-logr/logr"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// board is a machine on an ASRock Rack board, by the web API of its BMC. It
// takes part in nothing that IPMI or Redfish can do, save power where there is
// neither.
type board struct {
	*caller
	door     *door
	hostPort string
	creds    bmc.Credentials
	patience time.Duration

	session *asrockrack.ASRockRack // nil: not logged in; belongs to who has the turn
}

func newBoard(addr bmc.Address, creds bmc.Credentials, o Options) *board {
	port := 443
	if addr.Protocol == bmc.ProtocolRedfish {
		port = addr.Port
	}
	return &board{
		caller: newCaller(o.Limit), door: newDoor(addr.Host, o), hostPort: net.JoinHostPort(addr.Host, strconv.Itoa(port)),
		creds: creds, patience: cmp.Or(o.Patience, 20*time.Second),
	}
}

// login makes a session. The provider counts an answer of 500 as one.
func (b *board) login(ctx context.Context) error {
	jar, err := cookiejar.New(nil) // one BMC, one host: no list of public suffixes
	if err != nil {
		return err
	}
	b.door.begin()
	b.door.stopAfterFailure = true
	defer func() { b.door.stopAfterFailure = false }()
	// The provider puts both into a form as they are; a password with & or %
	// would be another one. Its logger is told whole requests when the
	// environment has DEBUG_BMCLIB.
	p := asrockrack.NewWithOptions(b.hostPort, url.QueryEscape(b.creds.Username), url.QueryEscape(b.creds.Password), logr.Discard(),
		asrockrack.WithHTTPClient(b.door.client(jar)))
	if err := p.Open(ctx); err != nil {
		err = b.outcome(err)
		if b.door.failed == nil && b.door.status != http.StatusUnauthorized {
			b.door.stopAfterFailure = false
			_ = p.Close(ctx) // there may be a session: the board may be one that the provider does not know
		}
		return err
	}
	if b.door.status != 0 {
		return b.outcome(errors.New("the login did not succeed"))
	}
	b.session = p
	return nil
}

// outcome prefers what happened on the wire to what the provider made of it.
func (b *board) outcome(err error) error {
	var e *bmc.Error
	switch {
	case err == nil, errors.As(err, &e):
		return err
	case b.door.failed != nil:
		return b.door.failed
	case b.door.status != 0:
		return statusError(b.door.status, "")
	case strings.Contains(err.Error(), "not supported"):
		return &bmc.Error{Class: bmc.Unsupported, Detail: "bmclib knows the boards E3C246D4I-NL, E3C246D4ID-NL and E3C256D4ID-NL alone", Err: errors.New(clip(err.Error()))}
	}
	return err
}

// within runs f in a session. One that the BMC has ended is made anew, once: a
// 401 says that nothing was done.
func within[T any](ctx context.Context, b *board, op string, f func(context.Context, *asrockrack.ASRockRack) (T, error)) (T, error) {
	return call(ctx, b.caller, op, func(ctx context.Context) (T, error) {
		var none T
		for {
			fresh := b.session == nil
			if fresh {
				if err := b.login(ctx); err != nil {
					return none, err
				}
			}
			b.door.begin()
			v, err := f(ctx, b.session)
			if err == nil {
				return v, nil
			}
			if b.door.status != http.StatusUnauthorized {
				return none, b.outcome(err)
			}
			b.session = nil
			if fresh { // the password was accepted just now: this is about the role
				return none, &bmc.Error{Class: bmc.Forbidden, Detail: "the BMC ended the session at the first request; the account may lack the privilege"}
			}
		}
	})
}

// Identify is part of bmc.Conn.
func (b *board) Identify(ctx context.Context) (bmc.Identity, error) {
	return within(ctx, b, "identify", func(ctx context.Context, p *asrockrack.ASRockRack) (bmc.Identity, error) {
		d, err := inventory(ctx, p)
		if err != nil {
			return bmc.Identity{}, err
		}
		inv := facts(d)
		return bmc.Identity{
			Protocol: ASRockRack, Manufacturer: inv.Vendor.Manufacturer, Model: inv.Vendor.Product, Serial: inv.Vendor.Serial,
			BMCVersion: inv.Firmware.BMC,
		}, nil
	})
}

func inventory(ctx context.Context, p *asrockrack.ASRockRack) (*common.Device, error) {
	d, err := p.Inventory(ctx)
	if err == nil && d == nil {
		err = errors.New("no inventory")
	}
	return d, err
}

// PowerState is part of bmc.Power.
func (b *board) PowerState(ctx context.Context) (bmc.PowerState, error) {
	return within(ctx, b, "read power state", powerOf)
}

func powerOf(ctx context.Context, p *asrockrack.ASRockRack) (bmc.PowerState, error) {
	s, err := p.PowerStateGet(ctx)
	switch {
	case err != nil:
		return bmc.PowerUnknown, err
	case strings.EqualFold(s, "on"):
		return bmc.PowerOn, nil
	case strings.EqualFold(s, "off"):
		return bmc.PowerOff, nil
	}
	return bmc.PowerUnknown, nil
}

// SetPower is part of bmc.Power.
func (b *board) SetPower(ctx context.Context, action bmc.PowerAction) error {
	const op = "set power"
	var verb string
	var want bmc.PowerState
	switch action {
	case bmc.ActionOn:
		verb, want = "on", bmc.PowerOn
	case bmc.ActionForceOff:
		verb, want = "off", bmc.PowerOff
	case bmc.ActionSoftOff:
		verb = "soft"
	case bmc.ActionReset:
		verb = "reset"
	case bmc.ActionCycle:
		verb = "cycle"
	default:
		return unsupported(op, fmt.Sprintf("bmclib's ASRock Rack provider has no %s", action))
	}
	_, err := within(ctx, b, op, func(ctx context.Context, p *asrockrack.ASRockRack) (struct{}, error) {
		if _, err := p.PowerSet(ctx, verb); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, settle(ctx, want, b.patience, func(ctx context.Context) (bmc.PowerState, error) { return powerOf(ctx, p) })
	})
	return err
}

// Close is part of bmc.Conn: it ends the session.
func (b *board) Close(ctx context.Context) error {
	defer b.door.transport.CloseIdleConnections()
	if b.Refused() != nil {
		return nil
	}
	_, err := call(ctx, b.caller, "log out", func(ctx context.Context) (struct{}, error) {
		if b.session == nil {
			return struct{}{}, nil
		}
		p := b.session
		b.session = nil
		b.door.begin()
		return struct{}{}, b.outcome(p.Close(ctx))
	})
	return err
}
