package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// doors are ingot's own services, as the server names them in the API.
type doors struct {
	https string // base URL, without a slash at the end
	http  *http.Client
}

// errNoDoors means that an API is there, but no ingot behind it that we could ask.
var errNoDoors = errors.New("no ingot is running for this API: the ConfigMap kube-system/ingot-doors names none; start `ingot serve` or `ingot manager`")

// doors finds the HTTPS door and logs in to it as to the API: with the
// kubeconfig's client certificate or token. The door proves itself by the CA that
// the API names, and a redirect is not followed, so that nobody else is handed
// the token.
func (c *api) doors(ctx context.Context) (*doors, error) {
	cm := &corev1.ConfigMap{}
	err := c.Get(ctx, client.ObjectKey{Namespace: "kube-system", Name: "ingot-doors"}, cm)
	if absent(err) {
		return nil, errNoDoors
	}
	if err != nil {
		return nil, fmt.Errorf("find ingot's doors: %w", err)
	}
	base := strings.TrimRight(cm.Data["https"], "/")
	if base == "" || cm.Data["ca"] == "" {
		return nil, errNoDoors
	}
	if !strings.Contains(base, "://") {
		base = "https://" + base
	}
	if !strings.HasPrefix(base, "https://") {
		return nil, fmt.Errorf("find ingot's doors: %q is not HTTPS", base)
	}
	cfg := rest.CopyConfig(c.cfg)
	cfg.Host = base
	cfg.CAFile, cfg.CAData, cfg.Insecure, cfg.ServerName = "", []byte(cm.Data["ca"]), false, ""
	hc, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("reach ingot's doors: %w", err)
	}
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	hc.Timeout = 0 // bounded by the context: an image may take long
	return &doors{https: base, http: hc}, nil
}
