//go:build e2e

package diff

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/node"
)

// way is a verb, and whether one of its steps is named hold.
type way struct {
	verb ironic.Verb
	hold bool
}

// TestTable walks the table of states with nodes of the test driver, through the
// shipped server: every verb, asked over HTTP of one node and through the Kubernetes
// API of its twin, has to lead where the table says, and the two have to look the same
// at either door. Rows that such nodes do not come to are listed: real machines do
// (e2e/journey, TestLed and TestNodeLife; e2e/ironic/clients).
func TestTable(t *testing.T) {
	w := newTwins(t)
	paths := map[ironic.State][]way{ironic.Enroll: nil}
	done := map[string]bool{}
	for todo := []ironic.State{ironic.Enroll}; len(todo) > 0; todo = todo[1:] {
		row, known := node.RowOf(todo[0])
		if !known {
			t.Fatalf("%q is no row", todo[0])
		}
		for _, lead := range row.Verbs {
			for _, hold := range []bool{false, true} {
				verb := ironic.Verb(lead.By)
				if hold && !slices.Contains([]ironic.Verb{ironic.VerbClean, ironic.VerbActive, ironic.VerbRebuild, ironic.VerbService}, verb) {
					continue
				}
				at := w.both(paths[todo[0]], todo[0], way{verb, hold}, lead.To)
				done[string(row.State)+" "+lead.By] = true
				if _, seen := paths[at]; !seen {
					paths[at] = append(slices.Clone(paths[todo[0]]), way{verb, hold})
					todo = append(todo, at)
				}
			}
		}
	}
	var rest []string
	for _, row := range node.Rows() {
		for _, lead := range row.Verbs {
			if !done[string(row.State)+" "+lead.By] {
				rest = append(rest, fmt.Sprintf("%s: %s", row.State, lead.By))
			}
		}
		for _, end := range row.Ends {
			rest = append(rest, fmt.Sprintf("%s: (%s)", row.State, end.By))
		}
	}
	t.Logf("%d rows walked, at both doors; %d not exercised here:\n\t%s", len(done), len(rest), strings.Join(rest, "\n\t"))
	if len(done) < 29 {
		t.Errorf("only %d rows were walked", len(done))
	}
}

// twins are a server and what is asked of it at both doors.
type twins struct {
	*testing.T
	url  string
	kube client.Client
	made int
}

func newTwins(t *testing.T) *twins {
	s := serve(t)
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{metal3.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return &twins{T: t, url: s.REST, kube: c}
}

// both walks two new nodes to a state, asks each for one more verb, at one door each,
// and returns where they rest.
func (w *twins) both(path []way, from ironic.State, last way, to ironic.State) ironic.State {
	w.Helper()
	what := fmt.Sprintf("%s from %s (hold %v)", last.verb, from, last.hold)
	w.made++
	names := []string{fmt.Sprintf("a%d", w.made), fmt.Sprintf("b%d", w.made)}
	for _, name := range names {
		w.ask(http.MethodPost, "/v1/nodes", map[string]any{"driver": "fake-hardware", "name": name, "instance_info": map[string]any{"image_source": "http://192.0.2.1/i.raw", "image_checksum": strings.Repeat("a", 64)}})
		for _, step := range path {
			w.byREST(name, step)
		}
		if got := w.state(name); got != from {
			w.Fatalf("%s: %s is %s", what, name, got)
		}
	}
	w.byREST(names[0], last)
	w.byKube(names[1], last)
	a, b := w.seen(names[0]), w.seen(names[1])
	if !reflect.DeepEqual(a, b) {
		for k := range a {
			if !reflect.DeepEqual(a[k], b[k]) {
				w.Errorf("%s: %s\n\tby REST       %v\n\tby Kubernetes %v", what, k, a[k], b[k])
			}
		}
	}
	at := w.state(names[0])
	if row, ok := node.RowOf(at); !ok || len(row.Verbs) == 0 {
		w.Errorf("%s: rests in %s, which nothing leads out of", what, at)
	}
	if !last.hold && !leadsTo(to, at) {
		w.Errorf("%s: the table says %s, and it rests in %s", what, to, at)
	}
	return at
}

// leadsTo reports whether a state ends in another by itself.
func leadsTo(from, to ironic.State) bool {
	seen := map[ironic.State]bool{}
	for todo := []ironic.State{from}; len(todo) > 0; todo = todo[1:] {
		if todo[0] == to {
			return true
		}
		if row, ok := node.RowOf(todo[0]); ok && !seen[todo[0]] {
			seen[todo[0]] = true
			for _, end := range row.Ends {
				todo = append(todo, end.To)
			}
		}
	}
	return false
}

// byREST asks over HTTP, and waits for the end.
func (w *twins) byREST(name string, step way) {
	w.Helper()
	body := map[string]any{"target": step.verb}
	does := map[string]any{"interface": "deploy", "step": "erase_devices_metadata"}
	if step.hold {
		does = map[string]any{"step": "hold"}
	}
	switch {
	case step.verb == ironic.VerbClean:
		body["clean_steps"] = []any{does}
	case step.verb == ironic.VerbService:
		body["service_steps"] = []any{does}
	case step.hold:
		does["priority"], does["interface"], does["args"] = 50, "deploy", map[string]any{}
		body["deploy_steps"] = []any{does}
	case step.verb == ironic.VerbRescue:
		body["rescue_password"] = "of no use here"
	}
	n := w.record(name).Status.Node
	asked := int64(0)
	if n != nil {
		asked = n.Asked
	}
	w.ask(http.MethodPut, "/v1/nodes/"+name+"/states/provision", body)
	w.until(name, asked+1)
}

// byKube does the same through the Kubernetes API. Of a node without a machine nothing
// is declared along with it.
func (w *twins) byKube(name string, step way) {
	w.Helper()
	r := w.record(name)
	before := r.DeepCopy()
	n := int64(1)
	if r.Spec.Ask != nil {
		n = r.Spec.Ask.N + 1
	}
	r.Spec.Ask = &v1alpha1.Ask{N: n, Verb: string(step.verb), Hold: step.hold}
	w.must(w.kube.Patch(w.Context(), r, client.MergeFrom(before)))
	w.until(name, n)
}

func (w *twins) record(name string) *v1alpha1.HostRecord {
	w.Helper()
	r := &v1alpha1.HostRecord{}
	w.must(w.kube.Get(w.Context(), client.ObjectKey{Namespace: "default", Name: name}, r))
	return r
}

// until waits for an ask to be taken up and to come to its end, and for the REST door
// to have seen it.
func (w *twins) until(name string, n int64) {
	w.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		st := w.record(name).Status.Node
		doc := w.ask(http.MethodGet, "/v1/nodes/"+name, nil)
		if st != nil && st.Asked >= n && st.Verb == "" && doc["reservation"] == nil && doc["provision_state"] == st.Hold {
			return
		}
		if time.Now().After(end) {
			w.Fatalf("%s: %+v is not the end of ask %d, REST shows %v", name, st, n, doc["provision_state"])
		}
	}
}

