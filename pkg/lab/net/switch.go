package labnet

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/ingot-metal/ingot/pkg/usernet/frame"
)

const (
	readBuffer = 128 << 10
	queueDepth = 1024 // frames that wait for one port; more are dropped
	writeBatch = 64   // frames in one writev
	maxPorts   = 1024
	maxMACs    = 16384 // a peer that invents addresses fills the table, not the memory
	// maxPathLen is sun_path of unix(7), less its closing zero.
	maxPathLen = 107
)

type mac [6]byte

// group is the bit of IEEE 802.3 that marks broadcast and multicast addresses.
func (m mac) group() bool { return m[0]&1 != 0 }

// Switch is a learning switch on a Unix socket.
type Switch struct {
	ln   net.Listener
	path string

	mu      sync.RWMutex
	ports   map[*port]struct{}
	macs    map[mac]*port
	taps    map[int]func(frame []byte)
	nextID  int
	nextTap int
	closed  bool

	wg sync.WaitGroup
}

// Listen makes the socket, which only this user may connect to, and starts to
// switch. A socket that a dead process left behind is replaced; one that
// answers is an error.
func Listen(socketPath string) (*Switch, error) {
	if len(socketPath) > maxPathLen {
		return nil, fmt.Errorf("switch socket %s: the path has %d bytes, a Unix socket takes %d: choose a shorter data directory", socketPath, len(socketPath), maxPathLen)
	}
	ln, err := net.Listen("unix", socketPath)
	if err != nil {
		if conn, dialErr := net.DialTimeout("unix", socketPath, time.Second); dialErr == nil {
			_ = conn.Close()
			return nil, fmt.Errorf("switch socket %s: another switch answers there", socketPath)
		}
		if fi, statErr := os.Lstat(socketPath); statErr != nil || fi.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("switch socket: %w", err)
		}
		if err := os.Remove(socketPath); err != nil {
			return nil, fmt.Errorf("remove stale switch socket: %w", err)
		}
		if ln, err = net.Listen("unix", socketPath); err != nil {
			return nil, fmt.Errorf("switch socket: %w", err)
		}
	}
	if err := os.Chmod(socketPath, 0o600); err != nil {
		_ = ln.Close()
		return nil, fmt.Errorf("switch socket: %w", err)
	}
	s := &Switch{
		ln: ln, path: socketPath,
		ports: map[*port]struct{}{}, macs: map[mac]*port{}, taps: map[int]func([]byte){},
	}
	s.wg.Go(s.accept)
	return s, nil
}

// Path is the socket to connect to.
func (s *Switch) Path() string { return s.path }

// Close unplugs every port and removes the socket.
func (s *Switch) Close() error {
	s.mu.Lock()
	s.closed = true
	err := s.ln.Close()
	for p := range s.ports {
		p.unplug()
	}
	s.mu.Unlock()
	s.wg.Wait()
	return err
}

// Tap calls f with every frame that enters the switch, in the order of its
// port, until cancel is called. f may be called from several goroutines, must
// not keep or change the frame, and holds up the sender while it runs.
func (s *Switch) Tap(f func(frame []byte)) (cancel func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.nextTap
	s.nextTap++
	s.taps[id] = f
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.taps, id)
	}
}

// Inject sends a frame as if it had come from a port of its own. Its source
// address is not learnt.
func (s *Switch) Inject(f []byte) error {
	wire, err := frame.Wire(f)
	if err != nil {
		return err
	}
	s.forward(nil, wire)
	return nil
}

// PortStats are the counters of one port since it was plugged in.
type PortStats struct {
	ID                  int
	MACs                []string // learnt, sorted
	FramesIn, FramesOut uint64
	BytesIn, BytesOut   uint64
	Dropped             uint64 // frames for a port whose queue was full
}

// Ports returns the counters of the ports that are plugged in, in the order in
// which they came.
func (s *Switch) Ports() []PortStats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	learnt := map[*port][]string{}
	for m, p := range s.macs {
		learnt[p] = append(learnt[p], net.HardwareAddr(m[:]).String())
	}
	stats := make([]PortStats, 0, len(s.ports))
	for p := range s.ports {
		slices.Sort(learnt[p])
		stats = append(stats, PortStats{
			ID: p.id, MACs: learnt[p],
			FramesIn: p.framesIn.Load(), FramesOut: p.framesOut.Load(),
			BytesIn: p.bytesIn.Load(), BytesOut: p.bytesOut.Load(),
			Dropped: p.dropped.Load(),
		})
	}
	slices.SortFunc(stats, func(a, b PortStats) int { return a.ID - b.ID })
	return stats
}

func (s *Switch) accept() {
	for {
		conn, err := s.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of descriptors: peers that leave give some back.
			time.Sleep(10 * time.Millisecond)
			continue
		}
		s.plug(conn)
	}
}

func (s *Switch) plug(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.ports) >= maxPorts {
		_ = conn.Close()
		return
	}
	p := newPort(s.nextID, conn)
	s.nextID++
	s.ports[p] = struct{}{}
	s.wg.Go(func() {
		s.receive(p)
		p.unplug()
		s.forget(p)
	})
	s.wg.Go(p.transmit)
}

// receive forwards what the port sends until it leaves or breaks the framing.
func (s *Switch) receive(p *port) {
	r := bufio.NewReaderSize(p.conn, readBuffer)
	for {
		wire, err := frame.Read(r)
		if err != nil {
			return
		}
		p.framesIn.Add(1)
		p.bytesIn.Add(uint64(len(wire) - frame.HeaderLen))
		s.forward(p, wire)
	}
}

// forward sends the frame to the port where its destination was seen, and to
// all others if that is not known.
func (s *Switch) forward(from *port, wire []byte) {
	f := frame.Payload(wire)
	dst, src := mac(f[0:6]), mac(f[6:12])

	s.mu.RLock()
	known := s.macs[src] == from
	to := s.macs[dst]
	taps := make([]func([]byte), 0, len(s.taps))
	for _, tap := range s.taps {
		taps = append(taps, tap)
	}
	s.mu.RUnlock()

	if from != nil && !known && !src.group() {
		s.learn(src, from)
	}
	for _, tap := range taps {
		tap(f)
	}
	if to != nil && !dst.group() {
		if to != from {
			to.send(wire)
		}
		return
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for p := range s.ports {
		if p != from {
			p.send(wire)
		}
	}
}

func (s *Switch) learn(m mac, p *port) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, moved := s.macs[m]; !moved && len(s.macs) >= maxMACs {
		return // frames for it are flooded
	}
	if _, plugged := s.ports[p]; plugged {
		s.macs[m] = p
	}
}

func (s *Switch) forget(p *port) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ports, p)
	for m, at := range s.macs {
		if at == p {
			delete(s.macs, m)
		}
	}
}
