package serve

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/ingot-metal/ingot/pkg/admission"
	"github.com/ingot-metal/ingot/pkg/auth"
)

func TestWebhookCheck(t *testing.T) {
	for _, tc := range []struct {
		name string
		give Webhook
		want string
	}{
		{name: "none"},
		{name: "service", give: Webhook{Service: "a/b"}},
		{name: "URL", give: Webhook{URL: "https://10.0.0.1:9443"}},
		{name: "both", give: Webhook{Service: "a/b", URL: "https://x"}, want: "exclude each other"},
		{name: "a name alone", give: Webhook{Service: "b"}, want: "namespace/name"},
		{name: "too much", give: Webhook{Service: "a/b/c"}, want: "namespace/name"},
		{name: "plain HTTP", give: Webhook{URL: "http://x"}, want: "https://host:port"},
		{name: "path", give: Webhook{URL: "https://x/y"}, want: "nothing more"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.give.Check()
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// An API server believes the certificate under the name that it dials.
func TestWebhookTLS(t *testing.T) {
	ca, err := auth.NewCA(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.Certificate())
	for _, tc := range []struct {
		name string
		give Webhook
		want string
	}{
		{name: "service", give: Webhook{Service: "ns/hooks"}, want: "hooks.ns.svc"},
		{name: "name", give: Webhook{URL: "https://hooks.example:9443"}, want: "hooks.example"},
		{name: "address", give: Webhook{URL: "https://192.0.2.7:9443"}, want: "192.0.2.7"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &service{Config: Config{Webhook: tc.give}, ca: ca}
			l, err := tls.Listen("tcp", "127.0.0.1:0", s.webhookTLS())
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				if c, err := l.Accept(); err == nil {
					_ = c.(*tls.Conn).Handshake() // the client tells
					_ = c.Close()
				}
			}()
			c, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", l.Addr().String(), &tls.Config{RootCAs: pool, ServerName: tc.want, MinVersion: tls.VersionTLS12})
			if err != nil {
				t.Fatal(err)
			}
			_ = c.Close()
		})
	}
}

// logged counts what was logged.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), text)
}

// Without webhooks one line says so, and those of others are looked at all the
// same.
func TestNoWebhooks(t *testing.T) {
	ca, err := auth.NewCA(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	left := &registrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "left"}, Webhooks: []registrationv1.ValidatingWebhook{{
		Name:         "baremetalhost.metal3.io",
		ClientConfig: registrationv1.WebhookClientConfig{Service: &registrationv1.ServiceReference{Namespace: "bmo", Name: "hooks"}},
		Rules:        []registrationv1.RuleWithOperations{{Rule: registrationv1.Rule{APIGroups: []string{"metal3.io"}}}},
	}}}
	log := &logged{}
	s := &service{Config: Config{Log: slog.New(slog.NewTextHandler(log, nil))}, ca: ca, direct: fake.NewClientBuilder().WithObjects(left).Build()}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() { s.keepWebhooks(ctx); close(done) }()
	const none, blocked = "no admission webhooks", "kubectl delete ValidatingWebhookConfiguration left"
	for end := time.Now().Add(time.Minute); log.count(none) == 0 || log.count(blocked) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it says %q", log.b.String())
		}
	}
	cancel()
	<-done
	said := map[admission.Blocker]bool{}
	for range 2 { // two looks, one line
		s.tellBlockers(t.Context(), admission.Where{}, said)
	}
	if n := log.count(blocked); n != 2 {
		t.Errorf("told %d times, want once for each of two beginnings", n)
	}
}
