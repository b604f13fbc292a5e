package rest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

func (s *Server) driverRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/drivers", action: "baremetal:driver:get", query: []string{"type", "detail", "fields"}, do: listDrivers},
		{method: http.MethodGet, path: "/drivers/{driver}", action: "baremetal:driver:get", query: []string{"fields"}, do: showDriver},
		{method: http.MethodGet, path: "/drivers/{driver}/properties", action: "baremetal:driver:get_properties", query: []string{}, do: driverProperties},
		{method: http.MethodGet, path: "/drivers/{driver}/raid/logical_disk_properties", action: "baremetal:driver:get_raid_logical_disk_properties", since: 12, late: http.StatusNotAcceptable, query: []string{}, do: driverRAID},
	}
}

// driver finds the driver of the path.
func (c *call) driver() (*hardware, error) {
	name := c.PathValue("driver")
	h, ok := findHardware(name)
	if !ok {
		return nil, notFound("Could not find the following driver(s) or hardware type(s): %s.", clip([]byte(name)))
	}
	return h, nil
}

// driverFields reads ?fields=, which came late to drivers.
func (c *call) driverFields() ([]string, error) {
	q := c.URL.Query()
	if !q.Has("fields") {
		return nil, nil
	}
	if c.version < 77 {
		return nil, notAcceptable("")
	}
	var names []string
	for name := range strings.SplitSeq(q.Get("fields"), ",") {
		if name = strings.ToLower(strings.TrimSpace(name)); name != "" {
			names = append(names, name)
		}
	}
	return names, nil
}

// driverDoc is a driver as JSON: short in lists, with its interfaces when asked for.
func (c *call) driverDoc(h *hardware, detail bool, fields []string) (map[string]any, error) {
	path := "drivers/" + h.name
	d := map[string]any{"name": h.name, "hosts": []string{c.s.Nodes.Conductor}, "links": c.links(path)}
	if c.version >= 14 {
		d["properties"] = c.links(path + "/properties")
	}
	if c.version >= 30 {
		d["type"] = "dynamic"
	}
	for _, t := range interfaceTypes {
		if detail && c.version >= t.since {
			d["default_"+t.name+"_interface"] = h.interfaces[t.name][0]
			d["enabled_"+t.name+"_interfaces"] = slices.Sorted(slices.Values(h.interfaces[t.name]))
		}
	}
	if fields == nil {
		return d, nil
	}
	chosen := map[string]any{"links": d["links"]}
	var unknown []string
	for _, name := range fields {
		if value, ok := d[name]; ok {
			chosen[name] = value
		} else {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		return nil, badRequest("Field(s) \"%s\" are not valid", strings.Join(unknown, ", "))
	}
	return chosen, nil
}

func listDrivers(c *call) (*reply, error) {
	q := c.URL.Query()
	detail, given, err := flag(q, "detail")
	if err != nil {
		return nil, err
	}
	if q.Has("fields") && detail {
		return nil, badRequest("Can not specify ?detail=True and fields in the same request.")
	}
	if (given || q.Has("type")) && c.version < 30 {
		return nil, sinceVersion(30)
	}
	fields, err := c.driverFields()
	if err != nil {
		return nil, err
	}
	list := []map[string]any{}
	switch q.Get("type") {
	case "", "dynamic":
		for i := range hardwareTypes {
			d, err := c.driverDoc(&hardwareTypes[i], detail, fields)
			if err != nil {
				return nil, err
			}
			list = append(list, d)
		}
	case "classic": // Ironic has had none since Rocky
	default:
		return nil, badRequest("\"type\" filter must be one of \"classic\" or \"dynamic\", if specified.")
	}
	return ok(map[string]any{"drivers": list})
}

func showDriver(c *call) (*reply, error) {
	fields, err := c.driverFields()
	if err != nil {
		return nil, err
	}
	h, err := c.driver()
	if err != nil {
		return nil, err
	}
	d, err := c.driverDoc(h, true, fields)
	if err != nil {
		return nil, err
	}
	return ok(d)
}

func driverProperties(c *call) (*reply, error) {
	h, err := c.driver()
	if err != nil {
		return nil, err
	}
	return ok(h.properties)
}

// driverRAID says what a logical disk of target_raid_config may have.
func driverRAID(c *call) (*reply, error) {
	if _, err := c.driver(); err != nil {
		return nil, err
	}
	return &reply{status: http.StatusOK, raw: logicalDiskProperties}, nil
}

// logicalDiskProperties are the members of a logical disk, with what each is for.
var logicalDiskProperties = json.RawMessage(`{
"raid_level": "RAID level: JBOD, 0, 1, 2, 5, 6, 1+0, 5+0 or 6+0. Required.",
"size_gb": "Size in GiB, or MAX for all that is left. Required.",
"volume_name": "Name of the volume; one is made up unless given. Optional.",
"is_root_volume": "Whether the image goes to this volume. Optional.",
"share_physical_disks": "Whether other volumes may use the same disks. Optional.",
"disk_type": "hdd or ssd: use such disks only. Optional.",
"interface_type": "sata, scsi or sas: use such disks only. Optional.",
"number_of_physical_disks": "How many disks are used; as few as the level takes unless given. Optional.",
"controller": "The controller to use. Optional.",
"physical_disks": "The disks to use, by name or by hints. Optional."
}`)
