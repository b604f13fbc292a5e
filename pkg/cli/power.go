package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"github.com/spf13/cobra"
)

func (a *App) powerCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "power on|off|reboot HOST...",
		Short: "Switch hosts on or off, or restart them",
		Example: `  ingot power on w1 w2 --wait
  ingot power off w1
  ingot power reboot w1 --hard`,
		Args: func(*cobra.Command, []string) error {
			return Usage("say what to do: ingot power on, off or reboot HOST...")
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	c.AddCommand(
		a.powerVerb("on", "Switch hosts on", false),
		a.powerVerb("off", "Switch hosts off, the operating system is asked first", false),
		a.powerVerb("reboot", "Restart hosts that are on", true),
	)
	return c
}

func (a *App) powerVerb(verb, short string, reboot bool) *cobra.Command {
	var w waiting
	var hard bool
	c := &cobra.Command{
		Use:     verb + " HOST...",
		Short:   short,
		Example: "  ingot power " + verb + " w1 --wait",
		Args:    someHosts,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			return a.power(cmd.Context(), c, verb, hard, args, w)
		},
	}
	w.flags(c)
	if reboot {
		c.Flags().BoolVar(&hard, "hard", false, "do not ask the operating system first")
	}
	return c
}

func (a *App) power(ctx context.Context, c *api, verb string, hard bool, names []string, w waiting) error {
	hosts, err := c.hosts(ctx, names)
	if err != nil {
		return err
	}
	var refused []error
	for _, h := range hosts {
		refused = append(refused, canPower(h, verb))
	}
	if err := errors.Join(refused...); err != nil {
		return err
	}
	patch := map[string]any{"spec": map[string]any{"online": verb == "on"}}
	if verb == "reboot" {
		mode := `{"mode":"soft"}`
		if hard {
			mode = `{"mode":"hard"}`
		}
		patch = map[string]any{"metadata": map[string]any{"annotations": map[string]any{metal3.RebootAnnotationPrefix: mode}}}
	}
	for _, h := range hosts {
		if verb == "off" && h.consumer() != "" {
			fmt.Fprintf(a.Err, "note: %s is held by %s, which may switch it on again\n", h.name(), h.consumer())
		}
		if err := c.change(ctx, h, func(h host) error { return canPower(h, verb) }, patch); err != nil {
			return err
		}
		fmt.Fprintf(a.Out, "%s: power %s asked for\n", h.name(), verb)
	}
	return a.wait(ctx, c, hosts, w, "power "+verb, func(h host) bool {
		switch verb {
		case "on":
			return h.bmh.Status.PoweredOn
		case "off":
			return !h.bmh.Status.PoweredOn
		}
		_, asked := h.bmh.Annotations[metal3.RebootAnnotationPrefix]
		return !asked && h.bmh.Status.PoweredOn
	})
}

// canPower refuses what would have no effect, or another than is meant.
func canPower(h host, verb string) error {
	if err := managed(h); err != nil {
		return err
	}
	switch verb {
	case "off":
		if h.bmh.Spec.DisablePowerOff {
			return fmt.Errorf("%s is never to be switched off: spec.disablePowerOff is true", h.name())
		}
		switch h.state() {
		case metal3.StateInspecting, metal3.StatePreparing, metal3.StateProvisioning, metal3.StateDeprovisioning:
			return fmt.Errorf("%s is %s and needs its power: wait until that is done (ingot explain %s)", h.name(), h.state(), h.name())
		}
	case "reboot":
		switch h.state() {
		case metal3.StateProvisioned, metal3.StateExternallyProvisioned:
		default:
			return fmt.Errorf("%s is %s: only a host with an operating system is restarted", h.name(), shownState(h))
		}
		if !h.bmh.Spec.Online {
			return fmt.Errorf("%s is to be off: use ingot power on %s", h.name(), h.name())
		}
	}
	return nil
}

func shownState(h host) string {
	if s := h.state(); s != metal3.StateNone {
		return string(s)
	}
	return "new"
}

// waiting are the flags --wait and --timeout.
type waiting struct {
	wait    bool
	timeout time.Duration
}

func (w *waiting) flags(c *cobra.Command) {
	c.Flags().BoolVar(&w.wait, "wait", false, "wait until it is done, and show progress")
	c.Flags().DurationVar(&w.timeout, "timeout", 0, "give up waiting after this long, like 30m (0: never)")
}
