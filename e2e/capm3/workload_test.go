//go:build e2e

package capm3

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
)

// workload is as much of the workload cluster's API as Cluster API's controllers
// ask for: it answers, and it has nodes.
type workload struct {
	*httptest.Server

	mu      sync.Mutex
	version int
	nodes   map[string]*corev1.Node
	watches map[chan metav1.WatchEvent]bool
}

func newWorkload(t *testing.T) *workload {
	w := &workload{nodes: map[string]*corev1.Node{}, watches: map[chan metav1.WatchEvent]bool{}, version: 1}
	mux := http.NewServeMux()
	say := func(v any) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) { answer(rw, v) }
	}
	mux.HandleFunc("GET /{$}", say(map[string]any{"paths": []string{"/api"}}))
	mux.HandleFunc("GET /version", say(map[string]any{"major": "1", "minor": "35", "gitVersion": "v1.35.0"}))
	mux.HandleFunc("GET /api", say(metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}}))
	// Before a machine is given back, its volumes are to be detached.
	storage := metav1.GroupVersionForDiscovery{GroupVersion: "storage.k8s.io/v1", Version: "v1"}
	group := metav1.APIGroup{
		TypeMeta: metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"},
		Name:     "storage.k8s.io", Versions: []metav1.GroupVersionForDiscovery{storage}, PreferredVersion: storage,
	}
	mux.HandleFunc("GET /apis", say(metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}, Groups: []metav1.APIGroup{group}}))
	mux.HandleFunc("GET /apis/storage.k8s.io", say(group))
	mux.HandleFunc("GET /apis/storage.k8s.io/v1", say(metav1.APIResourceList{
		TypeMeta: metav1.TypeMeta{Kind: "APIResourceList"}, GroupVersion: storage.GroupVersion,
		APIResources: []metav1.APIResource{{Name: "volumeattachments", SingularName: "volumeattachment", Kind: "VolumeAttachment", Verbs: metav1.Verbs{"list", "watch"}}},
	}))
	mux.HandleFunc("GET /apis/storage.k8s.io/v1/volumeattachments", func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") != "" {
			follow(rw, r, metav1.TypeMeta{Kind: "VolumeAttachment", APIVersion: storage.GroupVersion}, "1", nil)
			return
		}
		answer(rw, map[string]any{"kind": "VolumeAttachmentList", "apiVersion": storage.GroupVersion, "metadata": map[string]any{"resourceVersion": "1"}, "items": []any{}})
	})
	all := metav1.Verbs{"get", "list", "watch", "patch", "update", "delete"}
	mux.HandleFunc("GET /api/v1", say(metav1.APIResourceList{
		TypeMeta: metav1.TypeMeta{Kind: "APIResourceList"}, GroupVersion: "v1",
		APIResources: []metav1.APIResource{
			{Name: "nodes", SingularName: "node", Kind: "Node", Verbs: all},
			{Name: "pods", SingularName: "pod", Namespaced: true, Kind: "Pod", Verbs: metav1.Verbs{"list"}},
		},
	}))
	mux.HandleFunc("GET /api/v1/pods", say(corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, Items: []corev1.Pod{}}))
	mux.HandleFunc("GET /api/v1/nodes", w.list)
	mux.HandleFunc("/api/v1/nodes/{name}", w.one)
	w.Server = httptest.NewTLSServer(mux)
	t.Cleanup(w.Server.Close)
	t.Cleanup(w.Server.CloseClientConnections)
	return w
}

func answer(rw http.ResponseWriter, v any) {
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(v)
}

func refuse(rw http.ResponseWriter, code int, reason metav1.StatusReason, why string) {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(code)
	_ = json.NewEncoder(rw).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: int32(code), Reason: reason, Message: why,
	})
}

// put stores a node and tells who watches. The caller holds the lock.
func (w *workload) put(n *corev1.Node) {
	kind := "MODIFIED"
	if w.nodes[n.Name] == nil {
		kind = "ADDED"
		n.UID = types.UID("node-" + n.Name)
		n.CreationTimestamp = metav1.Now()
	}
	w.version++
	n.TypeMeta = metav1.TypeMeta{Kind: "Node", APIVersion: "v1"}
	n.ResourceVersion = fmt.Sprint(w.version)
	w.nodes[n.Name] = n
	w.tell(kind, n)
}

