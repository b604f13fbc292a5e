package rest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/pkg/node"
)

// ruleKind is what an inspection rule has (ironic/api/controllers/v1/inspection_rule.py).
var ruleKind = kind{name: "inspection rule", plural: "inspection_rules", fields: []field{
	{name: "actions", write: always, check: operationsField(ruleActions, 1), object: true},
	{name: "conditions", write: always, check: operationsField(ruleConditions, 0), object: true},
	{name: "created_at"},
	{name: "description", summary: true, write: always, check: textField(255)},
	{name: "phase", summary: true, write: always, check: phaseField},
	{name: "priority", summary: true, write: always, check: priorityField},
	{name: "sensitive", write: always, check: boolField},
	{name: "updated_at"},
	{name: "uuid", summary: true, write: onCreate, check: uuidField("uuid")},
}}

// operation is what a condition or an action takes: first what it needs.
type operation struct{ needs, may []string }

var (
	ruleConditions = map[string]operation{
		"eq": {[]string{"values"}, []string{"force_strings"}}, "lt": {[]string{"values"}, []string{"force_strings"}}, "gt": {[]string{"values"}, []string{"force_strings"}},
		"is-empty": {[]string{"value"}, nil}, "in-net": {[]string{"address", "subnet"}, nil},
		"matches": {[]string{"value", "regex"}, nil}, "contains": {[]string{"value", "regex"}, nil}, "one-of": {[]string{"value"}, []string{"values"}},
		"is-none": {[]string{"value"}, nil}, "is-true": {[]string{"value"}, nil}, "is-false": {[]string{"value"}, nil},
	}
	ruleActions = map[string]operation{
		"fail": {[]string{"msg"}, nil}, "log": {[]string{"msg"}, []string{"level"}},
		"set-attribute": {[]string{"path", "value"}, nil}, "extend-attribute": {[]string{"path", "value"}, []string{"unique"}}, "del-attribute": {[]string{"path"}, nil},
		"set-capability": {[]string{"name", "value"}, nil}, "unset-capability": {[]string{"name"}, nil},
		"add-trait": {[]string{"name"}, nil}, "remove-trait": {[]string{"name"}, nil},
		"set-plugin-data": {[]string{"path", "value"}, nil}, "extend-plugin-data": {[]string{"path", "value"}, []string{"unique"}}, "unset-plugin-data": {[]string{"path"}, nil},
		"set-port-attribute": {[]string{"port_id", "path", "value"}, nil}, "extend-port-attribute": {[]string{"port_id", "path", "value"}, []string{"unique"}},
		"del-port-attribute": {[]string{"port_id", "path"}, nil},
		"api-call":           {[]string{"url"}, []string{"headers", "proxies", "timeout", "retries", "backoff_factor"}},
	}
)

func (s *Server) ruleRoutes() []route {
	r := &resource{
		kind: &ruleKind, of: node.KindInspectionRule, noun: "Inspection rule", arg: "inspection_rule", path: "/inspection_rules",
		policy: "baremetal:inspection_rule", since: 96, late: http.StatusMethodNotAllowed, required: []string{"actions"},
		unset: map[string]string{"actions": "[]", "conditions": "[]", "phase": `"main"`, "priority": "0", "sensitive": "false"}, params: []string{"phase"},
	}
	// What a sensitive rule does is shown to nobody.
	r.dress = func(_ *call, _ *node.Object, d doc) doc {
		if string(r.at(d, "sensitive")) == "true" {
			r.put(d, "actions", json.RawMessage("null"))
			r.put(d, "conditions", json.RawMessage("null"))
		}
		return d
	}
	r.made = func(_ *call, is *object) error {
		is.truths("sensitive")
		hideRule(is)
		return nil
	}
	r.changed = func(_ *call, was, is *object) error {
		is.truths("sensitive")
		if was.flag("sensitive") && !is.flag("sensitive") {
			return badRequest("Couldn't apply patch. Reason: Inspection rules cannot have the sensitive flag unset.")
		}
		if actions, _ := is.fields["actions"].([]any); len(actions) == 0 && !is.flag("sensitive") {
			return badRequest("Schema error for patch: 'actions' is a required property")
		}
		hideRule(is)
		return nil
	}
	return r.routes()
}

// hideRule keeps what a sensitive rule does out of the store, which shows its objects
// to whoever may read them: rules are kept for clients, and not carried out here.
func hideRule(is *object) {
	if is.flag("sensitive") {
		delete(is.fields, "actions")
		delete(is.fields, "conditions")
	}
}

func phaseField(v any) error {
	if v != nil && v != "main" {
		return badRequest("Invalid phase: %v. Valid phases are: main", v)
	}
	return nil
}

func priorityField(v any) error {
	if v == nil {
		return nil
	}
	n, ok := integer(v)
	switch {
	case !ok:
		return fmt.Errorf("%s is not of type 'integer'", python(v))
	case n < 0:
		return fmt.Errorf("%d is less than the minimum of 0", n)
	case n > 9999:
		return badRequest("Priority must be between 0 and 9999 for user-defined rules.")
	}
	return nil
}

// operationsField checks a list of conditions or actions.
func operationsField(known map[string]operation, least int) func(any) error {
	return unlessNull(func(v any) error {
		list, ok := v.([]any)
		switch {
		case !ok:
			return fmt.Errorf("%s is not of type 'array'", python(v))
		case len(list) < least:
			return fmt.Errorf("[] is too short")
		case len(list) > 256:
			return fmt.Errorf("there are more than 256 of them")
		}
		for _, e := range list {
			o, ok := e.(map[string]any)
			if !ok {
				return fmt.Errorf("%s is not of type 'object'", python(e))
			}
			for _, name := range []string{"op", "args"} {
				if _, ok := o[name]; !ok {
					return fmt.Errorf("'%s' is a required property", name)
				}
			}
			name, _ := o["op"].(string)
			takes, ok := known[name]
			if !ok && least == 0 {
				takes, ok = known[strings.TrimSpace(strings.TrimPrefix(name, "!"))]
			}
			if !ok {
				return fmt.Errorf("%s is not one of %s", python(o["op"]), slices.Sorted(maps.Keys(known)))
			}
			if err := takes.check(o["args"]); err != nil {
				return badRequest("Invalid parameters for operator %s: %v", name, err)
			}
			if m, given := o["multiple"]; given && !slices.Contains([]any{"any", "all", "first", "last"}, m) {
				return fmt.Errorf("%s is not one of ['any', 'all', 'first', 'last']", python(m))
			}
		}
		return nil
	})
}

// check compares arguments, by name or by place, with what is taken.
func (o operation) check(args any) error {
	switch args := args.(type) {
	case []any:
		if len(args) < len(o.needs) {
			return fmt.Errorf("not enough arguments provided. Missing: %s", strings.Join(o.needs[len(args):], ", "))
		}
		return nil
	case map[string]any:
		for _, name := range o.needs {
			if _, ok := args[name]; !ok {
				return fmt.Errorf("missing required argument(s): %s", name)
			}
		}
		for name := range args {
			if !slices.Contains(o.needs, name) && !slices.Contains(o.may, name) {
				return fmt.Errorf("unexpected argument(s): %s", name)
			}
		}
		return nil
	}
	return fmt.Errorf("args must be either a list or dictionary")
}
