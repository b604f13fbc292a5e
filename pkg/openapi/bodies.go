package openapi

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/api/ironic"
)

// body is what an operation takes and answers.
type body struct {
	says       string
	takes      members
	mayBeEmpty bool
	status     int // 0: the method's own
	answers    members
}

// bodyOf is the body of a route: an action's, or that of a kind's collection or one
// of it.
func (b book) bodyOf(r Route) body {
	if is, ok := actions()[r.Method+" "+nameless(r.Path)]; ok {
		return is
	}
	k, collection, detail := b.about(r.Path)
	if k == nil {
		status := http.StatusOK
		switch r.Method {
		case http.MethodPut, http.MethodDelete:
			status = http.StatusNoContent
		case http.MethodPost:
			status = http.StatusCreated
		}
		return body{status: status}
	}
	one := ref(schemaName(k.Name))
	switch {
	case r.Method == http.MethodGet && collection:
		says := "List " + words(k.Plural)
		if detail {
			says += " with all their fields"
		}
		return body{says: says, status: http.StatusOK, answers: page(k.Plural, one)}
	case r.Method == http.MethodGet:
		return body{says: "Show one", status: http.StatusOK, answers: one}
	case r.Method == http.MethodPost:
		return body{says: "Create one", takes: ref(schemaName(k.Name) + "Create"), status: http.StatusCreated, answers: one}
	case r.Method == http.MethodPatch:
		return body{says: "Change one", takes: ref("Patch"), status: http.StatusOK, answers: one}
	case r.Method == http.MethodDelete:
		return body{says: "Delete one", status: http.StatusNoContent}
	}
	return body{status: http.StatusNoContent}
}

// Actions are the methods and paths that have bodies of their own here, without the
// names of parameters.
func Actions() []string { return slices.Sorted(maps.Keys(actions())) }

// nameless is a path whose parameters have no names, since each file has its own.
func nameless(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if strings.HasPrefix(s, "{") {
			segments[i] = "{}"
		}
	}
	return strings.Join(segments, "/")
}

func words(name string) string { return strings.ReplaceAll(name, "_", " ") }

func ref(name string) members { return members{"$ref": "#/components/schemas/" + name} }

// page is an answer of a list.
func page(plural string, one members) members {
	return object(members{
		plural: arrayOf(one),
		"next": members{"type": "string", "format": "uri", "description": "The next page; not there on the last."},
	}, plural)
}

func object(properties members, required ...string) members {
	s := members{"type": "object", "properties": properties}
	if len(required) > 0 {
		names := make([]any, len(required))
		for i, name := range required {
			names[i] = name
		}
		s["required"] = names
	}
	return s
}

func arrayOf(item members) members { return members{"type": "array", "items": item} }

func text() members { return members{"type": "string"} }

func boolean() members { return members{"type": "boolean"} }

func anything() members { return members{"type": "object"} }

func oneOf(values ...string) members {
	enum := make([]any, len(values))
	for i, v := range values {
		enum[i] = v
	}
	return members{"type": "string", "enum": enum}
}

func from(v ironic.Version, s members) members {
	s[MinVersion] = v.String()
	return s
}

