package rest

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/ingot-metal/ingot/pkg/node"
	"github.com/ingot-metal/ingot/pkg/openapi"
)

// runbookKind is what a runbook has (ironic/api/controllers/v1/runbook.py).
var runbookKind = kind{name: "runbook", plural: "runbooks", fields: []field{
	{name: "created_at"},
	{name: "description", since: 112, write: always, check: textField(255)},
	{name: "disable_ramdisk", write: onCreate, check: boolField},
	{name: "extra", write: always, check: objectField, object: true},
	{name: "name", summary: true, write: always, check: textField(255)},
	{name: "owner", write: always, check: textField(255)},
	{name: "public", write: always, check: boolField},
	{name: "steps", write: always, check: stepsField(runbookInterfaces, "order"), object: true},
	{name: "traits", since: 112, object: true},
	{name: "updated_at"},
	{name: "uuid", summary: true, write: onCreate, check: uuidField("uuid")},
}, filters: []openapi.Filter{{Name: "project"}}}

var runbookInterfaces = []string{"power", "management", "deploy", "bios", "raid", "firmware", "vendor", "network"}

func (s *Server) runbookResource() *resource {
	r := &resource{
		kind: &runbookKind, of: node.KindRunbook, noun: "Runbook", arg: "runbook", path: "/runbooks",
		policy: "baremetal:runbook", lists: "baremetal:runbook:list", since: 92, late: http.StatusMethodNotAllowed, named: 1,
		required: []string{"steps", "name"},
		unset:    map[string]string{"disable_ramdisk": "false", "extra": "{}", "public": "false", "traits": "[]"},
	}
	r.names = func(c *call, name any) error {
		if s, ok := name.(string); c.version >= 112 && ok {
			if !isLogicalName(s) {
				return badRequest("Schema error for runbook: %s does not match '^[A-Za-z0-9\\-._~]+$'", python(name))
			}
			return nil
		}
		return traitNamed("runbook")(c, name)
	}
	r.made = func(c *call, is *object) error {
		is.truths("disable_ramdisk", "public")
		asked := is.text("owner")
		owner, err := c.mayMakeRunbook(&asked)
		if err != nil {
			return err
		}
		if deref(owner) != "" {
			is.fields["owner"] = *owner
		}
		if !c.caller.System && is.flag("public") && c.caller.Project != "" {
			return badRequest("Cannot create a public runbook as a project scoped admin.")
		}
		return settleSteps(is, "Runbook invalid: Duplicate steps. A runbook cannot have multiple steps with the same interface and step. Duplicates: %s.")
	}
	r.shared = func(o *node.Object) bool {
		var body struct {
			Public bool `json:"public"`
		}
		return json.Unmarshal(o.Body, &body) == nil && body.Public
	}
	r.changed = func(c *call, was, is *object) error {
		is.truths("public")
		for _, name := range []string{"owner", "public"} {
			if was.fields[name] != is.fields[name] && !c.can("baremetal:runbook:update:"+name, nil) {
				return refuse(http.StatusForbidden, "Access was denied to the following resource: baremetal:runbook:update:%s", name)
			}
		}
		if is.flag("public") && is.text("owner") != "" {
			if was.text("owner") != is.text("owner") {
				return badRequest("Couldn't apply patch. Reason: There cannot be an owner for a public runbook")
			}
			is.fields["owner"] = nil // what is made public belongs to nobody
		}
		return settleSteps(is, "Runbook invalid: Duplicate steps. A runbook cannot have multiple steps with the same interface and step. Duplicates: %s.")
	}
	return r
}

func (s *Server) runbookRoutes() []route {
	r := s.runbookResource()
	all, one := "/runbooks/{ident}/traits", "/runbooks/{ident}/traits/{trait}"
	change := func(do func(c *call, traits []string) ([]string, error)) func(*call) (*reply, error) {
		return func(c *call) (*reply, error) { return nil, changeTraits(c, r, do) }
	}
	return slices.Concat(r.routes(), []route{
		{method: http.MethodGet, path: all, since: 112, action: "baremetal:runbook:get", do: func(c *call) (*reply, error) {
			o, err := r.get(c, "get")
			if err != nil {
				return nil, err
			}
			is, err := r.open(c, o)
			if err != nil {
				return nil, err
			}
			return ok(map[string]any{"traits": texts(is.fields["traits"])})
		}},
		{method: http.MethodPut, path: all, since: 112, action: "baremetal:runbook:update", do: change(func(c *call, _ []string) ([]string, error) { return readTraits(c) })},
		{method: http.MethodDelete, path: all, since: 112, action: "baremetal:runbook:update", do: change(func(*call, []string) ([]string, error) { return []string{}, nil })},
		{method: http.MethodPut, path: one, since: 112, action: "baremetal:runbook:update", do: func(c *call) (*reply, error) {
			trait := c.PathValue("trait")
			if !isTraitName(trait) {
				return nil, badRequest("Schema error for trait: %s is not valid under any of the given schemas", python(trait))
			}
			err := changeTraits(c, r, func(_ *call, traits []string) ([]string, error) {
				if slices.Contains(traits, trait) {
					return traits, nil
				}
				return append(traits, trait), nil
			})
			return &reply{status: http.StatusNoContent, location: "/runbooks/" + c.PathValue("ident") + "/traits/" + trait}, err
		}},
		{method: http.MethodDelete, path: one, since: 112, action: "baremetal:runbook:update", do: change(func(c *call, traits []string) ([]string, error) {
			return slices.DeleteFunc(traits, func(t string) bool { return t == c.PathValue("trait") }), nil
		})},
	})
}

// readTraits reads {"traits": […]}.
func readTraits(c *call) ([]string, error) {
	var body map[string]any
	if err := c.read(&body); err != nil {
		return nil, err
	}
	if len(body) != 1 || body["traits"] == nil {
		return nil, badRequest("A single runbook trait may be added via PUT /v1/runbooks/<runbook identifier>/traits/<trait> with no body, or all runbook traits may be replaced via PUT /v1/runbooks/<runbook identifier>/traits with the list of traits specified in the request body.")
	}
	traits, err := traitList(body["traits"])
	if err != nil {
		return nil, badRequest("Schema error for body: %v", err)
	}
	return traits, nil
}

func changeTraits(c *call, r *resource, do func(*call, []string) ([]string, error)) error {
	c.s.kept.writing.Lock()
	defer c.s.kept.writing.Unlock()
	o, err := r.get(c, "update")
	if err != nil {
		return err
	}
	is, err := r.open(c, o)
	if err != nil {
		return err
	}
	traits, err := do(c, texts(is.fields["traits"]))
	if err != nil {
		return err
	}
	text, err := json.Marshal(traits)
	if err != nil {
		return err
	}
	is.fields["traits"] = json.RawMessage(text)
	_, err = r.restore(c, o, is)
	return r.gone(err, o)
}
