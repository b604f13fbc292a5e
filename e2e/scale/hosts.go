package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// hosts is what a watch says of all hosts.
type hosts struct {
	mu      sync.Mutex
	state   map[string]string
	problem map[string]string
	err     error
	changed chan struct{} // closed and replaced at every change
}

// event of a watch, as much as is needed of it.
type event struct {
	Type   string
	Object struct {
		Metadata struct{ Name string }
		Status   struct {
			ErrorMessage string
			PoweredOn    bool
			Provisioning struct{ State string }
		}
	}
}

// watchHosts follows all hosts until ctx is done.
func watchHosts(ctx context.Context, k *kube) (*hosts, error) {
	res, err := k.open(ctx, http.MethodGet, hostsPath+"?watch=1&timeoutSeconds=7200", plainJSON, nil) //nolint:bodyclose // the goroutine below closes it
	if err != nil {
		return nil, err
	}
	h := &hosts{state: map[string]string{}, problem: map[string]string{}, changed: make(chan struct{})}
	go func() {
		defer res.Body.Close()
		for d := json.NewDecoder(res.Body); ; {
			var e event
			err := d.Decode(&e)
			h.note(e, err)
			if err != nil {
				return
			}
		}
	}()
	return h, nil
}

func (h *hosts) note(e event, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	name, st := e.Object.Metadata.Name, e.Object.Status
	state := st.Provisioning.State
	if st.PoweredOn {
		state += ", on"
	}
	if err == nil && h.state[name] == state && h.problem[name] == st.ErrorMessage {
		return
	}
	h.err = err
	h.state[name], h.problem[name] = state, st.ErrorMessage
	close(h.changed)
	h.changed = make(chan struct{})
}

// await waits until the machines are in a state.
func (h *hosts) await(ctx context.Context, ms []machine, ok func(state string) bool) error {
	left := slices.Clone(ms)
	for {
		h.mu.Lock()
		left = slices.DeleteFunc(left, func(m machine) bool { return ok(h.state[m.Name]) })
		changed, err := h.changed, h.err
		h.mu.Unlock()
		if len(left) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("watching hosts: %w", err)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d hosts did not arrive: %w", len(left), len(ms), context.Cause(ctx))
		}
	}
}

// summary counts hosts by state, and shows what is wrong.
func (h *hosts) summary() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	n, wrong := map[string]int{}, map[string]int{}
	for name, st := range h.state {
		n[st]++
		if p := h.problem[name]; p != "" {
			wrong[p]++
		}
	}
	var b strings.Builder
	for _, st := range slices.Sorted(maps.Keys(n)) {
		fmt.Fprintf(&b, "%6d hosts %s\n", n[st], st)
	}
	for _, p := range slices.Sorted(maps.Keys(wrong))[:min(len(wrong), 10)] {
		fmt.Fprintf(&b, "%6d times: %s\n", wrong[p], p)
	}
	return b.String()
}

// each runs fn for all machines on so many threads.
func each(ctx context.Context, threads int, ms []machine, fn func(context.Context, machine) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan machine)
	var wg sync.WaitGroup
	for range threads {
		wg.Go(func() {
			for m := range work {
				if err := fn(ctx, m); err != nil {
					cancel(fmt.Errorf("%s: %w", m.Name, err))
				}
			}
		})
	}
	for _, m := range ms {
		select {
		case work <- m:
		case <-ctx.Done():
		}
	}
	close(work)
	wg.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return ctx.Err()
}
