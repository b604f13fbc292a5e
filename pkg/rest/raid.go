package rest

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/node"
)

func raidRoutes() []route {
	return []route{
		{method: http.MethodPut, path: "/nodes/{node}/states/raid", since: 12, late: http.StatusNotAcceptable, action: "baremetal:node:set_raid_state", do: ofMachine(setRAID)},
	}
}

// setRAID keeps what the node's volumes are to be. A cleaning with the step
// raid.create_configuration makes them so.
func setRAID(c *call, n *node.Node) (*reply, error) {
	config, err := c.bodyObject()
	if err != nil {
		return nil, err
	}
	if len(config) > 0 {
		if n.RAIDInterface == "no-raid" {
			return nil, notFound("%v", unsupported(n, "raid"))
		}
		if err := checkRAID(config); err != nil {
			return nil, badRequest("RAID config validation error: %v", err)
		}
	}
	if err := unlocked(n); err != nil {
		return nil, err
	}
	to := n.Clone()
	to.TargetRAIDConfig = ironic.Object(config)
	_, err = c.s.Nodes.Update(c.Context(), n, to)
	return nil, err
}

// Bounds of a RAID configuration: machines have fewer.
const (
	maxLogicalDisks  = 64
	maxPhysicalDisks = 256
)

// checkRAID holds a configuration against Ironic's schema
// (ironic/drivers/raid_config_schema.json), with bounds of our own.
func checkRAID(config map[string]any) error {
	for name := range config {
		if name != "logical_disks" {
			if _, is := config["logical_disks"]; !is {
				break
			}
			return fmt.Errorf("additional properties are not allowed ('%s' was unexpected)", name)
		}
	}
	value, is := config["logical_disks"]
	if !is {
		return fmt.Errorf("'logical_disks' is a required property")
	}
	disks, isList := value.([]any)
	switch {
	case !isList:
		return fmt.Errorf("%v is not of type 'array'", value)
	case len(disks) == 0:
		return fmt.Errorf("[] is too short")
	case len(disks) > maxLogicalDisks:
		return fmt.Errorf("there are more than %d logical disks", maxLogicalDisks)
	}
	roots := 0
	for _, d := range disks {
		disk, isObject := d.(map[string]any)
		if !isObject {
			return fmt.Errorf("%v is not of type 'object'", d)
		}
		if err := checkLogicalDisk(disk); err != nil {
			return err
		}
		if disk["is_root_volume"] == true {
			roots++
		}
	}
	if roots > 1 {
		return fmt.Errorf("raid config cannot have more than one root volume. %d root volumes were specified", roots)
	}
	return nil
}

func checkLogicalDisk(disk map[string]any) error {
	for _, must := range []string{"raid_level", "size_gb"} {
		if _, is := disk[must]; !is {
			return fmt.Errorf("'%s' is a required property", must)
		}
	}
	if _, is := disk["physical_disks"]; is && disk["controller"] == nil {
		return fmt.Errorf("'controller' is a dependency of 'physical_disks'")
	}
	for name, v := range disk {
		check, known := raidProperties()[name]
		if !known {
			return fmt.Errorf("additional properties are not allowed ('%s' was unexpected)", name)
		}
		if err := check(v); err != nil {
			return err
		}
	}
	return nil
}

// raidProperties are those of a logical disk, with what they may be.
func raidProperties() map[string]func(any) error {
	return map[string]func(any) error{
		"raid_level": raidOneOf("JBOD", "0", "1", "2", "5", "6", "1+0", "5+0", "6+0"),
		"size_gb": func(v any) error {
			if v == "MAX" || wholeNumber(v, 0) {
				return nil
			}
			return fmt.Errorf("%v is not valid under any of the given schemas (size_gb: a number of GiB, or MAX)", v)
		},
		"volume_name":          raidText,
		"is_root_volume":       raidBool,
		"share_physical_disks": raidBool,
		"disk_type":            raidOneOf("hdd", "ssd"),
		"interface_type":       raidOneOf("sata", "scsi", "sas"),
		"number_of_physical_disks": func(v any) error {
			if wholeNumber(v, 1) {
				return nil
			}
			return fmt.Errorf("%v is not a number of disks", v)
		},
		"controller":     raidText,
		"physical_disks": raidDisks,
	}
}

// raidDisks takes names, or at least two objects of hints.
func raidDisks(v any) error {
	list, is := v.([]any)
	names, hints := 0, 0
	for _, d := range list {
		switch d.(type) {
		case string:
			names++
		case map[string]any:
			hints++
		}
	}
	if !is || len(list) > maxPhysicalDisks || names != len(list) && (hints != len(list) || hints < 2) {
		return fmt.Errorf("%v is not valid under any of the given schemas (physical_disks: names of disks, or two or more objects of hints)", v)
	}
	return nil
}

func raidOneOf(words ...string) func(any) error {
	return func(v any) error {
		if s, is := v.(string); is && slices.Contains(words, s) {
			return nil
		}
		return fmt.Errorf("'%v' is not one of ['%s']", v, strings.Join(words, "', '"))
	}
}

func wholeNumber(v any, least float64) bool {
	f, is := v.(float64)
	return is && f == math.Trunc(f) && f >= least && f < 1<<31
}

func raidText(v any) error {
	if s, is := v.(string); is && len(s) <= 255 {
		return nil
	}
	return fmt.Errorf("%v is not of type 'string' of at most 255 bytes", v)
}

func raidBool(v any) error {
	if _, is := v.(bool); is {
		return nil
	}
	return fmt.Errorf("%v is not of type 'boolean'", v)
}
