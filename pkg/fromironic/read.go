package fromironic

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/node"
)

const requestTimeout = 2 * time.Minute // a page in detail takes a busy Ironic many seconds

// Site is what an Ironic has.
type Site struct {
	Version ironic.Version
	Nodes   []Node
	Things  []Thing
	// Missed are the collections that could not be read, with the reason.
	Missed []string
}

// Node is a node as Ironic shows it; Bad says why it could not be read.
type Node struct {
	ironic.Node
	Bad string
}

// Thing is a resource other than a node.
type Thing struct {
	Kind             string // as in pkg/node
	UUID, Node, Name string
	Created, Updated string
	Body             map[string]any // its fields, without these and without links
}

// collection is where the things of a kind are read.
type collection struct {
	kind, plural, path string
	query              url.Values
	since              ironic.Version
	// drop are members that are links to others.
	drop []string
}

func collections() []collection {
	return []collection{
		{kind: node.KindChassis, plural: "chassis", path: "/v1/chassis/detail", drop: []string{"nodes"}},
		{kind: node.KindPortGroup, plural: "portgroups", path: "/v1/portgroups/detail", since: 23, drop: []string{"ports"}},
		{kind: node.KindPort, plural: "ports", path: "/v1/ports/detail"},
		{kind: node.KindAllocation, plural: "allocations", path: "/v1/allocations", since: 52},
		{kind: node.KindDeployTemplate, plural: "deploy_templates", path: "/v1/deploy_templates", since: 55, query: url.Values{"detail": {"true"}}},
	}
}

// Read reads all that Ironic shows to us. It writes nothing.
func (c *Client) Read(ctx context.Context) (*Site, error) {
	if err := c.negotiate(ctx); err != nil {
		return nil, err
	}
	s := &Site{Version: c.version}
	err := c.pages(ctx, "/v1/nodes/detail", nil, "nodes", func(text json.RawMessage) string {
		n := readNode(text)
		s.Nodes = append(s.Nodes, n)
		return n.UUID
	})
	if err != nil {
		return nil, err
	}
	for _, col := range collections() {
		if c.version < col.since {
			continue
		}
		err := c.pages(ctx, col.path, col.query, col.plural, func(text json.RawMessage) string {
			t, ok := readThing(col, text)
			if ok {
				s.Things = append(s.Things, t)
			}
			return t.UUID
		})
		var answer *answerError
		switch {
		case errors.As(err, &answer) && (answer.status == http.StatusForbidden || answer.status == http.StatusNotFound):
			s.Missed = append(s.Missed, col.plural+" are not taken over: "+err.Error())
		case err != nil:
			return nil, err
		}
	}
	return s, nil
}

func readNode(text json.RawMessage) Node {
	var n Node
	if err := json.Unmarshal(text, &n.Node); err != nil {
		// Enough to name it by, and to go on after it.
		var name struct {
			UUID string  `json:"uuid"`
			Name *string `json:"name"`
		}
		_ = json.Unmarshal(text, &name)
		n = Node{Node: ironic.Node{UUID: name.UUID, Name: name.Name}, Bad: "it cannot be read: " + clip(err.Error())}
	}
	n.UUID = strings.ToLower(n.UUID)
	switch {
	case n.Bad != "":
	case !isUUID(n.UUID):
		n.Bad = "its UUID is none"
	case n.Name != nil && !isName(*n.Name):
		n.Bad = "its name is none that Ironic takes"
	}
	return n
}

// readThing takes a resource apart; what has no identity is let go.
func readThing(col collection, text json.RawMessage) (Thing, bool) {
	var body map[string]any
	if json.Unmarshal(text, &body) != nil {
		return Thing{}, false
	}
	t := Thing{Kind: col.kind, Body: body}
	for name, into := range map[string]*string{
		"uuid": &t.UUID, "node_uuid": &t.Node, "name": &t.Name, "created_at": &t.Created, "updated_at": &t.Updated,
	} {
		*into, _ = body[name].(string)
	}
	for _, name := range append([]string{"uuid", "node_uuid", "created_at", "updated_at", "links"}, col.drop...) {
		delete(body, name)
	}
	t.UUID, t.Node = strings.ToLower(t.UUID), strings.ToLower(t.Node)
	good := isUUID(t.UUID) && (t.Node == "" || isUUID(t.Node)) && len(t.Name) <= 255
	return t, good
}

var (
	uuidForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	nameForm = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,255}$`)
)

func isUUID(s string) bool { return uuidForm.MatchString(s) }

func isName(s string) bool { return nameForm.MatchString(s) }

// clip makes of a text from elsewhere a line that a terminal may show.
func clip(s string) string {
	const most = 300
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
