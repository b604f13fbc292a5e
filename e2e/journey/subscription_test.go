package journey_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// subscriptions that a machine's BMC keeps.
func (m *machine) subscriptions() int {
	m.r.t.Helper()
	u, err := url.Parse(strings.Replace(m.Address, "redfish+http://", "http://", 1))
	if err != nil {
		m.r.t.Fatal(err)
	}
	u.Path = "/redfish/v1/EventService/Subscriptions"
	req, err := http.NewRequestWithContext(m.r.ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		m.r.t.Fatal(err)
	}
	req.SetBasicAuth(m.Username, m.Password)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		m.r.t.Fatal(err)
	}
	defer resp.Body.Close()
	var list struct {
		Members []any `json:"Members"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil || resp.StatusCode != http.StatusOK {
		m.r.t.Fatalf("%s: %v", resp.Status, err)
	}
	return len(list.Members)
}

// A user's listener hears of a machine, with the headers that he gave, until he
// deletes the object or the host.
func TestBMCEventSubscription(t *testing.T) {
	r := newRack(t, 1)
	m := r.machine(0)
	heard := make(chan string, 16)
	listener := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		select {
		case heard <- req.Header.Get("Authorization"):
		default:
		}
	}))
	t.Cleanup(listener.Close)
	const token = "Bearer of-the-listener-5f31"
	shared.mu.Lock()
	shared.passwords = append(shared.passwords, token)
	shared.mu.Unlock()
	r.secret("headers", map[string]string{"Authorization": token})
	s := &metal3.BMCEventSubscription{ObjectMeta: metav1.ObjectMeta{Namespace: r.ns, Name: "s1"}}
	s.Spec = metal3.BMCEventSubscriptionSpec{
		HostName: m.host, Destination: listener.URL + "/events", Context: "of w1",
		HTTPHeadersRef: &corev1.SecretReference{Name: "headers", Namespace: r.ns},
	}
	again := s.DeepCopy()
	r.create(s)
	read := func() error { return shared.Get(r.ctx, client.ObjectKeyFromObject(s), s) }
	m.await("asked about a host that is not there yet", func() bool {
		return read() == nil && strings.Contains(s.Status.Error, "no BareMetalHost")
	})
	m.enrol()
	m.awaitState(metal3.StateAvailable)
	m.await("subscribed to", func() bool { return read() == nil && s.Status.SubscriptionID != "" && s.Status.Error == "" })
	if n := m.subscriptions(); n != 1 {
		t.Errorf("%d subscriptions at the BMC", n)
	}
	if err := m.BMC().Panel(r.ctx, simbmc.ForceOff); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-heard:
		if got != token {
			t.Errorf("the listener got the header %q", got)
		}
	case <-r.ctx.Done():
		t.Fatal("the listener heard nothing")
	}
	if text, err := json.Marshal(s); err != nil || strings.Contains(string(text), token) {
		t.Errorf("%v, the header is in the object: %s", err, text)
	}
	gone := func() bool { return apierrors.IsNotFound(read()) }
	if err := shared.Delete(r.ctx, s); err != nil {
		t.Fatal(err)
	}
	m.await("unsubscribed from", gone)
	if n := m.subscriptions(); n != 0 {
		t.Errorf("%d subscriptions at the BMC", n)
	}

	s = again
	r.create(s)
	m.await("subscribed to", func() bool { return read() == nil && s.Status.SubscriptionID != "" })
	m.delete()
	m.awaitGone()
	m.await("left by its subscription", func() bool { return gone() && m.subscriptions() == 0 })
}
