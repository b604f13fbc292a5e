package redfish

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// sshBMC is the SSH server of a BMC: it greets, and repeats in upper case what is
// typed.
type sshBMC struct {
	t        *testing.T
	config   *ssh.ServerConfig
	listener net.Listener
	noPty    bool
	noShell  bool

	mu       sync.Mutex
	logins   int
	passwd   []string // offered
	commands []string // lines typed
	conns    []net.Conn
	wg       sync.WaitGroup
}

func newSSH(t *testing.T, change func(*sshBMC)) *sshBMC {
	t.Helper()
	s := &sshBMC{t: t}
	check := func(c ssh.ConnMetadata, password string) (*ssh.Permissions, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.passwd = append(s.passwd, password)
		if c.User() != admin.Username || password != admin.Password {
			return nil, errors.New("refused")
		}
		s.logins++
		return nil, nil
	}
	s.config = &ssh.ServerConfig{
		PasswordCallback: func(c ssh.ConnMetadata, p []byte) (*ssh.Permissions, error) { return check(c, string(p)) },
		KeyboardInteractiveCallback: func(c ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			answers, err := ask("", "", []string{"Name? ", "Password: "}, []bool{true, false})
			if err != nil {
				return nil, err
			}
			return check(c, answers[1])
		},
	}
	s.config.AddHostKey(hostKey(t, 1))
	if change != nil {
		change(s)
	}
	var err error
	if s.listener, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	s.wg.Go(s.serve)
	t.Cleanup(func() {
		s.listener.Close()
		s.mu.Lock()
		for _, c := range s.conns {
			c.Close()
		}
		s.mu.Unlock()
		s.wg.Wait()
	})
	return s
}

func hostKey(t *testing.T, seed byte) ssh.Signer {
	t.Helper()
	signer, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(append(make([]byte, 31), seed)))
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func (s *sshBMC) port() int { return s.listener.Addr().(*net.TCPAddr).Port }

func (s *sshBMC) serve() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns = append(s.conns, conn)
		s.mu.Unlock()
		s.wg.Go(func() { s.client(conn) })
	}
}

func (s *sshBMC) client(conn net.Conn) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, s.config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		s.wg.Go(func() {
			for r := range requests {
				ok := r.Type == "shell" && !s.noShell || r.Type == "pty-req" && !s.noPty
				_ = r.Reply(ok, nil)
				if ok && r.Type == "shell" {
					s.wg.Go(func() { s.console(channel) })
				}
			}
		})
	}
}

func (s *sshBMC) console(channel ssh.Channel) {
	defer channel.Close()
	_, _ = io.WriteString(channel, "welcome\r\n")
	r := bufio.NewReader(channel)
	end := byte('\r')
	if s.noPty {
		end = '\n'
	}
	for {
		line, err := r.ReadString(end)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.commands = append(s.commands, strings.TrimSpace(line))
		s.mu.Unlock()
		_, _ = io.WriteString(channel, strings.ToUpper(line))
	}
}

// withConsole adds a serial console to the fake's system, and more documents.
func withConsole(t *testing.T, serial string, more ...string) *fake {
	t.Helper()
	f := newFake(t)
	if serial != "" {
		var doc map[string]any
		if err := json.Unmarshal([]byte(serial), &doc); err != nil {
			t.Fatal(err)
		}
		f.docs[sysPath]["SerialConsole"] = doc
	}
	if len(more) > 0 {
		f.docs[sysPath]["Links"] = map[string]any{"ManagedBy": []any{map[string]any{"@odata.id": "/redfish/v1/Managers/1"}}}
	}
	for i := 0; i+1 < len(more); i += 2 {
		f.put(more[i], more[i+1])
	}
	return f
}

func expectText(t *testing.T, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	done := make(chan error, 1)
	go func() { _, err := io.ReadFull(r, got); done <- err }()
	select {
	case err := <-done:
		if err != nil || string(got) != want {
			t.Fatalf("read %q, %v; want %q", got, err, want)
		}
	case <-time.After(time.Minute):
		t.Fatalf("no %q", want)
	}
}

