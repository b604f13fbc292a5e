package rest

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/ingot-metal/ingot/pkg/auth"
)

// Basic lets in who b knows, each as the administrator, as Ironic does.
func Basic(b *auth.Basic, log *slog.Logger) Authenticate {
	return func(w http.ResponseWriter, r *http.Request) (Caller, bool) {
		user, err := b.User(r)
		var malformed auth.Malformed
		var refused auth.Refused
		status := http.StatusServiceUnavailable
		switch {
		case err == nil:
			return Administrator(user), true
		case errors.As(err, &malformed):
			status = http.StatusBadRequest
		case errors.As(err, &refused):
			status = http.StatusUnauthorized
		case errors.Is(err, auth.ErrTooMany):
			status = http.StatusTooManyRequests
		}
		if status < http.StatusTooManyRequests {
			w.Header().Set("WWW-Authenticate", `Basic realm="Baremetal API"`)
		} else {
			w.Header().Set("Retry-After", "1")
		}
		notLetIn(log, r, status, err)
		answer(w, status, map[string]any{"error": map[string]any{"message": err.Error(), "code": status}})
		return Caller{}, false
	}
}

// Keystone lets in who shows a token of k's, with its roles and its project. Services
// of the project serviceProject are trusted with all nodes (Ironic's
// rbac_service_role_elevated_access); empty: none are.
func Keystone(k *auth.Keystone, uri, serviceProject string, log *slog.Logger) Authenticate {
	if uri == "" {
		uri = k.URL()
	}
	return func(w http.ResponseWriter, r *http.Request) (Caller, bool) {
		t, err := k.Validate(r.Context(), r.Header.Get("X-Auth-Token"))
		var refused auth.Refused
		switch {
		case err == nil:
			return Caller{
				User: firstOf(t.User, t.UserID), Project: t.ProjectID, Roles: t.Roles, System: t.System,
				Elevated: t.In(serviceProject) && slices.Contains(t.Roles, "service"),
			}, true
		case errors.As(err, &refused):
			w.Header().Set("WWW-Authenticate", "Keystone uri="+strconv.Quote(uri))
			notLetIn(log, r, http.StatusUnauthorized, err)
			answer(w, http.StatusUnauthorized, map[string]any{"error": map[string]any{
				"code": http.StatusUnauthorized, "title": http.StatusText(http.StatusUnauthorized), "message": "The request you have made requires authentication.",
			}})
		default:
			unanswered(w, log, r, err, "Keystone does not answer, so that nobody can be let in. Try again later.")
		}
		return Caller{}, false
	}
}

// Kubernetes lets in who shows a token of the cluster's; what they may is asked of
// RBAC.
func Kubernetes(reviews *auth.Reviews, log *slog.Logger) Authenticate {
	return func(w http.ResponseWriter, r *http.Request) (Caller, bool) {
		u, err := reviews.User(r.Context(), r.Header.Get("Authorization"))
		var refused auth.Refused
		switch {
		case err == nil:
			return Caller{User: u.Username, Review: func(ctx context.Context, a auth.Access) (bool, error) {
				return reviews.Allowed(ctx, u, a)
			}}, true
		case errors.As(err, &refused):
			w.Header().Set("WWW-Authenticate", `Bearer realm="Baremetal API"`)
			notLetIn(log, r, http.StatusUnauthorized, err)
			answer(w, http.StatusUnauthorized, map[string]any{"error": map[string]any{"message": err.Error(), "code": http.StatusUnauthorized}})
		default:
			unanswered(w, log, r, err, "The Kubernetes API does not answer, so that nobody can be let in. Try again later.")
		}
		return Caller{}, false
	}
}

func unanswered(w http.ResponseWriter, log *slog.Logger, r *http.Request, err error, text string) {
	notLetIn(log, r, http.StatusServiceUnavailable, err)
	(&fault{status: http.StatusServiceUnavailable, text: text}).write(w)
}

func notLetIn(log *slog.Logger, r *http.Request, status int, err error) {
	log.Info("REST audit", "user", "", "from", r.RemoteAddr, "method", r.Method, "path", r.URL.Path[:min(len(r.URL.Path), 256)], "status", status, "because", err)
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// Guard keeps web pages of others from driving a door that a browser on this machine
// can reach without a credential, or with one that it remembers.
type Guard struct {
	// Hosts are the names, beside its own addresses and localhost, under which the
	// door is known. A page whose name was made to point at us (DNS rebinding) comes
	// under a name of its own.
	Hosts []string
	// AnyHost leaves that out: what is asked for then is a credential.
	AnyHost bool
}

// Wrap lets only what may come through to next.
func (g Guard) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !g.AnyHost && !g.known(r):
			(&fault{status: http.StatusForbidden, text: "This door is not known as " + strconv.Quote(cut(r.Host)) + ": come by an address of its own, or name the host with --rest-allowed-hosts."}).write(w)
		case !sameOrigin(r):
			(&fault{status: http.StatusForbidden, text: "Requests of other sites' pages are not taken here."}).write(w)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func cut(s string) string { return s[:min(len(s), 256)] }

func (g Guard) known(r *http.Request) bool {
	host := hostOf(r.Host)
	if host == "localhost" || slices.Contains(g.Hosts, host) {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	if ip.IsLoopback() {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	own, err := netip.ParseAddrPort(local.String())
	return err == nil && own.Addr().Unmap().WithZone("") == ip.Unmap().WithZone("")
}

// hostOf is the name or address of a Host header (RFC 9110 §7.2), in lower case,
// without a port.
func hostOf(text string) string {
	host := text
	if h, _, err := net.SplitHostPort(text); err == nil {
		host = h
	} else if strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") {
		host = text[1 : len(text)-1]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// sameOrigin reports whether a request comes from no page, or from one of ours. All
// browsers name the page's origin where something may be changed (Fetch §3.2), and
// say of the rest whether it crosses sites (Fetch Metadata).
func sameOrigin(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
	default:
		return false
	}
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true
	}
	u, err := url.Parse(origins[0])
	if len(origins) != 1 || err != nil || u.Host == "" {
		return false
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return u.Scheme == scheme && strings.EqualFold(u.Host, r.Host)
}
