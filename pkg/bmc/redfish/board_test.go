package redfish

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// board is a fake BMC whose writes go to a hook.
type board struct {
	*fake
	sent   []boardWrite
	handle func(b *board, w boardWrite) boardReply // with the lock held
}

type boardWrite struct {
	Method, Path, Match string
	Body                string // as it was sent
	json                map[string]any
}

type boardReply struct {
	code           int // 0: 204
	location, body string
}

func newBoard(t *testing.T, handle func(b *board, w boardWrite) boardReply) *board {
	b := &board{fake: newFake(t), handle: handle}
	b.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet || strings.Contains(r.URL.Path, "/SessionService/") {
			return false
		}
		var buf bytes.Buffer
		_, _ = buf.ReadFrom(r.Body)
		in := boardWrite{Method: r.Method, Path: r.URL.Path, Match: r.Header.Get("If-Match"), Body: buf.String()}
		d := json.NewDecoder(bytes.NewReader(buf.Bytes()))
		d.UseNumber()
		_ = d.Decode(&in.json)
		b.mu.Lock()
		b.sent = append(b.sent, in)
		out := b.handle(b, in)
		b.mu.Unlock()
		if out.location != "" {
			w.Header().Set("Location", out.location)
		}
		if out.code == 0 {
			out.code = http.StatusNoContent
		}
		w.WriteHeader(out.code)
		fmt.Fprint(w, out.body)
		return true
	}
	return b
}

// dialBoard opens the board's system with quirks.
func dialBoard(t *testing.T, h http.Handler, q ...quirk.Name) *System {
	t.Helper()
	set := quirk.Set{}
	for _, n := range q {
		set[n] = true
	}
	s, err := dial(t, serve(t, h), admin, Options{Quirks: set})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// edit changes a document.
func (b *board) edit(path string, change func(doc map[string]any)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(b.docs[path])
}
