package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/explain"
)

func (a *App) hostsCommand() *cobra.Command {
	out := output{formats: []string{"json", "yaml", "wide", "name"}}
	var live bool
	c := &cobra.Command{
		Use:   "hosts [HOST...]",
		Short: "List hosts: state, power, what is wrong, what is being done",
		Example: `  ingot hosts
  ingot hosts --watch            # live
  ingot hosts w1 w2 -o wide
  ingot hosts -o json            # a List of BareMetalHosts`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if live && out.format != "" && out.format != "wide" {
				return Usage("--watch shows a table; for objects use kubectl get bmh --watch -o %s", out.format)
			}
			c, err := a.connect()
			if err != nil {
				return err
			}
			if live {
				return a.watchHosts(cmd.Context(), c, args, out.format == "wide")
			}
			return a.listHosts(cmd.Context(), c, args, &out)
		},
	}
	c.Flags().StringVarP(&out.format, "output", "o", "", "json, yaml, wide or name")
	c.Flags().BoolVarP(&live, "watch", "w", false, "go on showing changes, until Ctrl-C")
	return c
}

func (a *App) listHosts(ctx context.Context, c *api, names []string, out *output) error {
	hosts, err := c.all(ctx, names)
	if err != nil {
		return err
	}
	raws := make([]*unstructured.Unstructured, len(hosts))
	for i, h := range hosts {
		raws[i] = h.raw
	}
	if done, err := out.print(a.Out, list(raws)); done || err != nil {
		return err
	}
	if len(hosts) == 0 {
		fmt.Fprintf(a.Err, "There is no host in namespace %s. Add some with: ingot enroll FILE.csv (or: ingot lab up)\n", c.namespace)
		return nil
	}
	rows := [][]string{columns(out.format == "wide")}
	for _, h := range hosts {
		rows = append(rows, a.row(h, nil, out.format == "wide"))
	}
	return table(a.Out, rows)
}

// all reads the hosts of the namespace, or those that are named.
func (c *api) all(ctx context.Context, names []string) ([]host, error) {
	if len(names) > 0 {
		return c.hosts(ctx, names)
	}
	l := &unstructured.UnstructuredList{}
	l.SetGroupVersionKind(hostKind())
	if err := c.List(ctx, l, client.InNamespace(c.namespace)); err != nil {
		return nil, err
	}
	var records v1alpha1.HostRecordList
	if err := c.List(ctx, &records, client.InNamespace(c.namespace)); err != nil && !absent(err) {
		return nil, err
	}
	byName := map[string]*v1alpha1.HostRecord{}
	for i := range records.Items {
		byName[records.Items[i].Name] = &records.Items[i]
	}
	hosts := make([]host, 0, len(l.Items))
	for i := range l.Items {
		h, err := newHost(&l.Items[i])
		if err != nil {
			return nil, err
		}
		h.record = byName[h.name()]
		hosts = append(hosts, h)
	}
	return hosts, nil
}

func columns(wide bool) []string {
	c := []string{"NAME", "STATE", "POWER", "ERROR", "SINCE", "DOING", "BMC"}
	if wide {
		c = append(c, "MAC", "CONSUMER", "IMAGE")
	}
	return c
}

func (a *App) row(h host, p *explain.Progress, wide bool) []string {
	since := ""
	if t := h.since(); !t.IsZero() {
		since = explain.Duration(a.Now().Sub(t))
	}
	state := string(h.state())
	if h.bmh.DeletionTimestamp != nil && !strings.Contains(state, "delet") {
		state += " (deleting)"
	}
	row := []string{h.name(), state, h.power(), h.problem(), since, h.doing(p), h.bmh.Spec.BMC.Address}
	if wide {
		image := ""
		if h.bmh.Spec.Image != nil {
			image = h.bmh.Spec.Image.URL
		}
		row = append(row, h.bmh.Spec.BootMACAddress, h.consumer(), image)
	}
	return row
}

