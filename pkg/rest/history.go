package rest

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/node"
)

// History tells what happened to a node, the oldest first.
type History interface {
	History(ctx context.Context, n *node.Node) ([]ironic.HistoryEntry, error)
}

// historyKind is what an event shows.
var historyKind = kind{name: "history", plural: "history", fields: []field{
	{name: "conductor"},
	{name: "created_at", summary: true},
	{name: "duration", since: 115},
	{name: "event", summary: true},
	{name: "event_type"},
	{name: "project", since: 113},
	{name: "provision_state", since: 115},
	{name: "severity", summary: true},
	{name: "target_provision_state", since: 115},
	{name: "user"},
	{name: "uuid", summary: true},
}}

// shortEvent is how much of an event a list shows.
const shortEvent = 255

func (s *Server) historyRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/nodes/{node}/history", since: 78, action: "baremetal:node:history:get", do: listHistory},
		{method: http.MethodGet, path: "/nodes/{node}/history/{ident}", since: 78, action: "baremetal:node:history:get", do: showHistory},
	}
}

// history asks who knows: the options say who, else the store, if it does.
func (c *call) history(n *node.Node) ([]ironic.HistoryEntry, error) {
	knows := c.s.History
	if knows == nil {
		knows, _ = any(c.s.Nodes).(History)
	}
	if knows == nil {
		return nil, nil
	}
	return knows.History(c.Context(), n)
}

func eventDoc(e ironic.HistoryEntry, whole bool) (doc, error) {
	if text := []rune(e.Event); !whole && len(text) > shortEvent {
		e.Event = string(text[:shortEvent-4]) + "..."
	}
	return historyKind.docOf(e)
}

// selfLink is the one link that an event has.
func (c *call) selfLink(n *node.Node, id string) []byte {
	text, _ := json.Marshal(c.links("nodes/" + n.UUID + "/history/" + id)[:1]) // texts can always be
	return append([]byte(`"links": `), text...)
}

func listHistory(c *call) (*reply, error) {
	if err := c.knows("detail", "limit", "marker"); err != nil {
		return nil, err
	}
	n, err := c.node()
	if err != nil {
		return nil, err
	}
	detail, _, err := flag(c.URL.Query(), "detail")
	if err != nil {
		return nil, err
	}
	v, err := c.view(&historyKind, detail)
	if err != nil {
		return nil, err
	}
	events, err := c.history(n)
	if err != nil {
		return nil, err
	}
	var items []item
	for _, e := range events {
		d, err := eventDoc(e, detail)
		if err != nil {
			return nil, err
		}
		items = append(items, item{id: e.UUID, doc: d})
	}
	return c.list(&historyKind, v, items, func(it item) []byte { return c.selfLink(n, it.id) })
}

func showHistory(c *call) (*reply, error) {
	n, err := c.node()
	if err != nil {
		return nil, err
	}
	v, err := c.view(&historyKind, true)
	if err != nil {
		return nil, err
	}
	events, err := c.history(n)
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		if e.UUID != c.PathValue("ident") {
			continue
		}
		d, err := eventDoc(e, true)
		if err != nil {
			return nil, err
		}
		return &reply{status: http.StatusOK, raw: v.append(nil, d, c.selfLink(n, e.UUID)...)}, nil
	}
	return nil, notFound("Node history record %s could not be found.", c.PathValue("ident"))
}
