package rest

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/node"
)

// populated is a server of n nodes with the data that an inspected node has.
func populated(tb testing.TB, n int) *Server {
	tb.Helper()
	start := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	store := node.NewStore(nil, nil, "default", time.Now, nil)
	for i := range n {
		name := fmt.Sprintf("node-%05d", i)
		id := fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
		meta := metav1.ObjectMeta{Namespace: "default", Name: name, CreationTimestamp: metav1.NewTime(start.Add(time.Duration(i) * time.Second)), ResourceVersion: "1"}
		d := ironic.Node{
			UUID: id, Driver: "redfish",
			DriverInfo:   ironic.Object{"redfish_address": "https://10.0.0.1", "redfish_username": "admin", "redfish_password": ironic.Masked, "redfish_system_id": "/redfish/v1/Systems/1"},
			Properties:   ironic.Object{"cpus": 64, "memory_mb": 262144, "local_gb": 960, "cpu_arch": "x86_64", "capabilities": "boot_mode:uefi"},
			InstanceInfo: ironic.Object{"image_source": "http://images/x.qcow2", "image_checksum": "abc", "capabilities": map[string]any{"boot_option": "local"}},
			Extra:        ironic.Object{"rack": "r4", "unit": i},
		}
		if err := fillInterfaces(&d); err != nil {
			tb.Fatal(err)
		}
		text, err := json.Marshal(d)
		if err != nil {
			tb.Fatal(err)
		}
		store.Observe(&metal3.BareMetalHost{ObjectMeta: meta})
		store.Observe(&v1alpha1.HostRecord{ObjectMeta: meta, Spec: v1alpha1.HostRecordSpec{ID: id, IronicName: name, Hold: "enroll"}})
		store.Observe(&v1alpha1.NodeAttributes{ObjectMeta: meta, Spec: v1alpha1.NodeAttributesSpec{ID: id, Attributes: &apiextensionsv1.JSON{Raw: text}}})
	}
	return New(Options{Nodes: store, Log: slog.New(slog.DiscardHandler), Now: time.Now})
}

// novaFields are those that Nova's periodic lists ask for.
const novaFields = "uuid,power_state,target_power_state,provision_state,target_provision_state,last_error,maintenance,properties,instance_uuid,traits,resource_class"

var readings = []struct {
	name, path string
	budget     time.Duration // of CPU a call, of docs/designs §8
}{
	{"list", "/v1/nodes", 20 * time.Millisecond},
	{"fields", "/v1/nodes?fields=" + novaFields, 20 * time.Millisecond},
	{"detail", "/v1/nodes/detail", 60 * time.Millisecond},
	{"filter", "/v1/nodes?provision_state=active&driver=redfish", 20 * time.Millisecond},
	{"sorted", "/v1/nodes?sort_key=name&sort_dir=desc&limit=100", 20 * time.Millisecond},
	{"one", "/v1/nodes/00000000-0000-4000-8000-000000000500", time.Millisecond / 2},
}

// nobody takes an answer and keeps what matters of it.
type nobody struct {
	header http.Header
	status int
	bytes  int
}

func (w *nobody) Header() http.Header         { return w.header }
func (w *nobody) WriteHeader(status int)      { w.status = status }
func (w *nobody) Write(p []byte) (int, error) { w.bytes += len(p); return len(p), nil }

func (w *nobody) ask(tb testing.TB, s *Server, path string) {
	tb.Helper()
	r, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, "http://10.0.0.1:6385"+path, http.NoBody)
	if err != nil {
		tb.Fatal(err)
	}
	r.Header.Set(versionHeader, "1.109")
	w.header, w.status, w.bytes = http.Header{}, 0, 0
	s.ServeHTTP(w, r)
	if w.status != http.StatusOK {
		tb.Fatalf("%s: %d", path, w.status)
	}
}

func BenchmarkReadings(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		s := populated(b, n)
		for _, r := range readings {
			b.Run(fmt.Sprintf("%s/%d", r.name, n), func(b *testing.B) {
				w := &nobody{}
				w.ask(b, s, r.path)
				b.SetBytes(int64(w.bytes))
				b.ReportAllocs()
				for b.Loop() {
					w.ask(b, s, r.path)
				}
			})
		}
	}
}

// The budgets hold with room to spare, so that a busy machine does not fail this.
func TestReadingsFitTheirBudgets(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector costs more than the budgets allow")
	}
	s := populated(t, 1000)
	for _, r := range readings {
		w := &nobody{}
		w.ask(t, s, r.path)
		best := time.Hour
		for range 10 {
			start := time.Now()
			w.ask(t, s, r.path)
			best = min(best, time.Since(start))
		}
		t.Logf("%s: %s, %d bytes", r.name, best, w.bytes)
		if best > r.budget {
			t.Errorf("%s takes %s, budget %s", r.name, best, r.budget)
		}
	}
}
