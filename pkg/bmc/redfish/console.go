package redfish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

const (
	sshDial      = 10 * time.Second
	sshHandshake = 30 * time.Second // old BMCs compute for seconds
	sshPort      = 22
	maxWays      = 4
	maxCommand   = 128 // bytes of a ConsoleEntryCommand
)

// ConsoleOptions are for the serial console over SSH.
type ConsoleOptions struct {
	// HostKey is the fingerprint ("SHA256:…", as ssh-keygen -l prints it) that the
	// BMC's SSH server must have. If it is empty the first key is taken, and held
	// to from then on.
	HostKey string
	// Pinned is called with a key that was taken so, for whoever records it. It
	// may be nil.
	Pinned func(fingerprint string)
	// EntryCommand leads from the BMC's command line to the console, for BMCs that
	// do not say it themselves.
	EntryCommand string
}

var _ bmc.Console = (*System)(nil)

// serialConsole is DSP0268 SerialConsole, of a ComputerSystem (HostSerialConsole)
// or of a Manager, which names the kinds of connection but neither port nor
// command.
type serialConsole struct {
	Enabled *yes       `json:"ServiceEnabled"`
	Types   list[text] `json:"ConnectTypesSupported"`
	SSH     *struct {
		Enabled *yes `json:"ServiceEnabled"`
		Port    text `json:"Port"`
		Command text `json:"ConsoleEntryCommand"`
		Shared  *yes `json:"SharedWithManagerCLI"`
	} `json:"SSH"`
}

// yes is a bool; a value of another type reads as false.
type yes bool

func (y *yes) UnmarshalJSON(b []byte) error {
	*y = string(b) == "true"
	return nil
}

func off(y *yes) bool { return y != nil && !bool(*y) }

// consoleWay is where a console is to be had by SSH.
type consoleWay struct {
	port    int
	command string // typed first; empty: the port is the console itself
}

// OpenConsole implements bmc.Console over SSH, with the BMC's own account.
func (s *System) OpenConsole(ctx context.Context) (io.ReadWriteCloser, error) {
	const op = "open the console"
	way, err := s.consoleWay(ctx, op)
	if err != nil {
		return nil, err
	}
	return s.e.openSSH(ctx, op, way)
}

// consoleWay asks the system first: what it says is of the host's console. The
// Manager's entry is of old services (DSP0268 deprecates none of both).
func (s *System) consoleWay(ctx context.Context, op string) (consoleWay, error) {
	var system struct {
		Serial serialConsole `json:"SerialConsole"`
		Links  struct {
			ManagedBy list[link] `json:"ManagedBy"`
		} `json:"Links"`
	}
	if _, err := s.e.get(ctx, op, s.uri, &system); err != nil {
		return consoleWay{}, err
	}
	// One that says nothing is none: an object of a wrong type reads so.
	if c := system.Serial.SSH; c != nil && (c.Enabled != nil || c.Port != "" || c.Command != "") {
		switch {
		case off(c.Enabled):
			return consoleWay{}, &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the serial console over SSH is switched off in the BMC"}
		case c.Shared != nil && bool(*c.Shared):
			return s.e.throughCLI(op, portOf(c.Port), string(c.Command))
		}
		return consoleWay{port: portOf(c.Port), command: oneLine(string(c.Command))}, nil
	}
	for _, uri := range system.Links.ManagedBy[:min(len(system.Links.ManagedBy), maxWays)] {
		var manager struct {
			Serial   serialConsole `json:"SerialConsole"`
			Protocol link          `json:"NetworkProtocol"`
		}
		if _, err := s.e.get(ctx, op, string(uri), &manager); err != nil {
			if unsupported(err) {
				continue
			}
			return consoleWay{}, err
		}
		c := manager.Serial
		if off(c.Enabled) || !slices.ContainsFunc(c.Types, func(t text) bool { return strings.EqualFold(string(t), "SSH") }) {
			continue
		}
		command := ""
		if c.SSH != nil {
			command = string(c.SSH.Command)
		}
		port, err := s.sshPort(ctx, op, string(manager.Protocol), c)
		if err != nil {
			return consoleWay{}, err
		}
		return s.e.throughCLI(op, port, command)
	}
	return consoleWay{}, &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the BMC offers no serial console over SSH"}
}