func (w *twins) state(name string) ironic.State {
	w.Helper()
	return ironic.State(fmt.Sprint(w.ask(http.MethodGet, "/v1/nodes/"+name, nil)["provision_state"]))
}

// own is what two nodes that are alike differ in.
var own = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[ab][0-9]+\b|\d{4}-\d\d-\d\dT[0-9:.]+Z?|[0-9a-f]{64}`)

// seen is a node as both doors show it, without what is its own.
func (w *twins) seen(name string) map[string]any {
	w.Helper()
	out := map[string]any{}
	flat := func(prefix string, doc any) {
		text, err := json.Marshal(doc)
		w.must(err)
		var all map[string]any
		w.must(json.Unmarshal(text, &all))
		for k, v := range all {
			text, err := json.Marshal(v)
			w.must(err)
			out[prefix+k] = own.ReplaceAllString(string(text), "OWN")
		}
	}
	flat("node.", w.ask(http.MethodGet, "/v1/nodes/"+name, nil))
	// What REST clients said of an instance is taken back at the REST door.
	delete(out, "node.instance_info")
	delete(out, "node.updated_at") // an ask is no change of what is declared at the REST door
	b := &metal3.BareMetalHost{}
	w.must(w.kube.Get(w.Context(), client.ObjectKey{Namespace: "default", Name: name}, b))
	b.Status.LastUpdated = nil
	flat("spec.", b.Spec)
	flat("status.", b.Status)
	flat("annotations.", b.Annotations)
	return out
}

// ask sends one request that has to be let through.
func (w *twins) ask(method, path string, body any) map[string]any {
	w.Helper()
	text, err := json.Marshal(body)
	w.must(err)
	if body == nil {
		text = nil
	}
	r, err := http.NewRequestWithContext(w.Context(), method, w.url+path, bytes.NewReader(text))
	w.must(err)
	r.Header.Set("X-OpenStack-Ironic-API-Version", "latest")
	res, err := http.DefaultClient.Do(r)
	w.must(err)
	defer res.Body.Close()
	var out map[string]any
	err = json.NewDecoder(res.Body).Decode(&out)
	if res.StatusCode >= 300 {
		w.Fatalf("%s %s %s: %d %v", method, path, text, res.StatusCode, cmp.Or(fmt.Sprint(out["error_message"]), fmt.Sprint(err)))
	}
	return out
}

func (w *twins) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}
