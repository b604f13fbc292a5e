package rest

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/node"
)

func biosRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/nodes/{node}/bios", since: 40, action: "baremetal:node:bios:get", do: ofMachine(listBIOS)},
		{method: http.MethodGet, path: "/nodes/{node}/bios/{setting}", since: 40, action: "baremetal:node:bios:get", do: ofMachine(showBIOS)},
	}
}

// biosRegistry is the version that brought what a setting may be, and ?detail and
// ?fields with it.
const biosRegistry ironic.Version = 74

// biosFields of a setting: the first two were there from the first.
func biosFields() []string {
	return []string{"name", "value", "attribute_type", "allowable_values", "lower_bound", "max_length", "min_length", "read_only", "reset_required", "unique", "upper_bound"}
}

// firmwareSettings reads what is known of a node's settings; none of a node without
// a machine.
func (c *call) firmwareSettings(n *node.Node) (*metal3.HostFirmwareSettings, map[string]metal3.SettingSchema, error) {
	if c.s.Machines == nil || n.Driver == fakeHardware {
		return nil, nil, nil
	}
	s, schema, err := c.s.Machines.Settings(c.Context(), n)
	return s, schema, machineFault(n, "bios", err)
}

func listBIOS(c *call, n *node.Node) (*reply, error) {
	fields, err := c.componentFields(biosRegistry, biosFields()[:2], biosFields())
	if err != nil {
		return nil, err
	}
	s, schema, err := c.firmwareSettings(n)
	if err != nil {
		return nil, err
	}
	list := []map[string]any{}
	if s != nil {
		for _, name := range slices.Sorted(maps.Keys(s.Status.Settings)) {
			list = append(list, c.biosSetting(c.PathValue("node"), name, s, schema, fields))
		}
	}
	return ok(map[string]any{"bios": list})
}

func showBIOS(c *call, n *node.Node) (*reply, error) {
	s, schema, err := c.firmwareSettings(n)
	if err != nil {
		return nil, err
	}
	name := c.PathValue("setting")
	if s != nil {
		if _, is := s.Status.Settings[name]; is {
			fields := biosFields()
			if c.version < biosRegistry {
				fields = fields[:2]
			}
			return ok(map[string]any{name: c.biosSetting(n.UUID, name, s, schema, fields)})
		}
	}
	return nil, notFound("Node %s doesn't have a BIOS setting '%s'", n.UUID, name)
}

// biosSetting is a setting with these fields. Whether a change needs a restart is not
// kept of what the registry says: Metal3's schema has no place for it.
func (c *call) biosSetting(ident, name string, s *metal3.HostFirmwareSettings, schema map[string]metal3.SettingSchema, fields []string) map[string]any {
	about := schema[name]
	all := map[string]any{
		"name": name, "value": s.Status.Settings[name], "attribute_type": orNull(about.AttributeType),
		"allowable_values": append([]string{}, about.AllowableValues...),
		"lower_bound":      about.LowerBound, "max_length": about.MaxLength, "min_length": about.MinLength,
		"read_only": about.ReadOnly, "reset_required": nil, "unique": about.Unique, "upper_bound": about.UpperBound,
	}
	at, path := base(c.Request), "/nodes/"+ident+"/bios/"+name
	out := map[string]any{
		"created_at": momentText(s.CreationTimestamp.Time), "updated_at": nil,
		"links": []map[string]string{{"href": at + "/v1" + path, "rel": "self"}, {"href": at + path, "rel": "bookmark"}},
	}
	if t := s.Status.LastUpdated; t != nil {
		out["updated_at"] = momentText(t.Time)
	}
	for _, f := range fields {
		out[f] = all[f]
	}
	return out
}

// componentFields are the fields of a list below a node: those of ?fields=, all of
// them with ?detail=, else these. Either came with a version.
func (c *call) componentFields(since ironic.Version, some, all []string) ([]string, error) {
	q := c.URL.Query()
	detail, _, err := flag(q, "detail")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"detail", "fields"} {
		if q.Has(name) && c.version < since {
			return nil, badRequest("Invalid query parameter ?%s=%s received.", name, q.Get(name))
		}
	}
	asked := q["fields"]
	switch {
	case len(asked) > 0 && detail:
		return nil, badRequest("Can not specify ?detail=True and fields in the same request.")
	case detail:
		return all, nil
	case len(asked) == 0:
		return some, nil
	}
	fields := strings.Split(strings.Join(asked, ","), ",")
	for _, f := range fields {
		if !slices.Contains(all, f) {
			return nil, badRequest("Field(s) %q are not valid.", f)
		}
	}
	return fields, nil
}