// actions are the bodies of what is no kind's, by method and path.
func actions() map[string]body {
	all := map[string]body{
		"GET /":                {says: "The versions that there are", status: http.StatusOK, answers: anything()},
		"GET /v1":              {says: "The resources of a version", status: http.StatusOK, answers: anything()},
		"GET /v1/openapi.json": {says: "This document", status: http.StatusOK, answers: anything()},
		"GET /v1/drivers":      {says: "List drivers", status: http.StatusOK, answers: page("drivers", anything())},
		"GET /v1/drivers/{}":   {says: "Show one", status: http.StatusOK, answers: anything()},
		"GET /v1/drivers/{}/properties": {
			says: "What driver_info a driver takes", status: http.StatusOK,
			answers: members{"type": "object", "additionalProperties": text()},
		},
		"GET /v1/drivers/{}/raid/logical_disk_properties": {
			says: "What a logical disk may say", status: http.StatusOK,
			answers: members{"type": "object", "additionalProperties": text()},
		},
		"GET /v1/conductors":    {says: "List the replicas", status: http.StatusOK, answers: page("conductors", anything())},
		"GET /v1/conductors/{}": {says: "Show one", status: http.StatusOK, answers: anything()},
		"GET /v1/shards": {says: "List shards", status: http.StatusOK, answers: object(members{
			"shards": arrayOf(object(members{"name": members{"type": []any{"string", "null"}}, "count": members{"type": "integer"}})),
		})},
		"GET /v1/volume":               {says: "The volume resources", status: http.StatusOK, answers: anything()},
		"GET /v1/nodes/{}/volume":      {says: "The volume resources of a node", status: http.StatusOK, answers: anything()},
		"POST /v1/events":              {says: "Tell of events of other services", takes: object(members{"events": arrayOf(object(members{"event": text()}, "event"))}, "events"), status: http.StatusNoContent},
		"GET /v1/lookup":               {says: "Of a ramdisk: which node am I", status: http.StatusOK, answers: anything()},
		"POST /v1/heartbeat/{}":        {says: "Of a ramdisk: I am here", takes: anything(), status: http.StatusAccepted},
		"POST /v1/continue_inspection": {says: "Of a ramdisk: what was found", takes: anything(), status: http.StatusAccepted},
	}
	for _, at := range []string{"/v1/nodes/{}", "/v1/drivers/{}"} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			b := body{says: "Call a vendor method", answers: members{}}
			if method != http.MethodGet && method != http.MethodDelete {
				b.takes, b.mayBeEmpty = members{}, true
			}
			all[method+" "+at+"/vendor_passthru"] = b
			all[method+" "+at+"/vendor_passthru/{}"] = b
		}
	}
	all["GET /v1/nodes/{}/vendor_passthru/methods"] = body{says: "The vendor methods", status: http.StatusOK, answers: anything()}
	maps.Copy(all, traits("/v1/nodes/{}/traits", "a node"))
	maps.Copy(all, traits("/v1/runbooks/{}/traits", "a runbook"))
	maps.Copy(all, nodeActions())
	return all
}

func traits(at, of string) map[string]body {
	return map[string]body{
		"GET " + at:            {says: "The traits of " + of, status: http.StatusOK, answers: object(members{"traits": arrayOf(text())})},
		"PUT " + at:            {says: "Replace the traits of " + of, takes: object(members{"traits": arrayOf(text())}, "traits"), status: http.StatusNoContent},
		"DELETE " + at:         {says: "Remove the traits of " + of, status: http.StatusNoContent},
		"PUT " + at + "/{}":    {says: "Add a trait to " + of, takes: anything(), mayBeEmpty: true, status: http.StatusNoContent},
		"DELETE " + at + "/{}": {says: "Remove a trait of " + of, status: http.StatusNoContent},
	}
}

