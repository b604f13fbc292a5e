package vendorextra

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"time"
)

// maxBody bounds an answer. The longest on record, ASRock Rack's list of
// sensors, has 20 kB.
const maxBody = 1 << 20

// door is the one way to a BMC. It is used by one call at a time.
type door struct {
	transport *http.Transport

	// Of the call under way:
	status int   // of the first answer that was no success
	failed error // of the first request that had no answer

	// stopAfterFailure sends nothing more in this call after the first of either:
	// a login that was refused is not to be followed up.
	stopAfterFailure bool
}

func newDoor(host string, o Options) *door {
	c := &tls.Config{
		ServerName: host, RootCAs: o.RootCAs,
		InsecureSkipVerify: o.Insecure || len(o.PinSPKI) > 0, //nolint:gosec // by explicit choice, or because the key is compared instead
	}
	if len(o.PinSPKI) > 0 {
		c.VerifyConnection = func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return errPin
			}
			got := sha256.Sum256(s.PeerCertificates[0].RawSubjectPublicKeyInfo)
			if subtle.ConstantTimeCompare(got[:], o.PinSPKI) != 1 {
				return errPin
			}
			return nil
		}
	}
	return &door{transport: &http.Transport{
		// No Proxy: BMCs are near.
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSClientConfig:        c,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		MaxConnsPerHost:        1,
		IdleConnTimeout:        5 * time.Second,
		DisableCompression:     true, // an answer that grows is not bounded by what was sent
	}}
}

// begin forgets the call before.
func (d *door) begin() { d.status, d.failed = 0, nil }

// RoundTrip is part of http.RoundTripper. The body is read here, under the
// request's context.
func (d *door) RoundTrip(r *http.Request) (*http.Response, error) {
	if d.stopAfterFailure && d.status != 0 {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, statusError(d.status, "")
	}
	resp, err := d.transport.RoundTrip(r)
	if err != nil {
		return nil, d.fail(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return nil, d.fail(err)
	}
	if len(body) > maxBody {
		return nil, d.fail(errTooLong)
	}
	if resp.StatusCode >= 300 && d.status == 0 {
		d.status = resp.StatusCode
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return resp, nil
}

func (d *door) fail(err error) error {
	if d.failed == nil {
		d.failed = err
	}
	return err
}

// client follows no redirects: they would carry credentials elsewhere.
func (d *door) client(jar http.CookieJar) *http.Client {
	return &http.Client{
		Transport: d, Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