func TestConsoleOverSSH(t *testing.T) {
	for _, tc := range []struct {
		name    string
		server  func(*sshBMC)
		console func(port int) *fake
		options ConsoleOptions
		command string // that the server hears first
	}{
		{name: "a port of its own", console: func(port int) *fake {
			return withConsole(t, fmt.Sprintf(`{"SSH": {"ServiceEnabled": true, "Port": %d, "HotKeySequenceDisplay": "Press ~. to exit console"}}`, port))
		}},
		{name: "entry command", command: "console 1", console: func(port int) *fake {
			return withConsole(t, fmt.Sprintf(`{"SSH": {"ServiceEnabled": true, "Port": "%d", "SharedWithManagerCLI": true, "ConsoleEntryCommand": "console 1"}}`, port))
		}},
		{name: "no terminal", command: "vsp", server: func(s *sshBMC) { s.noPty = true }, console: func(port int) *fake {
			return withConsole(t, fmt.Sprintf(`{"SSH": {"Port": %d, "ConsoleEntryCommand": "vsp"}}`, port))
		}},
		{name: "keyboard-interactive", server: func(s *sshBMC) { s.config.PasswordCallback = nil }, console: func(port int) *fake {
			return withConsole(t, fmt.Sprintf(`{"SSH": {"Port": %d}}`, port))
		}},
		{name: "of the manager", command: "start console", options: ConsoleOptions{EntryCommand: "start console"}, console: func(port int) *fake {
			return withConsole(t, "",
				"/redfish/v1/Managers/1", `{"SerialConsole": {"ServiceEnabled": true, "ConnectTypesSupported": ["IPMI", "SSH"]}, "NetworkProtocol": {"@odata.id": "/redfish/v1/Managers/1/NetworkProtocol"}}`,
				"/redfish/v1/Managers/1/NetworkProtocol", fmt.Sprintf(`{"SSH": {"ProtocolEnabled": true, "Port": %d}}`, port))
		}},
		{name: "of the manager, complete", command: "vsp", console: func(port int) *fake {
			return withConsole(t, "",
				"/redfish/v1/Managers/1", fmt.Sprintf(`{"SerialConsole": {"ConnectTypesSupported": "SSH", "SSH": {"Port": %d, "ConsoleEntryCommand": "vsp"}}}`, port))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := newSSH(t, tc.server)
			pinned := ""
			tc.options.Pinned = func(f string) { pinned = f }
			s, err := dial(t, serve(t, tc.console(server.port())), admin, Options{Console: tc.options})
			if err != nil {
				t.Fatal(err)
			}
			c, err := s.OpenConsole(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			expectText(t, c, "welcome\r\n")
			if tc.command != "" {
				expectText(t, c, strings.ToUpper(tc.command))
				expectText(t, c, map[bool]string{true: "\n", false: "\r"}[server.noPty])
			}
			if _, err := io.WriteString(c, "root\r\n"); err != nil {
				t.Fatal(err)
			}
			expectText(t, c, "ROOT\r")
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if _, err := c.Read(make([]byte, 64)); err == nil {
				_, err = io.ReadAll(c)
				if err != nil {
					t.Errorf("after close: %v", err)
				}
			}
			if want := ssh.FingerprintSHA256(hostKey(t, 1).PublicKey()); pinned != want {
				t.Errorf("pinned %q, want %q", pinned, want)
			}
			server.mu.Lock()
			defer server.mu.Unlock()
			if len(server.passwd) != 1 {
				t.Errorf("the password was sent %d times", len(server.passwd))
			}
		})
	}
}

func TestConsoleRefusals(t *testing.T) {
	const manager = "/redfish/v1/Managers/1"
	server := newSSH(t, nil)
	noShell := newSSH(t, func(s *sshBMC) { s.noShell = true })
	refusing := newSSH(t, func(s *sshBMC) { s.config.MaxAuthTries = 10 })
	refusing.config.PasswordCallback = func(_ ssh.ConnMetadata, p []byte) (*ssh.Permissions, error) {
		refusing.mu.Lock()
		defer refusing.mu.Unlock()
		refusing.passwd = append(refusing.passwd, string(p))
		return nil, errors.New("no")
	}
	keysOnly := newSSH(t, func(s *sshBMC) {
		s.config.PasswordCallback, s.config.KeyboardInteractiveCallback = nil, nil
		s.config.PublicKeyCallback = func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, errors.New("no") }
	})
	closed, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	at := func(port int) *fake { return withConsole(t, fmt.Sprintf(`{"SSH": {"Port": %d}}`, port)) }
	for _, tc := range []struct {
		name    string
		fake    *fake
		options ConsoleOptions
		class   bmc.Class
		part    string
	}{
		{name: "none", fake: newFake(t), class: bmc.Unsupported, part: "no serial console over SSH"},
		{name: "switched off", fake: withConsole(t, `{"SSH": {"ServiceEnabled": false, "Port": 22}}`), class: bmc.Unsupported, part: "switched off"},
		{name: "of wrong types", fake: withConsole(t, `{"SSH": ["yes"]}`), class: bmc.Unsupported, part: "no serial console over SSH"},
		{name: "manager without SSH", fake: withConsole(t, "", manager, `{"SerialConsole": {"ServiceEnabled": true, "ConnectTypesSupported": ["IPMI"]}}`), class: bmc.Unsupported, part: "no serial console over SSH"},
		{name: "manager off", fake: withConsole(t, "", manager, `{"SerialConsole": {"ServiceEnabled": false, "ConnectTypesSupported": ["SSH"]}}`), class: bmc.Unsupported, part: "no serial console over SSH"},
		{name: "no command known", fake: withConsole(t, "", manager, `{"SerialConsole": {"ConnectTypesSupported": ["SSH"]}}`), class: bmc.Unsupported, part: "by which command"},
		{name: "SSH off", fake: withConsole(t, "", manager, `{"SerialConsole": {"ConnectTypesSupported": ["SSH"]}, "NetworkProtocol": {"@odata.id": "/redfish/v1/N"}}`,
			"/redfish/v1/N", `{"SSH": {"ProtocolEnabled": false}}`), class: bmc.Unsupported, part: "SSH is switched off"},
		{name: "nothing listens", fake: at(closed.Addr().(*net.TCPAddr).Port), class: bmc.Unreachable, part: "refused the connection"},
		{name: "another host key", fake: at(server.port()), options: ConsoleOptions{HostKey: "SHA256:old"}, class: bmc.TLSIdentity, part: "not the one that was pinned"},
		{name: "password refused", fake: at(refusing.port()), class: bmc.Auth, part: "does not take"},
		{name: "keys only", fake: at(keysOnly.port()), class: bmc.Unsupported, part: "no password"},
		{name: "no shell", fake: at(noShell.port()), class: bmc.Busy, part: "no console"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := dial(t, serve(t, tc.fake), admin, Options{Console: tc.options})
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.OpenConsole(t.Context())
			if bmc.ClassOf(err) != tc.class || !strings.Contains(err.Error(), tc.part) {
				t.Fatalf("%v (%s), want %s: %q", err, bmc.ClassOf(err), tc.class, tc.part)
			}
			if strings.Contains(err.Error(), admin.Password) {
				t.Errorf("%v tells the password", err)
			}
		})
	}
	if diff := cmp.Diff([]string{admin.Password}, refusing.passwd); diff != "" {
		t.Errorf("a refused password was offered again (-want +got):\n%s", diff)
	}
	if len(server.passwd) != 0 {
		t.Error("the password went to a server with another key")
	}
}