func nodeActions() map[string]body {
	const node = " /v1/nodes/{}"
	step := object(members{"interface": text(), "step": text(), "args": anything()}, "interface", "step")
	accepted := func(says string, takes members) body {
		return body{says: says, takes: takes, status: http.StatusAccepted}
	}
	done := func(says string, takes members) body {
		return body{says: says, takes: takes, status: http.StatusNoContent}
	}
	shown := func(says string, answers members) body {
		return body{says: says, status: http.StatusOK, answers: answers}
	}
	validation := members{"type": "object", "additionalProperties": object(members{"result": members{"type": []any{"boolean", "null"}}, "reason": members{"type": []any{"string", "null"}}})}
	return map[string]body{
		"GET" + node + "/states": shown("The states of a node", anything()),
		"PUT" + node + "/states/provision": accepted("Ask for a change of the provision state", object(members{
			"target": oneOf("active", "deploy", "deleted", "undeploy", "rebuild", "manage", "provide", "inspect", "abort", "clean", "adopt", "rescue", "unrescue", "unhold", "service"),
			"configdrive": members{
				"description":          "base64 of a gzipped ISO 9660 image, or (1.56) an object of which one is made.",
				"type":                 []any{"string", "object", "null"},
				"properties":           members{"meta_data": anything(), "network_data": anything(), "user_data": members{}, "vendor_data": anything()},
				"additionalProperties": false,
			},
			"clean_steps": from(15, arrayOf(step)), "deploy_steps": from(69, arrayOf(step)), "service_steps": from(87, arrayOf(step)),
			"rescue_password": from(38, text()), "disable_ramdisk": from(70, boolean()), "runbook": from(92, text()),
		}, "target")),
		"PUT" + node + "/states/power": accepted("Switch a node on or off", object(members{
			"target":  oneOf("power on", "power off", "rebooting", "soft power off", "soft rebooting"),
			"timeout": from(27, members{"type": []any{"integer", "null"}, "minimum": 1}),
		}, "target")),
		"PUT" + node + "/states/raid":                      done("Say which volumes a cleaning is to make", object(members{"logical_disks": arrayOf(anything())})),
		"GET" + node + "/states/console":                   shown("The console", object(members{"console_enabled": boolean(), "console_info": members{"type": []any{"object", "null"}}})),
		"PUT" + node + "/states/console":                   accepted("Switch the console on or off", object(members{"enabled": boolean()}, "enabled")),
		"PUT" + node + "/states/boot_mode":                 accepted("Set the boot mode", object(members{"target": oneOf("uefi", "bios")}, "target")),
		"PUT" + node + "/states/secure_boot":               accepted("Switch Secure Boot on or off", object(members{"target": members{"type": []any{"boolean", "string"}}}, "target")),
		"PUT" + node + "/maintenance":                      {says: "Put a node into maintenance", takes: object(members{"reason": members{"type": []any{"string", "null"}}}), mayBeEmpty: true, status: http.StatusAccepted},
		"DELETE" + node + "/maintenance":                   accepted("Take a node out of maintenance", nil),
		"GET" + node + "/validate":                         shown("Whether a node has what its interfaces need", validation),
		"GET /v1/nodes/validate":                           shown("Whether a node has what its interfaces need", validation),
		"GET" + node + "/vifs":                             shown("The networks that a node is attached to", object(members{"vifs": arrayOf(object(members{"id": text()}))})),
		"POST" + node + "/vifs":                            done("Attach a network", object(members{"id": text(), "port_uuid": from(67, text()), "portgroup_uuid": from(67, text())}, "id")),
		"DELETE" + node + "/vifs/{}":                       done("Detach a network", nil),
		"GET" + node + "/management/boot_device":           shown("What a node boots from", object(members{"boot_device": members{"type": []any{"string", "null"}}, "persistent": members{"type": []any{"boolean", "null"}}})),
		"PUT" + node + "/management/boot_device":           done("Say what a node boots from", object(members{"boot_device": text(), "persistent": boolean()}, "boot_device")),
		"GET" + node + "/management/boot_device/supported": shown("What a node can boot from", object(members{"supported_boot_devices": arrayOf(text())})),
		"PUT" + node + "/management/inject_nmi":            {says: "Inject a non-maskable interrupt", takes: anything(), mayBeEmpty: true, status: http.StatusNoContent},
		"GET" + node + "/management/indicators":            shown("The indicators of a node", anything()),
		"GET" + node + "/management/indicators/{}":         shown("The indicators of a component, or the state of one", anything()),
		"PUT" + node + "/management/indicators/{}":         done("Set an indicator", object(members{"state": oneOf("on", "off", "blinking", "unknown")}, "state")),
		"GET" + node + "/bios":                             shown("The BIOS settings", object(members{"bios": arrayOf(anything())})),
		"GET" + node + "/bios/{}":                          shown("One BIOS setting", anything()),
		"GET" + node + "/firmware":                         shown("The firmware components", object(members{"firmware": arrayOf(anything())})),
		"GET" + node + "/inventory":                        shown("What the last inspection found", object(members{"inventory": anything(), "plugin_data": anything()})),
		"GET" + node + "/history":                          shown("What happened to a node", object(members{"history": arrayOf(anything())})),
		"GET" + node + "/history/{}":                       shown("One thing that happened", anything()),
		"GET" + node + "/children":                         shown("The parts of a node", object(members{"children": arrayOf(text())})),
		"GET" + node + "/allocation":                       shown("The allocation that has a node", anything()),
		"DELETE" + node + "/allocation":                    done("Give a node back", nil),
		"GET" + node + "/vmedia":                           shown("The images in a node's virtual drives", members{"type": []any{"array", "object"}}),
		"POST" + node + "/vmedia": done("Insert an image into a virtual drive", object(members{
			"device_type": oneOf("cdrom", "disk", "floppy"), "image_url": text(), "image_download_source": oneOf("http", "local", "swift"),
		}, "device_type", "image_url")),
		"DELETE" + node + "/vmedia": done("Eject images", nil),
	}
}

