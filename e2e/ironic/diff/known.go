package diff

import (
	"path"
	"strings"
)

// meant is a kind of difference that is meant to be.
type meant struct {
	do     string // step, with * for any text
	path   string // with * for one name
	reason string
	ironic string // what Ironic has; empty: whatever
}

// known is every difference that is meant. What differs and is not here fails.
var known = []meant{
	{"*", "body.version.version", "ingot serves higher versions than Debian's Ironic", ""},
	{"*", "body.default_version.version", "ingot serves higher versions than Debian's Ironic", ""},
	{"*", "body.versions.0.version", "ingot serves higher versions than Debian's Ironic", ""},
	{"*", "body.description", "the root says who answers", ""},
	{"GET /v1 @*", "body.links", "no link to Ironic's documentation", ""},
	{"GET / @*", "headers.*", "version headers on / too, as Ironic has since", ""},
	{"GET /v1 @*", "error.*", "a version that is refused has the same form everywhere; Ironic has another at /v1", ""},
	{"POST /v1 @*", "error.*", "405 has one form", ""},
	{"*", "headers.X-Openstack-Ironic-Api-Version", "404 and 405 say the versions too, so that a client can choose another", `""`},
	{"*", "headers.X-Openstack-Ironic-Api-Minimum-Version", "404 and 405 say the versions too, so that a client can choose another", `""`},
	{"*", "headers.Allow", "Allow lists what works at the path, and always with a 405", ""},
	{"*", "error.description", "404 and 405 say why", `""`},
	{"DELETE /v1/nodes @*", "status", "without a node's name there is no such method: 405", ""},
	{"PATCH /v1/nodes @*", "status", "without a node's name there is no such method: 405", ""},
	{`PATCH *"configdrive": "abc"*`, "status", "a config drive is looked at when it is given, not when it is written", ""},
	{"HEAD *", "status", "HEAD is answered as GET without the body", ""},
	{"GET /v1/nodes/$a/nosuch *", "status", "no such path: 404", ""},
	{"GET /v1/nodes/$n/management @*", "status", "no such path: 404", ""},
	{"*", "body.driver_internal_info", "names the BareMetalHost, and has no list of steps", ""},
	{"*", "body.driver_internal_info.*", "names the BareMetalHost, and has no list of steps", ""},
	{"*", "body.nodes.*.driver_internal_info.*", "names the BareMetalHost, and has no list of steps", ""},
	{"*/nodes/$s*", "*", "the test driver takes any step; real ones name the step that they lack", ""},
	{"*/nodes/$s*", "body.*", "the test driver takes any step; real ones name the step that they lack", ""},
	{"P*", "body.reservation", "Ironic's answer to a change shows the lock of that very change", `"HOST"`},
	{"PATCH /v1/nodes/*", "body.updated_at", "a change that changes nothing is not written", ""},
	{"*", "body.next", "the link to the next page has the parameters that were sent, in another order", ""},
	{"*", "body.console_interface", "no console unless asked for: nothing listens on a port for it", ""},
	{"*", "body.inspect_interface", "inspection is by the agent", ""},
	{"*/v1/drivers*", "body.*", "ingot has other interfaces, and says what a property is in its own words", ""},
	{"*/v1/drivers*", "body.*.*", "ingot has other interfaces", ""},
	{"KEYS /v1/drivers/*", "shows.*", "only properties that do something are listed", ""},
	{"GET /v1/conductors*", "body.conductors.0.*", "conductors are replicas; one alone keeps no times of its own", ""},
	{"GET /v1/conductors*", "body.conductors.0.links.*", "conductors have other names", ""},
	{"*/validate*", "body.firmware", "firmware is validated as well (1.86)", ""},
	{"*/validate*", "body.*.*", "validation looks at what ingot needs: ports are found at inspection, a console and Glance are not needed", ""},
	{"*fields=name,nosuch*", "status", "Ironic fails with 500, a fault that master no longer has", ""},
	{"GET /v1/nodes?fields=*", "status", "Ironic fails with 500 for fields of its API that are no columns", ""},
	{`PATCH /v1/nodes/$a @1.82 [{"op": "replace", "path": "/name"}]`, "status", "Ironic fails with 500", ""},
	{"PATCH /v1/port* @1.82 *node_uuid*", "status", "Ironic fails with 500", ""},
	{"DELETE /v1/portgroups/$g *", "status", "Ironic fails with 500 while ports are in it", ""},
	{"GET /v1/nodes/$n/states/power @*", "status", "Ironic fails with 500", ""},
	{"GET /v1/nodes/diff-n/ports/detail*", "status", "Ironic fails with 404 for a node's name at /detail with limit", ""},
	{`*"owner": "o1"}`, "status", "Ironic without authentication has its callers in no project; here they are the administrator", ""},
	{`*"conductor_group": "nosuch"}`, "status", "there are no conductor groups: any is data", ""},
	{"*/management/inject_nmi @1.28*", "error.*", "an endpoint that the version does not have is 404 in one form", ""},
	{"*/states/boot_mode @1.75*", "error.*", "an endpoint that the version does not have is 404 in one form", ""},
	{"*/states/secure_boot @1.75*", "error.*", "an endpoint that the version does not have is 404 in one form", ""},
	{"*/management/indicators @1.62", "status", "indicators came with 1.63; Ironic answers below it too", ""},
	{"* /v1/shards*", "error.*", "an endpoint that the version does not have is 404 in one form", ""},
	{"PATCH /v1/allocations/$al @1.56*", "error.*", "405 has one form", ""},
	{"PATCH /v1/allocations/$al @1.56*", "headers.Allow", "405 has one form", ""},
	{"POST /v1/events @1.53*", "status", "events came with 1.54; Ironic looks at the body first", ""},
	{"*", "body.power_state", "the test driver knows its power from the start: it is off", "<nil>"},
	{"P*", "body.power_state", "the test driver knows its power from the start: it is off", "has it not"},
	{"*", "body.inspection_finished_at", "the test driver has nothing to inspect, and shows no time of it", `"TIME"`},
	{"*", "body.instance_info.hashed_rescue_password", "no rescue password is kept, hashed or not", ""},
	{"*", "body.instance_info.rescue_password", "no rescue password is kept, hashed or not", ""},
	{"PUT /v1/nodes/$n/traits/HW_NO_SUCH *", "status", "traits are held to their form and not to the list of a release of os-traits", ""},
	{"GET /v1/nodes?fields=name,traits *", "body.nodes.0.traits", "traits are held to their form and not to the list of a release of os-traits", ""},
}

// explained is the reason of a difference that is meant.
func explained(d difference) (string, bool) {
	for _, m := range known {
		if matches(m.do, d.Do) && (m.path == d.Path || glob(m.path, d.Path)) && (m.ironic == "" || m.ironic == d.Ironic) {
			return m.reason, true
		}
	}
	return "", false
}

// glob matches names with dots.
func glob(pattern, name string) bool {
	ok, err := path.Match(strings.ReplaceAll(pattern, ".", "/"), strings.ReplaceAll(name, ".", "/"))
	return ok && err == nil
}

// matches reports whether text is pattern, whose * stands for any text.
func matches(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	if !strings.HasPrefix(text, parts[0]) {
		return false
	}
	text = text[len(parts[0]):]
	last := len(parts) - 1
	for _, p := range parts[1:last] {
		i := strings.Index(text, p)
		if i < 0 {
			return false
		}
		text = text[i+len(p):]
	}
	return strings.HasSuffix(text, parts[last])
}
