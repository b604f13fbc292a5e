package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/ingot-metal/ingot/pkg/explain"
)

// wait follows the hosts until each is done, or stands still at something that
// does not go away by itself. It shows a bar for each on a terminal, and a line
// for each change elsewhere.
func (a *App) wait(ctx context.Context, c *api, before []host, w waiting, what string, done func(host) bool) error {
	if !w.wait {
		return nil
	}
	if w.timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, w.timeout, fmt.Errorf("not done after %s", explain.Duration(w.timeout)))
		defer stop()
	}
	pending := map[string]host{}
	for _, h := range before {
		pending[h.name()] = h
	}
	show := a.newWaitView(ctx, before)
	defer show.close()
	started := a.Now()
	var failed []error
	err := c.follow(ctx, func(v view) (bool, error) {
		for name, old := range pending {
			h, there := v.hosts[name]
			switch {
			case !there:
				failed = append(failed, fmt.Errorf("%s is gone", name))
			case done(h):
				show.done(h, a.Now().Sub(started))
			default:
				r := explain.Explain(h.input(a.Now(), nil, v.of(h)))
				show.update(h, v.of(h), r)
				if !stuck(h, old, a.Now().Sub(started)) {
					continue
				}
				failed = append(failed, errors.New(strings.TrimRight(r.Text(), "\n")))
				show.fail(h, r)
			}
			delete(pending, name)
		}
		return len(pending) == 0, nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		names := make([]string, 0, len(pending))
		for name := range pending {
			names = append(names, name)
		}
		slices.Sort(names)
		err = fmt.Errorf("%s: %w: %s; see ingot explain %s", what, context.Cause(ctx), strings.Join(names, ", "), names[0])
	}
	show.close()
	return errors.Join(append(failed, err)...)
}

// stuck tells a host that will not move without a person: its record plans no
// further try. The problem that it had when it was changed counts only once it had
// the time to go away.
func stuck(h, before host, waited time.Duration) bool {
	if h.record == nil || h.record.Status.Problem == nil || h.record.Status.Operation != nil {
		return false
	}
	now := h.record.Status.Problem
	if now.NextTry != nil {
		return false
	}
	const grace = 10 * time.Second
	if before.record == nil || before.record.Status.Problem == nil || waited > grace {
		return true
	}
	then := before.record.Status.Problem
	return now.Code != then.Code || now.Attempts != then.Attempts || !at(now.Since).Equal(at(then.Since))
}

// waitView shows how hosts come along.
type waitView interface {
	update(h host, p *explain.Progress, r explain.Report)
	done(h host, took time.Duration)
	fail(h host, r explain.Report)
	close()
}

func (a *App) newWaitView(ctx context.Context, hosts []host) waitView {
	if !a.Terminal {
		return &lineView{w: a.Out, last: map[string]string{}}
	}
	return newBarView(ctx, a.Err, hosts)
}

// lineView prints a line when what a host does has changed, but not for progress.
type lineView struct {
	w    io.Writer
	last map[string]string
}

func (v *lineView) update(h host, _ *explain.Progress, r explain.Report) {
	text := oneLine(describe(h, r))
	if v.last[h.name()] != text {
		v.last[h.name()] = text
		fmt.Fprintf(v.w, "%s: %s\n", h.name(), text)
	}
}

func (v *lineView) done(h host, took time.Duration) {
	fmt.Fprintf(v.w, "%s: done, %s, in %s\n", h.name(), finished(h), explain.Duration(took))
}

func (v *lineView) fail(host, explain.Report) {}
func (v *lineView) close()                    {}

// describe is the state and the work or problem, without how far it is.
func describe(h host, r explain.Report) string {
	s := shownState(h)
	switch {
	case r.Code != "" && r.Next != "":
		return s + ", " + r.Code + ": " + r.So + "; " + r.Next
	case h.record != nil && h.record.Status.Operation != nil:
		op := h.record.Status.Operation
		return s + ", " + explain.Operation{Kind: op.Kind, Phase: op.Phase}.String()
	}
	return s
}

func finished(h host) string {
	if p := h.power(); p != "" {
		return shownState(h) + ", power " + p
	}
	return shownState(h)
}

// barView draws a bar for each host.
type barView struct {
	progress *mpb.Progress
	bars     map[string]*bar
}

type bar struct {
	*mpb.Bar
	text chan string // holds the latest
	last string
}

// set replaces the text; the drawing goroutine may take it at any time.
func (b *bar) set(s string) {
	select {
	case <-b.text:
	default:
	}
	b.text <- s
}

func newBarView(ctx context.Context, w io.Writer, hosts []host) *barView {
	v := &barView{progress: mpb.NewWithContext(ctx, mpb.WithOutput(w), mpb.WithWidth(100), mpb.WithAutoRefresh()), bars: map[string]*bar{}}
	width := 0
	for _, h := range hosts {
		width = max(width, len(h.name()))
	}
	for _, h := range hosts {
		b := &bar{text: make(chan string, 1)}
		b.text <- "waiting"
		v.bars[h.name()] = b
		b.Bar = v.progress.AddBar(0,
			mpb.PrependDecorators(decor.Name(fmt.Sprintf("%-*s ", width, h.name()))),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
				select {
				case b.last = <-b.text:
				default:
				}
				return b.last
			})))
	}
	return v
}

func (v *barView) update(h host, p *explain.Progress, r explain.Report) {
	b := v.bars[h.name()]
	text := describe(h, r)
	if p != nil && p.Total > 0 && r.Code == "" {
		// The state goes without saying, and the line is short.
		op := h.record.Status.Operation
		text = explain.Operation{Kind: op.Kind, Phase: op.Phase, Progress: p}.String()
		b.SetTotal(p.Total, false)
		b.SetCurrent(min(p.Done, p.Total-1)) // full is when the host is done
	}
	b.set(oneLine(text))
}

func (v *barView) done(h host, took time.Duration) {
	b := v.bars[h.name()]
	b.set("done, " + finished(h) + ", in " + explain.Duration(took))
	b.SetTotal(max(b.Current(), 1), true)
}

func (v *barView) fail(h host, r explain.Report) {
	b := v.bars[h.name()]
	b.set(oneLine(r.Code + ": " + r.So))
	b.Abort(false)
}

func (v *barView) close() {
	for _, b := range v.bars {
		if b.IsRunning() {
			b.Abort(false)
		}
	}
	v.progress.Wait()
}
