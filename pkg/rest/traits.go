package rest

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"

	"github.com/ingot-metal/ingot/pkg/node"
)

func (s *Server) traitRoutes() []route {
	const all, one = "/nodes/{node}/traits", "/nodes/{node}/traits/{trait}"
	return []route{
		{method: http.MethodGet, path: all, action: "baremetal:node:traits:list", since: 37, late: http.StatusNotAcceptable, query: []string{}, do: listTraits},
		{method: http.MethodPut, path: all, action: "baremetal:node:traits:set", since: 37, late: http.StatusMethodNotAllowed, query: []string{}, do: setTraits},
		{method: http.MethodDelete, path: all, action: "baremetal:node:traits:delete", since: 37, query: []string{}, do: deleteTraits},
		{method: http.MethodPut, path: one, action: "baremetal:node:traits:set", since: 37, late: http.StatusMethodNotAllowed, query: []string{}, do: addTrait},
		{method: http.MethodDelete, path: one, action: "baremetal:node:traits:delete", since: 37, query: []string{}, do: deleteTrait},
	}
}

// maxTraits is how many a node has at most (ironic/db/sqlalchemy/api.py).
const maxTraits = 50

// A trait is one's own, or of the families that the os-traits library has.
var traitForm = regexp.MustCompile(`^(CUSTOM|COMPUTE|HW|MISC|OWNER|STORAGE)_[A-Z0-9_]+$`)

func validTrait(argument, trait string) error {
	if len(trait) > 255 || !traitForm.MatchString(trait) {
		return badRequest("Schema error for %s: '%s' is not valid under any of the given schemas. Possible root cause: '%s' does not match '^CUSTOM_[A-Z0-9_]+$'", argument, clip([]byte(trait)), clip([]byte(trait)))
	}
	return nil
}

func listTraits(c *call) (*reply, error) {
	n, err := c.node()
	if err != nil {
		return nil, err
	}
	traits := n.Traits
	if traits == nil {
		traits = []string{}
	}
	return ok(map[string]any{"traits": traits})
}

const traitUse = "A single node trait may be added via PUT /v1/nodes/<node identifier>/traits/<trait> with no body, " +
	"or all node traits may be replaced via PUT /v1/nodes/<node identifier>/traits with the list of traits specified in the request body."

func setTraits(c *call) (*reply, error) {
	n, err := c.node()
	if err != nil {
		return nil, err
	}
	var body map[string]json.RawMessage
	if err := c.read(&body); err != nil {
		return nil, err
	}
	for name := range body {
		if name != "traits" {
			return nil, badRequest("Schema error for body: Additional properties are not allowed ('%s' was unexpected)", clip([]byte(name)))
		}
	}
	text, given := body["traits"]
	if !given {
		return nil, badRequest(traitUse)
	}
	var traits []string
	if json.Unmarshal(text, &traits) != nil || traits == nil {
		return nil, badRequest("Schema error for body: %s is not of type 'array'", clip(text))
	}
	for _, t := range traits {
		if err := validTrait("body", t); err != nil {
			return nil, err
		}
	}
	return nil, c.keepTraits(n, traits)
}

func addTrait(c *call) (*reply, error) {
	n, err := c.node()
	if err != nil {
		return nil, err
	}
	text, err := c.body()
	if err != nil {
		return nil, err
	}
	trait := c.PathValue("trait")
	if err := validTrait("trait", trait); err != nil {
		return nil, err
	}
	if s := string(text); s != "" && s != "{}" && s != "null" {
		return nil, badRequest("No body should be provided when adding a trait")
	}
	if err := c.keepTraits(n, append(slices.Clone(n.Traits), trait)); err != nil {
		return nil, err
	}
	return &reply{status: http.StatusNoContent, location: "/nodes/" + c.PathValue("node") + "/traits/" + trait}, nil
}

func deleteTraits(c *call) (*reply, error) {
	n, err := c.node()
	if err != nil {
		return nil, err
	}
	return nil, c.keepTraits(n, []string{})
}

func deleteTrait(c *call) (*reply, error) {
	n, err := c.node()
	if err != nil {
		return nil, err
	}
	trait := c.PathValue("trait")
	if !slices.Contains(n.Traits, trait) {
		return nil, notFound("Node %s doesn't have a trait '%s'", n.UUID, clip([]byte(trait)))
	}
	return nil, c.keepTraits(n, slices.DeleteFunc(slices.Clone(n.Traits), func(t string) bool { return t == trait }))
}

func (c *call) keepTraits(n *node.Node, traits []string) error {
	slices.Sort(traits)
	traits = slices.Compact(traits)
	if len(traits) > maxTraits {
		return badRequest("Could not modify traits for node %s as it would exceed the maximum number of traits per node (%d vs. %d)", n.UUID, len(traits), maxTraits)
	}
	if slices.Equal(traits, n.Traits) {
		return nil
	}
	to := n.Clone()
	to.Traits = traits
	_, err := c.s.Nodes.Update(c.Context(), n, to)
	return err
}
