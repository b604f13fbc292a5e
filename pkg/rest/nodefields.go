package rest

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// nodes is what a node has (ironic/api/controllers/v1/utils.py VERSIONED_FIELDS and
// node.py). Those without a version were there from the first.
var nodes = kind{name: "node", plural: "nodes", fields: []field{
	{name: "allocation_uuid", since: 52},
	{name: "automated_clean", since: 47, write: always, check: isBool, fix: toBool},
	{name: "bios_interface", since: 40, write: always, check: isText},
	{name: "boot_interface", since: 31, write: always, check: isText},
	{name: "boot_mode", since: 75},
	{name: "chassis_uuid", write: always, check: isUUID, fix: toUUID},
	{name: "clean_step", since: 7, object: true},
	{name: "conductor", since: 49},
	{name: "conductor_group", since: 46, write: always, check: isGroup, fix: toLower},
	{name: "console_enabled"},
	{name: "console_interface", since: 31, write: always, check: isText},
	{name: "created_at"},
	{name: "deploy_interface", since: 31, write: always, check: isText},
	{name: "deploy_step", since: 44, object: true},
	{name: "description", since: 51, write: always, check: isTextOf(4096)},
	{name: "disable_power_off", since: 95, write: always, check: isBool, fix: toBool},
	{name: "driver", write: always, check: isText},
	{name: "driver_info", write: always, check: isObject, object: true},
	{name: "driver_internal_info", since: 3, object: true},
	{name: "extra", write: always, check: isObject, object: true},
	{name: "fault", since: 42},
	{name: "firmware_interface", since: 86, write: always, check: isText},
	{name: "health", since: 109},
	{name: "inspect_interface", since: 31, write: always, check: isText},
	{name: "inspection_finished_at", since: 6},
	{name: "inspection_started_at", since: 6},
	{name: "instance_info", write: always, check: isObject, object: true},
	{name: "instance_name", since: 104, write: always, check: isTextOf(255)},
	{name: "instance_uuid", summary: true, write: always, check: isUUID, fix: toUUID},
	{name: "last_error"},
	{name: "lessee", since: 65, write: always, check: isTextOf(255)},
	{name: "maintenance", summary: true, write: always, check: isBool, fix: toBool},
	{name: "maintenance_reason"},
	{name: "management_interface", since: 31, write: always, check: isText},
	{name: "name", since: 5, summary: true, write: always, check: isText},
	{name: "network_data", since: 66, write: always, check: isNetworkData, object: true},
	{name: "network_interface", since: 20, write: always, check: isText},
	{name: "owner", since: 50, write: always, check: isTextOf(255)},
	{name: "parent_node", since: 83, write: always, check: isText},
	{name: "power_interface", since: 31, write: always, check: isText},
	{name: "power_state", summary: true},
	{name: "properties", write: always, check: isObject, object: true},
	{name: "protected", since: 48, write: onPatch, check: isBool, fix: toBool},
	{name: "protected_reason", since: 48, write: onPatch, check: isText},
	{name: "provision_state", summary: true},
	{name: "provision_updated_at"},
	{name: "raid_config", since: 12, object: true},
	{name: "raid_interface", since: 31, write: always, check: isText},
	{name: "rescue_interface", since: 38, write: always, check: isText},
	{name: "reservation"},
	{name: "resource_class", since: 21, write: always, check: isTextOf(80)},
	{name: "retired", since: 61, write: always, check: isBool, fix: toBool},
	{name: "retired_reason", since: 61, write: always, check: isText},
	{name: "secure_boot", since: 75},
	{name: "service_step", since: 87, object: true},
	{name: "shard", since: 82, write: always, check: isTextOf(255)},
	{name: "storage_interface", since: 33, write: always, check: isText},
	{name: "target_power_state"},
	{name: "target_provision_state"},
	{name: "target_raid_config", since: 12, object: true},
	{name: "traits", since: 37, object: true},
	{name: "updated_at"},
	{name: "uuid", summary: true, write: onCreate, check: isUUID, fix: toUUID},
	{name: "vendor_interface", since: 31, write: always, check: isText},
}}

// isGroup is what the name of a conductor group has to be.
func isGroup(v any) error {
	s, ok := v.(string)
	if v != nil && (!ok || !groupName.MatchString(s)) {
		return errors.New("Expected a conductor group.") //nolint:staticcheck,revive // an answer's sentence
	}
	return nil
}

var groupName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{0,255}$`)

func toLower(v any) any { return strings.ToLower(v.(string)) }

// isNetworkData checks the outline of OpenStack's network metadata: lists of links,
// networks and services, each of objects. What is in them is for whoever reads them.
func isNetworkData(v any) error {
	if err := isObject(v); err != nil || v == nil {
		return err
	}
	m := v.(map[string]any)
	if len(m) == 0 {
		return nil
	}
	for _, name := range []string{"links", "networks", "services"} {
		list, ok := m[name].([]any)
		switch {
		case m[name] == nil:
			return fmt.Errorf("Invalid network_data: '%s' is a required property", name) //nolint:staticcheck // an answer's sentence
		case !ok:
			return fmt.Errorf("Invalid network_data: '%s' is not of type 'array'", name) //nolint:staticcheck // an answer's sentence
		}
		for _, entry := range list {
			if _, ok := entry.(map[string]any); !ok {
				return fmt.Errorf("Invalid network_data: an entry of '%s' is not of type 'object'", name) //nolint:staticcheck // an answer's sentence
			}
		}
	}
	return nil
}
