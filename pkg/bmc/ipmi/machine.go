package ipmi

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// Network functions (chapter 5.1).
const (
	netFnChassis = 0x00
	netFnSensor  = 0x04
	netFnApp     = 0x06
	netFnStorage = 0x0a
)

// Limits of the protocol (chapters 22.28 and 22.30).
const (
	maxUsername = 16
	maxPassword = 20
)

// Options of a Machine. The zero value is for use.
type Options struct {
	// Pause before a datagram is sent again; it grows by half of itself with
	// each try. Zero means 1 s.
	Pause time.Duration
	// Idle is how long a session stays open without use. Zero means 20 s: BMCs
	// drop it themselves after 60.
	Idle time.Duration
	// Random is the source of nonces; nil means crypto/rand.
	Random io.Reader
	// Quirks, if not nil, replaces what would be detected.
	Quirks quirk.Set
	// QuirkOverride is an operator's word on the quirks.
	QuirkOverride quirk.Override
	// Log may be nil.
	Log *slog.Logger
	// Observe, if not nil, is told how each call ended.
	Observe func(error)
}

// Machine is a machine behind an IPMI BMC. It is safe for concurrent use.
type Machine struct {
	address   string
	creds     bmc.Credentials
	privilege byte
	o         Options

	device atomic.Pointer[string] // what Get Device ID answered, in hex
	denied atomic.Pointer[error]  // set: these credentials are not sent again

	turn chan struct{} // held by whoever uses the fields below

	session *session
	idle    *time.Timer
	used    time.Time // when the session was last of use
	closed  bool

	walking chan struct{}           // held by whoever walks the sensors' repository
	sensors atomic.Pointer[sensors] // as last read
}

var (
	_ bmc.Conn      = (*Machine)(nil)
	_ bmc.Power     = (*Machine)(nil)
	_ bmc.Boot      = (*Machine)(nil)
	_ bmc.Details   = (*Machine)(nil)
	_ bmc.Log       = (*Machine)(nil)
	_ bmc.Health    = (*Machine)(nil)
	_ bmc.Glance    = (*Machine)(nil)
	_ bmc.Indicator = (*Machine)(nil)
	_ bmc.Accounts  = (*Machine)(nil)
	_ bmc.Console   = (*Machine)(nil)
)

// Open opens a session on the BMC at addr. When it returns an error, nothing is
// left open.
func Open(ctx context.Context, addr bmc.Address, creds bmc.Credentials, o Options) (*Machine, error) {
	const op = "log in"
	if len(creds.Username) > maxUsername || len(creds.Password) > maxPassword {
		return nil, &bmc.Error{
			Class: bmc.Auth, Code: bmc.CodeAuth, Op: op,
			Detail: fmt.Sprintf("IPMI takes at most %d bytes of user name and %d of password", maxUsername, maxPassword),
		}
	}
	m := &Machine{
		address: addr.HostPort(), creds: creds, privilege: privilege(addr.PrivilegeLevel), o: defaults(o),
		turn: make(chan struct{}, 1), walking: make(chan struct{}, 1),
	}
	if err := m.use(ctx, op, func(*session) error { return nil }); err != nil {
		return nil, err
	}
	return m, nil
}

