package bmc

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func scheme(name string) Scheme {
	for _, s := range Schemes() {
		if s.Name == name {
			return s
		}
	}
	return Scheme{}
}

func TestParseAddress(t *testing.T) {
	redfish := func(name string, tls bool, host string, port int, system string) Address {
		return Address{Scheme: scheme(name), TLS: tls, Host: host, Port: port, System: system}
	}
	ipmi := func(name, host string, port int, level string) Address {
		return Address{Scheme: scheme(name), Host: host, Port: port, PrivilegeLevel: level}
	}
	for _, tc := range []struct {
		name, in string
		want     Address
	}{
		{name: "redfish", in: "redfish://10.0.0.3/redfish/v1/Systems/1", want: redfish("redfish", true, "10.0.0.3", 443, "/redfish/v1/Systems/1")},
		{name: "https", in: "redfish+https://bmc.example:8443/redfish/v1/Systems/1/", want: redfish("redfish", true, "bmc.example", 8443, "/redfish/v1/Systems/1")},
		{name: "http", in: "redfish+http://127.0.0.1:8000", want: redfish("redfish", false, "127.0.0.1", 8000, "")},
		{name: "http, default port", in: "redfish+http://h", want: redfish("redfish", false, "h", 80, "")},
		{name: "root alone", in: "redfish://h/redfish/v1/", want: redfish("redfish", true, "h", 443, "")},
		{name: "collection alone", in: "redfish://h/redfish/v1/Systems", want: redfish("redfish", true, "h", 443, "")},
		{name: "any path", in: "redfish://192.168.122.1/foo/bar", want: redfish("redfish", true, "192.168.122.1", 443, "/foo/bar")},
		{name: "percent stays", in: "redfish://h/redfish/v1/Systems/a%23b", want: redfish("redfish", true, "h", 443, "/redfish/v1/Systems/a%23b")},
		{name: "opaque", in: "redfish:h/redfish/v1/Systems/1", want: redfish("redfish", true, "h", 443, "/redfish/v1/Systems/1")},
		{name: "opaque with port", in: "redfish-virtualmedia+http:h:8000", want: redfish("redfish-virtualmedia", false, "h", 8000, "")},
		{name: "upper case", in: "Redfish-VirtualMedia://H", want: redfish("redfish-virtualmedia", true, "H", 443, "")},
		{name: "uefihttp", in: "redfish-uefihttp://h", want: redfish("redfish-uefihttp", true, "h", 443, "")},
		{name: "idrac", in: "idrac-redfish+https://h", want: redfish("idrac-redfish", true, "h", 443, "")},
		{name: "idrac media", in: "idrac-virtualmedia://h", want: redfish("idrac-virtualmedia", true, "h", 443, "")},
		{name: "ilo5", in: "ilo5-redfish://h", want: redfish("ilo5-redfish", true, "h", 443, "")},
		{name: "ilo5 media", in: "ilo5-virtualmedia://h", want: redfish("ilo5-virtualmedia", true, "h", 443, "")},
		{name: "ipv6", in: "redfish://[fd00::1]:8443/redfish/v1/Systems/1", want: redfish("redfish", true, "fd00::1", 8443, "/redfish/v1/Systems/1")},
		{name: "ipv6 zone", in: "redfish://[fe80::1%25eth0]", want: redfish("redfish", true, "fe80::1%eth0", 443, "")},
		{name: "space around", in: " redfish://h\n", want: redfish("redfish", true, "h", 443, "")},
		{name: "ipmi", in: "ipmi://h", want: ipmi("ipmi", "h", 623, "ADMINISTRATOR")},
		{name: "ipmi port", in: "ipmi://h:6230", want: ipmi("ipmi", "h", 6230, "ADMINISTRATOR")},
		{name: "ipmi opaque", in: "ipmi:h", want: ipmi("ipmi", "h", 623, "ADMINISTRATOR")},
		{name: "ipmi privilege", in: "ipmi://h?privilegelevel=operator", want: ipmi("ipmi", "h", 623, "OPERATOR")},
		{name: "bare host", in: "bmc-3.example", want: ipmi("ipmi", "bmc-3.example", 623, "ADMINISTRATOR")},
		{name: "bare ip and port", in: "192.168.122.1:6233", want: ipmi("ipmi", "192.168.122.1", 6233, "ADMINISTRATOR")},
		{name: "bare host and port", in: "myhost:6233", want: ipmi("ipmi", "myhost", 6233, "ADMINISTRATOR")},
		{name: "bare ipv6", in: "fd00::1", want: ipmi("ipmi", "fd00::1", 623, "ADMINISTRATOR")},
		{name: "bare ipv6 in brackets", in: "[fd00::1]:6233", want: ipmi("ipmi", "fd00::1", 6233, "ADMINISTRATOR")},
		{name: "libvirt", in: "libvirt://192.168.122.1:6233", want: ipmi("libvirt", "192.168.122.1", 6233, "ADMINISTRATOR")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ParseAddress(tc.in)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("ParseAddress(%q) (-want +got):\n%s", tc.in, d)
			}
			again, err := ParseAddress(got.String())
			if err != nil || again != got {
				t.Errorf("%q does not parse back: %+v, %v", got.String(), again, err)
			}
		})
	}
}

