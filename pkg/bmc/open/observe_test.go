package open

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

func TestPoolObserves(t *testing.T) {
	p, _, s, url := pool(t)
	defer p.Close()
	var mu sync.Mutex
	var seen []string
	p.Observe = func(protocol string, err error) {
		mu.Lock()
		defer mu.Unlock()
		class := ""
		if err != nil {
			class = string(bmc.ClassOf(err))
		}
		seen = append(seen, protocol+" "+class)
	}
	key := Key{Address: url + "/redfish/v1/Systems/1", Version: "1"}
	use(t, p, key)
	mu.Lock()
	if len(seen) == 0 || slices.ContainsFunc(seen, func(s string) bool { return s != "redfish " }) {
		t.Errorf("saw %q of calls that went well", seen)
	}
	seen = nil
	mu.Unlock()
	conn, done, err := p.Get(context.Background(), key, admin)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	s.mu.Lock()
	s.down = true
	s.mu.Unlock()
	_, err = conn.(bmc.Power).PowerState(context.Background())
	if err == nil {
		t.Fatal("a BMC that is down answers")
	}
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"redfish " + string(bmc.ClassOf(err))}; !slices.Equal(seen, want) {
		t.Errorf("saw %q, want %q", seen, want)
	}
}
