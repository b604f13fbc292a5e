package image

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const maxRedirects = 5

func joinHostPort(host, port string) string {
	return net.JoinHostPort(strings.ToLower(host), port)
}

// forbidden are addresses where clouds and platforms answer with credentials,
// beside the link-local ones.
var forbidden = []netip.Prefix{
	netip.MustParsePrefix("100.100.100.200/32"), // Alibaba Cloud
	netip.MustParsePrefix("168.63.129.16/32"),   // Azure
	netip.MustParsePrefix("192.0.0.192/32"),     // Oracle Cloud
	netip.MustParsePrefix("fd00:ec2::/32"),      // Amazon
	netip.MustParsePrefix("fd20:ce::254/128"),   // Google
	netip.MustParsePrefix("0.0.0.0/8"),          // Linux dials loopback for it
}

// nat64 addresses carry an IPv4 address in their last four bytes (RFC 6052).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// checkAddr judges an address that is about to be dialled.
func checkAddr(a netip.Addr, loopbackAllowed bool) error {
	a = a.Unmap().WithZone("")
	if nat64.Contains(a) {
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	switch {
	case a.IsLoopback():
		if loopbackAllowed {
			return nil
		}
		return fmt.Errorf("%v is this server itself: name the address in the configuration to allow it", a)
	case a.IsLinkLocalUnicast(), a.IsMulticast(), a.IsUnspecified(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("%v is a link-local or metadata address, from which no image is fetched", a)
	}
	for _, p := range forbidden {
		if p.Contains(a) {
			return fmt.Errorf("%v is a link-local or metadata address, from which no image is fetched", a)
		}
	}
	return nil
}

// refusal marks a refusal of ours, which no retry will change.
type refusal struct{ error }

// newClient makes the client that fetches what users name. There is no proxy: a
// proxy would dial in our stead, past the check of the address.
func (r *Resolver) newClient() *http.Client {
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		d := net.Dialer{
			Timeout: 15 * time.Second,
			// Control sees the address after resolution, for every attempt.
			Control: func(_, address string, _ syscall.RawConn) error {
				ap, err := netip.ParseAddrPort(address)
				if err != nil {
					return refusal{err}
				}
				ok := r.loopback[strings.ToLower(addr)] || r.loopback[address]
				if err := checkAddr(ap.Addr(), ok); err != nil {
					return refusal{err}
				}
				return nil
			},
		}
		return d.DialContext(ctx, network, addr)
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            dial,
			DisableCompression:     true, // the checksum is of the bytes as they are served
			TLSHandshakeTimeout:    15 * time.Second,
			ResponseHeaderTimeout:  30 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			IdleConnTimeout:        30 * time.Second,
			MaxIdleConnsPerHost:    2,
			TLSClientConfig:        r.opts.TLS,
			ForceAttemptHTTP2:      true,
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			switch {
			case len(via) > maxRedirects:
				return refusal{fmt.Errorf("more than %d redirects", maxRedirects)}
			case req.URL.Scheme != "http" && req.URL.Scheme != "https":
				return refusal{fmt.Errorf("redirect to scheme %q", req.URL.Scheme)}
			case via[0].URL.Scheme == "https" && req.URL.Scheme == "http":
				return refusal{errors.New("redirect from https to http")}
			}
			return nil
		},
	}
}

// fetch copies what the URL serves to w. limit bounds its size.
func (r *Resolver) fetch(ctx context.Context, u *url.URL, w io.Writer, limit int64, progress func(done, total int64)) error {
	ctx, stop := context.WithTimeout(ctx, r.opts.Timeout)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return terminal(CodeUnreachable, "%s: not a URL that can be fetched", show(u))
	}
	req.Header.Set("User-Agent", "ingot")
	resp, err := r.client.Do(req)
	if err != nil {
		return fetchError(ctx, u, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		e := terminal(CodeUnreachable, "%s: the server answers %s", show(u), resp.Status)
		e.Retryable = resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusRequestTimeout
		return e
	}
	total := resp.ContentLength
	if total > limit {
		return terminal(CodeTooLarge, "%s has %d bytes, at most %d are fetched", show(u), total, limit)
	}
	// A server that stops sending is given up long before the whole time is over.
	stall := time.AfterFunc(r.opts.Stall, func() {
		cancel(fmt.Errorf("nothing was received for %v", r.opts.Stall))
	})
	defer stall.Stop()
	var done int64
	buf := make([]byte, 256<<10)
	for {
		n, err := resp.Body.Read(buf)
		if n > 0 {
			stall.Reset(r.opts.Stall)
			if done += int64(n); done > limit {
				return terminal(CodeTooLarge, "%s has more than the %d bytes that are fetched at most", show(u), limit)
			}
			if _, werr := w.Write(buf[:n]); werr != nil {
				return storeError(werr)
			}
			progress(done, total)
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && ctx.Err() == nil && total >= 0 && done < total:
			e := retryable(CodeTruncated, err, "%s: the connection ended after %d of %d bytes", show(u), done, total)
			e.Facts = map[string]string{"got": strconv.FormatInt(done, 10), "want": strconv.FormatInt(total, 10)}
			return e
		case err != nil:
			return fetchError(ctx, u, err)
		}
	}
}

// fetchError says in one line why a fetch failed, without the URL's secrets.
func fetchError(ctx context.Context, u *url.URL, err error) error {
	if isCancel(ctx) && errors.Is(context.Cause(ctx), context.Canceled) {
		return context.Canceled
	}
	if cause := context.Cause(ctx); cause != nil {
		return retryable(CodeUnreachable, cause, "%s: %v", show(u), cause)
	}
	var no refusal
	if errors.As(err, &no) {
		return terminal(CodeUnreachable, "%s: %v", show(u), no.error)
	}
	var wrapped *url.Error // quotes the whole URL
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var cert *tls.CertificateVerificationError
	if errors.As(err, &cert) {
		return terminal(CodeUnreachable, "%s: %v", show(u), err)
	}
	return retryable(CodeUnreachable, err, "%s: %v", show(u), err)
}
