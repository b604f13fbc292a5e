package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/ingot-metal/ingot/pkg/admission"
	"github.com/ingot-metal/ingot/pkg/httpboot"
)

// Webhook says how a cluster's API finds the admission webhooks; the zero value:
// none are served, and objects are judged by their schemas alone.
type Webhook struct {
	Address string // to listen on
	Service string // namespace/name of a Service, port 443
	URL     string // or https://host:port
	// Every is how often it is looked whether the API still knows; 0: 30 s.
	Every time.Duration
}

func (w Webhook) wanted() bool { return w.Service != "" || w.URL != "" }

// Check says what is wrong with it.
func (w Webhook) Check() error {
	if w.Service != "" && w.URL != "" {
		return errors.New("--webhook-service and --webhook-url exclude each other: give one of them")
	}
	if ns, name, ok := strings.Cut(w.Service, "/"); w.Service != "" && (!ok || ns == "" || name == "" || strings.Contains(name, "/")) {
		return fmt.Errorf("--webhook-service %q: want namespace/name", w.Service)
	}
	if w.URL == "" {
		return nil
	}
	u, err := url.Parse(w.URL)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return errors.New("--webhook-url: want https://host:port and nothing more")
	}
	return nil
}

// where the API finds the webhooks.
func (w Webhook) where(ca []byte) admission.Where {
	switch {
	case w.URL != "":
		return admission.At(strings.TrimRight(w.URL, "/"), ca)
	case w.Service != "":
		ns, name, _ := strings.Cut(w.Service, "/")
		return admission.Behind(ns, name, ca)
	}
	return admission.Where{}
}

// names under which the API expects the certificate.
func (w Webhook) names() (names []string, ips []net.IP) {
	if u, err := url.Parse(w.URL); w.URL != "" && err == nil {
		if ip := net.ParseIP(u.Hostname()); ip != nil {
			return nil, []net.IP{ip}
		}
		return []string{u.Hostname()}, nil
	}
	ns, name, _ := strings.Cut(w.Service, "/")
	return []string{name + "." + ns + ".svc"}, nil
}

func (s *service) webhookServer() (*http.Server, error) {
	h, err := admission.Handler(s.direct)
	if err != nil {
		return nil, err
	}
	return httpboot.NewServer(h, s.Log), nil
}

func (s *service) webhookTLS() *tls.Config {
	certs := &certCache{ca: s.ca, byIP: map[string]*tls.Certificate{}}
	certs.names, certs.ips = s.Webhook.names()
	return s.TLS.apply(&tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certs.get})
}

// blockersEvery is how often webhooks of others are looked for.
const blockersEvery = time.Minute

// keepWebhooks points a cluster's API at our webhooks, and tells of webhooks of
// others that would refuse every write.
func (s *service) keepWebhooks(ctx context.Context) {
	where := s.Webhook.where(s.ca.CertPEM())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if !s.Webhook.wanted() {
			s.Log.Info("no admission webhooks: objects are judged by their schemas alone (--webhook-service or --webhook-url change that)")
			return
		}
		every := s.Webhook.Every
		if every <= 0 {
			every = 30 * time.Second
		}
		if err := admission.Keep(ctx, s.REST, where, every, s.Log); err != nil {
			s.Log.Error("no admission webhooks", "err", err)
		}
	}()
	tick := time.NewTicker(blockersEvery)
	defer tick.Stop()
	for said := map[admission.Blocker]bool{}; ctx.Err() == nil; {
		if !s.tellBlockers(ctx, where, said) {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	<-done
}

// tellBlockers tells of each once; false: nobody may look.
func (s *service) tellBlockers(ctx context.Context, where admission.Where, said map[admission.Blocker]bool) bool {
	all, err := admission.Blockers(ctx, s.direct, where)
	if apierrors.IsForbidden(err) {
		s.Log.Warn("cannot see whether webhooks of others refuse every write", "err", err)
		return false
	}
	if err != nil {
		if ctx.Err() == nil {
			s.Log.Warn("will be tried again", "err", err)
		}
		return true
	}
	for _, b := range all {
		if !said[b] {
			s.Log.Error("a webhook that nobody answers refuses every change of hosts", "kind", b.Kind, "name", b.Name, "because", b.Why, "do", b.Remedy())
		}
	}
	clear(said)
	for _, b := range all {
		said[b] = true
	}
	return true
}
