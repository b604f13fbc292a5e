package labnet

import (
	"net"
	"sync"
	"sync/atomic"

	"github.com/ingot-metal/ingot/pkg/usernet/frame"
)

// port is one connection: its receiving half is run by the switch, its sending
// half by transmit.
type port struct {
	id    int
	conn  net.Conn
	queue chan []byte // frames with their length prefix, shared and never changed
	gone  chan struct{}
	once  sync.Once

	framesIn, framesOut atomic.Uint64
	bytesIn, bytesOut   atomic.Uint64
	dropped             atomic.Uint64
}

func newPort(id int, conn net.Conn) *port {
	return &port{id: id, conn: conn, queue: make(chan []byte, queueDepth), gone: make(chan struct{})}
}

// send queues the frame, or drops it: a machine that is paused must not hold up
// its neighbours.
func (p *port) send(wire []byte) {
	select {
	case p.queue <- wire:
	default:
		p.dropped.Add(1)
	}
}

// unplug ends both halves. It may be called more than once.
func (p *port) unplug() {
	p.once.Do(func() {
		close(p.gone)
		_ = p.conn.Close()
	})
}

// transmit writes what is queued, many frames to a system call, until the port
// is unplugged.
func (p *port) transmit() {
	batch := make([][]byte, 0, writeBatch)
	for {
		batch = batch[:0]
		select {
		case <-p.gone:
			return
		case wire := <-p.queue:
			batch = append(batch, wire)
		}
	fill:
		for len(batch) < writeBatch {
			select {
			case wire := <-p.queue:
				batch = append(batch, wire)
			default:
				break fill
			}
		}
		frames := uint64(len(batch))
		buffers := net.Buffers(batch) // WriteTo consumes this slice, not batch
		n, err := buffers.WriteTo(p.conn)
		if err != nil {
			p.unplug()
			return
		}
		p.framesOut.Add(frames)
		p.bytesOut.Add(uint64(n) - frames*frame.HeaderLen)
	}
}