// doing is the work in progress, or why there is none.
func (h host) doing(p *explain.Progress) string {
	switch {
	case h.detached():
		return "detached"
	case h.paused() != "":
		return "paused"
	case h.record == nil:
		return ""
	}
	s := h.record.Status
	if op := s.Operation; op != nil {
		return explain.Operation{Kind: op.Kind, Phase: op.Phase, Progress: p}.String()
	}
	if s.Problem != nil && s.Problem.NextTry != nil {
		return "next try " + s.Problem.NextTry.Local().Format(time.TimeOnly)
	}
	if s.Problem != nil && s.WaitsFor != "" {
		return "waits for " + s.WaitsFor
	}
	return ""
}

// watchHosts shows a table that is drawn anew on a terminal, and a line for every
// change elsewhere.
func (a *App) watchHosts(ctx context.Context, c *api, names []string, wide bool) error {
	shown := map[string]string{}
	drawn := time.Time{}
	header := true
	err := c.follow(ctx, func(v view) (bool, error) {
		hosts := slices.DeleteFunc(v.sorted(), func(h host) bool {
			return len(names) > 0 && !slices.Contains(names, h.name())
		})
		var rows [][]string
		for _, h := range hosts {
			rows = append(rows, a.row(h, v.of(h), wide))
		}
		if a.Terminal {
			// Not more often than a person can read.
			if now := a.Now(); now.Sub(drawn) >= 250*time.Millisecond {
				drawn = now
				width, height := a.size()
				return false, draw(a.Out, append([][]string{columns(wide)}, rows...), width, height)
			}
			return false, nil
		}
		return false, a.printChanged(rows, shown, &header, wide)
	})
	if errors.Is(err, context.Canceled) {
		return nil // Ctrl-C is how it ends
	}
	return err
}

// printChanged prints the rows that differ in more than the time that passed.
func (a *App) printChanged(rows [][]string, shown map[string]string, header *bool, wide bool) error {
	const since = 4
	var changed [][]string
	for _, row := range rows {
		key := strings.Join(slices.Concat(row[:since], row[since+1:]), "\x00")
		if shown[row[0]] != key {
			shown[row[0]] = key
			changed = append(changed, row)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	if *header {
		changed = append([][]string{columns(wide)}, changed...)
		*header = false
	}
	return table(a.Out, changed)
}

// draw puts a table at the top of the screen and clears what was there (ECMA-48:
// CUP, then EL for each line and ED below). What would wrap or scroll is cut off:
// it would be drawn at another place each time.
func draw(w io.Writer, rows [][]string, width, height int) error {
	var b strings.Builder
	if err := table(&b, rows); err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if room := max(height-1, 2); len(lines) > room {
		more := len(lines) - (room - 1)
		lines = append(lines[:room-1], fmt.Sprintf("… and %d more: ingot hosts NAME... --watch shows some", more))
	}
	var text strings.Builder
	text.WriteString("\x1b[H")
	for _, line := range lines {
		if r := []rune(line); len(r) > width {
			line = string(r[:max(width-1, 0)]) + "…"
		}
		text.WriteString(line + "\x1b[K\n")
	}
	text.WriteString("\x1b[J")
	_, err := io.WriteString(w, text.String())
	return err
}

// size of the terminal, or the usual one if it does not say.
func (a *App) size() (width, height int) {
	if f, ok := a.Out.(*os.File); ok {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil && w > 0 && h > 0 {
			return w, h
		}
	}
	return 80, 24
}

// of is the progress of a host, if there is work that it belongs to.
func (v view) of(h host) *explain.Progress {
	p, ok := v.progress[h.name()]
	if !ok || h.record == nil || h.record.Status.Operation == nil || h.record.Status.Operation.StepID == "" {
		return nil
	}
	return &p
}

// rawFrom makes a watch go on where a list ended.
func rawFrom(l *unstructured.UnstructuredList) *metav1.ListOptions {
	return &metav1.ListOptions{ResourceVersion: l.GetResourceVersion(), AllowWatchBookmarks: true}
}

// inNamespace splits namespace/name; a bare name is anybody's.
func inNamespace(key, namespace string) (string, bool) {
	ns, name, found := strings.Cut(key, "/")
	if !found {
		return key, true
	}
	return name, ns == namespace
}
