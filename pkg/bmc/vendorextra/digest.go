package vendorextra

import (
	"crypto/md5" //nolint:gosec // AMT knows no other
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
)

var errChallenge = errors.New("the BMC's digest challenge does not parse")

// digest answers RFC 7616 challenges for one call. The provider's own would
// send a wrong password twice, and fails by an index out of range on a parameter
// without a value.
type digest struct {
	username, password string
	random             io.Reader

	realm, nonce, opaque, algorithm string
	auth                            bool // qop=auth
	count                           int
}

// learn takes a WWW-Authenticate header. stale says that only the nonce was
// wrong (RFC 7616 §3.3).
func (d *digest) learn(header string) (stale bool, err error) {
	kind, rest, _ := strings.Cut(strings.TrimSpace(header), " ")
	if !strings.EqualFold(kind, "Digest") {
		return false, errChallenge
	}
	p, ok := parameters(rest)
	if !ok || p["nonce"] == "" {
		return false, errChallenge
	}
	d.realm, d.nonce, d.opaque, d.algorithm, d.count = p["realm"], p["nonce"], p["opaque"], p["algorithm"], 0
	d.auth = false
	for q := range strings.SplitSeq(p["qop"], ",") {
		d.auth = d.auth || strings.EqualFold(strings.TrimSpace(q), "auth")
	}
	if p["qop"] != "" && !d.auth {
		return false, errChallenge // auth-int alone
	}
	if d.hash() == nil {
		return false, errChallenge
	}
	return strings.EqualFold(p["stale"], "true"), nil
}

// parameters reads name=value and name="value", with commas between.
func parameters(s string) (map[string]string, bool) {
	out := map[string]string{}
	for s = strings.TrimLeft(s, ", \t"); s != ""; s = strings.TrimLeft(s, ", \t") {
		name, rest, ok := strings.Cut(s, "=")
		if !ok || len(out) == 16 {
			return nil, false
		}
		var value string
		if rest = strings.TrimLeft(rest, " \t"); strings.HasPrefix(rest, `"`) {
			if value, rest, ok = strings.Cut(rest[1:], `"`); !ok {
				return nil, false
			}
		} else if i := strings.IndexAny(rest, ", \t"); i >= 0 {
			value, rest = rest[:i], rest[i:]
		} else {
			value, rest = rest, ""
		}
		out[strings.ToLower(strings.TrimSpace(name))] = value
		s = rest
	}
	return out, true
}

func (d *digest) hash() func() hash.Hash {
	switch strings.ToUpper(d.algorithm) {
	case "", "MD5":
		return md5.New
	case "SHA-256":
		return sha256.New
	}
	return nil
}

// answer is the Authorization header for the challenge learnt last.
func (d *digest) answer(method, uri string) (string, error) {
	h := func(parts ...string) string {
		sum := d.hash()()
		_, _ = io.WriteString(sum, strings.Join(parts, ":"))
		return hex.EncodeToString(sum.Sum(nil))
	}
	client := make([]byte, 8)
	if _, err := io.ReadFull(d.random, client); err != nil {
		return "", err
	}
	d.count++
	who, what := h(d.username, d.realm, d.password), h(method, uri)
	out := fmt.Sprintf(`Digest username=%s, realm=%s, nonce=%s, uri=%s`, quote(d.username), quote(d.realm), quote(d.nonce), quote(uri))
	if d.auth {
		count, cnonce := fmt.Sprintf("%08x", d.count), hex.EncodeToString(client)
		out += fmt.Sprintf(`, qop=auth, nc=%s, cnonce=%s, response=%s`, count, quote(cnonce), quote(h(who, d.nonce, count, cnonce, "auth", what)))
	} else {
		out += ", response=" + quote(h(who, d.nonce, what))
	}
	if d.algorithm != "" {
		out += ", algorithm=" + d.algorithm
	}
	if d.opaque != "" {
		out += ", opaque=" + quote(d.opaque)
	}
	return out, nil
}

func quote(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }
