package journey_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/lab/fleet"
)

// scraper is whom the API lets read the metrics, as Metal3's
// baremetal-operator-metrics-reader.
func (r *rack) scraper() (token string) {
	r.t.Helper()
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: r.ns, Name: "prometheus"}}
	r.create(sa)
	name := r.ns + "-metrics-reader"
	r.create(&rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Rules:      []rbacv1.PolicyRule{{Verbs: []string{"get"}, NonResourceURLs: []string{"/metrics"}}},
	})
	r.create(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: r.ns, Name: sa.Name}},
	})
	req := &authenticationv1.TokenRequest{}
	if err := shared.SubResource("token").Create(r.ctx, sa, req); err != nil {
		r.t.Fatal(err)
	}
	return req.Status.Token
}

// scrape reads the real metrics of the running service: status and text.
func (r *rack) scrape(token string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.ctx, http.MethodGet, "https://"+shared.metrics+"/metrics", http.NoBody)
	if err != nil {
		r.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	// As Metal3's, the certificate is made for one run, and nobody knows its key.
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // see above
	defer c.CloseIdleConnections()
	resp, err := c.Do(req)
	if err != nil {
		return 0, err.Error() // its door opens a moment after the others
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// families are the metrics of Metal3's names and ours, with their type and labels
// in alphabetical order, and the values of their series.
func families(t *testing.T, text string) (kinds map[string]string, series map[string]float64) {
	t.Helper()
	p := expfmt.NewTextParser(model.UTF8Validation)
	all, err := p.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	kinds, series = map[string]string{}, map[string]float64{}
	for name, f := range all {
		if !strings.HasPrefix(name, "metal3_") && !strings.HasPrefix(name, "ingot_") {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels, values []string
			for _, l := range m.GetLabel() {
				labels, values = append(labels, l.GetName()), append(values, l.GetName()+"="+l.GetValue())
			}
			slices.Sort(labels)
			slices.Sort(values)
			kinds[name] = strings.ToLower(f.GetType().String()) + " " + strings.Join(labels, ",")
			v := m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			series[name+"{"+strings.Join(values, ",")+"}"] = v
		}
	}
	return kinds, series
}

// TestMetricsScraped compares what a Prometheus sees after a journey with the
// table that the documentation has.
func TestMetricsScraped(t *testing.T) {
	r := newRack(t, 1)
	m := r.machine(0)
	token := r.scraper()
	var before map[string]float64
	// The binding is seen by the API's authorizer in a moment.
	if !poll(r.ctx, func() bool {
		code, text := r.scrape(token)
		if code != http.StatusOK {
			return false
		}
		_, before = families(t, text)
		return true
	}) {
		t.Fatal("the metrics are not to be had with a token")
	}
	if code, _ := r.scrape(""); code != http.StatusUnauthorized {
		t.Errorf("a stranger is answered with %d", code)
	}
	if code, text := r.scrape("no-such-token"); code == http.StatusOK || strings.Contains(text, "metal3_") {
		t.Errorf("a wrong token is answered with %d", code)
	}
	for _, zero := range []string{"metal3_host_error_total{error_type=detach error}", "metal3_waiting_for_preprov_image_total{}", "metal3_delete_without_powering_off_total{}"} {
		if _, there := before[zero]; !there {
			t.Errorf("%s is not there before its first event", zero)
		}
	}
	img := r.image("os.raw", small)
	m.enrol()
	m.awaitState(metal3.StateAvailable)
	m.provision(img)
	m.awaitProvisioned(img)
	m.change(func(b *metal3.BareMetalHost) { b.Spec.Online = false })
	m.await("off", func() bool { return !m.read().Status.PoweredOn })
	m.change(func(b *metal3.BareMetalHost) { b.Spec.Online, b.Spec.Image = true, nil })
	m.awaitState(metal3.StateAvailable)

	_, text := r.scrape(token)
	kinds, after := families(t, text)
	doc, err := os.ReadFile("../../docs/reference/metal3.md")
	if err != nil {
		t.Fatal(err)
	}
	// Nothing causes these in this journey; their series appear with their cause.
	without := []string{
		"metal3_delayed__provisioning_total", "metal3_delayed__deprovisioning_total", "ingot_next_try_timestamp_seconds",
		"ingot_operation_failures_total", "ingot_host_problems", "ingot_bmc_errors_total",
	}
	rows := regexp.MustCompile("(?m)^\\| `((?:metal3|ingot)_[a-z0-9_]+)(?:\\{([a-z_,]+)\\})?` (counter|gauge|histogram) \\|").FindAllStringSubmatch(string(doc), -1)
	if len(rows) < 30 {
		t.Fatalf("the table has %d rows", len(rows))
	}
	known := map[string]bool{}
	for _, row := range rows {
		name, labels := row[1], strings.Split(row[2], ",")
		slices.Sort(labels)
		known[name] = true
		want := row[3] + " " + strings.Join(labels, ",")
		if got, there := kinds[name]; got != want && (there || !slices.Contains(without, name)) {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for name := range kinds {
		if !known[name] {
			t.Errorf("%s is not documented", name)
		}
	}
	// A dashboard's rate() needs counters that never fall.
	for k, v := range before {
		name, _, _ := strings.Cut(k, "{")
		if now, there := after[k]; !strings.HasPrefix(kinds[name], "gauge") && !strings.Contains(k, "namespace=") && (!there || now < v) {
			t.Errorf("%s was %v and is %v", k, v, now)
		}
	}
	host := fmt.Sprintf("host=%s,namespace=%s", m.host, r.ns)
	for k, want := range map[string]float64{
		"metal3_operation_register_duration_seconds{" + host + "}":           1,
		"metal3_operation_inspect_duration_seconds{" + host + "}":            1,
		"metal3_operation_provision_duration_seconds{" + host + "}":          1,
		"metal3_operation_deprovision_duration_seconds{" + host + "}":        1,
		"metal3_operation_power_change_total{" + host + ",on_off=off}":       1,
		"metal3_host_error_total{error_type=provisioned registration error}": before["metal3_host_error_total{error_type=provisioned registration error}"],
	} {
		if got := after[k]; got < want {
			t.Errorf("%s is %v, want %v", k, got, want)
		}
	}
	if after["metal3_reconcile_total{"+host+"}"] == 0 {
		t.Error("no reconcile of the host was counted")
	}

	m.delete()
	m.awaitGone()
	m.await("gone from the metrics", func() bool {
		_, text := r.scrape(token)
		return !strings.Contains(text, `namespace="`+r.ns+`"`)
	})
}

// TestMetal3Events compares the events of a life with Metal3's.
func TestMetal3Events(t *testing.T) {
	r := newRack(t, 2)
	m := r.machine(0)
	img := r.image("os.raw", small)
	m.enrolOnly(func(b *metal3.BareMetalHost) {
		b.Spec.BMC = metal3.BMCDetails{}
		b.Spec.ConsumerRef = &corev1.ObjectReference{APIVersion: "infrastructure.cluster.x-k8s.io/v1beta1", Kind: "Metal3Machine", Namespace: r.ns, Name: "m1"}
	})
	m.awaitEvent("Discovered", "")
	m.change(func(b *metal3.BareMetalHost) { b.Spec.BMC = m.object().Spec.BMC })
	if e := m.awaitEvent("BMCCredentialError", "bmc-secret-missing"); e.Type != corev1.EventTypeWarning {
		t.Errorf("an error is told as %s", e.Type)
	}
	m.credentials()
	m.awaitState(metal3.StateAvailable)
	m.provision(img)
	m.awaitProvisioned(img)
	m.annotate("reboot.metal3.io/hold", "")
	m.awaitEvent("PowerOff", "")
	m.unannotate("reboot.metal3.io/hold")
	m.awaitEvent("PowerOn", "")
	m.change(func(b *metal3.BareMetalHost) { b.Spec.Image = nil })
	m.awaitState(metal3.StateAvailable)
	for reason, text := range map[string]string{
		"BMCAccessValidated": "", "Registered": "", "InspectionStarted": "", "InspectionComplete": "", "ProfileSet": "unknown",
		"ProvisioningStarted": img.url, "ProvisioningComplete": img.url, "DeprovisioningStarted": img.url, "DeprovisioningComplete": img.url,
	} {
		e := m.awaitEvent(reason, text)
		if e.Source.Component != "metal3-baremetal-controller" || e.ReportingController != "metal3.io/baremetal-controller" {
			t.Errorf("%s: from %q, %q", reason, e.Source.Component, e.ReportingController)
		}
		if e.Related == nil || e.Related.Kind != "Metal3Machine" || e.Related.Name != "m1" {
			t.Errorf("%s: related to %+v", reason, e.Related)
		}
		if e.Type != corev1.EventTypeNormal {
			t.Errorf("%s: %s", reason, e.Type)
		}
	}

	// Another machine, which is not inspected.
	m2 := r.machine(1)
	m2.enrol(func(b *metal3.BareMetalHost) { b.Spec.InspectionMode = metal3.InspectionModeDisabled })
	m2.awaitState(metal3.StateAvailable)
	m2.awaitEvent("InspectionSkipped", "")
}

// TestMissingSecretIsQuiet holds that a host whose Secret is missing is written
// once and told of once: Metal3 does both every 10 s.
func TestMissingSecretIsQuiet(t *testing.T) {
	r := newRack(t, 1)
	m := r.machine(0)
	m.enrolOnly()
	m.awaitCode("bmc-secret-missing", metal3.RegistrationError)
	first := m.awaitEvent("BMCCredentialError", "")
	b := m.read()
	hr := &v1alpha1.HostRecord{}
	if err := shared.Get(r.ctx, m.key(), hr); err != nil {
		t.Fatal(err)
	}
	// It is looked at again and again: with each label that somebody changes.
	for i := range 20 {
		m.change(func(b *metal3.BareMetalHost) {
			metav1.SetMetaDataLabel(&b.ObjectMeta, "look", fmt.Sprint(i))
		})
	}
	if rep := m.explain(); rep.Code != "bmc-secret-missing" {
		t.Errorf("explained by %q", rep.Code)
	}
	now := m.read()
	if now.Status.ErrorCount != 1 || !now.Status.LastUpdated.Equal(b.Status.LastUpdated) {
		t.Errorf("errorCount %d, lastUpdated %s; was %s", now.Status.ErrorCount, now.Status.LastUpdated, b.Status.LastUpdated)
	}
	again := &v1alpha1.HostRecord{}
	if err := shared.Get(r.ctx, m.key(), again); err != nil || again.ResourceVersion != hr.ResourceVersion {
		t.Errorf("the record was written again: %v", err)
	}
	n := 0
	for _, e := range m.events() {
		if e.Reason == "BMCCredentialError" {
			n += int(e.Count)
		}
	}
	if n != 1 {
		t.Errorf("told of %d times; first: %s", n, first.Message)
	}
}

// TestHealthFollowsTheBMC turns a machine bad and good again, as its BMC says.
func TestHealthFollowsTheBMC(t *testing.T) {
	r := newRack(t, 1, fleet.RedfishHTTP)
	m := r.machine(0)
	m.enrol()
	m.awaitState(metal3.StateAvailable)
	healthy := func() string {
		c := apimeta.FindStatusCondition(m.read().Status.Conditions, metal3.HealthyCondition)
		if c == nil {
			return ""
		}
		return string(c.Status) + " " + c.Reason
	}
	if got := healthy(); got != "True Healthy" {
		t.Errorf("a new machine is %q", got)
	}
	for _, tc := range []struct{ says, want string }{
		{"Warning", "False Warning"}, {"Critical", "False CriticalError"}, {"OK", "True Healthy"},
	} {
		m.BMC().SetHealth(tc.says)
		m.await(tc.want, func() bool { return healthy() == tc.want })
		m.awaitEvent("HealthChanged", "says "+tc.says)
	}
	// Polls go on, and nothing is written.
	version := m.read().ResourceVersion
	asked := m.BMC().Stats().Requests
	m.await("polled", func() bool { return m.BMC().Stats().Requests >= asked+2 })
	if got := m.read().ResourceVersion; got != version {
		b, _ := json.Marshal(m.read().Status)
		t.Errorf("it was written without need: %s", b)
	}
}

// TestHealthDoors asks /healthz and /readyz as a kubelet does.
func TestHealthDoors(t *testing.T) {
	t.Parallel()
	c := &http.Client{Timeout: 10 * time.Second}
	defer c.CloseIdleConnections()
	for _, path := range []string{"/healthz", "/healthz/ping", "/readyz", "/readyz/ping", "/readyz/webhook"} {
		resp, err := c.Get("http://" + shared.health + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
}
