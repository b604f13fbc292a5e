package agentapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ingot-metal/ingot/agent/transport"
	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/auth"
)

func TestConversation(t *testing.T) {
	d := open(t)
	seen := make(chan agent.Progress, 1)
	d.OnProgress = func(host string, p agent.Progress) {
		if host == "rack/w1" {
			seen <- p
		}
	}
	a := d.agent()
	w, err := a.Hello(t.Context(), hello())
	if err != nil || w.Host != "rack/w1" || w.Epoch != 7 || w.Version != agent.Version || !w.Now.Equal(d.clock.now()) {
		t.Fatalf("welcome %+v, %v", w, err)
	}
	if err := d.WaitCalled(t.Context(), "b1", "rack/w1"); err != nil || d.LocalIP("b1") != "127.0.0.1" {
		t.Errorf("the agent sees us at %q, %v", d.LocalIP("b1"), err)
	}
	secret := []byte("a config drive")
	sum := sha256.Sum256(secret)
	digest := hex.EncodeToString(sum[:])
	result := d.run(t.Context(), "b1.1", map[string][]byte{digest: secret})

	step, err := a.Next(t.Context(), agent.NextRequest{})
	if err != nil || step.ID != "b1.1" || step.Kind != agent.StepInspect || step.Epoch != 7 {
		t.Fatalf("step %+v, %v", step, err)
	}
	if err := a.Progress(t.Context(), agent.Progress{StepID: "b1.1", Done: 1, Total: 2, Detail: strings.Repeat("ä", 300)}); err != nil {
		t.Fatal(err)
	}
	if p := get(t, "progress", seen); p.Done != 1 || len(p.Detail) > agent.MaxDetail || strings.ContainsRune(p.Detail, '\ufffd') {
		t.Errorf("progress %+v", p)
	}
	if got, err := a.Secret(t.Context(), digest, int64(len(secret))); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("secret %q, %v", got, err)
	}
	if err := a.Result(t.Context(), agent.Result{StepID: "b1.1", Inventory: &agent.Inventory{Hostname: "m"}}); err != nil {
		t.Fatal(err)
	}
	if r := get(t, "result", (<-chan ran)(result)); r.err != nil || r.result.Inventory == nil || r.result.Inventory.Hostname != "m" {
		t.Errorf("Run returned %+v", r)
	}
	// What was for that step alone is gone with it.
	until(t, "the secret is forgotten", func() bool {
		_, err := a.Secret(t.Context(), digest, int64(len(secret)))
		return err != nil
	})
}

func TestHelloIsRefused(t *testing.T) {
	d := open(t)
	d.welcomed()
	tests := []struct {
		name   string
		change func(*agent.Hello)
		code   string
	}{
		{name: "another version", change: func(h *agent.Hello) { h.Version++ }, code: agent.ErrVersion},
		{name: "a second claimant", change: func(*agent.Hello) {}, code: agent.ErrNotArmed},
		{name: "a boot that was not ordered", change: func(h *agent.Hello) { h.BootID = "b2" }, code: agent.ErrNotArmed},
		{name: "no boot", change: func(h *agent.Hello) { h.BootID = "" }, code: agent.ErrBadRequest},
		{name: "a boot id that never ends", change: func(h *agent.Hello) { h.BootID = strings.Repeat("b", 129) }, code: agent.ErrBadRequest},
		{name: "too many MACs", change: func(h *agent.Hello) { h.MACs = make([]string, 257) }, code: agent.ErrBadRequest},
		{name: "no MAC", change: func(h *agent.Hello) { h.MACs = []string{strings.Repeat("x", 1000)} }, code: agent.ErrBadRequest},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			h := hello()
			tc.change(&h)
			_, err := d.agent().Hello(t.Context(), h)
			if codeOf(err) != tc.code || len(err.Error()) > 600 {
				t.Errorf("got %v, want %s", err, tc.code)
			}
		})
	}
	t.Run("not now", func(t *testing.T) {
		d := open(t)
		d.boots.busy = true
		_, err := d.agent().Hello(t.Context(), hello())
		if codeOf(err) != agent.ErrRetry || strings.Contains(err.Error(), "database") {
			t.Errorf("got %v, want retry without the server's own troubles", err)
		}
	})
}

