package redfish

import (
	"errors"
	"net/url"
	"strings"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// secrets are texts of a request that no error may tell: BMCs like to repeat a
// refused value in their answer.
type secrets []string

// gram is how much of a secret in a row gives it away.
const gram = 8

// urlSecrets are those of an image's URL: all but its host. The path of our own
// images is a secret (it is all that a BMC can show to get one).
func urlSecrets(raw string) secrets {
	raw = raw[:min(len(raw), 4096)] // it may be a BMC's
	u, err := url.Parse(raw)
	if err != nil {
		return secrets{raw}
	}
	s := secrets{u.Path, u.EscapedPath(), u.RawQuery, u.Fragment}
	if u.User != nil {
		password, _ := u.User.Password()
		s = append(s, password)
	}
	return s
}

// scrub takes the secrets out of an error. Whatever is repeated in part, cut
// short or in another case is found by its pieces, and the whole word goes.
func (s secrets) scrub(err error) error {
	var be *bmc.Error
	if !errors.As(err, &be) {
		return err
	}
	be.Detail = s.clean(be.Detail)
	if be.Err != nil && s.clean(be.Err.Error()) != be.Err.Error() {
		be.Err = nil
	}
	return err
}

func (s secrets) clean(detail string) string {
	words := strings.Split(detail, " ")
	for i, w := range words {
		if s.in(w) {
			words[i] = "(withheld)"
		}
	}
	// A secret may hold spaces itself.
	out := strings.Join(words, " ")
	for _, x := range s {
		if strings.Contains(x, " ") {
			out = strings.ReplaceAll(out, x, "(withheld)")
		}
	}
	return out
}

// in reports whether a word gives a secret away.
func (s secrets) in(word string) bool {
	word = strings.ToLower(word)
	for _, x := range s {
		x = strings.ToLower(x)
		if x == "" || x == "/" {
			continue
		}
		if len(x) <= gram {
			if strings.Contains(word, x) {
				return true
			}
			continue
		}
		for i := 0; i+gram <= len(x); i++ {
			if strings.Contains(word, x[i:i+gram]) {
				return true
			}
		}
	}
	return false
}