func TestConsoleKeyIsHeldTo(t *testing.T) {
	server := newSSH(t, nil)
	other := newSSH(t, func(s *sshBMC) {
		s.config = &ssh.ServerConfig{PasswordCallback: s.config.PasswordCallback}
		s.config.AddHostKey(hostKey(t, 2))
	})
	f := withConsole(t, fmt.Sprintf(`{"SSH": {"Port": %d}}`, server.port()))
	s := mustDial(t, f)
	c, err := s.OpenConsole(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f.change(func(system map[string]any) {
		system["SerialConsole"].(map[string]any)["SSH"].(map[string]any)["Port"] = other.port()
	})
	if _, err := s.OpenConsole(t.Context()); bmc.ClassOf(err) != bmc.TLSIdentity {
		t.Errorf("another key the second time: %v", err)
	}
}

func TestConsoleOverSSHEndsWithContext(t *testing.T) {
	server := newSSH(t, nil)
	s := mustDial(t, withConsole(t, fmt.Sprintf(`{"SSH": {"Port": %d}}`, server.port())))
	ctx, cancel := context.WithCancel(t.Context())
	c, err := s.OpenConsole(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	expectText(t, c, "welcome\r\n")
	ended := make(chan error, 1)
	go func() { _, err := c.Read(make([]byte, 8)); ended <- err }()
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("read: %v, want canceled", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("read goes on after its context")
	}
	// A server that takes the connection and says nothing.
	mute, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	s = mustDial(t, withConsole(t, fmt.Sprintf(`{"SSH": {"Port": %d}}`, mute.Addr().(*net.TCPAddr).Port)))
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := s.OpenConsole(ctx); bmc.ClassOf(err) != bmc.Unreachable || time.Since(start) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

// TestConsoleOfRecordedTrees says what the trees' consoles are.
func TestConsoleOfRecordedTrees(t *testing.T) {
	for _, tc := range []struct {
		set, system string
		want        string
	}{
		{set: "openbmc-stock", want: "{2200 }"},
		{set: "supermicro-gb300-nvl", system: "/redfish/v1/Systems/System_0", want: "{2200 }"},
		{set: "hpe-dl360-gen12-ilo7", want: "by which command"},
		{set: "lenovo-sr670-xcc", want: "by which command"},
		{set: "dmtf-public-rackmount1", want: "by which command"},
		{set: "dell-r750-idrac9", want: "no serial console over SSH"},
	} {
		t.Run(tc.set, func(t *testing.T) {
			addr := serve(t, openTree(t, tc.set))
			addr.System = tc.system
			s, err := dial(t, addr, admin, Options{})
			if err != nil {
				t.Fatal(err)
			}
			way, err := s.consoleWay(t.Context(), "open the console")
			got := fmt.Sprint(way)
			if err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, tc.want) {
				t.Errorf("console %s, want %s", got, tc.want)
			}
		})
	}
}
