package vendorextra

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bmc-toolbox/bmclib/v2/providers/intelamt"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// AMT's ports: with TLS, and in the clear.
const (
	portAMTS = 16993
	portAMT  = 16992
)

// amt is a machine with Intel AMT. Of bmclib's provider it uses the messages;
// relay does the rest.
type amt struct {
	*caller
	door     *door
	target   url.URL
	creds    bmc.Credentials
	random   io.Reader
	patience time.Duration
}

func newAMT(addr bmc.Address, creds bmc.Credentials, o Options) *amt {
	target := url.URL{Scheme: "https", Path: "/wsman"}
	port, usual := portAMTS, 443
	if !addr.TLS {
		target.Scheme, port, usual = "http", portAMT, 80
	}
	if addr.Port != usual { // the address names one
		port = addr.Port
	}
	target.Host = net.JoinHostPort(addr.Host, strconv.Itoa(port))
	a := &amt{
		caller: newCaller(o.Limit), door: newDoor(addr.Host, o), target: target, creds: creds,
		random: o.Random, patience: cmp.Or(o.Patience, 20*time.Second),
	}
	if a.random == nil {
		a.random = rand.Reader
	}
	return a
}

// through runs f with a provider that knows AMT by the relay alone.
func (a *amt) through(ctx context.Context, r *relay, f func(context.Context, *intelamt.Conn) error) (envelope, error) {
	a.door.begin()
	r.door, r.target = a.door, a.target.String()
	r.digest = &digest{username: a.creds.Username, password: a.creds.Password, random: a.random}
	if err := r.listen(ctx); err != nil {
		return envelope{}, err
	}
	defer r.close()
	p := intelamt.New("127.0.0.1", r.token, "-", intelamt.WithHostScheme("http"), intelamt.WithPort(uint32(r.port)))
	if err := p.Open(ctx); err != nil {
		return r.outcome(err)
	}
	return r.outcome(f(ctx, p))
}

// read asks for the power state.
func (a *amt) read(ctx context.Context) (*relay, envelope, error) {
	r := &relay{}
	seen, err := a.through(ctx, r, func(ctx context.Context, p *intelamt.Conn) error {
		_, err := p.PowerStateGet(ctx)
		return err
	})
	return r, seen, err
}

// state normalises CIM_AssociatedPowerManagementService.PowerState (DSP1027).
// The provider takes all but 2 for off: a machine that sleeps wakes into what it
// ran, so it is not off for us.
func state(power int) bmc.PowerState {
	switch power {
	case 2, 3, 4: // on, light sleep, deep sleep
		return bmc.PowerOn
	case 6, 7, 8, 12, 13: // off hard, hibernated, off soft, and both gracefully
		return bmc.PowerOff
	}
	return bmc.PowerUnknown
}

// PowerState is part of bmc.Power.
func (a *amt) PowerState(ctx context.Context) (bmc.PowerState, error) {
	return call(ctx, a.caller, "read power state", a.powerState)
}

func (a *amt) powerState(ctx context.Context) (bmc.PowerState, error) {
	_, seen, err := a.read(ctx)
	return state(seen.power), err
}

// Identify is part of bmc.Conn. The provider reads nothing of the machine; AMT's
// own version is in its Server header.
func (a *amt) Identify(ctx context.Context) (bmc.Identity, error) {
	return call(ctx, a.caller, "identify", func(ctx context.Context) (bmc.Identity, error) {
		r, _, err := a.read(ctx)
		if err != nil {
			return bmc.Identity{}, err
		}
		id := bmc.Identity{Protocol: AMT}
		if version, ok := strings.CutPrefix(r.agent, "Intel(R) Active Management Technology "); ok {
			id.BMCVersion = clip(version)
		}
		return id, nil
	})
}

// order is a power action as the provider and AMT know it. The provider's "off"
// takes the gentlest state that AMT offers, and its "cycle" any of six: it is
// shown only those that are meant.
type order struct {
	verb   string
	states []int // CIM_PowerManagementService.RequestPowerStateChange
	want   bmc.PowerState
}

func orders(a bmc.PowerAction) (order, bool) {
	switch a {
	case bmc.ActionOn:
		return order{"on", []int{2}, bmc.PowerOn}, true
	case bmc.ActionForceOff: // 8 is off without asking, whatever its name says
		return order{"off", []int{8, 6}, bmc.PowerOff}, true
	case bmc.ActionSoftOff:
		return order{"off", []int{12, 13}, ""}, true
	case bmc.ActionReset:
		return order{"cycle", []int{10}, ""}, true
	case bmc.ActionSoftReset:
		return order{"cycle", []int{14}, ""}, true
	case bmc.ActionCycle: // from off, on
		return order{"cycle", []int{5, 9, 2}, ""}, true
	}
	return order{}, false
}