// sshPort of a Manager: its own entry, or else ManagerNetworkProtocol.SSH.
func (s *System) sshPort(ctx context.Context, op, protocol string, c serialConsole) (int, error) {
	if c.SSH != nil && c.SSH.Port != "" || protocol == "" {
		if c.SSH == nil {
			return sshPort, nil
		}
		return portOf(c.SSH.Port), nil
	}
	var network struct {
		SSH struct {
			Port    text `json:"Port"`
			Enabled *yes `json:"ProtocolEnabled"`
		} `json:"SSH"`
	}
	if _, err := s.e.get(ctx, op, protocol, &network); err != nil && !unsupported(err) {
		return 0, err
	}
	if off(network.SSH.Enabled) {
		return 0, &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "SSH is switched off in the BMC"}
	}
	return portOf(network.SSH.Port), nil
}

// throughCLI is a console behind the BMC's command line.
func (e *Endpoint) throughCLI(op string, port int, command string) (consoleWay, error) {
	if command = oneLine(command); command == "" {
		command = e.console.EntryCommand
	}
	if command == "" {
		return consoleWay{}, &bmc.Error{
			Class: bmc.Unsupported, Op: op,
			Detail: "SSH leads to the BMC's command line, and the BMC does not say by which command to the console; IPMI may have it",
		}
	}
	return consoleWay{port: port, command: command}, nil
}

// portOf reads a port; what is none is SSH's own.
func portOf(t text) int {
	n, err := strconv.Atoi(strings.TrimSpace(string(t)))
	if err != nil || n < 1 || n > 65535 {
		return sshPort
	}
	return n
}

// oneLine keeps a command from being two.
func oneLine(s string) string {
	s = strings.TrimSpace(clip(s))
	if len(s) > maxCommand {
		return ""
	}
	return s
}

// hostKeyError is a key that is not the one pinned.
type hostKeyError struct{ got, want string }

func (e *hostKeyError) Error() string {
	return fmt.Sprintf("the SSH host key is %s, not %s", e.got, e.want)
}

// errOnce ends a login that would offer the password a second time.
var errOnce = errors.New("the password was refused")

// openSSH logs in, asks for a shell and types the command.
func (e *Endpoint) openSSH(ctx context.Context, op string, way consoleWay) (io.ReadWriteCloser, error) {
	base, err := url.Parse(e.base)
	if err != nil {
		return nil, &bmc.Error{Class: bmc.BadRequest, Code: bmc.CodeAddressSyntax, Op: op, Err: err}
	}
	address := net.JoinHostPort(base.Hostname(), strconv.Itoa(way.port))
	dialer := net.Dialer{Timeout: sshDial}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, e.classify(ctx, op, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(sshHandshake))
	c, err := e.shell(conn, address, way)
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		stop()
		_ = conn.Close()
		return nil, e.classifySSH(ctx, op, err)
	}
	c.ctx, c.stop = ctx, stop
	return c, nil
}

func (e *Endpoint) shell(conn net.Conn, address string, way consoleWay) (*sshConsole, error) {
	sent := false
	password := func() (string, error) { // once, by whichever method the BMC takes: accounts lock
		if sent {
			return "", errOnce
		}
		sent = true
		return e.creds.Password, nil
	}
	transport, channels, requests, err := ssh.NewClientConn(conn, address, &ssh.ClientConfig{
		User: e.creds.Username,
		Auth: []ssh.AuthMethod{
			ssh.PasswordCallback(password),
			ssh.KeyboardInteractive(func(_, _ string, questions []string, echos []bool) ([]string, error) {
				answers := make([]string, len(questions))
				for i := range questions {
					if echos[i] {
						continue // no password
					}
					var err error
					if answers[i], err = password(); err != nil {
						return nil, err
					}
				}
				return answers, nil
			}),
		},
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error { return e.pinHostKey(ssh.FingerprintSHA256(key)) },
	})
	if err != nil {
		if sent && strings.Contains(err.Error(), "unable to authenticate") {
			return nil, errors.Join(errOnce, err)
		}
		return nil, err
	}
	client := ssh.NewClient(transport, channels, requests)
	c := &sshConsole{client: client}
	if err := c.start(way.command); err != nil {
		_ = client.Close()
		return nil, err
	}
	return c, nil
}

