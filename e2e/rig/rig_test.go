package rig

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// script makes a program that stands for the binary.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ingot")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func newServer(t *testing.T, text string) *Server {
	t.Helper()
	s, err := NewServer(script(t, text), t.TempDir(), Ports{}, "--more")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

const serves = `echo "$@" >&2
echo ingot is
echo ingot is ready at last
while :; do sleep 0.05; done
`

func TestServer(t *testing.T) {
	s := newServer(t, `echo "$@" >&2
printf "ingot is"
sleep 0.1
echo " ready: kubectl"
while :; do sleep 0.05; done
`)
	for range 2 {
		if err := s.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Ended(); err != nil || s.ReadyIn() <= 0 {
			t.Errorf("ready in %s, %v", s.ReadyIn(), err)
		}
		pid := s.Pid()
		s.Kill()
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("the killed server is still there: %v", err)
		}
		if s.Ended() == nil {
			t.Error("a dead server has not ended")
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Tail(); !strings.Contains(got, "serve --data-dir "+s.Dir) || !strings.Contains(got, "--more\n") {
		t.Errorf("the log says %q", got)
	}
}

// A server that does not come is told from one that takes long, and its log is
// shown.
func TestNotReady(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		limit      time.Duration
		want       string
	}{
		{"ends", "echo no disk >&2; exit 3", time.Minute, "exit status 3\nno disk"},
		{"another line first", serves, 300 * time.Millisecond, "deadline exceeded"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newServer(t, tc.text)
			ctx, cancel := context.WithTimeout(t.Context(), tc.limit)
			defer cancel()
			if err := s.WaitReady(ctx); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("WaitReady: %v, want %q", err, tc.want)
			}
		})
	}
}

// Ports are below those that the kernel gives to clients, and free.
func TestPorts(t *testing.T) {
	p, err := NewPorts()
	if err != nil {
		t.Fatal(err)
	}
	all := []int{p.API, p.REST, p.HTTP, p.HTTPS}
	slices.Sort(all)
	if len(slices.Compact(all)) != 4 || all[0] < 20000 || all[3] >= 32768 {
		t.Errorf("ports %v", all)
	}
	for _, port := range all {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			t.Error(err)
			continue
		}
		_ = l.Close()
	}
}
