package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ingot-metal/ingot/e2e/rig"
)

// side is one of the services that are measured.
type side struct {
	name string
	url  string
	pids []int

	boot  string // where its machines boot from; empty: nowhere
	image *image // what they are told to run

	parts   []part
	figures []figure
	rss     int64 // bytes, at the end
}

// figure is what one kind of request cost.
type figure struct {
	what    string
	clients int
	calls   int
	cpu     time.Duration // a call
	p50     time.Duration
	p99     time.Duration
	rate    float64 // calls a second
	size    int     // bytes of the last answer
}

// clientCounts are how many clients ask at the same time.
var clientCounts = []int{1, 8}

// Nova's fields (nova/virt/ironic/driver.py).
const novaFields = "uuid,power_state,target_power_state,provision_state,target_provision_state,last_error,maintenance,properties,instance_uuid,traits,resource_class"

func (s *side) measure(ctx context.Context, count int, each time.Duration) error {
	hc := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	defer hc.CloseIdleConnections()
	var made atomic.Int64
	var mu sync.Mutex
	var ids []string
	create := func(ctx context.Context) (int, error) {
		n := made.Add(1)
		body := fmt.Sprintf(`{"driver": "fake-hardware", "name": "bench-%d", "resource_class": "baremetal",
			"properties": {"cpus": 64, "memory_mb": 262144, "local_gb": 1800, "cpu_arch": "x86_64", "capabilities": "boot_mode:uefi"},
			"driver_info": {"address": "192.0.2.1", "username": "admin"}, "extra": {"rack": "r%d", "row": 7}}`, n, n%40)
		text, err := ask(ctx, hc, http.MethodPost, s.url+"/v1/nodes", body)
		if err != nil {
			return 0, err
		}
		var v struct{ UUID string }
		if err := json.Unmarshal(text, &v); err != nil {
			return 0, err
		}
		mu.Lock()
		ids = append(ids, v.UUID)
		mu.Unlock()
		return len(text), nil
	}
	// With one client a tenth, with eight the rest.
	for i, calls := range []int{max(1, count/10), count - max(1, count/10)} {
		if err := s.figure(ctx, "create a node", clientCounts[i], calls, 0, create); err != nil {
			return err
		}
	}
	var turn atomic.Int64
	for _, r := range []struct {
		what string
		path func() string
	}{
		{"GET /v1/nodes", func() string { return "/v1/nodes" }},
		{"GET /v1/nodes?fields=… (Nova's 11)", func() string { return "/v1/nodes?fields=" + novaFields }},
		{"GET /v1/nodes/detail", func() string { return "/v1/nodes/detail" }},
		{"GET /v1/nodes/UUID", func() string { return "/v1/nodes/" + ids[int(turn.Add(1))%len(ids)] }},
	} {
		get := func(ctx context.Context) (int, error) {
			text, err := ask(ctx, hc, http.MethodGet, s.url+r.path(), "")
			return len(text), err
		}
		for _, clients := range clientCounts {
			if err := s.figure(ctx, r.what, clients, 0, each, get); err != nil {
				return err
			}
		}
	}
	var err error
	s.rss, err = memory(s.pids)
	return err
}

// figure sends so many requests, or for so long and at least ten.
func (s *side) figure(ctx context.Context, what string, clients, calls int, long time.Duration, do func(context.Context) (int, error)) error {
	before, err := cpu(s.pids)
	if err != nil {
		return err
	}
	began := time.Now()
	var sent, size atomic.Int64
	var mu sync.Mutex
	var took []time.Duration
	var failed error
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for {
				n := sent.Add(1)
				if calls > 0 && n > int64(calls) || calls == 0 && n > 10 && time.Since(began) > long {
					return
				}
				at := time.Now()
				bytes, err := do(ctx)
				d := time.Since(at)
				mu.Lock()
				took = append(took, d)
				if err != nil && failed == nil {
					failed = fmt.Errorf("%s: %w", what, err)
				}
				stop := failed != nil
				mu.Unlock()
				if stop {
					return
				}
				size.Store(int64(bytes))
			}
		})
	}
	all.Wait()
	if failed != nil {
		return failed
	}
	wall := time.Since(began)
	after, err := cpu(s.pids)
	if err != nil {
		return err
	}
	slices.Sort(took)
	n := len(took)
	s.figures = append(s.figures, figure{
		what: what, clients: clients, calls: n, cpu: (after - before) / time.Duration(n), p50: took[n/2], p99: took[min(n-1, n*99/100)],
		rate: float64(n) / wall.Seconds(), size: int(size.Load()),
	})
	return nil
}

// Where a node is locked (409) or all workers are busy (503), Ironic's clients send
// it again, python-ironicclient 5 times after 2 s each. Here it is sooner, so that
// their pauses are not what is measured.
const (
	askTries = 50
	askPause = 100 * time.Millisecond
)

// ask sends one request, until it is taken.
func ask(ctx context.Context, hc *http.Client, method, url, body string) ([]byte, error) {
	for try := 0; ; try++ {
		req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader([]byte(body)))
		if err != nil {
			return nil, err
		}
		req.Header.Set("X-OpenStack-Ironic-API-Version", "1.82")
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		res, err := hc.Do(req)
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
		res.Body.Close()
		switch {
		case err != nil:
			return nil, err
		case res.StatusCode < 300:
			return text, nil
		case try < askTries && (res.StatusCode == http.StatusConflict || res.StatusCode == http.StatusServiceUnavailable):
			if err := rig.Pause(ctx, askPause); err != nil {
				return nil, err
			}
			continue
		}
		return nil, fmt.Errorf("%s %s: %s: %.200s", method, url, res.Status, text)
	}
}
