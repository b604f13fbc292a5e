package scan

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

const (
	maxRoot   = 256 << 10 // of an answer; a service root has a few kB
	maxWord   = 64        // of a property that is shown
	maxURI    = 256
	maxSystem = 16 // systems behind one BMC that are listed
)

// Service is what a Redfish service says of itself to anybody.
type Service struct {
	Port    int
	TLS     bool
	Version string // of Redfish
	Vendor  string
	Product string
	UUID    string
	hints   string // all that may name its maker, in lower case
}

// newClient makes a client that believes every certificate, old protocols
// included: it reads what anybody may read. It keeps no connection and follows
// no redirect.
func newClient(timeout time.Duration) *http.Client {
	var suites []uint16
	for _, list := range [][]*tls.CipherSuite{tls.CipherSuites(), tls.InsecureCipherSuites()} {
		for _, s := range list {
			suites = append(suites, s.ID)
		}
	}
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: timeout}).DialContext,
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 64 << 10,
			TLSHandshakeTimeout:    timeout,
			TLSClientConfig: &tls.Config{
				InsecureSkipVerify: true, //nolint:gosec // nothing secret is sent unless asked for, see Options.Factory
				MinVersion:         tls.VersionTLS10,
				CipherSuites:       suites,
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func base(a netip.Addr, port int, secure bool) string {
	scheme := "http"
	if secure {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(a.String(), strconv.Itoa(port))
}

// root reads the service root, over TLS, and plain where the port speaks no TLS.
func (s *scanner) root(ctx context.Context, a netip.Addr, port int) (Service, bool) {
	body, err := s.get(ctx, base(a, port, true)+"/redfish/v1/", nil)
	var plain tls.RecordHeaderError
	if err == nil {
		return parseRoot(body, port, true)
	}
	if port == 443 || !errors.As(err, &plain) && !strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		return Service{}, false
	}
	if body, err = s.get(ctx, base(a, port, false)+"/redfish/v1/", nil); err != nil {
		return Service{}, false
	}
	return parseRoot(body, port, false)
}

type status int

func (s status) Error() string { return "HTTP " + strconv.Itoa(int(s)) }

// get returns the body of a 200.
func (s *scanner) get(ctx context.Context, url string, account *Account) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if account != nil {
		req.SetBasicAuth(account.Username, account.Password)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, status(resp.StatusCode)
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxRoot))
}

// parseRoot reads a service root (DSP0268 ServiceRoot), as leniently as it may
// still be told from another web page.
func parseRoot(body []byte, port int, secure bool) (Service, bool) {
	var root map[string]any
	if json.Unmarshal(body, &root) != nil {
		return Service{}, false
	}
	kind, _ := root["@odata.type"].(string)
	version, _ := root["RedfishVersion"].(string)
	if version == "" && !strings.HasPrefix(kind, "#ServiceRoot.") {
		return Service{}, false
	}
	s := Service{Port: port, TLS: secure, Version: word(version), Vendor: word(root["Vendor"]), Product: word(root["Product"]), UUID: word(root["UUID"])}
	hints := []string{s.Vendor, s.Product, word(root["Name"])}
	if oem, ok := root["Oem"].(map[string]any); ok {
		for key := range oem {
			hints = append(hints, word(key))
		}
	}
	s.hints = strings.ToLower(strings.Join(hints, " "))
	return s, true
}

// word is a property that a stranger wrote, fit to be shown: printable ASCII, cut.
func word(v any) string {
	s, _ := v.(string)
	s = printable(s)
	return strings.TrimSpace(s[:min(len(s), maxWord)])
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
}
