package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ingot-metal/ingot/pkg/explain"
)

// maxLastLines are asked for at once; the server has no more.
const maxLastLines = 2000

func (a *App) consoleCommand() *cobra.Command {
	var readOnly bool
	var last int
	c := &cobra.Command{
		Use:   "console HOST",
		Short: "Sit at a host's serial console",
		Long: `Sit at a host's serial console: what the machine prints is shown, what is typed
goes to it. At the beginning of a line ~. leaves, ~? lists what else there is. One
may type at a time; others watch with --read-only, as happens by itself where there
is no terminal.

--last shows what was recorded: while an operation boots the machine, its console is
(ingot serve --record-consoles, annotation ingot.dev/console).`,
		Example: `  ingot console w1
  ingot console w1 --read-only | tee w1.log
  ingot console w1 --last              # the last 200 recorded lines
  ingot console w1 --last=1000`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 2 && last > 0 { // --last 50
				if n, err := strconv.Atoi(args[1]); err == nil {
					last = n
					args = args[:1]
				}
			}
			if last < 0 || last > maxLastLines {
				return Usage("--last: 1 to %d lines", maxLastLines)
			}
			return oneHost(nil, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			if _, err := c.host(cmd.Context(), args[0]); err != nil {
				return err
			}
			d, err := c.doors(cmd.Context())
			if err != nil {
				return err
			}
			if last > 0 {
				return a.consoleLast(cmd.Context(), c, d, args[0], last)
			}
			return a.console(cmd.Context(), c, d, args[0], readOnly || !a.Terminal)
		},
	}
	f := c.Flags()
	f.BoolVar(&readOnly, "read-only", false, "watch, and type nothing")
	f.IntVar(&last, "last", 0, "show so many of the lines that were recorded, and end (without a number: 200)")
	f.Lookup("last").NoOptDefVal = "200"
	return c
}

func (d *doors) consoleURL(namespace, name string) string {
	return d.https + "/console/v1/" + url.PathEscape(namespace) + "/" + url.PathEscape(name)
}

// printedLines is the answer to ?last=.
type printedLines struct {
	Of     string    `json:"of"`
	At     time.Time `json:"at"`
	Code   string    `json:"code"`
	Status string    `json:"status"`
	Lines  []string  `json:"lines"`
}

// lastLines asks for what was recorded of a console.
func (d *doors) lastLines(ctx context.Context, namespace, name string, n int, more string) (printedLines, error) {
	var out printedLines
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.consoleURL(namespace, name)+"?last="+strconv.Itoa(n)+more, nil)
	if err != nil {
		return out, err
	}
	resp, err := d.http.Do(req)
	if err != nil {
		return out, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return out, refusal(resp)
	}
	const limit = 16 << 20
	if err := json.NewDecoder(io.LimitReader(resp.Body, limit)).Decode(&out); err != nil {
		return out, fmt.Errorf("answer: %w", err)
	}
	for i, s := range out.Lines {
		out.Lines[i] = oneLine(s)
	}
	return out, nil
}

// refusal is what the door says instead.
func refusal(resp *http.Response) error {
	const limit = 4 << 10
	text, _ := io.ReadAll(io.LimitReader(resp.Body, limit))
	if s := oneLine(strings.TrimSpace(string(text))); s != "" {
		return errors.New(s)
	}
	return errors.New(resp.Status)
}

func (a *App) consoleLast(ctx context.Context, c *api, d *doors, name string, n int) error {
	p, err := d.lastLines(ctx, c.namespace, name, n, "")
	if err != nil {
		return fmt.Errorf("console of %s: %w", name, err)
	}
	switch {
	case p.Of == "failure":
		fmt.Fprintf(a.Err, "what %s printed before it failed (%s) at %s:\n", name, p.Code, p.At.Local().Format(time.DateTime))
	case p.Status != "":
		fmt.Fprintf(a.Err, "the recording of %s is %s:\n", name, oneLine(p.Status))
	}
	_, err = fmt.Fprintln(a.Out, strings.Join(p.Lines, "\n"))
	return err
}

// consoleOfFailure is what the machine printed before the problem that the host
// stands at, or why there is nothing of it. A server that does not answer costs a
// moment, and nothing is said of the console then.
func (c *api) consoleOfFailure(ctx context.Context, h host) (lines []string, none string) {
	if h.record == nil || h.record.Status.Problem == nil || h.record.Status.Console == nil {
		return nil, ""
	}
	ref, p := h.record.Status.Console, h.record.Status.Problem
	if p.Since == nil || !p.Since.Time.Equal(ref.At.Time) { // of an earlier one
		return nil, ""
	}
	if ref.Digest == "" {
		return nil, ref.None
	}
	const patience = 1500 * time.Millisecond
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	d, err := c.doors(ctx)
	if err != nil {
		return nil, ""
	}
	const kept = 200
	got, err := d.lastLines(ctx, c.namespace, h.name(), kept, "&of=failure")
	if err != nil || !got.At.Equal(ref.At.Time) {
		return nil, ""
	}
	return got.Lines, ""
}

