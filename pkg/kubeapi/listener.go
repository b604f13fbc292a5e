package kubeapi

import (
	"net"
	"sync"
)

// trackingListener knows its connections, so that a stop can cut those of
// foreign watchers: the API server alone would wait a minute for them.
type trackingListener struct {
	net.Listener

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
}

func newTrackingListener(l net.Listener) *trackingListener {
	return &trackingListener{Listener: l, conns: map[net.Conn]struct{}{}}
}

// Accept waits for the next connection. It never fails because of closeConns:
// the API server panics if its listener fails while it serves.
func (l *trackingListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		t := &trackedConn{Conn: c, l: l}
		l.mu.Lock()
		closed := l.closed
		if !closed {
			l.conns[t] = struct{}{}
		}
		l.mu.Unlock()
		if !closed {
			return t, nil
		}
		_ = c.Close()
	}
}

// closeConns cuts every connection there is, and every one that still comes.
func (l *trackingListener) closeConns() {
	l.mu.Lock()
	l.closed = true
	conns := l.conns
	l.conns = map[net.Conn]struct{}{}
	l.mu.Unlock()
	for c := range conns {
		_ = c.Close()
	}
}

type trackedConn struct {
	net.Conn
	l *trackingListener
}

// Close forgets the connection and closes it.
func (c *trackedConn) Close() error {
	c.l.mu.Lock()
	delete(c.l.conns, c)
	c.l.mu.Unlock()
	return c.Conn.Close()
}
