package engine

import "sync"

// Progress of what a host is doing, kept in memory alone.
type Progress struct {
	Host   string `json:"host"` // namespace/name
	Step   string `json:"step"`
	Done   int64  `json:"done"`
	Total  int64  `json:"total"`
	Unit   string `json:"unit"`
	Detail string `json:"detail,omitempty"`
}

// Hub holds the latest progress of each host and tells those who watch.
type Hub struct {
	mu     sync.Mutex
	latest map[string]Progress
	watch  map[chan struct{}]struct{}
}

// Set notes progress and wakes the watchers.
func (h *Hub) Set(host string, p Progress) {
	p.Host = host
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.latest == nil {
		h.latest = map[string]Progress{}
	}
	h.latest[host] = p
	h.wake()
}

// Clear forgets a host's progress: its step is over.
func (h *Hub) Clear(host string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.latest, host)
	h.wake()
}

// All returns what every host is doing.
func (h *Hub) All() []Progress {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]Progress, 0, len(h.latest))
	for _, p := range h.latest {
		all = append(all, p)
	}
	return all
}

// Watch returns a channel that is signalled after changes, and a function that
// ends the watch.
func (h *Hub) Watch() (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watch == nil {
		h.watch = map[chan struct{}]struct{}{}
	}
	h.watch[c] = struct{}{}
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watch, c)
	}
}

func (h *Hub) wake() {
	for c := range h.watch {
		select {
		case c <- struct{}{}:
		default: // it is awake already
		}
	}
}