func TestParseAddressErrors(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{name: "empty", in: " ", want: "is empty"},
		{name: "typo", in: "refish://h", want: "did you mean redfish?"},
		{name: "far off", in: "gopher://h", want: "there are redfish, "},
		{name: "vendor prefix", in: "idrac-virtualmedi://h", want: "did you mean idrac-virtualmedia?"},
		{name: "removed idrac", in: "idrac://h", want: `"idrac" was removed: use idrac-redfish`},
		{name: "removed ilo4", in: "ilo4://h", want: "use redfish"},
		{name: "removed ilo4 media", in: "ilo4-virtualmedia://h", want: "use redfish-virtualmedia"},
		{name: "removed ilo5", in: "ilo5://h", want: "use ilo5-redfish"},
		{name: "removed irmc", in: "irmc://h", want: "use redfish"},
		{name: "transport", in: "redfish+ftp://h", want: "+http or +https only"},
		{name: "ipmi over http", in: "ipmi+http://h", want: "write ipmi"},
		{name: "no host", in: "redfish:///redfish/v1/Systems/1", want: "host"},
		{name: "port word", in: "redfish://h:https", want: `port "https" is not a number`},
		{name: "port range", in: "redfish://h:70000", want: `port "70000"`},
		{name: "port missing", in: "redfish://h:/x", want: "port"},
		{name: "ipv6 without brackets", in: "redfish://fd00::1/redfish/v1", want: "[fd00::1]"},
		{name: "host rune", in: "redfish://a!b", want: `host "a!b"`},
		{name: "ipmi path", in: "ipmi://h/redfish", want: `path "/redfish"`},
		{name: "query", in: "redfish://h?insecure=true", want: `query "insecure"`},
		{name: "privilege", in: "ipmi://h?privilegelevel=root", want: "ADMINISTRATOR, OPERATOR, USER"},
		{name: "fragment", in: "redfish://h/a#b", want: `fragment "#b"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := ParseAddress(tc.in)
			var e *Error
			if !errors.As(err, &e) || e.Code != CodeAddressSyntax {
				t.Fatalf("ParseAddress(%q) = %v, want code %s", tc.in, err, CodeAddressSyntax)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q does not say %q", err, tc.want)
			}
		})
	}
}

func TestParseAddressHidesPassword(t *testing.T) {
	for _, address := range []string{"redfish://admin:hunter2@h/", "redfish://admin:hun/ter2@h/", "ipmi:admin:hun?ter2@h"} {
		_, err := ParseAddress(address)
		if err == nil || strings.Contains(err.Error(), "ter2") {
			t.Errorf("err = %v, want an error without the password", err)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"redfish://h/redfish/v1/Systems/1", "redfish:h", "h:1", "[::1]:2", "ipmi://h?privilegelevel=USER", "redfish+http://[fe80::1%25a]/%23", ":", "//", "a:b@c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		if a.Host == "" || a.Port < 1 || a.Port > 65535 {
			t.Fatalf("%q: %+v", s, a)
		}
		again, err := ParseAddress(a.String())
		if err != nil || again != a {
			t.Fatalf("%q gives %q, which gives %+v, %v", s, a, again, err)
		}
	})
}
