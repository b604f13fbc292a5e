package vm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// script plays QEMU: it answers each request with the lines that answer gives.
func script(t *testing.T, greeting string, answer func(request string) string) net.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { _ = theirs.Close() })
	go func() {
		if _, err := fmt.Fprintln(theirs, greeting); err != nil {
			return
		}
		requests := bufio.NewScanner(theirs)
		for requests.Scan() {
			reply := answer(requests.Text())
			if reply == "" {
				_ = theirs.Close()
				return
			}
			if _, err := fmt.Fprintln(theirs, reply); err != nil {
				return
			}
		}
	}()
	return ours
}

const greeting = `{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}, "capabilities": ["oob"]}}`

func TestQMP(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var events []string
	conn := script(t, greeting, func(request string) string {
		switch {
		case strings.Contains(request, "qmp_capabilities"):
			return `{"return": {}, "id": 1}`
		case strings.Contains(request, "cont"):
			return `{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "RESUME"}` + "\n" + `{"return": {}, "id": 2}`
		case strings.Contains(request, "eject"):
			return `{"return": {}, "id": 77}` + "\n" + `{"id": 3, "error": {"class": "GenericError", "desc": "Device 'cd0' is locked"}}`
		case strings.Contains(request, "system_reset"):
			return `{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}` + "\n" + `{"return": {}, "id": 4}`
		default:
			return "" // the end, without an answer
		}
	})
	c, err := newQMP(ctx, conn, func(name, reason string) { events = append(events, name+" "+reason) })
	if err != nil {
		t.Fatal(err)
	}
	if err := c.run(ctx, "cont", nil); err != nil {
		t.Error(err)
	}
	if err := c.run(ctx, "eject", object{"id": "cd0"}); err == nil || !strings.Contains(err.Error(), "is locked") {
		t.Errorf("eject: %v", err)
	}
	if err := c.run(ctx, "system_reset", nil); err != nil {
		t.Error(err)
	}
	if err := c.run(ctx, "quit", nil); !errors.Is(err, errQMPClosed) {
		t.Errorf("quit: %v", err)
	}
	<-c.done
	if got, want := fmt.Sprint(events), "[RESUME  SHUTDOWN guest-reset]"; got != want {
		t.Errorf("events %s, want %s", got, want)
	}
}

func TestQMPNeverGreets(t *testing.T) {
	ours, theirs := net.Pipe()
	defer func() { _ = theirs.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := newQMP(ctx, ours, func(string, string) {}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestQMPNoise(t *testing.T) {
	tests := []struct {
		name, greeting string
	}{
		{name: "no JSON", greeting: "HTTP/1.1 400 Bad Request"},
		{name: "endless line", greeting: strings.Repeat("x", maxQMPLine+10)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			conn := script(t, tt.greeting, func(string) string { return "" })
			if _, err := newQMP(ctx, conn, func(string, string) {}); !errors.Is(err, errQMPClosed) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func FuzzQMP(f *testing.F) {
	f.Add([]byte(greeting))
	f.Add([]byte(`{"event": "SHUTDOWN", "data": {"reason": "guest-reset"}}`))
	f.Add([]byte(`{"id": -1, "error": null}`))
	f.Fuzz(func(_ *testing.T, line []byte) { _, _ = parseQMP(line) })
}
