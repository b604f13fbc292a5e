package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// The test binary is the command too: what is tested is what is shipped, its
// processes and signals included.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ingot": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("KUBECONFIG", "")
			e.Setenv("INGOT_NO_FSYNC", "true")
			return nil
		},
	})
}

// process is a running ingot.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	line chan string // the one that says that it is ready
	mu   sync.Mutex
	log  bytes.Buffer // both outputs
	done chan struct{}
	err  error
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// start runs ingot with args in a directory of its own. It ends with the test.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	binary, err := exec.LookPath("ingot")
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, line: make(chan string, 1), done: make(chan struct{})}
	p.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), binary, args...)
	p.cmd.Env = append(os.Environ(), "HOME=/nonexistent", "KUBECONFIG=", "INGOT_NO_FSYNC=true")
	p.cmd.Stderr = p
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		for s := bufio.NewScanner(out); s.Scan(); {
			fmt.Fprintln(p, s.Text())
			if strings.HasPrefix(s.Text(), "ingot is ready") {
				p.line <- s.Text()
			}
		}
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("ingot %s:\n%s", strings.Join(args, " "), p.output())
		}
	})
	return p
}

const limit = 90 * time.Second

// ready waits for the line that names the doors.
func (p *process) ready() (doors []string) {
	p.t.Helper()
	select {
	case line := <-p.line:
		m := regexp.MustCompile(`^ingot is ready: Kubernetes API (\S+), REST (http://\S+), boot (http://\S+), agents (https://\S+)$`).FindStringSubmatch(line)
		if m == nil {
			p.t.Fatalf("it says %q", line)
		}
		return m[1:]
	case <-p.done:
		p.t.Fatalf("ended before it was ready: %v", p.err)
	case <-time.After(limit):
		p.t.Fatal("not ready in time")
	}
	return nil
}

// code waits for the end and returns the exit code.
func (p *process) code() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(limit):
		p.t.Fatal("it does not end")
	}
	var exit *exec.ExitError
	if p.err != nil && !errors.As(p.err, &exit) {
		p.t.Fatal(p.err)
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// dataDir is short enough for the path of a Unix socket, which t.TempDir's is
// not.
func dataDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ingot")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// anywhere are the doors on ports that the kernel picks.
func anywhere(verb, dir string, more ...string) []string {
	args := []string{
		verb, "--data-dir", dir, "--rest-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0",
		"--https-address", "127.0.0.1:0", "--metrics-address", "0", "--health-address", "0", "--log-level", "warn",
	}
	if verb == "serve" {
		args = append(args, "--api-address", "127.0.0.1:0")
	}
	return append(args, more...)
}

func status(t *testing.T, c *http.Client, method, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}
