package diff

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// answer is what a door said to one step, made alike.
type answer struct {
	Do      string            `json:"do"`
	Status  int               `json:"status,omitempty"` // 0: not asked
	Headers map[string]string `json:"headers,omitempty"`
	Body    any               `json:"body,omitempty"`
	Keys    string            `json:"keys,omitempty"`  // instead of the body, where they alone count
	Error   any               `json:"error,omitempty"` // the inner object of an error, or what came instead of JSON
	Note    string            `json:"note,omitempty"`  // of a wait, or why it was not asked
}

// patience bounds a wait for a state.
const patience = 20 * time.Second

// headers are those that count, and what goes without saying.
var headers = map[string]func(step) string{
	"Allow":                                  func(step) string { return "" },
	"Location":                               func(step) string { return "" },
	"X-Openstack-Ironic-Api-Version":         func(s step) string { return cmp.Or(s.version, "1.1") },
	"X-Openstack-Ironic-Api-Minimum-Version": func(step) string { return "1.1" },
}

// head is how an answer begins.
type head struct {
	StatusCode int
	Header     http.Header
}

// door is one that is asked.
type door struct {
	base string // http://127.0.0.1:6385
	vars map[string]string
	last int      // status of the last change
	made []string // URLs
}

func newDoor(base string) *door {
	return &door{base: strings.TrimRight(base, "/"), vars: map[string]string{}, last: http.StatusOK}
}

// run takes a script through the door.
func (d *door) run(ctx context.Context, steps []step) ([]answer, error) {
	defer d.clear(ctx)
	out := make([]answer, 0, len(steps))
	for _, s := range steps {
		a, err := d.step(ctx, s)
		if err != nil {
			return out, fmt.Errorf("%s: %w", s.name, err)
		}
		a.Do = s.name
		out = append(out, a)
	}
	return out, nil
}

// clear deletes what the script made and left, the last first.
func (d *door) clear(ctx context.Context) {
	for _, url := range slices.Backward(d.made) {
		path := strings.TrimPrefix(url, d.base)
		if strings.HasPrefix(path, "/v1/nodes/") {
			_, _, _ = d.send(ctx, http.MethodPut, path+"/maintenance", "1.82", "{}") // may be gone
		}
		_, _, _ = d.send(ctx, http.MethodDelete, path, "1.82", "")
	}
}

func (d *door) step(ctx context.Context, s step) (answer, error) {
	path, missing := d.expand(s.path)
	body, more := d.expand(s.body)
	if missing = append(missing, more...); len(missing) > 0 {
		return answer{Note: "not asked: there is no " + strings.Join(missing, ", ")}, nil
	}
	if s.method == "wait" {
		return d.wait(ctx, s, path)
	}
	method, keys := s.method, false
	if method == "KEYS" {
		method, keys = http.MethodGet, true
	}
	res, text, err := d.send(ctx, method, path, s.version, body)
	if err != nil {
		return answer{}, err
	}
	if method != http.MethodGet {
		d.last = res.StatusCode
	}
	if url := res.Header.Get("Location"); res.StatusCode == http.StatusCreated && url != "" {
		d.made = append(d.made, url)
	}
	a := answer{Status: res.StatusCode}
	var v any
	if len(text) > 0 {
		if err := json.Unmarshal(text, &v); err != nil {
			a.Error = "not JSON"
			return a, nil
		}
	}
	for name, field := range s.save {
		if value, ok := member(v, field).(string); ok && res.StatusCode < 300 {
			d.vars[name] = value
		}
	}
	n := d.normaliser()
	for h, usual := range headers {
		if value := res.Header.Get(h); value != usual(s) {
			if a.Headers == nil {
				a.Headers = map[string]string{}
			}
			a.Headers[h] = n.header(h, value)
		}
	}
	if inner, ok := inside(v); ok {
		a.Error = clipped(n.value("", inner))
	} else if m, ok := v.(map[string]any); ok && keys {
		a.Keys = strings.Join(slices.Sorted(maps.Keys(m)), " ")
	} else {
		a.Body = n.value("", v)
		if method != http.MethodGet {
			a.Body = filled(a.Body)
		}
	}
	return a, nil
}

// filled is a document without its empty members. A change answers with the whole
// node; the requests that read one have every member of it.
func filled(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	maps.DeleteFunc(m, func(_ string, v any) bool {
		switch v := v.(type) {
		case nil:
			return true
		case bool:
			return !v
		case string:
			return v == ""
		case []any:
			return len(v) == 0 || strings.HasPrefix(fmt.Sprint(v[0]), "self ")
		case map[string]any:
			return len(v) == 0
		}
		return false
	})
	return m
}

// clipped is an error whose text is not a page long.
func clipped(v any) any {
	const most = 200
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	for k, e := range m {
		if text, ok := e.(string); ok && len(text) > most {
			m[k] = strings.ToValidUTF8(text[:most], "") + "…"
		}
	}
	return m
}

// inside takes the inner object out of an error.
func inside(v any) (any, bool) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, false
	}
	switch text := m["error_message"].(type) {
	case string:
		var inner any
		if json.Unmarshal([]byte(text), &inner) != nil {
			return text, true
		}
		return inner, true
	case map[string]any:
		return map[string]any{"encoded once": text}, true
	}
	return nil, false
}

// member is what a path of names with dots leads to.
func member(v any, path string) any {
	for _, name := range strings.Split(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

// wait asks until a field has a value. After a change that was refused there is
// nothing to wait for.
func (d *door) wait(ctx context.Context, s step, path string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var last answer
	for {
		res, text, err := d.send(ctx, http.MethodGet, path, s.version, "")
		switch {
		case err != nil && ctx.Err() != nil && last.Note != "":
			return last, nil
		case err != nil:
			return answer{}, err
		}
		var v map[string]any
		_ = json.Unmarshal(text, &v) // what is no JSON has no such field
		got := fmt.Sprint(v[s.field])
		switch {
		case got == s.value && v["reservation"] == nil: // Ironic lets go of a node some time after its state says so
			return answer{Status: res.StatusCode, Note: "reached"}, nil
		case d.last >= 300 || res.StatusCode >= 300:
			return answer{Status: res.StatusCode, Note: "refused before"}, nil
		}
		last = answer{Status: res.StatusCode, Note: fmt.Sprintf("not reached: %s (%v)", got, v["last_error"])}
		select {
		case <-ctx.Done():
			return last, nil
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// expand puts the variables in.
func (d *door) expand(text string) (string, []string) {
	var out strings.Builder
	var missing []string
	for {
		before, after, ok := strings.Cut(text, "$")
		out.WriteString(before)
		if !ok {
			return out.String(), missing
		}
		n := 0
		for n < len(after) && (after[n] >= 'a' && after[n] <= 'z' || after[n] >= '0' && after[n] <= '9') {
			n++
		}
		value, known := d.vars[after[:n]]
		if !known {
			missing = append(missing, after[:n])
		}
		out.WriteString(value)
		text = after[n:]
	}
}

func (d *door) send(ctx context.Context, method, path, version, body string) (head, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, d.base+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return head{}, nil, err
	}
	if version != "" {
		req.Header.Set("X-Openstack-Ironic-Api-Version", version)
	}
	req.Header.Set("Accept", "application/json")
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	// Redirects are answers too: nobody follows them here.
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return head{}, nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	return head{res.StatusCode, res.Header}, text, err
}
