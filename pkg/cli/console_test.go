package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestTypist(t *testing.T) {
	for _, tc := range []struct {
		name    string
		pieces  []string
		machine string
		left    bool
		help    bool
	}{
		{name: "words", pieces: []string{"ls ~/x\r"}, machine: "ls ~/x\r"},
		{name: "leave at once", pieces: []string{"~."}, left: true},
		{name: "leave after a line", pieces: []string{"exit\r~.more"}, machine: "exit\r", left: true},
		{name: "key by key", pieces: []string{"a", "\r", "~", "."}, machine: "a\r", left: true},
		{name: "in a line it is a character", pieces: []string{"a~."}, machine: "a~."},
		{name: "one tilde", pieces: []string{"~~/x"}, machine: "~/x"},
		{name: "another key", pieces: []string{"~", "a~."}, machine: "~a~."},
		{name: "an empty line", pieces: []string{"~\r~."}, machine: "~\r", left: true},
		{name: "help", pieces: []string{"~?", "~."}, help: true, left: true},
		{name: "control keys", pieces: []string{"\x03\x1b[A"}, machine: "\x03\x1b[A"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var machine, screen bytes.Buffer
			typist := &typist{machine: &machine, screen: &screen, fresh: true}
			var err error
			for _, p := range tc.pieces {
				if _, err = io.WriteString(typist, p); err != nil {
					break
				}
			}
			if machine.String() != tc.machine || errors.Is(err, errLeft) != tc.left || strings.Contains(screen.String(), "~.") != tc.help {
				t.Errorf("the machine got %q, err %v, screen %q", machine.String(), err, screen.String())
			}
		})
	}
}

func FuzzTypist(f *testing.F) {
	f.Add("ls\r~?~~a\r~.")
	f.Fuzz(func(t *testing.T, keys string) {
		// By one key or all at once, it is the same.
		var whole, single bytes.Buffer
		a := &typist{machine: &whole, screen: io.Discard, fresh: true}
		b := &typist{machine: &single, screen: io.Discard, fresh: true}
		_, errA := io.WriteString(a, keys)
		var errB error
		for i := 0; i < len(keys) && errB == nil; i++ {
			_, errB = b.Write([]byte{keys[i]})
		}
		if whole.String() != single.String() || errors.Is(errA, errLeft) != errors.Is(errB, errLeft) {
			t.Fatalf("%q: %q, %v; key by key %q, %v", keys, whole.String(), errA, single.String(), errB)
		}
	})
}

// door answers as the server does for a machine that repeats what is typed.
func door(t *testing.T) *doors {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /console/v1/rack/{name}", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.PathValue("name") == "none":
			http.Error(w, "the BMC has no console\x1b[2J; switch it on", http.StatusNotImplemented)
		case r.URL.Query().Get("last") != "":
			_, _ = io.WriteString(w, `{"of":"failure","at":"2026-01-02T03:04:05Z","code":"boot-no-dhcp","lines":["one\u001b[2J","two"]}`)
		case r.Header.Get("Upgrade") == "ingot-console":
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ingot-console\r\n\r\nlogin: ")
			_, _ = io.Copy(conn, io.LimitReader(conn, 5))
			if r.PathValue("name") == "w1" {
				_, _ = io.Copy(io.Discard, conn) // until the person leaves
			}
		default:
			_, _ = io.WriteString(w, "it prints")
		}
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return &doors{https: srv.URL, http: srv.Client()}
}

func TestConsole(t *testing.T) {
	for _, tc := range []struct {
		name, host, keys string
		readOnly         bool
		last             int
		out, errOut, err string
	}{
		{name: "leave", host: "w1", keys: "root\r~.", out: "login: root\r", errOut: "left the console of w1"},
		{name: "the machine's side ends", host: "w2", keys: "root\r", out: "login: root\r", err: "the connection to ingot ended"},
		{name: "watch", host: "w1", readOnly: true, out: "it prints", err: "the connection to ingot ended"},
		{name: "none", host: "none", err: "the BMC has no console [2J; switch it on"},
		{name: "last", host: "w1", last: 2, out: "one [2J\ntwo\n", errOut: "before it failed (boot-no-dhcp)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			keys, hands := io.Pipe()
			go func() {
				_, _ = io.WriteString(hands, tc.keys)
				<-ctx.Done() // a person who sits there
				_ = hands.Close()
			}()
			var out, errOut bytes.Buffer
			a := &App{Stdio: Stdio{In: keys, Out: &out, Err: &errOut, Terminal: true}, Now: time.Now}
			c := &api{namespace: "rack"}
			var err error
			if tc.last > 0 {
				err = a.consoleLast(ctx, c, door(t), tc.host, tc.last)
			} else {
				err = a.console(ctx, c, door(t), tc.host, tc.readOnly)
			}
			text := ""
			if err != nil {
				text = err.Error()
			}
			if !strings.Contains(text, tc.err) || (err == nil) != (tc.err == "") {
				t.Errorf("err %v, want %q", err, tc.err)
			}
			if !strings.HasPrefix(tc.out, out.String()) || tc.keys == "" && out.String() != tc.out || !strings.Contains(errOut.String(), tc.errOut) {
				t.Errorf("printed %q, %q; want %q, %q", out.String(), errOut.String(), tc.out, tc.errOut)
			}
		})
	}
}