// errLeft ends a console that a person left.
var errLeft = errors.New("left")

// console shows a console and, unless it is read only, types at it.
func (a *App) console(ctx context.Context, c *api, d *doors, name string, readOnly bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.consoleURL(c.namespace, name), nil)
	if err != nil {
		return err
	}
	if !readOnly {
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "ingot-console")
	}
	fmt.Fprintf(a.Err, "opening the console of %s …\n", name)
	resp, err := d.http.Do(req)
	if err != nil {
		return fmt.Errorf("console of %s: %w", name, err)
	}
	defer resp.Body.Close()
	began := a.Now()
	left := func(err error) error {
		if err == nil || errors.Is(err, errLeft) {
			fmt.Fprintf(a.Err, "\r\nleft the console of %s after %s\r\n", name, explain.Duration(a.Now().Sub(began)))
			return nil
		}
		return fmt.Errorf("console of %s: the connection to ingot ended: %w", name, err)
	}
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols:
	case resp.StatusCode == http.StatusOK && readOnly:
		if a.Terminal {
			fmt.Fprint(a.Err, "watching; Ctrl-C leaves\n")
		}
		_, err := io.Copy(a.Out, resp.Body)
		if ctx.Err() != nil {
			return left(nil)
		}
		return left(endOf(err))
	default:
		return fmt.Errorf("console of %s: %w", name, refusal(resp))
	}
	machine, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		return fmt.Errorf("console of %s: this connection cannot be typed into; use --read-only", name)
	}
	fmt.Fprint(a.Err, "connected; ~. at the beginning of a line leaves, ~? for help\n")
	restore, err := a.raw()
	if err != nil {
		return fmt.Errorf("switch the terminal: %w", err)
	}
	defer restore()
	err = a.attach(ctx, machine)
	restore()
	return left(err)
}

// attach joins the person and the machine until one of the two leaves.
func (a *App) attach(ctx context.Context, machine io.ReadWriteCloser) error {
	ended := make(chan error, 2)
	shown := make(chan struct{})
	defer func() {
		_ = machine.Close()
		<-shown
	}()
	go func() {
		defer close(shown)
		_, err := io.Copy(a.Out, machine)
		ended <- endOf(err)
	}()
	go func() { // stays behind at a read of the terminal, which the process's end ends
		_, err := io.Copy(&typist{machine: machine, screen: a.Err, fresh: true}, a.In)
		if err == nil {
			err = errLeft // the end of what is typed
		}
		ended <- err
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return errLeft
	}
}

func endOf(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

// raw has the terminal hand over every key as it is. What is returned makes it as
// it was, and may be called again.
func (a *App) raw() (restore func(), err error) {
	f, ok := a.In.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func() {}, nil
	}
	was, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	return func() { _ = term.Restore(int(f.Fd()), was) }, nil
}

// escapeHelp is in the carriage returns of a raw terminal.
const escapeHelp = "\r\n~.  leave the console\r\n~~  type ~\r\n~?  this help\r\n(at the beginning of a line)\r\n"

// typist passes on what is typed, save the escapes of ssh and ipmitool.
type typist struct {
	machine io.Writer
	screen  io.Writer
	fresh   bool // at the beginning of a line
	tilde   bool // that began the line, and is held back
}

// Write implements io.Writer; errLeft says that the person left.
func (t *typist) Write(b []byte) (int, error) {
	out := make([]byte, 0, len(b)+1)
	flush := func() error {
		if len(out) == 0 {
			return nil
		}
		_, err := t.machine.Write(out)
		out = out[:0]
		return err
	}
	for _, c := range b {
		switch {
		case t.tilde:
			t.tilde = false
			switch c {
			case '.':
				return len(b), errors.Join(errLeft, flush())
			case '?':
				if _, err := io.WriteString(t.screen, escapeHelp); err != nil {
					return 0, err
				}
				continue // still at the beginning
			case '~':
				out = append(out, '~')
			default:
				out = append(out, '~', c)
			}
			t.fresh = c == '\r' || c == '\n'
		case t.fresh && c == '~':
			t.tilde = true
		default:
			out = append(out, c)
			t.fresh = c == '\r' || c == '\n'
		}
	}
	return len(b), flush()
}
