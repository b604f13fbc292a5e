package vm

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
)

// maxQMPLine bounds one message of QEMU's.
const maxQMPLine = 1 << 20

// qmpMessage is any message from QEMU: greeting, answer or event.
type qmpMessage struct {
	QMP    json.RawMessage `json:"QMP"`
	ID     *uint64         `json:"id"`
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`
	Event string `json:"event"`
	Data  struct {
		Reason string `json:"reason"`
		Action string `json:"action"`
	} `json:"data"`
}

func parseQMP(line []byte) (qmpMessage, error) {
	var m qmpMessage
	if err := json.Unmarshal(line, &m); err != nil {
		return qmpMessage{}, fmt.Errorf("qmp: %w", err)
	}
	return m, nil
}

var errQMPClosed = errors.New("qmp: connection closed")

// qmpClient speaks the QEMU Machine Protocol on one connection.
type qmpClient struct {
	conn net.Conn
	done chan struct{} // the reader has ended; every event was delivered

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan qmpMessage
}

// newQMP negotiates and starts to read; onEvent is called for each event, in
// order, by the reader.
func newQMP(ctx context.Context, conn net.Conn, onEvent func(name, reason string)) (*qmpClient, error) {
	c := &qmpClient{conn: conn, done: make(chan struct{}), waiting: map[uint64]chan qmpMessage{}}
	greeted := make(chan struct{})
	go c.read(greeted, onEvent)
	select {
	case <-greeted:
	case <-c.done:
		return nil, errQMPClosed
	case <-ctx.Done():
		_ = conn.Close()
		return nil, fmt.Errorf("qmp greeting: %w", ctx.Err())
	}
	if err := c.run(ctx, "qmp_capabilities", nil); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *qmpClient) read(greeted chan<- struct{}, onEvent func(name, reason string)) {
	defer close(c.done)
	defer func() { _ = c.conn.Close() }()
	lines := bufio.NewScanner(c.conn)
	lines.Buffer(nil, maxQMPLine)
	for lines.Scan() {
		m, err := parseQMP(lines.Bytes())
		switch {
		case err != nil:
			return
		case m.QMP != nil && greeted != nil:
			close(greeted)
			greeted = nil
		case m.Event != "":
			onEvent(m.Event, or(m.Data.Reason, m.Data.Action))
		case m.ID != nil:
			c.mu.Lock()
			answer := c.waiting[*m.ID]
			delete(c.waiting, *m.ID)
			c.mu.Unlock()
			if answer != nil {
				answer <- m
			}
		}
	}
}

// run executes one command.
func (c *qmpClient) run(ctx context.Context, command string, arguments object) error {
	answer := make(chan qmpMessage, 1)
	c.mu.Lock()
	c.next++
	id := c.next
	c.waiting[id] = answer
	request := object{"execute": command, "id": id}
	if arguments != nil {
		request["arguments"] = arguments
	}
	_, err := c.conn.Write([]byte(request.String() + "\n"))
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiting, id)
		c.mu.Unlock()
	}()
	if err != nil {
		return fmt.Errorf("qmp %s: %w", command, err)
	}
	select {
	case m := <-answer:
		if m.Error != nil {
			return fmt.Errorf("qmp %s: %s: %s", command, m.Error.Class, m.Error.Desc)
		}
		return nil
	case <-c.done:
		return fmt.Errorf("%s: %w", command, errQMPClosed)
	case <-ctx.Done():
		return fmt.Errorf("qmp %s: %w", command, ctx.Err())
	}
}
