package vm

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSerial(t *testing.T) {
	path := filepath.Join(t.TempDir(), "serial.log")
	if err := os.WriteFile(path, []byte("before "), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := openSerial(path, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.close() }()
	if _, err := l.write([]byte("x")); err == nil {
		t.Error("typed into a machine that is off")
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	followed, w := io.Pipe()
	go func() { _ = w.CloseWithError(l.follow(ctx, w)) }()

	guest, conn := net.Pipe()
	recorded := make(chan struct{})
	go func() { l.record(conn); close(recorded) }()
	line := strings.Repeat("0123456789", 4) + "\n"
	expect := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(followed, got); err != nil || string(got) != want {
			t.Fatalf("followed %q, %v, want %q", got, err, want)
		}
	}
	expect("before ")
	for range 5 { // over the bound, twice
		if _, err := io.WriteString(guest, line); err != nil {
			t.Fatal(err)
		}
		expect(line)
	}
	typed := make(chan error, 1)
	go func() { _, err := l.write([]byte("root\n")); typed <- err }()
	heard := make([]byte, 5)
	if _, err := io.ReadFull(guest, heard); err != nil || string(heard) != "root\n" {
		t.Errorf("guest heard %q, %v", heard, err)
	}
	if err := <-typed; err != nil {
		t.Errorf("type: %v", err)
	}
	_ = guest.Close()
	<-recorded
	if fi, err := os.Stat(path); err != nil || fi.Size() > 100 {
		t.Errorf("log %v, %v", fi, err)
	}
	if fi, err := os.Stat(path + ".1"); err != nil || fi.Size() > 100 {
		t.Errorf("older log %v, %v", fi, err)
	}
	cancel()
	if _, err := io.ReadAll(followed); !errors.Is(err, context.Canceled) {
		t.Errorf("follow ended with %v", err)
	}
}

func TestMatcher(t *testing.T) {
	tests := []struct {
		name   string
		writes []string
		seen   bool
	}{
		{name: "in one write", writes: []string{"xx login: yy"}, seen: true},
		{name: "across writes", writes: []string{"xx lo", "g", "in: "}, seen: true},
		{name: "not at all", writes: []string{"log", "out", "in:"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := &matcher{text: []byte("login:")}
			var err error
			for _, w := range tt.writes {
				if err == nil {
					_, err = m.Write([]byte(w))
				}
			}
			if errors.Is(err, errSeen) != tt.seen {
				t.Errorf("error %v", err)
			}
		})
	}
}