// An answer may be lost: the same key says hello again and goes on.
func TestLostWelcome(t *testing.T) {
	d := open(t)
	a := d.welcomed()
	if _, err := a.Hello(t.Context(), hello()); err != nil {
		t.Fatalf("the second hello of the same key: %v", err)
	}
	if err := a.Result(t.Context(), agent.Result{StepID: "none"}); err != nil {
		t.Error(err)
	}
}

func TestStrangers(t *testing.T) {
	d := open(t)
	d.welcomed()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: clientTLS(d.CA)}}
	defer client.CloseIdleConnections()
	post := func(path, body string) (int, agent.Error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var e agent.Error
		if err := json.NewDecoder(resp.Body).Decode(&e); err != nil {
			t.Errorf("%s: the answer is no error body: %v", path, err)
		}
		return resp.StatusCode, e
	}
	for _, path := range []string{agent.PathNext, agent.PathProgress, agent.PathResult} {
		if status, e := post(path, "{}"); status != http.StatusBadRequest || e.Code != agent.ErrBadRequest {
			t.Errorf("%s without a certificate: %d %+v", path, status, e)
		}
	}
	for name, body := range map[string]string{
		"empty": "", "no JSON": "hello", "another type": "[1]", "two values": `{"version":1}{}`,
		"oversized": `{"bootID":"` + strings.Repeat("x", agent.MaxMessage) + `"}`,
	} {
		if status, e := post(agent.PathHello, body); status != http.StatusBadRequest || e.Code != agent.ErrBadRequest || len(e.Message) > 1000 {
			t.Errorf("%s: %d %s %.100s", name, status, e.Code, e.Message)
		}
	}
	// A certificate of another authority does not even reach a handler.
	other := openAt(t, newCA(t), &boots{}, "127.0.0.1:0")
	if _, err := transportTo(t, d.url, other.CA.Pin()).Hello(t.Context(), hello()); !errors.Is(err, transport.ErrUntrusted) {
		t.Errorf("the agent believed a server with another authority: %v", err)
	}
}

// An old result that is repeated ends no later step, and a result counts once.
func TestOldResults(t *testing.T) {
	d := open(t)
	a := d.welcomed()
	result := d.run(t.Context(), "b1.2", nil)
	step, err := a.Next(t.Context(), agent.NextRequest{Last: &agent.Result{StepID: "b1.1"}})
	if err != nil || step.ID != "b1.2" {
		t.Fatalf("step %+v, %v", step, err)
	}
	for _, id := range []string{"b1.1", "", "b9.2"} {
		if err := a.Result(t.Context(), agent.Result{StepID: id}); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case r := <-result:
		t.Fatalf("an old result ended the step: %+v", r)
	default:
	}
	for _, host := range []string{"first", "second"} {
		if err := a.Result(t.Context(), agent.Result{StepID: "b1.2", Inventory: &agent.Inventory{Hostname: host}}); err != nil {
			t.Fatal(err)
		}
	}
	if r := get(t, "result", (<-chan ran)(result)); r.err != nil || r.result.Inventory.Hostname != "first" {
		t.Errorf("Run returned %+v", r)
	}
}

// A poll is answered when there is work, not by being asked again.
func TestLongPoll(t *testing.T) {
	d := open(t)
	a := d.welcomed()
	got := make(chan agent.Step, 1)
	go func() {
		step, err := a.Next(t.Context(), agent.NextRequest{Running: "b1.1"})
		if err != nil {
			t.Error(err)
		}
		got <- step
	}()
	// The step that the agent runs already is no news.
	ctx, cancel := context.WithCancel(t.Context())
	first := d.run(ctx, "b1.1", nil)
	until(t, "the first step is there", func() bool { return d.current() == "b1.1" })
	select {
	case s := <-got:
		t.Fatalf("the agent was handed %+v, which it runs", s)
	default:
	}
	cancel()
	if r := get(t, "first run", first); !errors.Is(r.err, context.Canceled) {
		t.Errorf("the cancelled run returned %+v", r)
	}
	d.run(t.Context(), "b1.2", nil)
	if s := get(t, "step", got); s.ID != "b1.2" {
		t.Errorf("step %+v", s)
	}
}