func defaults(o Options) Options {
	if o.Pause == 0 {
		o.Pause = time.Second
	}
	if o.Idle == 0 {
		o.Idle = 20 * time.Second
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

func privilege(level string) byte {
	switch level {
	case "USER":
		return 2
	case "OPERATOR":
		return 3
	}
	return 4
}

// use gives f the session when it is the caller's turn, opening one if need be.
func (m *Machine) use(ctx context.Context, op string, f func(*session) error) error {
	err := m.attempt(ctx, op, f)
	if m.o.Observe != nil {
		m.o.Observe(err)
	}
	return err
}

func (m *Machine) attempt(ctx context.Context, op string, f func(*session) error) error {
	select {
	case m.turn <- struct{}{}:
	case <-ctx.Done():
		return &bmc.Error{Class: bmc.Busy, Code: bmc.CodeSlow, Op: op, Detail: "the BMC was busy with earlier requests", Err: ctx.Err()}
	}
	defer func() { <-m.turn }()
	if m.closed {
		return &bmc.Error{Class: bmc.Unreachable, Op: op, Detail: "the connection was closed"}
	}
	if err := m.Refused(); err != nil {
		return err
	}
	if m.idle != nil {
		m.idle.Stop()
	}
	if m.session == nil {
		s, err := connect(ctx, m.address, m.creds, m.privilege, m.o)
		if err = classify(ctx, "log in", err); err != nil {
			if bmc.ClassOf(err) == bmc.Auth {
				m.o.Log.WarnContext(ctx, "credentials refused, not sent again", "bmc", m.address, "op", "log in")
				m.denied.Store(&err)
			}
			return err
		}
		m.session = s
	}
	err := f(m.session)
	var code completion
	if err != nil && !errors.As(err, &code) {
		m.drop(ctx) // silence: the session may be gone, the next caller opens another
	} else {
		m.used = time.Now()
		m.idle = time.AfterFunc(m.o.Idle, m.expire)
	}
	return classify(ctx, op, err)
}

// Refused is the error with which the BMC refused the credentials, if it did;
// every further call returns it.
func (m *Machine) Refused() error {
	if err := m.denied.Load(); err != nil {
		return *err
	}
	return nil
}

// drop ends the session. The caller has the turn.
func (m *Machine) drop(ctx context.Context) {
	if m.session == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.o.Pause)
	defer cancel()
	_ = m.session.close(ctx) // the BMC ends it otherwise
	m.session = nil
}

// expire ends a session that nobody uses. It waits for its turn: the last user may
// not have given it back yet.
func (m *Machine) expire() {
	m.turn <- struct{}{}
	defer func() { <-m.turn }()
	if time.Since(m.used) >= m.o.Idle {
		m.drop(context.Background())
	}
}

// Close ends the session, even after ctx has ended.
func (m *Machine) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	select {
	case m.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-m.turn }()
	m.closed = true
	if m.idle != nil {
		m.idle.Stop()
	}
	m.drop(ctx)
	return nil
}

// read sends a command that changes nothing. If a session that was open before
// has fallen silent (the BMC restarted, or gave it to somebody else), it is
// tried in a new one.
func (m *Machine) read(ctx context.Context, op string, r request, atLeast int) ([]byte, error) {
	var data []byte
	again := false
	send := func(s *session) (err error) {
		again = s.message > 1 // the first message of a session raises the privilege
		data, err = s.command(ctx, r, tries)
		if err == nil && len(data) < atLeast {
			return fmt.Errorf("%w: %d bytes of data, want %d", errPacket, len(data), atLeast)
		}
		return err
	}
	err := m.use(ctx, op, send)
	if again && errors.Is(err, errSilence) && ctx.Err() == nil {
		err = m.use(ctx, op, send)
	}
	return data, err
}

func (m *Machine) write(ctx context.Context, op string, r request, tries int) error {
	return m.use(ctx, op, func(s *session) error {
		if err := bmc.Fenced(ctx); err != nil {
			return err
		}
		_, err := s.command(ctx, r, tries)
		return err
	})
}

// Identify reads the BMC's device id; the machine's GUID it mostly knows by then.
func (m *Machine) Identify(ctx context.Context) (bmc.Identity, error) {
	const op = "identify the machine"
	id := bmc.Identity{Protocol: bmc.ProtocolIPMI}
	device, err := m.deviceID(ctx, op)
	if err != nil {
		return id, err
	}
	// Chapter 20.1: major in 7 bits, minor in two decimal digits.
	id.BMCVersion = fmt.Sprintf("%d.%02x", device[2]&0x7f, device[3])
	// The key exchange tells the system's GUID (chapter 13.21); some BMCs leave it
	// empty there.
	guid := make([]byte, 16)
	if err := m.use(ctx, op, func(s *session) error { copy(guid, s.guid); return nil }); err != nil {
		return id, err
	}
	if id.SystemUUID = uuid(guid); id.SystemUUID != "" {
		return id, nil
	}
	guid, err = m.read(ctx, op, request{netFn: netFnApp, cmd: 0x37}, 16)
	if err == nil {
		id.SystemUUID = uuid(guid[:16])
	} else if bmc.ClassOf(err) == bmc.Unreachable || bmc.ClassOf(err) == bmc.Auth {
		return id, err
	}
	return id, nil // optional (chapter 22.14)
}

// uuid reads a GUID whose byte order BMCs do not agree on: as SMBIOS has it, all
// reversed as the specification says, or as RFC 4122 writes it. The first reading
// in which version and variant make sense is taken.
func uuid(b []byte) string {
	orders := [][]int{
		{3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15},
		{15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0},
		{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
	}
	best := orders[0]
	for _, o := range orders {
		version, variant := b[o[6]]>>4, b[o[8]]>>6
		if version >= 1 && version <= 5 && variant == 2 {
			best = o
			break
		}
	}
	var s strings.Builder
	for i, from := range best {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			s.WriteByte('-')
		}
		fmt.Fprintf(&s, "%02x", b[from])
	}
	if s.String() == "00000000-0000-0000-0000-000000000000" {
		return ""
	}
	return s.String()
}
