package bare

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// console is a log handler for people: "NAME: message key=value".
type console struct {
	mu    *sync.Mutex
	w     io.Writer
	name  string
	attrs string
}

// NewConsole makes a log handler for people at a serial port: one line per
// record, "name: message key=value".
func NewConsole(name string, w io.Writer) slog.Handler {
	return &console{mu: new(sync.Mutex), w: w, name: name}
}

func (c *console) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

func (c *console) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(c.name + ": ")
	if r.Level >= slog.LevelWarn {
		b.WriteString(strings.ToLower(r.Level.String()) + ": ")
	}
	b.WriteString(r.Message)
	b.WriteString(c.attrs)
	r.Attrs(func(a slog.Attr) bool {
		b.WriteString(attr(a))
		return true
	})
	b.WriteString("\r\n")
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := io.WriteString(c.w, b.String())
	return err
}

func attr(a slog.Attr) string {
	v := a.Value.String()
	if strings.ContainsAny(v, " \n") {
		v = `"` + strings.ReplaceAll(v, "\n", " ") + `"`
	}
	return " " + a.Key + "=" + v
}

func (c *console) WithAttrs(as []slog.Attr) slog.Handler {
	n := *c
	for _, a := range as {
		n.attrs += attr(a)
	}
	return &n
}

func (c *console) WithGroup(string) slog.Handler { return c }
