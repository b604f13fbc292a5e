package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/ingot-metal/ingot/pkg/explain"
)

func (a *App) inventoryCommand() *cobra.Command {
	out := output{formats: []string{"json", "yaml"}}
	c := &cobra.Command{
		Use:   "inventory HOST",
		Short: "Show the hardware that was found in a host",
		Example: `  ingot inventory w1
  ingot inventory w1 -o yaml       # the HardwareData object`,
		Args: oneHost,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			c, err := a.connect()
			if err != nil {
				return err
			}
			return a.inventory(cmd.Context(), c, args[0], &out)
		},
	}
	c.Flags().StringVarP(&out.format, "output", "o", "", "json or yaml")
	return c
}

func (a *App) inventory(ctx context.Context, c *api, name string, out *output) error {
	h, err := c.host(ctx, name)
	if err != nil {
		return err
	}
	if out.format != "" {
		data := &unstructured.Unstructured{}
		data.SetGroupVersionKind(metal3.GroupVersion.WithKind("HardwareData"))
		err := c.Get(ctx, c.key(name), data)
		if absent(err) {
			return notInspected(h)
		}
		if err != nil {
			return err
		}
		_, err = out.print(a.Out, data)
		return err
	}
	var data metal3.HardwareData
	hw := h.bmh.Status.HardwareDetails
	switch err := c.Get(ctx, c.key(name), &data); {
	case err == nil && data.Spec.HardwareDetails != nil:
		hw = data.Spec.HardwareDetails
	case err != nil && !absent(err):
		return err
	}
	if hw == nil {
		return notInspected(h)
	}
	return a.printInventory(name, hw)
}

func notInspected(h host) error {
	return fmt.Errorf("%s has not been inspected yet, it is %q: see ingot explain %s", h.name(), h.state(), h.name())
}

func (a *App) printInventory(name string, hw *metal3.HardwareDetails) error {
	join := func(parts ...string) string {
		return oneLine(strings.Join(strings.Fields(strings.Join(parts, " ")), " "))
	}
	v, bios, cpu := hw.SystemVendor, hw.Firmware.BIOS, hw.CPU
	fmt.Fprintf(a.Out, "%-10s %s\n", name, join(v.Manufacturer, v.ProductName))
	line := func(label, text string) {
		if text != "" {
			fmt.Fprintf(a.Out, "  %-8s %s\n", label, text)
		}
	}
	line("serial", join(v.SerialNumber))
	line("firmware", join(bios.Vendor, bios.Version, bios.Date))
	speed := ""
	if cpu.ClockMegahertz > 0 {
		speed = fmt.Sprintf("%.0f MHz", float64(cpu.ClockMegahertz))
	}
	line("cpu", join(strconv.Itoa(cpu.Count), "×", cpu.Model, cpu.Arch, speed))
	line("memory", explain.Bytes(int64(hw.RAMMebibytes)<<20))
	line("hostname", join(hw.Hostname))
	if len(hw.Storage) > 0 {
		rows := [][]string{{"DISK", "TYPE", "SIZE", "MODEL", "SERIAL", "WWN"}}
		for _, d := range hw.Storage {
			rows = append(rows, []string{d.Name, string(d.Type), explain.Bytes(int64(d.SizeBytes)), join(d.Vendor, d.Model), d.SerialNumber, d.WWN})
		}
		fmt.Fprintln(a.Out)
		if err := table(a.Out, rows); err != nil {
			return err
		}
	}
	if len(hw.NIC) > 0 {
		rows := [][]string{{"NIC", "MAC", "IP", "SPEED", "MODEL", "BOOT"}}
		for _, n := range hw.NIC {
			speed, boot := "", ""
			if n.SpeedGbps > 0 {
				speed = fmt.Sprintf("%d Gb/s", n.SpeedGbps)
			}
			if n.PXE {
				boot = "yes"
			}
			rows = append(rows, []string{n.Name, n.MAC, n.IP, speed, n.Model, boot})
		}
		fmt.Fprintln(a.Out)
		return table(a.Out, rows)
	}
	return nil
}
