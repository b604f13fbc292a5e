package rest

import (
	"net/http"
	"time"

	"github.com/ingot-metal/ingot/pkg/node"
)

func firmwareRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/nodes/{node}/firmware", since: 86, action: "baremetal:node:firmware:get", do: ofMachine(listFirmware)},
	}
}

func listFirmware(c *call, n *node.Node) (*reply, error) {
	known := []string{"component", "initial_version", "current_version", "last_version_flashed"}
	if c.version >= 114 {
		known = append(known, "vendor", "model", "serial_number")
	}
	fields, err := c.componentFields(86, known, known)
	if err != nil {
		return nil, err
	}
	list := []map[string]any{}
	if c.s.Machines == nil || n.Driver == fakeHardware {
		return ok(map[string]any{"firmware": list})
	}
	found, err := c.s.Machines.Components(c.Context(), n)
	if err != nil {
		return nil, machineFault(n, "firmware", err)
	}
	if found != nil {
		for _, f := range found.Status.Components {
			all := map[string]any{
				"component": f.Component, "initial_version": f.InitialVersion,
				"current_version": orNull(f.CurrentVersion), "last_version_flashed": orNull(f.LastVersionFlashed),
				// Of whose making a component is, BMCs' firmware inventories do not say.
				"vendor": nil, "model": nil, "serial_number": nil,
			}
			one := map[string]any{"created_at": momentText(found.CreationTimestamp.Time), "updated_at": momentText(f.UpdatedAt.Time)}
			for _, name := range fields {
				one[name] = all[name]
			}
			list = append(list, one)
		}
	}
	return ok(map[string]any{"firmware": list})
}

// orNull is a text, or null for none.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// momentText is a time as REST shows it; null: never.
func momentText(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := t.UTC().Format(time.RFC3339)
	return &s
}