// pinHostKey holds the BMC to the key that was pinned, or to the first one seen.
func (e *Endpoint) pinHostKey(got string) error {
	e.mu.Lock()
	want := e.console.HostKey
	if want == "" {
		e.console.HostKey = got
	}
	pinned := e.console.Pinned
	e.mu.Unlock()
	switch {
	case want == "" && pinned != nil:
		pinned(got)
	case want != "" && want != got:
		return &hostKeyError{got: got, want: want}
	}
	return nil
}

// classifySSH sorts a failed login.
func (e *Endpoint) classifySSH(ctx context.Context, op string, err error) error {
	var key *hostKeyError
	switch {
	case ctx.Err() != nil:
	case errors.As(err, &key):
		return &bmc.Error{
			Class: bmc.TLSIdentity, Op: op,
			Detail: "the BMC's SSH host key is not the one that was pinned: it was set up anew, or another machine answers", Err: key,
		}
	case errors.Is(err, errOnce):
		return &bmc.Error{Class: bmc.Auth, Code: bmc.CodeAuth, Op: op, Detail: "SSH does not take the BMC's credentials", Err: errOnce}
	case strings.Contains(err.Error(), "unable to authenticate"):
		return &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "SSH takes no password there"}
	case strings.Contains(err.Error(), "no common algorithm"):
		return &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "no SSH algorithm in common", Err: err}
	case errors.Is(err, errShell):
		return &bmc.Error{Class: bmc.Busy, Op: op, Detail: "SSH let us in, but gave no console; all may be taken", Err: err}
	}
	return e.classify(ctx, op, err)
}

var errShell = errors.New("no shell")

// sshConsole is a console in an SSH session.
type sshConsole struct {
	client  *ssh.Client
	session *ssh.Session
	in      io.WriteCloser
	out     io.Reader
	ctx     context.Context //nolint:containedctx // the console's life, as bmc.Console has it
	stop    func() bool

	closing sync.Once
}

func (c *sshConsole) start(command string) (err error) {
	if c.session, err = c.client.NewSession(); err != nil {
		return errors.Join(errShell, err)
	}
	if c.in, err = c.session.StdinPipe(); err != nil {
		return err
	}
	if c.out, err = c.session.StdoutPipe(); err != nil {
		return err
	}
	// Without a terminal some do not start their console; others have none to give.
	enter := "\r"
	if err := c.session.RequestPty("vt100", 25, 80, ssh.TerminalModes{ssh.ECHO: 0}); err != nil {
		enter = "\n"
	}
	if err := c.session.Shell(); err != nil {
		return errors.Join(errShell, err)
	}
	if command == "" {
		return nil
	}
	_, err = io.WriteString(c.in, command+enter)
	return err
}

// Read implements io.Reader.
func (c *sshConsole) Read(b []byte) (int, error) {
	n, err := c.out.Read(b)
	return n, c.why(err)
}

// Write implements io.Writer.
func (c *sshConsole) Write(b []byte) (int, error) {
	n, err := c.in.Write(b)
	return n, c.why(err)
}

// why says that it was the context which ended the console, if it was.
func (c *sshConsole) why(err error) error {
	if err != nil && c.ctx.Err() != nil {
		return &bmc.Error{Class: bmc.Transient, Op: "use the console", Err: context.Cause(c.ctx)}
	}
	return err
}

// Close implements io.Closer.
func (c *sshConsole) Close() error {
	c.closing.Do(func() {
		c.stop()
		_ = c.session.Close() // all of them end with the connection
		_ = c.client.Close()
	})
	return nil
}
