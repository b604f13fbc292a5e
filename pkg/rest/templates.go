package rest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/node"
)

// templateKind is what a deploy template has (ironic/api/controllers/v1/deploy_template.py).
var templateKind = kind{name: "deploy template", plural: "deploy_templates", fields: []field{
	{name: "created_at"},
	{name: "extra", write: always, check: objectField, object: true},
	{name: "name", summary: true, write: always, check: textField(255)},
	{name: "steps", write: always, check: stepsField(deployInterfaces, "priority"), object: true},
	{name: "updated_at"},
	{name: "uuid", summary: true, write: onCreate, check: uuidField("uuid")},
}}

var (
	deployInterfaces = []string{"power", "management", "deploy", "bios", "raid", "firmware", "vendor"}
	digits           = regexp.MustCompile(`^[0-9]+$`)
)

func (s *Server) templateRoutes() []route {
	r := &resource{
		kind: &templateKind, of: node.KindDeployTemplate, noun: "Deploy template", arg: "template", path: "/deploy_templates",
		policy: "baremetal:deploy_template", since: 55, late: 405, named: 1, names: traitNamed("template"),
		required: []string{"steps", "name"}, unset: map[string]string{"extra": "{}"},
	}
	r.made = func(_ *call, is *object) error {
		return settleSteps(is, "Deploy template invalid: Duplicate deploy steps. A deploy template cannot have multiple deploy steps with the same interface and step. Duplicates: %s.")
	}
	r.changed = func(c *call, _, is *object) error { return r.made(c, is) }
	return r.routes()
}

// traitNamed has the name be a trait: that is how a node finds it.
func traitNamed(arg string) func(*call, any) error {
	return func(_ *call, name any) error {
		if s, ok := name.(string); !ok || !isTraitName(s) {
			return badRequest("Schema error for %s: %s is not valid under any of the given schemas. Possible root cause: it is neither a standard trait nor matches '^CUSTOM_[A-Z0-9_]+$'", arg, python(name))
		}
		return nil
	}
}

// stepsField checks a list of steps, whose place in the order is in a field of its
// own.
func stepsField(interfaces []string, order string) func(any) error {
	return unlessNull(func(v any) error {
		list, ok := v.([]any)
		switch {
		case !ok:
			return fmt.Errorf("%s is not of type 'array'", python(v))
		case len(list) == 0:
			return fmt.Errorf("[] is too short")
		case len(list) > 256:
			return fmt.Errorf("there are more than 256 steps")
		}
		for _, e := range list {
			step, ok := e.(map[string]any)
			if !ok {
				return fmt.Errorf("%s is not of type 'object'", python(e))
			}
			for _, name := range []string{"interface", "step", "args", order} {
				if _, ok := step[name]; !ok {
					return fmt.Errorf("'%s' is a required property", name)
				}
			}
			for name := range step {
				if !slices.Contains([]string{"interface", "step", "args", order}, name) {
					return fmt.Errorf("Additional properties are not allowed ('%s' was unexpected)", name) //nolint:staticcheck // Ironic's sentence
				}
			}
			if s, ok := step["interface"].(string); !ok || !slices.Contains(interfaces, s) {
				return fmt.Errorf("%s is not one of ['%s']", python(step["interface"]), strings.Join(interfaces, "', '"))
			}
			if s, ok := step["step"].(string); !ok || s == "" {
				return fmt.Errorf("%s is not the name of a step", python(step["step"]))
			}
			if _, ok := step["args"].(map[string]any); !ok {
				return fmt.Errorf("%s is not of type 'object'", python(step["args"]))
			}
			n, isNumber := integer(step[order])
			if s, ok := step[order].(string); !(isNumber && n >= 0) && !(ok && digits.MatchString(s)) {
				return fmt.Errorf("%s is not valid under any of the given schemas", python(step[order]))
			}
		}
		return nil
	})
}

// settleSteps refuses steps that are there twice, and takes secrets out of their
// arguments: no step that is carried out here needs one.
func settleSteps(is *object, twice string) error {
	list, _ := is.fields["steps"].([]any)
	seen, again := map[string]bool{}, []string{}
	for _, e := range list {
		step, _ := e.(map[string]any)
		key := fmt.Sprintf("interface: %v, step: %v", step["interface"], step["step"])
		if seen[key] && !slices.Contains(again, key) {
			again = append(again, key)
		}
		seen[key] = true
		if args, ok := step["args"]; ok {
			step["args"] = maskSecrets(args, ironic.Masked)
		}
	}
	if len(again) > 0 {
		return badRequest(twice, strings.Join(again, "; "))
	}
	return nil
}