// current is the id of the step that the agent of b1 should run.
func (d *door) current() string {
	ses := d.session("b1", "rack/w1")
	ses.mu.Lock()
	defer ses.mu.Unlock()
	if ses.step == nil {
		return ""
	}
	return ses.step.ID
}

// A run that is given up late takes nothing away from the one that came after it,
// not even if both hand out the same step.
func TestRunsOvertake(t *testing.T) {
	d := open(t)
	a := d.welcomed()
	ctx, cancel := context.WithCancel(t.Context())
	first := d.run(ctx, "b1.1", nil)
	until(t, "the first run", func() bool { return d.current() == "b1.1" })
	ses := d.session("b1", "rack/w1")
	ses.mu.Lock()
	before := ses.outcome
	ses.mu.Unlock()
	digest := strings.Repeat("a", 64)
	second := d.run(t.Context(), "b1.1", map[string][]byte{digest: []byte("x")})
	until(t, "the second run", func() bool {
		ses.mu.Lock()
		defer ses.mu.Unlock()
		return ses.outcome != before
	})
	cancel()
	get(t, "end of the first", first)
	if _, ok := ses.secret(digest); !ok || d.current() != "b1.1" {
		t.Errorf("the first run took the second's step %q or secret (%v) away", d.current(), ok)
	}
	if err := a.Result(t.Context(), agent.Result{StepID: "b1.1"}); err != nil {
		t.Fatal(err)
	}
	if r := get(t, "result", second); r.err != nil {
		t.Error(r.err)
	}
}

// After a restart the agent's certificate is still good, and a step that it
// finished in between is not lost: it says so when it is asked for it again.
func TestRestart(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("late=%v", late), func(t *testing.T) {
			d := open(t)
			a := d.welcomed()
			cert, key, err := d.CA.PEM()
			if err != nil {
				t.Fatal(err)
			}
			d.http.Close()
			ca, err := auth.LoadCA(cert, key, time.Now)
			if err != nil {
				t.Fatal(err)
			}
			d = openAt(t, ca, d.boots, d.addr)
			last := agent.Result{StepID: "b1.1", Inventory: &agent.Inventory{Hostname: "m"}}
			next := make(chan agent.Step, 1)
			ask := func() {
				go func() {
					step, err := a.Next(t.Context(), agent.NextRequest{Last: &last})
					if err != nil {
						t.Error(err)
					}
					next <- step
				}()
			}
			if late {
				// The agent reports before the host is loaded: nobody listens yet.
				ask()
				until(t, "the agent is heard", func() bool { return d.LocalIP("b1") != "" })
			}
			result := d.run(t.Context(), "b1.1", nil)
			polling := true
			if late {
				// Either its report came a moment too early, and it is asked again, or
				// just in time.
				select {
				case s := <-next:
					polling = false
					if s.ID != "b1.1" {
						t.Fatalf("step %+v", s)
					}
					if err := a.Result(t.Context(), last); err != nil {
						t.Fatal(err)
					}
				case r := <-result:
					result <- r
				}
			} else {
				until(t, "the step is there", func() bool { return d.current() == "b1.1" })
				ask()
			}
			if r := get(t, "result", (<-chan ran)(result)); r.err != nil || r.result.Inventory == nil {
				t.Errorf("Run returned %+v", r)
			}
			d.End("b1")
			if polling {
				get(t, "end of the poll", next)
			}
		})
	}
}

