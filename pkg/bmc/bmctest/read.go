package bmctest

import (
	"context"
	"fmt"
	"strings"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// logLines bounds what the event log is asked for.
const logLines = 20

// read runs what changes nothing. A console is not opened: that would end the
// session of whoever holds it.
func (k *kit) read(ctx context.Context) {
	k.check(ctx, "identity", "who the machine is", func(ctx context.Context) (string, error) {
		id, err := k.conn.Identify(ctx)
		if err != nil {
			return "", err
		}
		if id.Protocol == "" {
			return "", broken("protocol %q", id.Protocol)
		}
		k.identity = id
		return strings.Join(strings.Fields(id.Protocol+" "+id.Manufacturer+" "+id.Model), " "), nil
	})
	reading(ctx, k, "power", "power state", func(ctx context.Context, p bmc.Power) (string, error) {
		state, err := p.PowerState(ctx)
		if err == nil && state != bmc.PowerOn && state != bmc.PowerOff {
			err = broken("power state %q", state)
		}
		return string(state), err
	})
	reading(ctx, k, "boot", "boot override", func(ctx context.Context, b bmc.Boot) (string, error) {
		o, err := b.BootOverride(ctx)
		if err == nil && o.Target == "" {
			err = broken("no target, enabled once or for good: %t, mode %q", o.Persistent, o.Mode)
		}
		return words(string(o.Target), once(o), string(o.Mode)), err
	})
	reading(ctx, k, "details", "firmware of the BMC, MAC addresses", func(ctx context.Context, d bmc.Details) (string, error) {
		id, err := d.Details(ctx, k.identity)
		if err == nil {
			k.identity = id
		}
		return fmt.Sprintf("firmware %q, %s", id.BMCVersion, count(len(id.MACs), "MAC address")), err
	})
	k.readLasting(ctx)
	k.readCondition(ctx)
}

// readLasting reads what lasts: settings, firmware, volumes, accounts.
func (k *kit) readLasting(ctx context.Context) {
	reading(ctx, k, "boot-order", "boot order", func(ctx context.Context, b bmc.BootOrder) (string, error) {
		order, err := b.BootOrder(ctx)
		for _, o := range order {
			if err == nil && o.Reference == "" {
				err = broken("an entry without a reference: %+v", o)
			}
		}
		return count(len(order), "entry"), err
	})
	reading(ctx, k, "media", "virtual drives", func(ctx context.Context, m bmc.Media) (string, error) {
		slots, err := m.Slots(ctx)
		for _, s := range slots {
			if err == nil && s.ID == "" {
				err = broken("a drive without an id: %+v", s)
			}
		}
		return count(len(slots), "drive"), err
	})
	reading(ctx, k, "bios", "BIOS settings", func(ctx context.Context, s bmc.Settings) (string, error) {
		b, err := s.BIOS(ctx)
		for name, value := range b.Attributes {
			switch value.(type) {
			case string, int64, bool:
			default:
				if err == nil {
					err = broken("attribute %s is a %T", name, value)
				}
			}
		}
		registry := "no registry"
		if b.Registry != nil {
			registry = fmt.Sprintf("registry of %d", len(b.Registry))
		}
		return count(len(b.Attributes), "attribute") + ", " + registry, err
	})
	reading(ctx, k, "secure-boot", "Secure Boot", func(ctx context.Context, s bmc.SecureBoot) (string, error) {
		state, err := s.SecureBoot(ctx)
		return fmt.Sprintf("enabled %t, in force %t %s", state.Enabled, state.Current, state.Mode), err
	})
	reading(ctx, k, "firmware", "firmware inventory", func(ctx context.Context, f bmc.Firmware) (string, error) {
		list, err := f.FirmwareInventory(ctx)
		return count(len(list), "component"), err
	})
	reading(ctx, k, "storage", "storage controllers", func(ctx context.Context, s bmc.Storage) (string, error) {
		list, err := s.Storage(ctx)
		drives, volumes := 0, 0
		for _, c := range list {
			drives, volumes = drives+len(c.Drives), volumes+len(c.Volumes)
		}
		return words(count(len(list), "controller")+",", count(drives, "drive")+",", count(volumes, "volume")), err
	})
	reading(ctx, k, "accounts", "accounts", func(ctx context.Context, a bmc.Accounts) (string, error) {
		list, err := a.Accounts(ctx)
		if err == nil && len(list) == 0 {
			err = broken("no account, although one has logged in")
		}
		return count(len(list), "account"), err
	})
	reading(ctx, k, "events", "subscriptions", func(ctx context.Context, e bmc.Events) (string, error) {
		list, err := e.Subscriptions(ctx)
		return count(len(list), "subscription"), err
	})
}

// readCondition reads what changes by itself.
func (k *kit) readCondition(ctx context.Context) {
	reading(ctx, k, "health", "health and sensors", func(ctx context.Context, h bmc.Health) (string, error) {
		r, err := h.Health(ctx)
		return words(r.Status, count(len(r.Sensors), "sensor")), err
	})
	reading(ctx, k, "log", "event log", func(ctx context.Context, l bmc.Log) (string, error) {
		entries, err := l.EventLog(ctx, logLines)
		if err == nil && len(entries) > logLines {
			err = broken("%d entries, %d were asked for", len(entries), logLines)
		}
		return count(len(entries), "entry"), err
	})
	reading(ctx, k, "indicator", "locator light", func(ctx context.Context, i bmc.Indicator) (string, error) {
		lit, err := i.Indicator(ctx)
		return map[bool]string{true: "lit", false: "dark"}[lit], err
	})
	reading(ctx, k, "inspect", "hardware without a boot", func(ctx context.Context, i bmc.Inspector) (string, error) {
		inv, err := i.Inspect(ctx)
		return words(count(len(inv.Disks), "disk")+",", count(len(inv.NICs), "NIC")), err
	})
}

// reading checks one capability, if the driver has it.
func reading[I any](ctx context.Context, k *kit, capability, name string, f func(context.Context, I) (string, error)) {
	c, ok := k.conn.(I)
	if !ok {
		return
	}
	k.check(ctx, capability, name, func(ctx context.Context) (string, error) { return f(ctx, c) })
}

func words(parts ...string) string {
	return strings.Join(strings.Fields(strings.Join(parts, " ")), " ")
}

func count(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "y"):
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(what, "y"))
	case strings.HasSuffix(what, "s"):
		return fmt.Sprintf("%d %ses", n, what)
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func once(o bmc.BootOverride) string {
	switch {
	case o.Target == bmc.BootNone:
		return ""
	case o.Persistent:
		return "until changed"
	}
	return "once"
}