// SetPower is part of bmc.Power.
func (a *amt) SetPower(ctx context.Context, action bmc.PowerAction) error {
	const op = "set power"
	o, ok := orders(action)
	if !ok {
		return unsupported(op, fmt.Sprintf("bmclib's AMT provider has no %s", action))
	}
	_, err := call(ctx, a.caller, op, func(ctx context.Context) (struct{}, error) {
		r := &relay{keep: func(s int) bool { return slices.Contains(o.states, s) }}
		seen, err := a.through(ctx, r, func(ctx context.Context, p *intelamt.Conn) error {
			_, err := p.PowerSet(ctx, o.verb)
			return err
		})
		if err != nil && !ours(err) && r.err == nil && seen.power != 0 && !slices.ContainsFunc(seen.offered, r.keep) {
			return struct{}{}, unsupported(op, fmt.Sprintf("AMT does not offer %s now (power state %d, it offers %v)", action, seen.power, seen.offered))
		}
		if err != nil {
			return struct{}{}, err
		}
		if len(seen.returned) == 0 { // nothing was ordered
			return struct{}{}, idle(op, o.verb, seen.power)
		}
		return struct{}{}, settle(ctx, o.want, a.patience, a.powerState)
	})
	return err
}

// idle judges a success of the provider's for which it ordered nothing: right if
// the power was as wanted. It also says "off" is done if it could not read the
// state, or the machine sleeps.
func idle(op, verb string, power int) error {
	switch s := state(power); {
	case verb == "on" && s == bmc.PowerOn, verb == "off" && s == bmc.PowerOff:
		return nil
	case power == 0:
		return &bmc.Error{Class: bmc.Protocol, Op: op, Detail: "AMT does not tell its power state"}
	}
	return unsupported(op, fmt.Sprintf("bmclib's AMT provider gives no order in power state %d", power))
}

// settle reads until the power is as ordered. What is to end where it began, or
// when an operating system likes, is not waited for: want is empty then.
func settle(ctx context.Context, want bmc.PowerState, patience time.Duration, read func(context.Context) (bmc.PowerState, error)) error {
	if want == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		got, err := read(ctx)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if err == nil && got == want {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return &bmc.Error{Class: bmc.Protocol, Detail: fmt.Sprintf("the BMC took the order, but the power is %q and not %q after %s", got, want, patience)}
		}
	}
}

// BootOverride is part of bmc.Boot. No message of the provider's reads it.
func (a *amt) BootOverride(context.Context) (bmc.BootOverride, error) {
	return bmc.BootOverride{}, unsupported("read boot override", "bmclib's AMT provider cannot read it")
}

// SetBootOverride is part of bmc.Boot: for the next start alone, in the mode that
// the firmware is in. AMT says of each step whether it was taken; there is no
// more of a read-back.
func (a *amt) SetBootOverride(ctx context.Context, o bmc.BootOverride) error {
	const op = "set boot override"
	var source string
	switch o.Target {
	case bmc.BootPXE:
		source = sourcePXE
	case bmc.BootDisk:
		source = "Intel(r) AMT: Force Hard-drive Boot"
	case bmc.BootCD:
		source = "Intel(r) AMT: Force CD/DVD Boot"
	default:
		return unsupported(op, fmt.Sprintf("bmclib's AMT provider has no boot from %s", o.Target))
	}
	if o.Persistent {
		return unsupported(op, "AMT overrides one start only")
	}
	_, err := call(ctx, a.caller, op, func(ctx context.Context) (struct{}, error) {
		seen, err := a.through(ctx, &relay{source: source}, func(ctx context.Context, p *intelamt.Conn) error {
			_, err := p.BootDeviceSet(ctx, "pxe", false, false)
			return err
		})
		if err == nil && len(seen.returned) < 2 { // SetBootConfigRole, ChangeBootOrder
			err = &bmc.Error{Class: bmc.Protocol, Detail: "AMT did not say that it took the override"}
		}
		return struct{}{}, err
	})
	return err
}

// Close is part of bmc.Conn. AMT has no sessions.
func (a *amt) Close(context.Context) error {
	a.door.transport.CloseIdleConnections()
	return nil
}

func unsupported(op, detail string) error {
	return &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: detail}
}

// ours reports whether an error is classed already.
func ours(err error) bool {
	var e *bmc.Error
	return errors.As(err, &e)
}
