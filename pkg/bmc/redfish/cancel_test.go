package redfish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// promptly runs call under a context that ends after a moment, cancelled or at
// its deadline, and wants it back within a second of that. On a machine that is
// busy with other things it has three tries.
func promptly(t *testing.T, call func(ctx context.Context) error) {
	t.Helper()
	const moment = 50 * time.Millisecond
	for _, how := range []string{"cancelled", "deadline"} {
		want := context.Canceled
		if how == "deadline" {
			want = context.DeadlineExceeded
		}
		var err error
		for try := 1; ; try++ {
			ctx, cancel := context.WithCancel(context.Background())
			if how == "deadline" {
				ctx, cancel = context.WithTimeout(ctx, moment)
			} else {
				time.AfterFunc(moment, cancel)
			}
			start := time.Now()
			err = call(ctx)
			took := time.Since(start)
			cancel()
			if took <= moment+time.Second {
				break
			}
			if try == 3 {
				t.Errorf("%s: returned after %v", how, took)
				break
			}
		}
		var e *bmc.Error
		if !errors.As(err, &e) || !errors.Is(err, want) {
			t.Errorf("%s: %v, want a *bmc.Error that wraps it", how, err)
		} else if how == "cancelled" && e.Class != bmc.Transient {
			t.Errorf("%s: class %s says something of the BMC: %v", how, e.Class, err)
		}
	}
}

// deaf listens on a socket whose queue is full: connections are not refused and
// not made.
func deaf(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	d := net.Dialer{Timeout: 100 * time.Millisecond}
	for range 8 {
		conn, err := d.DialContext(t.Context(), "tcp", addr)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Skip("this kernel completes connections beyond the queue")
	return ""
}

// silent accepts connections and says nothing.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		var conns []net.Conn
		for {
			conn, err := l.Accept()
			if err != nil {
				break
			}
			conns = append(conns, conn)
		}
		for _, c := range conns {
			c.Close()
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String()
}

// drip sends one byte per 200 ms until the client goes.
func drip(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // a server notices that a client has gone only after this
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for r.Context().Err() == nil {
		fmt.Fprint(w, " ")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
		case <-tick.C:
		}
	}
}

// stream sends 4 KiB every 5 ms until the client goes.
func stream(w http.ResponseWriter, r *http.Request) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for junk := strings.Repeat(" ", 4<<10); r.Context().Err() == nil; <-tick.C {
		fmt.Fprint(w, junk)
		_ = http.NewResponseController(w).Flush()
	}
}

func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

func TestCancelledInEveryState(t *testing.T) {
	open := func(address string) func(context.Context) error {
		return func(ctx context.Context) error {
			addr, err := bmc.ParseAddress(address)
			if err != nil {
				return err
			}
			_, err = Open(ctx, addr, admin, Options{Insecure: true})
			return err
		}
	}
	t.Run("dialling", func(t *testing.T) { promptly(t, open("redfish+http://"+deaf(t))) })
	t.Run("TLS handshake", func(t *testing.T) { promptly(t, open("redfish://"+silent(t))) })
	t.Run("service root", func(t *testing.T) { promptly(t, open("redfish+http://"+silent(t))) })

	at := func(h http.HandlerFunc, where func(*http.Request) bool) func(*fake) {
		return func(f *fake) {
			f.fault = func(w http.ResponseWriter, r *http.Request) bool {
				if !where(r) {
					return false
				}
				h(w, r)
				return true
			}
		}
	}
	login := func(r *http.Request) bool { return r.Method == http.MethodPost }
	system := func(r *http.Request) bool { return r.URL.Path == sysPath }
	for _, tc := range []struct {
		name  string
		fault func(*fake)
	}{
		{name: "login", fault: at(hang, login)},
		{name: "login, one byte per 200 ms", fault: at(drip, login)},
		{name: "list of systems, after login", fault: at(hang, func(r *http.Request) bool { return r.URL.Path == "/redfish/v1/Systems" })},
		// The session was made; ending it hangs as well.
		{name: "everything after login", fault: at(hang, func(r *http.Request) bool {
			return r.Method != http.MethodPost && r.URL.Path != "/redfish/v1/"
		})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			tc.fault(f)
			srv := httptest.NewServer(f)
			t.Cleanup(srv.Close)
			promptly(t, open("redfish+"+srv.URL))
		})
	}
	for _, tc := range []struct {
		name string
		h    http.HandlerFunc
	}{
		{name: "headers", h: hang},
		{name: "one byte per 200 ms", h: drip},
		{name: "endless body", h: stream},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFake(t)
			s := mustDial(t, f)
			f.mu.Lock()
			at(tc.h, system)(f)
			f.mu.Unlock()
			promptly(t, func(ctx context.Context) error { _, err := s.PowerState(ctx); return err })
		})
	}
	t.Run("waiting for a place", func(t *testing.T) {
		f := newFake(t)
		s := mustDial(t, f)
		arrived := make(chan struct{}, 8)
		f.mu.Lock()
		f.fault = func(w http.ResponseWriter, r *http.Request) bool { arrived <- struct{}{}; hang(w, r); return true }
		f.mu.Unlock()
		ctx, stop := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for range maxInFlight {
			wg.Go(func() { _, _ = s.PowerState(ctx) })
			<-arrived
		}
		promptly(t, func(ctx context.Context) error { _, err := s.PowerState(ctx); return err })
		stop()
		wg.Wait()
		f.mu.Lock()
		f.fault = nil
		f.mu.Unlock()
	})
	t.Run("waiting for another's login", func(t *testing.T) {
		f := newFake(t)
		s := mustDial(t, f)
		arrived, release := make(chan struct{}, 8), make(chan struct{})
		f.mu.Lock()
		clear(f.tokens)
		f.fault = func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost {
				arrived <- struct{}{}
				<-release
			}
			return false
		}
		f.mu.Unlock()
		ctx, stop := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = s.PowerState(ctx) })
		<-arrived
		promptly(t, func(ctx context.Context) error { _, err := s.PowerState(ctx); return err })
		stop()
		close(release)
		wg.Wait()
	})
}

// A poll that logs in and gives up leaves the session to those after it.
func TestLoginOutlivesItsCaller(t *testing.T) {
	f := newFake(t)
	s := mustDial(t, f)
	arrived, release := make(chan struct{}), make(chan struct{})
	f.mu.Lock()
	clear(f.tokens)
	f.fault = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			close(arrived)
			<-release
		}
		return false
	}
	f.mu.Unlock()
	ctx, cancel := context.WithCancel(bmc.WithPriority(context.Background(), bmc.Background))
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = s.PowerState(ctx) })
	<-arrived
	cancel()
	wg.Wait()
	close(release)
	if _, err := s.PowerState(context.Background()); err != nil {
		t.Fatal(err)
	}
	if f.logins != 2 {
		t.Errorf("%d logins, want 2", f.logins)
	}
	if err := s.Close(context.Background()); err != nil || len(f.tokens) != 0 {
		t.Errorf("sessions left: %v, %v", f.tokens, err)
	}
}
