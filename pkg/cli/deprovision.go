package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"github.com/spf13/cobra"
)

func (a *App) deprovisionCommand() *cobra.Command {
	var w waiting
	var yes bool
	c := &cobra.Command{
		Use:   "deprovision HOST...",
		Short: "Take hosts back: their system is stopped and their disks cleaned",
		Long: `Take hosts back. The operating system is stopped, the metadata on the disks is
erased (unless spec.automatedCleaningMode is disabled), and the host becomes
available again. What is on the disks is lost.`,
		Example: `  ingot deprovision w1
  ingot deprovision w1 w2 --yes --wait`,
		Args: someHosts,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.deprovision(cmd.Context(), args, yes, w)
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	w.flags(c)
	return c
}

func (a *App) deprovision(ctx context.Context, names []string, yes bool, w waiting) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	hosts, err := c.hosts(ctx, names)
	if err != nil {
		return err
	}
	var refused []error
	for _, h := range hosts {
		refused = append(refused, canDeprovision(h))
	}
	if err := errors.Join(refused...); err != nil {
		return err
	}
	if !yes {
		if !a.Terminal {
			return Usage("this erases the disks of %s: confirm with --yes", strings.Join(names, ", "))
		}
		if ok, err := a.ask(fmt.Sprintf("This stops %s and erases the disks. Type yes: ", strings.Join(names, ", "))); !ok || err != nil {
			return err
		}
	}
	for _, h := range hosts {
		patch := map[string]any{"spec": map[string]any{
			"image": nil, "customDeploy": nil, "userData": nil, "networkData": nil, "metaData": nil,
			// A machine without an image has no use for power, as at its enrolment.
			"online": h.bmh.Spec.DisablePowerOff,
		}}
		if err := c.change(ctx, h, canDeprovision, patch); err != nil {
			return err
		}
		fmt.Fprintf(a.Out, "%s: deprovisioning asked for\n", h.name())
	}
	return a.wait(ctx, c, hosts, w, "deprovision", func(h host) bool {
		switch h.state() {
		case metal3.StateAvailable, metal3.StateReady:
			return h.bmh.Status.Provisioning.Image.URL == ""
		}
		return false
	})
}

// canDeprovision refuses what somebody else decides about, and what has no effect.
func canDeprovision(h host) error {
	if err := looked(h); err != nil {
		return err
	}
	if by := h.consumer(); by != "" {
		return fmt.Errorf("%s is held by %s: delete that, or change it there", h.name(), by)
	}
	if h.bmh.Spec.ExternallyProvisioned {
		return fmt.Errorf("%s was provisioned by somebody else (spec.externallyProvisioned is true): there is nothing of ours to take back", h.name())
	}
	if h.bmh.Spec.Image == nil && h.bmh.Spec.CustomDeploy == nil && h.bmh.Status.Provisioning.Image.URL == "" {
		return fmt.Errorf("%s has no image: it is %s", h.name(), shownState(h))
	}
	return nil
}