func TestSilence(t *testing.T) {
	d := open(t)
	d.Silence = 80 * time.Millisecond // of the test's clock, which stands still
	a := d.welcomed()
	result := d.run(t.Context(), "b1.1", nil)
	until(t, "the step is there", func() bool { return d.current() == "b1.1" })
	d.clock.advance(70 * time.Millisecond)
	if err := a.Progress(t.Context(), agent.Progress{StepID: "b1.1"}); err != nil {
		t.Fatal(err)
	}
	d.clock.advance(70 * time.Millisecond)
	if s := d.Silent(); len(s) != 0 {
		t.Errorf("%v count as silent, though they called", s)
	}
	d.clock.advance(20 * time.Millisecond)
	if r := get(t, "result", result); !errors.Is(r.err, ErrLost) {
		t.Errorf("Run returned %+v, want %v", r, ErrLost)
	}
	if s := d.Silent(); len(s) != 1 || s[0] != "b1" {
		t.Errorf("silent are %v, want b1", s)
	}
	if err := d.WaitCalled(t.Context(), "b1", "rack/w1"); err != nil {
		t.Errorf("it did call once: %v", err)
	}
}

func TestWaitCalled(t *testing.T) {
	d := open(t)
	d.Silence = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.WaitCalled(ctx, "b1", "rack/w1"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	d.clock.advance(2 * time.Minute)
	if err := d.WaitCalled(t.Context(), "b1", "rack/w1"); !errors.Is(err, ErrLost) {
		t.Errorf("got %v, want %v", err, ErrLost)
	}
}

func TestEnd(t *testing.T) {
	d := open(t)
	a := d.welcomed()
	polled := make(chan agent.Step, 1)
	go func() {
		s, err := a.Next(t.Context(), agent.NextRequest{Running: "x"})
		if err != nil && codeOf(err) != agent.ErrGone {
			t.Error(err)
		}
		polled <- s
	}()
	d.boots.mu.Lock()
	d.boots.gone = true
	d.boots.mu.Unlock()
	// The poll may be on its way still: End must reach one that waits, and one
	// that comes later is answered with gone.
	until(t, "the poll ends", func() bool {
		d.End("b1")
		return len(polled) == 1
	})
	if s := get(t, "end of the poll", polled); s.Kind != agent.StepWait && s.Kind != "" {
		t.Errorf("step %+v", s)
	}
	if _, err := a.Next(t.Context(), agent.NextRequest{}); codeOf(err) != agent.ErrGone {
		t.Errorf("after the end: %v, want %s", err, agent.ErrGone)
	}
}

// No secret and no certificate is ever logged.
func TestLogsHoldNoSecret(t *testing.T) {
	d := open(t)
	a := d.welcomed()
	secret := []byte("correct horse")
	sum := sha256.Sum256(secret)
	digest := hex.EncodeToString(sum[:])
	d.run(t.Context(), "b1.1", map[string][]byte{digest: secret})
	until(t, "the step", func() bool { return d.current() != "" })
	if _, err := a.Secret(t.Context(), digest, int64(len(secret))); err != nil {
		t.Fatal(err)
	}
	_, _ = a.Secret(t.Context(), strings.Repeat("0", 64), 1)
	d.http.Close()
	if bytes.Contains(d.log.Bytes(), secret) {
		t.Errorf("the log holds the secret:\n%s", d.log)
	}
}

func transportTo(t *testing.T, url, pin string) *transport.Transport {
	t.Helper()
	tr, err := transport.New(url, pin, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.Close)
	return tr
}

// An agent whose host went to another replica is told where, also if its boot has
// become unknown here at that very moment: nobody but the host's owner powers it
// off.
func TestElsewhere(t *testing.T) {
	d := open(t)
	a := d.welcomed()
	asked := 0
	gone := &Refusal{Code: agent.ErrElsewhere, Message: "another replica has it", URL: "https://b"}
	check := func(at int) {
		t.Helper()
		asked = 0
		d.Elsewhere = func(host string) *Refusal {
			if asked++; host != "rack/w1" {
				t.Errorf("asked for %q", host)
			}
			if asked == at {
				return gone
			}
			return nil
		}
		_, err := a.Next(t.Context(), agent.NextRequest{})
		var r *transport.Refusal
		if !errors.As(err, &r) || r.Code != agent.ErrElsewhere || r.URL != "https://b" {
			t.Errorf("refused at question %d: %v", at, err)
		}
	}
	check(1)
	d.boots.mu.Lock()
	d.boots.gone = true
	d.boots.mu.Unlock()
	check(2)
}