func (w *workload) tell(kind string, n *corev1.Node) {
	e := event(kind, n)
	for c := range w.watches {
		c <- e
	}
}

func event(kind string, o any) metav1.WatchEvent {
	raw, _ := json.Marshal(o) // of our own making
	e := metav1.WatchEvent{Type: kind}
	e.Object.Raw = raw
	return e
}

// join is a kubelet that registers a node, once.
func (w *workload) join(n corev1.Node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.nodes[n.Name] == nil {
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now()}}
		w.put(&n)
	}
}

// node reads one; nil if there is none.
func (w *workload) node(name string) *corev1.Node {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.nodes[name].DeepCopy()
}

func (w *workload) list(rw http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	want, err := labels.Parse(q.Get("labelSelector"))
	if err != nil {
		refuse(rw, http.StatusBadRequest, metav1.StatusReasonBadRequest, err.Error())
		return
	}
	w.mu.Lock()
	list := corev1.NodeList{TypeMeta: metav1.TypeMeta{Kind: "NodeList", APIVersion: "v1"}, ListMeta: metav1.ListMeta{ResourceVersion: fmt.Sprint(w.version)}}
	for _, name := range slices.Sorted(maps.Keys(w.nodes)) {
		if want.Matches(labels.Set(w.nodes[name].Labels)) {
			list.Items = append(list.Items, *w.nodes[name])
		}
	}
	if q.Get("watch") == "" {
		w.mu.Unlock()
		answer(rw, list)
		return
	}
	c := make(chan metav1.WatchEvent, 1024)
	w.watches[c] = true
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.watches, c)
		w.mu.Unlock()
	}()
	var now []any
	for i := range list.Items {
		now = append(now, &list.Items[i])
	}
	follow(rw, r, metav1.TypeMeta{Kind: "Node", APIVersion: "v1"}, list.ResourceVersion, c, now...)
}

// follow answers a watch until the client goes.
func follow(rw http.ResponseWriter, r *http.Request, kind metav1.TypeMeta, at string, c <-chan metav1.WatchEvent, now ...any) {
	rw.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(rw)
	if q := r.URL.Query(); q.Get("sendInitialEvents") == "true" || q.Get("resourceVersion") == "" {
		for _, o := range now {
			_ = enc.Encode(event("ADDED", o))
		}
		_ = enc.Encode(event("BOOKMARK", metav1.PartialObjectMetadata{TypeMeta: kind, ObjectMeta: metav1.ObjectMeta{
			ResourceVersion: at, Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"},
		}}))
	}
	for {
		if f, ok := rw.(http.Flusher); ok {
			f.Flush()
		}
		select {
		case e := <-c:
			if enc.Encode(e) != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

func (w *workload) one(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.nodes[r.PathValue("name")]
	if n == nil {
		refuse(rw, http.StatusNotFound, metav1.StatusReasonNotFound, "no such node")
		return
	}
	switch r.Method {
	case http.MethodGet:
	case http.MethodDelete:
		delete(w.nodes, n.Name)
		w.tell("DELETED", n)
	case http.MethodPut, http.MethodPatch:
		text := body
		if r.Method == http.MethodPatch {
			// A strategic merge patch differs in lists alone, of which nodes here
			// have one: conditions, that nobody patches.
			old, _ := json.Marshal(n)
			if strings.Contains(r.Header.Get("Content-Type"), "json-patch") {
				err = fmt.Errorf("content type %s", r.Header.Get("Content-Type"))
			} else {
				text, err = jsonpatch.MergePatch(old, body)
			}
		}
		next := &corev1.Node{}
		if err == nil { // JSON or protobuf, as the client likes
			_, _, err = scheme.Codecs.UniversalDeserializer().Decode(text, nil, next)
		}
		if err != nil {
			refuse(rw, http.StatusBadRequest, metav1.StatusReasonBadRequest, err.Error())
			return
		}
		w.put(next)
		n = next
	}
	answer(rw, n)
}
