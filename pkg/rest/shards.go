package rest

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
)

func (s *Server) shardRoutes() []route {
	return []route{{method: http.MethodGet, path: "/shards", since: 82, late: http.StatusNotFound, action: "baremetal:shards:get", do: listShards}}
}

type shard struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

// listShards counts the nodes of each shard, the greatest first. What is in none
// counts under "None", as in Ironic.
func listShards(c *call) (*reply, error) {
	counts := map[string]int{}
	for _, n := range c.visible() {
		counts[orNone(deref(n.Shard))]++
	}
	list := make([]shard, 0, len(counts))
	for name, count := range counts {
		list = append(list, shard{name, count})
	}
	slices.SortFunc(list, func(a, b shard) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Name, b.Name))
	})
	return ok(map[string]any{"shards": list})
}