// queryOf are the parameters of a route's query.
func (b book) queryOf(r Route) []any {
	k, collection, _ := b.about(r.Path)
	if _, action := actions()[r.Method+" "+nameless(r.Path)]; k == nil || action {
		return nil
	}
	parameter := func(name string, since ironic.Version, schema members, says string) members {
		p := members{"name": name, "in": "query", "schema": schema}
		if since > 0 {
			p[MinVersion] = since.String()
		}
		if says != "" {
			p["description"] = says
		}
		return p
	}
	fields := parameter("fields", 8, text(), "Names of fields, with commas between: what is shown.")
	switch {
	case r.Method == http.MethodGet && !collection:
		return []any{fields}
	case r.Method == http.MethodPatch && k.Name == "node":
		return []any{parameter("reset_interfaces", 45, boolean(), "")}
	case r.Method != http.MethodGet:
		return nil
	}
	all := []any{
		parameter("limit", 0, members{"type": "integer", "minimum": 1, "maximum": 1000}, ""),
		parameter("marker", 0, text(), "The UUID of the last one of the page before."),
		parameter("sort_key", 0, text(), ""),
		parameter("sort_dir", 0, oneOf("asc", "desc"), ""),
		fields,
		parameter("detail", 43, boolean(), ""),
	}
	for _, f := range k.Filters {
		all = append(all, parameter(f.Name, f.Since, text(), ""))
	}
	return all
}

// fixedSchemas are those that no kind has.
func fixedSchemas() members {
	return members{
		"Links": arrayOf(object(members{"href": members{"type": "string", "format": "uri"}, "rel": oneOf("self", "bookmark")})),
		"Patch": members{
			"description": "RFC 6902, of which there are these three; ~0 and ~1 in paths came with 1.98.",
			"type":        "array",
			"items":       object(members{"op": oneOf("add", "replace", "remove"), "path": members{"type": "string", "pattern": "^/"}, "value": members{}}, "op", "path"),
		},
		"Fault": object(members{
			"error_message": members{
				"description":      "JSON in a string: twice encoded, as Ironic has it.",
				"type":             "string",
				"contentMediaType": "application/json",
				"contentSchema": members{"anyOf": []any{
					object(members{"faultcode": oneOf("Client", "Server"), "faultstring": text(), "debuginfo": members{"type": []any{"string", "null"}}}, "faultcode", "faultstring"),
					object(members{"code": members{"type": "integer"}, "title": text(), "description": text()}, "code", "description"),
				}},
			},
		}),
	}
}

func versionParameter() members {
	return members{
		"name": "X-OpenStack-Ironic-API-Version", "in": "header",
		"description": "1.N, or latest; without it 1.1. OpenStack-API-Version: baremetal 1.N says the same.",
		"schema":      members{"type": "string", "default": ironic.MinVersion.String()},
	}
}

func faultResponse() members {
	return members{
		"description": "What was wrong. 409 and 503 may be tried again.",
		"content":     members{"application/json": members{"schema": ref("Fault")}},
	}
}

// securitySchemes are the modes of --rest-auth.
func securitySchemes() members {
	return members{
		"keystone":   members{"type": "apiKey", "in": "header", "name": "X-Auth-Token", "description": "A token of Keystone."},
		"kubernetes": members{"type": "http", "scheme": "bearer", "description": "A token of Kubernetes, such as a ServiceAccount's."},
		"basic":      members{"type": "http", "scheme": "basic"},
	}
}
