package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/explain"
)

// view is the hosts of a namespace as they are now.
type view struct {
	hosts    map[string]host
	progress map[string]explain.Progress
}

// sorted hosts, by name.
func (v view) sorted() []host {
	out := make([]host, 0, len(v.hosts))
	for _, h := range v.hosts {
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b host) int {
		if a.name() < b.name() {
			return -1
		}
		return 1
	})
	return out
}

// event is one change of the view.
type event struct {
	kind     string // BareMetalHost, HostRecord, or "" for progress
	object   *unstructured.Unstructured
	gone     bool
	reset    []*unstructured.Unstructured // all there are of a kind
	name     string
	progress explain.Progress
	err      error
}

// follow hands out the hosts whenever something changed, and once a second, until
// show says that it is done or the context ends.
func (c *api) follow(ctx context.Context, show func(view) (done bool, err error)) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	events := make(chan event)
	send := func(e event) bool {
		select {
		case events <- e:
			return true
		case <-ctx.Done():
			return false
		}
	}
	go c.watch(ctx, hostKind(), send)
	go c.watch(ctx, v1alpha1.GroupVersion.WithKind("HostRecord"), send)
	go c.streamProgress(ctx, send)

	v := view{progress: map[string]explain.Progress{}}
	records := map[string]*v1alpha1.HostRecord{}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case e := <-events:
			if e.err != nil {
				return e.err
			}
			if err := v.take(e, records); err != nil {
				return err
			}
		}
		if v.hosts == nil {
			continue // the first list has not come
		}
		if done, err := show(v); done || err != nil {
			return err
		}
	}
}

func (v *view) take(e event, records map[string]*v1alpha1.HostRecord) error {
	switch {
	case e.kind == "":
		v.progress[e.name] = e.progress
		return nil
	case e.kind == "HostRecord":
		if e.reset != nil {
			clear(records)
		}
		for _, u := range append(e.reset, e.object) {
			if u == nil {
				continue
			}
			if e.gone {
				delete(records, u.GetName())
				continue
			}
			r := &v1alpha1.HostRecord{}
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, r); err != nil {
				return fmt.Errorf("read HostRecord %s: %w", u.GetName(), err)
			}
			records[u.GetName()] = r
		}
	default:
		if e.reset != nil {
			v.hosts = map[string]host{}
		}
		for _, u := range append(e.reset, e.object) {
			if u == nil {
				continue
			}
			if e.gone {
				delete(v.hosts, u.GetName())
				continue
			}
			h, err := newHost(u)
			if err != nil {
				return err
			}
			v.hosts[h.name()] = h
		}
	}
	for name, h := range v.hosts {
		h.record = records[name]
		v.hosts[name] = h
	}
	return nil
}

// watch lists a kind, then sends its changes, and lists again when the stream
// breaks. An API that lacks the kind has none.
func (c *api) watch(ctx context.Context, kind schema.GroupVersionKind, send func(event) bool) {
	const again = time.Second
	for first := true; ctx.Err() == nil; first = false {
		l := &unstructured.UnstructuredList{}
		l.SetGroupVersionKind(kind)
		err := c.List(ctx, l, client.InNamespace(c.namespace))
		if absent(err) && kind != hostKind() {
			return
		}
		if err != nil && first {
			send(event{err: err})
			return
		}
		if err == nil {
			all := make([]*unstructured.Unstructured, 0, len(l.Items))
			for i := range l.Items {
				all = append(all, &l.Items[i])
			}
			if !send(event{kind: kind.Kind, reset: all}) {
				return
			}
			w, err := c.Watch(ctx, l, client.InNamespace(c.namespace), &client.ListOptions{Raw: rawFrom(l)})
			if err == nil {
				if !relay(ctx, w, kind.Kind, send) {
					return
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}

// relay sends what a watch brings until it breaks.
func relay(ctx context.Context, w watch.Interface, kind string, send func(event) bool) bool {
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case e, ok := <-w.ResultChan():
			u, is := e.Object.(*unstructured.Unstructured)
			if !ok || !is || e.Type == watch.Error {
				return true
			}
			if e.Type == watch.Bookmark {
				continue
			}
			if !send(event{kind: kind, object: u, gone: e.Type == watch.Deleted}) {
				return false
			}
		}
	}
}

// progressLine is a line of GET /progress/v1.
type progressLine struct {
	Host   string `json:"host"` // namespace/name
	Step   string `json:"step"`
	Done   int64  `json:"done"`
	Total  int64  `json:"total"`
	Unit   string `json:"unit"`
	Detail string `json:"detail"`
}

// streamProgress sends what the server streams. Progress is an extra: without it
// the objects alone are shown.
func (c *api) streamProgress(ctx context.Context, send func(event) bool) {
	const again = 5 * time.Second
	for ctx.Err() == nil {
		if d, err := c.doors(ctx); err == nil {
			c.readProgress(ctx, d, send)
		}
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}

func (c *api) readProgress(ctx context.Context, d *doors, send func(event) bool) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.https+"/progress/v1", nil)
	if err != nil {
		return
	}
	resp, err := d.http.Do(req)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return
	}
	const longest = 16 << 10
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, longest)
	for lines.Scan() {
		var l progressLine
		if json.Unmarshal(lines.Bytes(), &l) != nil {
			continue
		}
		name, mine := inNamespace(l.Host, c.namespace)
		if !mine {
			continue
		}
		if !send(event{name: name, progress: explain.Progress{Done: l.Done, Total: l.Total, Unit: l.Unit, Detail: l.Detail}}) {
			return
		}
	}
}
