package agent

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	api "github.com/ingot-metal/ingot/api/agent"
)

// Args is what the boot script hands to the agent. None of it is secret.
type Args struct {
	URL    string // base URL of the agent door; more, after commas, are other replicas'
	CAPin  string // hex SHA-256 of the CA certificate to trust
	BootID string // empty: in an ISO that somebody else made; the server knows by the MACs
	MAC    string // of the interface that booted; may be empty
}

// ParseArgs reads Args from a kernel command line. The last of a repeated
// argument counts, as it does in the kernel.
func ParseArgs(cmdline string) (Args, error) {
	var a Args
	for f := range strings.FieldsSeq(cmdline) {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case api.ArgURL:
			a.URL = strings.TrimSuffix(value, "/")
		case api.ArgCA:
			a.CAPin = value
		case api.ArgBoot:
			a.BootID = value
		case api.ArgMAC:
			a.MAC = value
		}
	}
	return a, a.check()
}

func (a Args) check() error {
	var errs []error
	for one := range strings.SplitSeq(a.URL, ",") {
		if u, err := url.Parse(one); err != nil || u.Scheme != "https" || u.Host == "" {
			errs = append(errs, fmt.Errorf("%s=%q: want https://ADDRESS:PORT", api.ArgURL, one))
		}
	}
	if b, err := hex.DecodeString(a.CAPin); err != nil || len(b) != 32 {
		errs = append(errs, fmt.Errorf("%s=%q: want 64 hex digits", api.ArgCA, a.CAPin))
	}
	if a.MAC != "" {
		if _, err := net.ParseMAC(a.MAC); err != nil {
			errs = append(errs, fmt.Errorf("%s=%q: not a MAC address", api.ArgMAC, a.MAC))
		}
	}
	return errors.Join(errs...)
}
