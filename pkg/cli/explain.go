package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/explain"
)

func (a *App) explainCommand() *cobra.Command {
	out := output{formats: []string{"json"}}
	c := &cobra.Command{
		Use:   "explain HOST",
		Short: "Say what a host does, waits for, what went wrong and what to do",
		Example: `  ingot explain w1
  ingot explain w1 -o json | jq -r .code`,
		Args: oneHost,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			c, err := a.connect()
			if err != nil {
				return err
			}
			r, err := a.explain(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			if out.format == "json" {
				enc := json.NewEncoder(a.Out)
				enc.SetIndent("", "  ")
				return enc.Encode(r)
			}
			_, err = fmt.Fprint(a.Out, r.Text())
			return err
		},
	}
	c.Flags().StringVarP(&out.format, "output", "o", "", "json")
	return c
}

func (a *App) explain(ctx context.Context, c *api, name string) (explain.Report, error) {
	h, err := c.host(ctx, name)
	if err != nil {
		return explain.Report{}, err
	}
	var timeline v1alpha1.HostTimeline
	if err := c.Get(ctx, c.key(name), &timeline); err != nil && !absent(err) {
		return explain.Report{}, err
	}
	r := explain.Explain(h.input(a.Now(), timeline.Entries, c.progressNow(ctx, h)))
	r.Console, r.NoConsole = c.consoleOfFailure(ctx, h)
	return r, nil
}

// progressNow asks the server how far the host's work is, and does without where
// there is no answer at once.
func (c *api) progressNow(ctx context.Context, h host) *explain.Progress {
	if h.record == nil || h.record.Status.Operation == nil || h.record.Status.Operation.StepID == "" {
		return nil
	}
	const patience = 1500 * time.Millisecond // the agent reports once a second
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	d, err := c.doors(ctx)
	if err != nil {
		return nil
	}
	var found *explain.Progress
	c.readProgress(ctx, d, func(e event) bool {
		if e.name == h.name() {
			found = &e.progress
		}
		return found == nil
	})
	return found
}
