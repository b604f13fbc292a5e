package tftp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

// MaxFile is the largest file that is served: with a block for each round trip, anything more belongs on HTTP.
const MaxFile = 2 << 20

const (
	defaultTransfers = 256
	perClient        = 4 // transfers of one address at a time
	defaultTimeout   = time.Second
	retries          = 5
	maxReadFails     = 10
)

// File opens what a name stands for; it is called for each request, and tells the size.
type File func() (io.ReadCloser, int64, error)

// Kind says what an [Event] is about.
type Kind string

const (
	// Requested: a client asked for a file of the table.
	Requested Kind = "requested"
	// Done: it acknowledged the last block.
	Done Kind = "done"
	// Stalled: it went silent; Bytes says how far it had come.
	Stalled Kind = "stalled"
	// Aborted: it sent an error (Detail). With no Bytes it only wanted to know the size, as PXE ROMs do first.
	Aborted Kind = "aborted"
	// Refused: it asked for what is not served (Detail).
	Refused Kind = "refused"
)

// Event is one thing that happened.
type Event struct {
	Kind   Kind
	Time   time.Time
	Client netip.AddrPort
	Name   string // as asked, without leading slashes, printable
	Bytes  int64  // acknowledged
	Size   int64
	Block  int // the block size agreed
	Detail string
}

// Config is what a [Server] serves.
type Config struct {
	Files     map[string]File
	Transfers int              // at the same time; default 256, more are not answered until one ends
	Timeout   time.Duration    // before a block is sent again (then twice that, …); default one second
	Observe   func(Event)      // called from several goroutines, must not block; may be nil
	Log       *slog.Logger     // default: discarded
	Now       func() time.Time // default time.Now
	// Listen opens a socket for one transfer, for networks whose firewalls or clients insist on it. Default: all on the socket that Serve is handed.
	Listen func(ctx context.Context) (net.PacketConn, error)
}

// Server serves a table of files.
type Server struct{ cfg Config }

// New fills in the defaults. The table is copied.
func New(cfg Config) *Server {
	cfg.Files = maps.Clone(cfg.Files)
	if cfg.Transfers == 0 {
		cfg.Transfers = defaultTransfers
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Observe == nil {
		cfg.Observe = func(Event) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Server{cfg: cfg}
}

// Serve answers on the socket until ctx is done (then it returns nil) or the socket fails. It closes the socket, and returns when all transfers have ended.
// The socket should be bound to the address that clients are told, since firmware drops answers that come from another.
func (s *Server) Serve(ctx context.Context, conn net.PacketConn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	l := &listener{Server: s, conn: conn, running: map[netip.AddrPort]*transfer{}, clients: map[netip.Addr]int{}}
	defer l.wg.Wait()
	defer cancel()

	buf, fails := make([]byte, 2048), 0
	for {
		n, addr, err := conn.ReadFrom(buf)
		if err != nil {
			if fails++; ctx.Err() != nil {
				return nil
			} else if errors.Is(err, net.ErrClosed) || fails == maxReadFails {
				return fmt.Errorf("tftp: read: %w", err)
			}
			continue
		}
		fails = 0
		if udp, ok := addr.(*net.UDPAddr); ok && n >= 2 {
			p := udp.AddrPort()
			l.packet(ctx, netip.AddrPortFrom(p.Addr().Unmap(), p.Port()), buf[:n])
		}
	}
}

// listener is the state of one socket.
type listener struct {
	*Server
	conn net.PacketConn
	wg   sync.WaitGroup

	mu      sync.Mutex
	running map[netip.AddrPort]*transfer
	clients map[netip.Addr]int
}

func (l *listener) packet(ctx context.Context, from netip.AddrPort, b []byte) {
	switch binary.BigEndian.Uint16(b) {
	case opRRQ:
		l.read(ctx, from, b)
	case opACK, opERROR:
		l.mu.Lock()
		t := l.running[from]
		l.mu.Unlock()
		if t != nil { // else silence: a late packet of a transfer that ended well must not fail the client's next one from the same port
			t.deliver(b)
		}
	case opWRQ:
		l.write(from, errorPacket(errAccess, "read only"))
		l.cfg.Observe(Event{Kind: Refused, Time: l.cfg.Now(), Client: from, Detail: "write request"})
	}
}

func (l *listener) write(to netip.AddrPort, b []byte) {
	if _, err := l.conn.WriteTo(b, net.UDPAddrFromAddrPort(to)); err != nil {
		l.cfg.Log.Debug("tftp packet not sent", "to", to, "error", err)
	}
}

// read begins a transfer.
func (l *listener) read(ctx context.Context, from netip.AddrPort, b []byte) {
	req, err := parseRequest(b[2:])
	if err != nil {
		l.refuse(from, "", errIllegal, err.Error())
		return
	}
	name := strings.TrimLeft(req.name, "/") // ROMs and relays differ in the slash
	open, ok := l.cfg.Files[name]
	if !ok {
		l.refuse(from, name, errNotFound, "no such file")
		return
	}
	t := &transfer{
		server: l.Server, client: from, name: name, req: req, raw: string(b), in: make(chan []byte, 4), stop: make(chan struct{}),
		send: func(b []byte) { l.write(from, b) },
	}
	if !l.admit(t) {
		return
	}
	l.wg.Go(func() {
		defer l.remove(t)
		defer t.end() // whoever feeds it stops too
		if l.cfg.Listen != nil {
			own, err := l.cfg.Listen(ctx)
			if err != nil {
				l.cfg.Log.Warn("tftp socket for a transfer", "error", err)
				return
			}
			defer own.Close()
			t.send = func(b []byte) { _, _ = own.WriteTo(b, net.UDPAddrFromAddrPort(from)) } // a lost packet is sent again
			l.wg.Go(func() { t.pump(own) })
		}
		t.run(ctx, open)
	})
}

// admit enters a transfer, unless there are too many or it is the same request again. A new request from the same port means that the client gave up the old
// transfer.
func (l *listener) admit(t *transfer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old := l.running[t.client]; old != nil {
		if old.raw == t.raw && !old.begun.Load() {
			return false // its answer is on the way or will be sent again
		}
		old.end()
		l.forget(old)
	}
	if len(l.running) >= l.cfg.Transfers || l.clients[t.client.Addr()] >= perClient {
		return false // the client asks again
	}
	l.running[t.client] = t
	l.clients[t.client.Addr()]++
	return true
}

func (l *listener) remove(t *transfer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running[t.client] == t {
		l.forget(t)
	}
}

func (l *listener) forget(t *transfer) {
	delete(l.running, t.client)
	if a := t.client.Addr(); l.clients[a] > 1 {
		l.clients[a]--
	} else {
		delete(l.clients, a)
	}
}

func (l *listener) refuse(to netip.AddrPort, name string, code uint16, why string) {
	l.write(to, errorPacket(code, why))
	l.cfg.Observe(Event{Kind: Refused, Time: l.cfg.Now(), Client: to, Name: clean(name), Detail: why})
}

// clean makes a client's name fit for a log.
func clean(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, name[:min(len(name), 128)])
}

// Paths makes a table out of names and the files of this machine that they stand for.
func Paths(paths map[string]string) map[string]File {
	files := map[string]File{}
	for name, path := range paths {
		files[name] = func() (io.ReadCloser, int64, error) {
			f, err := os.Open(path)
			if err != nil {
				return nil, 0, err
			}
			info, err := f.Stat()
			if err != nil {
				return nil, 0, errors.Join(err, f.Close())
			}
			return f, info.Size(), nil
		}
	}
	return files
}
