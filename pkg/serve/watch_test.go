package serve

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/pkg/metric"
)

func TestCountWrites(t *testing.T) {
	for _, tc := range []struct {
		name, method, path string
		status             int
		err                error
		want               map[string]float64
	}{
		{name: "a read", method: http.MethodGet, path: "/api/v1/namespaces/a/secrets/b", status: 200},
		{name: "a status", method: http.MethodPatch, path: "/apis/metal3.io/v1alpha1/namespaces/a/baremetalhosts/b/status", status: 200, want: map[string]float64{"baremetalhosts/status ok": 1}},
		{name: "an object", method: http.MethodPost, path: "/apis/ingot.dev/v1alpha1/namespaces/a/hostrecords", status: 201, want: map[string]float64{"hostrecords ok": 1}},
		{name: "a conflict", method: http.MethodPut, path: "/apis/ingot.dev/v1alpha1/namespaces/a/hostrecords/b/status", status: 409, want: map[string]float64{"hostrecords/status conflict": 1}},
		{name: "refused", method: http.MethodPost, path: "/api/v1/namespaces/a/events", status: 403, want: map[string]float64{"events error": 1}},
		{name: "no answer", method: http.MethodDelete, path: "/api/v1/namespaces/a/secrets/b", err: errors.New("cut"), want: map[string]float64{"secrets error": 1}},
		{name: "of the cluster", method: http.MethodPost, path: "/apis/authentication.k8s.io/v1/tokenreviews", status: 201, want: map[string]float64{"tokenreviews ok": 1}},
		{name: "a namespace called as a resource", method: http.MethodPatch, path: "/api/v1/namespaces/status", status: 200, want: map[string]float64{"other ok": 1}},
		{name: "something else", method: http.MethodPost, path: "/apis/example.com/v1/namespaces/a/things", status: 200, want: map[string]float64{"other ok": 1}},
		{name: "no resource", method: http.MethodPost, path: "/", status: 404, want: map[string]float64{"other error": 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			counts := metric.New()
			rt := countWrites(counts)(roundTripper(func(*http.Request) (*http.Response, error) {
				if tc.err != nil {
					return nil, tc.err
				}
				return &http.Response{StatusCode: tc.status, Body: http.NoBody}, nil
			}))
			resp, err := rt.RoundTrip(httptest.NewRequest(tc.method, tc.path, http.NoBody))
			if !errors.Is(err, tc.err) || err == nil && resp.StatusCode != tc.status {
				t.Fatalf("it changed the answer: %v, %v", resp, err)
			}
			if err == nil {
				resp.Body.Close()
			}
			r := prometheus.NewRegistry()
			if err := r.Register(counts); err != nil {
				t.Fatal(err)
			}
			families, err := r.Gather()
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]float64{}
			for _, f := range families {
				if f.GetName() != "ingot_api_writes_total" {
					continue
				}
				for _, m := range f.GetMetric() {
					got[m.GetLabel()[0].GetValue()+" "+m.GetLabel()[1].GetValue()] = m.GetCounter().GetValue()
				}
			}
			if len(got) != len(tc.want) {
				t.Fatalf("counted %v, want %v", got, tc.want)
			}
			for k, v := range tc.want {
				if got[k] != v {
					t.Errorf("counted %v, want %v", got, tc.want)
				}
			}
		})
	}
}

// Ready is who completes a handshake at the webhooks' door, with our certificate.
func TestReadyz(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := &service{ca: newCA(t), l: listeners{https: l}}
	probe := httptest.NewRequest(http.MethodGet, "/readyz/webhook", http.NoBody)
	srv := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Second}
	defer srv.Close()
	go func() { _ = srv.Serve(tls.NewListener(l, doorTLS(s.ca, nil))) }()
	if err := s.webhookAnswers(probe); err != nil {
		t.Errorf("not ready: %v", err)
	}
	other := &service{ca: newCA(t), l: s.l}
	if err := other.webhookAnswers(probe); err == nil {
		t.Error("ready with somebody else's certificate")
	}
	srv.Close()
	if err := s.webhookAnswers(probe); err == nil {
		t.Error("ready with a closed door")
	}
}

func TestTLSBounds(t *testing.T) {
	c := TLS{}.apply(&tls.Config{MinVersion: tls.VersionTLS12})
	if c.MinVersion != tls.VersionTLS12 || c.MaxVersion != 0 || c.CipherSuites != nil || c.CurvePreferences != nil {
		t.Errorf("the zero value bounds %+v", c)
	}
	ca := newCA(t)
	l, err := tls.Listen("tcp4", "127.0.0.1:0", TLS{Min: tls.VersionTLS13, Curves: []tls.CurveID{tls.X25519}}.apply(doorTLS(ca, nil)))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{
		Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Second,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo),
	}
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AddCert(ca.Certificate())
	for _, tc := range []struct {
		name string
		max  uint16
		want bool
	}{{name: "TLS 1.2", max: tls.VersionTLS12}, {name: "TLS 1.3", max: tls.VersionTLS13, want: true}} {
		conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: tc.max, RootCAs: roots})
		if (err == nil) != tc.want {
			t.Errorf("%s: %v", tc.name, err)
		}
		if err == nil {
			conn.Close()
		}
	}
}

// What people are told carries Metal3's marks, and repeats are counted.
func TestEventsWritten(t *testing.T) {
	c := api(t)
	e := newEvents(c, slog.New(slog.DiscardHandler))
	b := &metal3.BareMetalHost{}
	b.Namespace, b.Name, b.UID = "rack", "w1", "u1"
	b.Spec.ConsumerRef = &corev1.ObjectReference{Kind: "Metal3Machine", Name: "m1", Namespace: "rack"}
	for range 3 {
		e.Event(b, "Warning", "RegistrationError", "bmc-unreachable: no answer")
	}
	e.Event(b, "Normal", "PowerOn", string(bytes.Repeat([]byte("x"), 3000)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e.run(ctx) // ends once what waits is written
	var list corev1.EventList
	if err := c.List(t.Context(), &list, client.InNamespace(b.Namespace)); err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 2 {
		t.Fatalf("%d events, want 2: %+v", len(list.Items), list.Items)
	}
	for _, ev := range list.Items {
		if ev.Source.Component != "metal3-baremetal-controller" || ev.ReportingController != "metal3.io/baremetal-controller" {
			t.Errorf("from %q, %q", ev.Source.Component, ev.ReportingController)
		}
		if ev.Related == nil || ev.Related.Kind != "Metal3Machine" || ev.InvolvedObject.Name != b.Name || ev.InvolvedObject.APIVersion != "metal3.io/v1alpha1" {
			t.Errorf("about %+v, related %+v", ev.InvolvedObject, ev.Related)
		}
		switch ev.Reason {
		case "RegistrationError":
			if ev.Count != 3 || ev.Type != "Warning" {
				t.Errorf("%s, %d times", ev.Type, ev.Count)
			}
		case "PowerOn":
			if ev.Count != 1 || len(ev.Message) != 1024 {
				t.Errorf("%d times, %d bytes", ev.Count, len(ev.Message))
			}
		default:
			t.Errorf("an event %s", ev.Reason)
		}
	}
}
