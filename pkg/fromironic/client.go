package fromironic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/ingot-metal/ingot/api/ironic"
)

// Limits of what Ironic may answer.
const (
	maxAnswer = 64 << 20 // a page of 500 nodes in detail is 1.4 MB
	maxItems  = 100_000  // of one collection
	pageSize  = 500
)

const versionHeader = "X-Openstack-Ironic-Api-Version"

// Client asks one Ironic.
type Client struct {
	// HTTP follows no redirect, as those of NewHTTP do.
	HTTP *http.Client
	// Sign adds who asks to a request; nil: nobody in particular.
	Sign func(*http.Request) error

	base    string
	version ironic.Version
}

// NewClient takes the URL of Ironic's API, with or without its /v1.
func NewClient(text string) (*Client, error) {
	u, err := url.Parse(strings.TrimSpace(text))
	switch {
	case err != nil:
		return nil, errors.New("the URL of Ironic does not parse: write it like http://10.0.0.1:6385")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, errors.New("the URL of Ironic begins with http:// or https:// and names a host: http://10.0.0.1:6385")
	case u.User != nil:
		return nil, errors.New("a user and a password do not belong into the URL: use --basic-user and --basic-password-file")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("the URL of Ironic has no query and no fragment")
	}
	base := strings.TrimSuffix(strings.TrimRight(u.String(), "/"), "/v1")
	return &Client{HTTP: NewHTTP(transport(nil)), base: strings.TrimRight(base, "/")}, nil
}

// negotiate agrees on the newest version that both know.
func (c *Client) negotiate(ctx context.Context) error {
	res, err := c.do(ctx, "/v1", nil)
	if err != nil {
		return err
	}
	defer drain(res)
	text := res.Header.Get("X-Openstack-Ironic-Api-Maximum-Version")
	minor, ok := strings.CutPrefix(text, "1.")
	n, err := strconv.ParseUint(minor, 10, 16)
	if !ok || err != nil || n < 1 {
		return fmt.Errorf("%s is no Ironic: its /v1 names no version of the bare metal API (HTTP status %d)", c.base, res.StatusCode)
	}
	c.version = min(ironic.Version(n), ironic.MaxVersion)
	return nil
}

// pages calls take with the members of a collection, page by page. Each says by
// which marker the next page begins.
func (c *Client) pages(ctx context.Context, path string, query url.Values, plural string, take func(json.RawMessage) (marker string)) error {
	q := url.Values{"limit": {strconv.Itoa(pageSize)}}
	for k, v := range query {
		q[k] = v
	}
	seen := map[string]bool{}
	for count := 0; ; {
		var page map[string]json.RawMessage
		if err := c.get(ctx, path, q, &page); err != nil {
			return err
		}
		var items []json.RawMessage
		if err := json.Unmarshal(page[plural], &items); err != nil || page[plural] == nil {
			return fmt.Errorf("%s%s: the answer has no list of %s", c.base, path, plural)
		}
		if count += len(items); count > maxItems {
			return fmt.Errorf("%s%s: more than %d %s are not taken at once: name some", c.base, path, maxItems, plural)
		}
		marker := ""
		for _, item := range items {
			marker = take(item)
		}
		// The link itself is not followed: it may lead anywhere, with our credentials.
		if string(page["next"]) == "" || string(page["next"]) == "null" {
			return nil
		}
		if marker == "" || seen[marker] {
			return fmt.Errorf("%s%s: Ironic says that there are more %s, and gives the same again", c.base, path, plural)
		}
		seen[marker] = true
		q.Set("marker", marker)
	}
}

// get reads one JSON document.
func (c *Client) get(ctx context.Context, path string, query url.Values, into any) error {
	res, err := c.do(ctx, path, query)
	if err != nil {
		return err
	}
	defer drain(res)
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("%s%s: %w", c.base, path, err)
	}
	if res.StatusCode != http.StatusOK {
		return &answerError{where: c.base + path, status: res.StatusCode, text: faultOf(text)}
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s%s: the answer is no JSON that could be read: %w", c.base, path, err)
	}
	return nil
}

func (c *Client) do(ctx context.Context, path string, query url.Values) (*http.Response, error) {
	where := c.base + path
	if len(query) > 0 {
		where += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "ingot")
	if c.version > 0 {
		req.Header.Set(versionHeader, c.version.String())
	}
	if c.Sign != nil {
		if err := c.Sign(req); err != nil {
			return nil, err
		}
	}
	res, err := c.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	res.Body = &bounded{ReadCloser: res.Body, left: maxAnswer}
	if res.StatusCode >= 300 && res.StatusCode < 400 {
		drain(res)
		return nil, fmt.Errorf("%s sends us elsewhere: name Ironic's own URL", c.base)
	}
	return res, nil
}

// NewHTTP has a client follow no redirect: it would take the credentials along.
func NewHTTP(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     transport,
		Timeout:       requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// answerError is an answer that is none of what was asked for.
type answerError struct {
	where  string
	status int
	text   string
}

func (e *answerError) Error() string {
	switch e.status {
	case http.StatusUnauthorized:
		return fmt.Sprintf("%s: Ironic asks who we are (401): give --basic-user and --basic-password-file, or OS_CLOUD, or OS_AUTH_URL and its kin", e.where)
	case http.StatusForbidden:
		return fmt.Sprintf("%s: these credentials may not read it (403): use those of an administrator or of a system reader", e.where)
	}
	return strings.TrimSuffix(fmt.Sprintf("%s: Ironic answers %d: %s", e.where, e.status, e.text), ": ")
}

// faultOf finds the sentence in an error, which is JSON in a string in JSON.
func faultOf(text []byte) string {
	var outer struct {
		Message json.RawMessage `json:"error_message"`
	}
	inner := text
	if json.Unmarshal(text, &outer) == nil && len(outer.Message) > 0 {
		inner = outer.Message
		var s string
		if json.Unmarshal(inner, &s) == nil {
			inner = []byte(s)
		}
	}
	var fault struct {
		String      string `json:"faultstring"`
		Description string `json:"description"`
	}
	if json.Unmarshal(inner, &fault) == nil && fault.String+fault.Description != "" {
		return clip(fault.String + fault.Description)
	}
	return ""
}

// bounded fails where more comes than was agreed, rather than to end the text early.
type bounded struct {
	io.ReadCloser
	left int64
}

var errTooLong = fmt.Errorf("the answer is longer than %d MiB", maxAnswer>>20)

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLong
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	return n, err
}

func drain(res *http.Response) {
	_, _ = io.CopyN(io.Discard, res.Body, 4096) // so that the connection is kept
	_ = res.Body.Close()
}
