package admission_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/yaml"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/admission"
)

// ask sends one review of objects in JSON; an old one makes it an update.
func ask(t testing.TB, reader client.Reader, path string, object, old []byte) *admissionv1.AdmissionResponse {
	t.Helper()
	h, err := admission.Handler(reader)
	if err != nil {
		t.Fatal(err)
	}
	r := &admissionv1.AdmissionRequest{UID: "u1", Name: "a", Namespace: "rack", Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: object}}
	r.Kind = metav1.GroupVersionKind{Kind: path[strings.LastIndexByte(path, '-')+1:]}
	if old != nil {
		r.Operation, r.OldObject = admissionv1.Update, runtime.RawExtension{Raw: old}
	}
	review := &admissionv1.AdmissionReview{Request: r}
	review.SetGroupVersionKind(admissionv1.SchemeGroupVersion.WithKind("AdmissionReview"))
	body, err := json.Marshal(review)
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(string(body)))
	req.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	var answer admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Response == nil {
		t.Fatalf("%s: %d %s: %v", path, w.Code, w.Body, err)
	}
	return answer.Response
}

// raw is YAML as JSON; nothing of nothing.
func raw(t *testing.T, text string) []byte {
	t.Helper()
	if text == "" {
		return nil
	}
	j, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// judge holds what a review says of an object in YAML.
func judge(t *testing.T, reader client.Reader, path, object, old string, want []string) {
	t.Helper()
	got := ask(t, reader, path, raw(t, object), raw(t, old))
	if got.Allowed != (len(want) == 0) {
		t.Errorf("allowed: %v, want %v: %+v", got.Allowed, len(want) == 0, got.Result)
	}
	for _, w := range want {
		if !strings.Contains(got.Result.Message, w) {
			t.Errorf("got %q, want it to say %q", got.Result.Message, w)
		}
	}
	if got.Result != nil && strings.Contains(got.Result.Message, "hunter2") {
		t.Errorf("the answer shows a password: %s", got.Result.Message)
	}
}

const paths = "/validate-metal3-io-v1alpha1-"

func TestSubscription(t *testing.T) {
	const good = `{spec: {hostName: h, destination: "https://events.example/in"}}`
	for _, tc := range []struct {
		name, object, old string
		want              []string
	}{
		{name: "good", object: good},
		{name: "headers of its namespace", object: `{spec: {hostName: h, destination: "http://e/", httpHeadersRef: {name: s, namespace: rack}}}`},
		{name: "headers of another namespace", object: `{spec: {hostName: h, destination: "http://e/", httpHeadersRef: {name: s, namespace: x}}}`, want: []string{"spec.httpHeadersRef.namespace", "(x)", "copy it into rack"}},
		{name: "no host", object: `{spec: {destination: "http://e/"}}`, want: []string{"spec.hostName", "Required"}},
		{name: "no destination", object: `{spec: {hostName: h}}`, want: []string{"spec.destination", "Required"}},
		{name: "no path", object: `{spec: {hostName: h, destination: "http://e"}}`, want: []string{"spec.destination", "put a slash"}},
		{name: "no URL", object: `{spec: {hostName: h, destination: "e.example/in"}}`, want: []string{"spec.destination", "http or https"}},
		{name: "no server", object: `{spec: {hostName: h, destination: "http:///in"}}`, want: []string{"spec.destination", "names no server"}},
		{name: "password", object: `{spec: {hostName: h, destination: "http://u:hunter2@e"}}`, want: []string{"http://(hidden)@e"}},
		{name: "same spec", object: `{metadata: {labels: {a: b}}, spec: {hostName: h, destination: "https://events.example/in"}}`, old: good},
		{name: "another spec", object: `{spec: {hostName: i, destination: "https://events.example/in"}}`, old: good, want: []string{"spec: Forbidden", "make it anew"}},
		{name: "deleting", object: `{metadata: {deletionTimestamp: "2026-01-01T00:00:00Z"}, spec: {hostName: i}}`, old: good},
		{name: "bad already", object: `{metadata: {labels: {a: b}}, spec: {hostName: h, destination: x}}`, old: `{spec: {hostName: h, destination: x}}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			judge(t, nil, paths+"bmceventsubscription", tc.object, tc.old, tc.want)
		})
	}
}

func TestDataImage(t *testing.T) {
	for _, tc := range []struct {
		name, url string
		want      []string
	}{
		{name: "http", url: "http://s/x.iso"},
		{name: "https", url: "https://s/x.iso"},
		{name: "oci", url: "oci://registry/x:1"},
		{name: "none", url: "", want: []string{"spec.url", "Required"}},
		{name: "file", url: "file:///x.iso", want: []string{"spec.url", "file:///x.iso", "http, https or oci"}},
		{name: "nfs", url: "nfs://u:hunter2@s/x.iso", want: []string{"spec.url", "nfs://(hidden)@s/x.iso"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			judge(t, nil, paths+"dataimage", fmt.Sprintf("{spec: {url: %q}}", tc.url), "", tc.want)
		})
	}
}

func TestHostFirmwareComponents(t *testing.T) {
	const one = `{spec: {updates: [{component: bios, url: "https://s/a"}, {component: bmc, url: %q}]}}`
	for _, tc := range []struct {
		name, url string
		want      []string
	}{
		{name: "good", url: "http://s/b"},
		{name: "ftp", url: "ftp://s/b", want: []string{"spec.updates[1].url", "ftp://s/b", "http, https or oci"}},
		{name: "signed", url: "ftp://s/b?sig=hunter2", want: []string{"ftp://s/b?(hidden)"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			judge(t, nil, paths+"hostfirmwarecomponents", fmt.Sprintf(one, tc.url), "", tc.want)
		})
	}
	t.Run("a firmware that was bad already may stay", func(t *testing.T) {
		bad := fmt.Sprintf(one, "ftp://s/b")
		judge(t, nil, paths+"hostfirmwarecomponents", bad, bad, nil)
	})
}

func TestHostClaim(t *testing.T) {
	for _, tc := range []struct {
		name, object string
		want         []string
	}{
		{name: "empty", object: `{spec: {poweredOn: true}}`},
		{name: "good", object: `{metadata: {annotations: {reboot.metal3.io: ""}}, spec: {hostSelector: {matchLabels: {ingot.dev/class: big}, matchExpressions: [
			{key: a, operator: "=", values: [x]}, {key: a, operator: "==", values: [x]}, {key: a, operator: "!=", values: [x]}, {key: b, operator: in, values: [x, z]},
			{key: b, operator: notin, values: [x]}, {key: c, operator: exists, values: []}, {key: c, operator: "!", values: []}]}}}`},
		{name: "label key", object: `{spec: {hostSelector: {matchLabels: {"a b": x}}}}`, want: []string{"spec.hostSelector.matchLabels[a b]", "alphanumeric"}},
		{name: "label value", object: `{spec: {hostSelector: {matchLabels: {a: "x y"}}}}`, want: []string{"spec.hostSelector.matchLabels[a]", "x y"}},
		{name: "expression key", object: `{spec: {hostSelector: {matchExpressions: [{key: "a b", operator: exists, values: []}]}}}`, want: []string{"spec.hostSelector.matchExpressions[0].key", "a b"}},
		{name: "operator", object: `{spec: {hostSelector: {matchExpressions: [{key: a, operator: like, values: [x]}]}}}`, want: []string{"spec.hostSelector.matchExpressions[0].operator", "like", "notin"}},
		{name: "equals two", object: `{spec: {hostSelector: {matchExpressions: [{key: a, operator: "=", values: [x, z]}]}}}`, want: []string{"matchExpressions[0].values", "exactly one"}},
		{name: "in nothing", object: `{spec: {hostSelector: {matchExpressions: [{key: a, operator: in, values: []}]}}}`, want: []string{"matchExpressions[0].values", "at least one"}},
		{name: "exists with values", object: `{spec: {hostSelector: {matchExpressions: [{key: a, operator: exists, values: [x]}]}}}`, want: []string{"matchExpressions[0].values", "no values"}},
		{name: "expression value", object: `{spec: {hostSelector: {matchExpressions: [{key: a, operator: in, values: [x, "y z"]}]}}}`, want: []string{"matchExpressions[0].values[1]", "y z"}},
		{name: "foreign secret", object: `{spec: {userData: {name: u, namespace: x}}}`, want: []string{"spec.userData.namespace", "copy it into rack"}},
		{name: "image", object: `{spec: {image: {url: "https://s/x", checksum: ""}}}`, want: []string{"spec.image.checksum"}},
		{name: "image of a file", object: `{spec: {image: {url: "file:///x", checksum: "12"}}}`, want: []string{"spec.image.url", "file:///x"}},
		{name: "reboot", object: `{metadata: {annotations: {reboot.metal3.io/x: '{"mode":"warm"}'}}}`, want: []string{"metadata.annotations[reboot.metal3.io/x]", "hard or soft"}},
	} {
		t.Run(tc.name, func(t *testing.T) { judge(t, nil, paths+"hostclaim", tc.object, "", tc.want) })
	}
}

func TestHostDeployPolicy(t *testing.T) {
	for _, tc := range []struct {
		name, object string
		want         []string
	}{
		{name: "everybody", object: `{spec: {}}`},
		{name: "good", object: `{spec: {hostClaimNamespaces: {nameMatches: "^team-[a-z]+$", hasLabels: [{name: a/b, value: c}]}}}`},
		{name: "regular expression", object: `{spec: {hostClaimNamespaces: {nameMatches: "team-("}}}`, want: []string{"spec.hostClaimNamespaces.nameMatches", "team-(", "missing closing"}},
		{name: "label", object: `{spec: {hostClaimNamespaces: {hasLabels: [{name: "a b"}, {name: a, value: "b c"}]}}}`, want: []string{"hasLabels[0].name", "hasLabels[1].value"}},
	} {
		t.Run(tc.name, func(t *testing.T) { judge(t, nil, paths+"hostdeploypolicy", tc.object, "", tc.want) })
	}
}

func TestProvisioningNetwork(t *testing.T) {
	other := &v1alpha1.ProvisioningNetwork{ObjectMeta: metav1.ObjectMeta{Name: "old"}}
	other.Spec = v1alpha1.ProvisioningNetworkSpec{
		Interface: "eth1", Address: "10.77.0.1/24", Range: &v1alpha1.AddressRange{Start: "10.77.0.100", End: "10.77.0.199"},
	}
	lab := other.DeepCopy()
	lab.Name, lab.Spec.Interface = "lab", "unix:/a"
	lab.Spec.Range = &v1alpha1.AddressRange{Start: "10.78.0.100", End: "10.78.0.199"}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	reader := fake.NewClientBuilder().WithScheme(scheme).WithObjects(other, lab).Build()
	network := func(name, iface, address, start, end, more string) string {
		return fmt.Sprintf(`{metadata: {name: %s}, spec: {interface: %q, address: %q, range: {start: %q, end: %q}%s}}`, name, iface, address, start, end, more)
	}
	for _, tc := range []struct {
		name, object, old string
		want              []string
	}{
		{name: "good", object: network("net", "eth2", "10.0.0.1/24", "10.0.0.10", "10.0.0.20", "")},
		{name: "without a range", object: `{metadata: {name: net}, spec: {interface: eth2, address: 10.77.0.1/24, mode: none}}`},
		{name: "backwards", object: network("net", "eth2", "10.0.0.1/24", "10.0.0.20", "10.0.0.10", ""), want: []string{"spec.range.end", "10.0.0.10", "exchange"}},
		{name: "two families", object: network("net", "eth2", "10.0.0.1/24", "10.0.0.20", "fd00::1", ""), want: []string{"spec.range.end"}},
		{name: "own address", object: network("net", "eth2", "10.0.0.11/24", "10.0.0.10", "10.0.0.20", ""), want: []string{"spec.range", "10.0.0.10 to 10.0.0.20", "own address 10.0.0.11"}},
		{name: "gateway", object: network("net", "eth2", "10.0.0.1/24", "10.0.0.10", "10.0.0.20", ", gateway: 10.0.0.20"), want: []string{"spec.range", "gateway 10.0.0.20"}},
		{name: "overlap", object: network("net", "eth2", "10.77.0.2/24", "10.77.0.199", "10.77.0.220", ""), want: []string{"spec.range", "10.77.0.100 to 10.77.0.199", "ProvisioningNetwork old"}},
		{name: "beside it", object: network("net", "eth1", "10.77.0.2/24", "10.77.0.200", "10.77.0.220", "")},
		{name: "overlap without lending", object: network("net", "eth2", "10.77.0.2/24", "10.77.0.100", "10.77.0.220", ", mode: proxy")},
		{name: "two userspace switches", object: network("net", "unix:/b", "10.78.0.1/24", "10.78.0.100", "10.78.0.199", "")},
		{name: "one userspace switch twice", object: network("net", "unix:/a", "10.78.0.2/24", "10.78.0.100", "10.78.0.199", ""), want: []string{"ProvisioningNetwork lab"}},
		{name: "itself", object: network("old", "eth1", "10.77.0.1/24", "10.77.0.90", "10.77.0.199", ""), old: network("old", "eth1", "10.77.0.1/24", "10.77.0.100", "10.77.0.199", "")},
		{name: "bad already", object: network("net", "eth2", "10.0.0.1/24", "10.0.0.20", "10.0.0.10", ", vlan: 3"), old: network("net", "eth2", "10.0.0.1/24", "10.0.0.20", "10.0.0.10", "")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			judge(t, reader, "/validate-ingot-dev-v1alpha1-provisioningnetwork", tc.object, tc.old, tc.want)
		})
	}
}

// Paths are part of the contract: what Metal3's own configuration names.
func TestPaths(t *testing.T) {
	want := []string{
		admission.Path, paths + "bmceventsubscription", paths + "dataimage", paths + "hostclaim", paths + "hostdeploypolicy",
		paths + "hostfirmwarecomponents", "/validate-ingot-dev-v1alpha1-provisioningnetwork",
	}
	if got := admission.Paths(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// An object from before its schema may be labelled, though it cannot be read.
func TestUnreadable(t *testing.T) {
	const bad, good = `{spec: {url: 1}}`, `{spec: {url: "http://s/x"}}`
	judge(t, nil, paths+"dataimage", bad, bad, nil)
	judge(t, nil, paths+"dataimage", good, bad, nil)
	judge(t, nil, paths+"dataimage", bad, good, []string{"decode"})
	judge(t, nil, paths+"dataimage", bad, "", []string{"decode"})
}

// What comes over the network is judged or refused, never a panic.
func FuzzDecode(f *testing.F) {
	f.Add(0, []byte(`{"metadata":{"name":"x","annotations":{"reboot.metal3.io":"{}"}},"spec":{"raid":{"softwareRAIDVolumes":[{"rootVolume":true}]}}}`), []byte(`{}`))
	f.Add(0, []byte(`{"spec":{"image":{"url":"http://[::1"},"bmc":{"address":"redfish://[::1"}}}`), []byte(`{"spec":{"networkInterfaces":[{"name":"a"},{}]}}`))
	f.Add(0, []byte(`null`), []byte(`null`))
	f.Add(0, []byte(`{"spec":{"raid":null,"rootDeviceHints":{"deviceName":"/dev/"}}}`), []byte(`{"spec":1}`))
	f.Add(1, []byte(`{"spec":{"destination":"http://@"}}`), []byte(`{"spec":{"httpHeadersRef":{}}}`))
	f.Add(2, []byte(`{"spec":{"url":"oci://a@b?c"}}`), []byte(`{"spec":{"url":"://@"}}`))
	f.Add(3, []byte(`{"spec":{"hostSelector":{"matchExpressions":[{"operator":"in","values":[""]}]}}}`), []byte(`{}`))
	f.Add(4, []byte(`{"spec":{"hostClaimNamespaces":{"nameMatches":"(?P<"}}}`), []byte(`{}`))
	f.Add(5, []byte(`{"spec":{"updates":[{"url":"http:"}]}}`), []byte(`{}`))
	f.Add(6, []byte(`{"spec":{"address":"10.0.0.1/8","range":{"start":"::1","end":"10.0.0.3"}}}`), []byte(`{"spec":{"range":{"start":"10.0.0.3%x","end":""}}}`))
	all := admission.Paths()
	f.Fuzz(func(t *testing.T, kind int, object, old []byte) {
		if !json.Valid(object) || !json.Valid(old) {
			return
		}
		path := all[uint(kind)%uint(len(all))]
		ask(t, nil, path, object, nil)
		ask(t, nil, path, object, old)
	})
}
