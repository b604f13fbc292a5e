package httpboot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const (
	limit  = 20 * time.Second
	digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	broken = "0000000000000000000000000000000000000000000000000000000000000000"
)

type scripts struct{}

func (scripts) Script(_ context.Context, mac net.HardwareAddr, remote netip.Addr) ([]byte, error) {
	switch mac.String() {
	case "52:54:00:00:00:01":
		return []byte("#!ipxe\n# for " + remote.String() + "\n"), nil
	case "52:54:00:00:00:02":
		return nil, errors.New("store is away")
	}
	return nil, fmt.Errorf("machine %v: %w", mac, ErrUnknown)
}

type blobs struct{ content []byte }

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }

func (b blobs) Open(_ context.Context, hexDigest string) (io.ReadSeekCloser, int64, error) {
	switch hexDigest {
	case digest:
		return nopCloser{bytes.NewReader(b.content)}, int64(len(b.content)), nil
	case broken:
		return nil, 0, errors.New("disk is away")
	}
	return nil, 0, os.ErrNotExist
}

type bench struct {
	url    string
	addr   string
	events chan Event
}

func start(t *testing.T, change func(*Config)) *bench {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"vmlinuz-vm": "kernel", "initrd-vm.img": "ramdisk", "uki-vm.efi": "uki", "secret": "secret", "snponly.efi": "loader"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b := &bench{events: make(chan Event, 100)}
	cfg := Config{
		Scripts: scripts{}, Blobs: blobs{[]byte("0123456789")}, Loaders: map[string]string{"snponly.efi": filepath.Join(dir, "snponly.efi"), "ipxe.efi": dir}, Artefacts: dir,
		Observe: func(e Event) { b.events <- e },
	}
	if change != nil {
		change(&cfg)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(New(cfg), nil)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	b.addr = l.Addr().String()
	b.url = "http://" + b.addr
	return b
}

func (b *bench) event(t *testing.T) Event {
	t.Helper()
	select {
	case e := <-b.events:
		return e
	case <-time.After(limit):
		t.Fatal("no event in time")
		return Event{}
	}
}

func TestTable(t *testing.T) {
	for _, test := range []struct {
		name   string
		method string // GET
		target string
		header string // "Name: value"
		status int
		body   string
		kind   Kind
		label  string
		not    bool // not done
	}{
		{name: "script", target: "/boot/ipxe?mac=52:54:00:00:00:01", status: 200, body: "#!ipxe\n# for 127.0.0.1\n", kind: KindScript},
		{name: "script with dashes", target: "/boot/ipxe?mac=52-54-00-00-00-01", status: 200, body: "#!ipxe\n# for 127.0.0.1\n", kind: KindScript},
		{name: "script's head", method: "HEAD", target: "/boot/ipxe?mac=52:54:00:00:00:01", status: 200, kind: KindScript},
		{name: "unknown machine", target: "/boot/ipxe?mac=52:54:00:00:00:09", status: 404, body: "Not Found\n", kind: KindScript},
		{name: "failing store", target: "/boot/ipxe?mac=52:54:00:00:00:02", status: 500, body: "Internal Server Error\n", kind: KindScript},
		{name: "no MAC", target: "/boot/ipxe", status: 400, body: "Bad Request\n", kind: KindScript},
		{name: "a MAC of InfiniBand", target: "/boot/ipxe?mac=02:00:5e:10:00:00:00:01", status: 400, body: "Bad Request\n", kind: KindScript},
		{name: "loader", target: "/boot/file/snponly.efi", status: 200, body: "loader", kind: KindLoader, label: "snponly.efi"},
		{name: "double slashes are collapsed, not redirected", target: "//boot///file//snponly.efi", status: 200, body: "loader", kind: KindLoader, label: "snponly.efi"},
		{name: "another loader", target: "/boot/file/grubx64.efi", status: 404, body: "Not Found\n", kind: KindLoader, label: "grubx64.efi"},
		{name: "a loader that is a directory", target: "/boot/file/ipxe.efi", status: 404, body: "Not Found\n", kind: KindLoader, label: "ipxe.efi"},
		{name: "kernel", target: "/boot/kernel/vm", status: 200, body: "kernel", kind: KindKernel, label: "vm"},
		{name: "ramdisk", target: "/boot/initrd/vm", status: 200, body: "ramdisk", kind: KindInitrd, label: "vm"},
		{name: "UKI", target: "/boot/uki/vm", status: 200, body: "uki", kind: KindUKI, label: "vm"},
		{name: "a flavour not built", target: "/boot/kernel/server", status: 404, body: "Not Found\n", kind: KindKernel, label: "server"},
		{name: "a flavour nobody has", target: "/boot/kernel/x", status: 404, body: "Not Found\n", kind: KindKernel, label: "x"},
		{name: "out of the directory", target: "/boot/file/..%2fsecret", status: 404, body: "Not Found\n", kind: KindOther},
		{name: "up", target: "/boot/kernel/../secret", status: 404, body: "Not Found\n", kind: KindOther},
		{name: "blob", target: "/images/sha256/" + digest, status: 200, body: "0123456789", kind: KindBlob, label: digest},
		{name: "a blob's part", target: "/images/sha256/" + digest, header: "Range: bytes=2-4", status: 206, body: "234", kind: KindBlob, label: digest},
		{name: "past its end", target: "/images/sha256/" + digest, header: "Range: bytes=20-", status: 416, body: "invalid range: failed to overlap\n", kind: KindBlob, label: digest},
		{name: "kept already", target: "/images/sha256/" + digest, header: `If-None-Match: "sha256-` + digest + `"`, status: 304, kind: KindBlob, label: digest},
		{name: "unknown blob", target: "/images/sha256/" + strings.Repeat("1", 64), status: 404, body: "Not Found\n", kind: KindBlob, label: strings.Repeat("1", 64)},
		{name: "failing blob store", target: "/images/sha256/" + broken, status: 500, body: "Internal Server Error\n", kind: KindBlob, label: broken},
		{name: "digest in capitals", target: "/images/sha256/" + strings.ToUpper(digest), status: 404, body: "Not Found\n", kind: KindOther},
		{name: "root", target: "/", status: 404, body: "Not Found\n", kind: KindOther},
		{name: "writing", method: "PUT", target: "/boot/kernel/vm", status: 405, body: "Method Not Allowed\n", kind: KindKernel, label: "vm"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := start(t, nil)
			if test.method == "" {
				test.method = http.MethodGet
			}
			req, err := http.NewRequestWithContext(t.Context(), test.method, b.url+test.target, nil)
			if err != nil {
				t.Fatal(err)
			}
			if name, value, ok := strings.Cut(test.header, ": "); ok {
				req.Header.Set(name, value)
			}
			client := http.Client{Timeout: limit, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != test.status || string(body) != test.body {
				t.Errorf("got %d %q, want %d %q", resp.StatusCode, body, test.status, test.body)
			}
			e := b.event(t)
			want := Event{Kind: test.kind, Name: test.label, Remote: netip.MustParseAddr("127.0.0.1"), Agent: "Go-http-client/1.1", Head: test.method == "HEAD", Status: test.status, Bytes: int64(len(test.body)), Done: true}
			if diff := cmp.Diff(want, e, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmpopts.IgnoreFields(Event{}, "Begun", "Ended", "MAC", "Size")); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
			if test.kind == KindScript && test.status != 400 && len(e.MAC) != 6 {
				t.Error("event has no MAC")
			}
		})
	}
}

func TestArtefactIsRead(t *testing.T) {
	b := start(t, nil)
	get := func(tag string) (*http.Response, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+"/boot/kernel/vm", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("If-None-Match", tag)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp, string(body)
	}
	first, _ := get("")
	if again, _ := get(first.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
		t.Errorf("got %d for the same tag", again.StatusCode)
	}
}

// TestCut closes the connection in the middle of a large blob, from a client that stops reading.
func TestCut(t *testing.T) {
	for _, test := range []struct {
		name  string
		close bool
	}{{"client goes away", true}, {"client stands still", false}} {
		t.Run(test.name, func(t *testing.T) {
			b := start(t, func(c *Config) {
				c.Blobs, c.Stall = blobs{make([]byte, 64<<20)}, 200*time.Millisecond
				if test.close {
					c.Stall = limit
				}
			})
			conn, err := net.Dial("tcp", b.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "GET /images/sha256/%s HTTP/1.1\r\nHost: h\r\n\r\n", digest)
			if _, err := io.ReadFull(conn, make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			if test.close {
				conn.Close()
			}
			e := b.event(t)
			if e.Done || e.Bytes == 0 || e.Bytes >= 64<<20 || e.Size != 64<<20 || e.Detail == "" {
				t.Errorf("got %+v", e)
			}
		})
	}
}

// TestLargeFile goes the way of sendfile, in several pieces.
func TestLargeFile(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789abcdef"), 5<<20/16)
	var dir string
	b := start(t, func(c *Config) { dir = c.Artefacts })
	if err := os.WriteFile(filepath.Join(dir, "initrd-server.img"), want, 0o644); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(b.url + "/boot/initrd/server")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if e := b.event(t); !e.Done || e.Bytes != int64(len(want)) || e.Size != int64(len(want)) {
		t.Errorf("got %+v", e)
	}
}

type waiting struct{ in, out chan struct{} }

func (s waiting) Script(context.Context, net.HardwareAddr, netip.Addr) ([]byte, error) {
	s.in <- struct{}{}
	<-s.out
	return []byte("#!ipxe\n"), nil
}

func TestTooManyAreToldToComeAgain(t *testing.T) {
	s := waiting{make(chan struct{}), make(chan struct{})}
	b := start(t, func(c *Config) { c.Scripts, c.Transfers = s, 1 })
	var wg sync.WaitGroup
	wg.Go(func() {
		resp, err := http.Get(b.url + "/boot/ipxe?mac=52:54:00:00:00:01")
		if err != nil {
			t.Error(err)
			return
		}
		resp.Body.Close()
	})
	select {
	case <-s.in:
	case <-time.After(limit):
		t.Fatal("no request in time")
	}
	resp, err := http.Get(b.url + "/boot/kernel/vm")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("got %d", resp.StatusCode)
	}
	close(s.out)
	wg.Wait()
}

func FuzzRoute(f *testing.F) {
	for _, s := range []string{"/boot/ipxe", "//boot//file/a", "/boot/kernel/..", "/images/sha256/" + digest, "/boot/file/a\x00b", "/boot/file/é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		kind, name := route(path)
		if name != "" && kind == KindOther || strings.ContainsAny(name, "/\\\x00 \n") || strings.HasPrefix(name, ".") || len(name) > 64 {
			t.Fatalf("%q: %s %q", path, kind, name)
		}
	})
}
