package bmc

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// maxAddress bounds what is looked at: a host name has at most 253 bytes, the
// longest Redfish path on record is far shorter.
const maxAddress = 2048

// Address is a parsed BMC address of a BareMetalHost.
type Address struct {
	Scheme
	TLS            bool   // Redfish over HTTPS
	Host           string // name or IP literal, without brackets
	Port           int
	System         string // path of the ComputerSystem; empty: the only one there is
	PrivilegeLevel string // IPMI: ADMINISTRATOR (default), OPERATOR or USER
}

// BaseURL is where the BMC's Redfish service is, without a trailing slash.
func (a Address) BaseURL() string {
	u := url.URL{Scheme: "http", Host: net.JoinHostPort(a.Host, strconv.Itoa(a.Port))}
	if a.TLS {
		u.Scheme = "https"
	}
	return u.String()
}

// HostPort is host:port as a dialer wants it.
func (a Address) HostPort() string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }

// String is the address in its full form; it parses back to the same Address.
func (a Address) String() string {
	u := url.URL{Scheme: a.Name, Host: a.HostPort()}
	if a.Protocol == ProtocolRedfish && !a.TLS {
		u.Scheme += "+http"
	}
	if a.PrivilegeLevel != "" && a.PrivilegeLevel != defaultPrivilege {
		u.RawQuery = "privilegelevel=" + a.PrivilegeLevel
	}
	return u.String() + a.System
}

const defaultPrivilege = "ADMINISTRATOR"

// ParseAddress reads every form that Metal3 takes: scheme://host[:port][/path]
// with the schemes of Schemes (those of Redfish also with +http and +https;
// https is the default), scheme:host, and a bare host[:port], which means ipmi.
// An error names the part that is wrong, its value and what would be right.
func ParseAddress(address string) (Address, error) {
	s := strings.TrimSpace(address)
	if s == "" {
		return Address{}, addressError("address", "", "is empty")
	}
	if len(s) > maxAddress {
		return Address{}, addressError("address", s[:32]+"…", fmt.Sprintf("is longer than %d bytes", maxAddress))
	}
	scheme, rest := splitScheme(s)
	a, err := parseScheme(scheme)
	if err != nil {
		return Address{}, err
	}
	if strings.Contains(rest, "@") {
		// Not shown: it holds a password, which may have a slash in it.
		return Address{}, addressError("user", "(hidden)", "does not belong into the address: put it into the Secret that credentialsName names")
	}
	u, err := url.Parse("bmc://" + rest)
	if err != nil {
		return Address{}, hostError(rest, err)
	}
	if err := a.setHost(u); err != nil {
		return Address{}, err
	}
	if u.Fragment != "" {
		return Address{}, addressError("fragment", "#"+u.Fragment, "means nothing here")
	}
	if err := a.setQuery(u.Query()); err != nil {
		return Address{}, err
	}
	return a, a.setPath(u.EscapedPath())
}

// splitScheme cuts "redfish://host/…" and "redfish:host/…" at the scheme. What
// has no scheme, or looks like host:port or an IPv6 literal, is ipmi.
func splitScheme(s string) (scheme, rest string) {
	if _, err := netip.ParseAddr(s); err == nil {
		if strings.Contains(s, ":") {
			s = "[" + s + "]"
		}
		return ProtocolIPMI, s
	}
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		return strings.ToLower(scheme), rest
	}
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || strings.HasPrefix(s, "[") {
		return ProtocolIPMI, s
	}
	lower := strings.ToLower(scheme)
	if _, err := parseScheme(lower); err != nil {
		if port, _, _ := strings.Cut(authority(rest), "@"); isNumber(port) || strings.Contains(scheme, ".") {
			return ProtocolIPMI, s // host:port
		}
	}
	return lower, rest
}

func isNumber(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}

// authority is what stands before the path, query and fragment.
func authority(rest string) string {
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		return rest[:i]
	}
	return rest
}

func parseScheme(full string) (Address, error) {
	name, transport, plus := strings.Cut(full, "+")
	for _, row := range Schemes() {
		if row.Name != name {
			continue
		}
		a := Address{Scheme: row, TLS: row.Protocol == ProtocolRedfish, Port: 623}
		switch {
		case row.Protocol == ProtocolIPMI && plus:
			return Address{}, addressError("scheme", full, "has no +http or +https: IPMI is not HTTP; write "+name)
		case row.Protocol == ProtocolIPMI:
			a.PrivilegeLevel = defaultPrivilege
		case plus && transport == "http":
			a.TLS, a.Port = false, 80
		case plus && transport != "https":
			return Address{}, addressError("scheme", full, "may end in +http or +https only")
		default:
			a.Port = 443
		}
		return a, nil
	}
	if instead, ok := removed(name); ok {
		return Address{}, addressError("scheme", full, "was removed: use "+instead)
	}
	names := make([]string, 0, 9)
	for _, row := range Schemes() {
		names = append(names, row.Name)
	}
	hint := "is not known; there are " + strings.Join(names, ", ")
	if near := nearest(name); near != "" {
		hint = "is not known; did you mean " + near + "? There are " + strings.Join(names, ", ")
	}
	return Address{}, addressError("scheme", full, hint)
}

func (a *Address) setHost(u *url.URL) error {
	a.Host = u.Hostname()
	if a.Host == "" {
		return addressError("host", u.Host, "is missing")
	}
	if strings.Contains(a.Host, ":") {
		if !strings.HasPrefix(u.Host, "[") {
			return addressError("host", u.Host, "looks like IPv6: write it in brackets, ["+u.Host+"]")
		}
		if _, err := netip.ParseAddr(a.Host); err != nil {
			return addressError("host", u.Host, "is no IPv6 address")
		}
	} else if i := strings.IndexFunc(a.Host, func(r rune) bool { return !isHostRune(r) }); i >= 0 {
		return addressError("host", a.Host, fmt.Sprintf("holds %q", a.Host[i]))
	}
	if port := u.Port(); port != "" {
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 || n > 65535 {
			return addressError("port", port, "is not between 1 and 65535")
		}
		a.Port = n
	} else if strings.HasSuffix(u.Host, ":") {
		return addressError("port", "", "is missing after the colon")
	}
	return nil
}

// isHostRune allows names as people give them to BMCs: RFC 1123 and underscore.
func isHostRune(r rune) bool {
	return r == '-' || r == '.' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}

func (a *Address) setQuery(q url.Values) error {
	for key, values := range q {
		if a.Protocol != ProtocolIPMI || !strings.EqualFold(key, "privilegelevel") {
			return addressError("query", key, "is not known; ipmi takes privilegelevel, the others take none")
		}
		level := strings.ToUpper(values[0])
		switch level {
		case defaultPrivilege, "OPERATOR", "USER":
			a.PrivilegeLevel = level
		default:
			return addressError("privilegelevel", values[0], "is not one of ADMINISTRATOR, OPERATOR, USER")
		}
	}
	return nil
}

// setPath keeps the path as the BMC's name for the system. Any path that is no
// Redfish root is taken, as upstream takes it: services behind a proxy have
// theirs elsewhere.
func (a *Address) setPath(path string) error {
	path = strings.TrimRight(path, "/")
	if a.Protocol == ProtocolIPMI {
		if path != "" {
			return addressError("path", path, "means nothing to IPMI; leave it out")
		}
		return nil
	}
	switch strings.ToLower(path) {
	case "", "/redfish", "/redfish/v1", "/redfish/v1/systems":
		return nil
	}
	a.System = path
	return nil
}

func hostError(rest string, err error) error {
	host := authority(rest)
	if strings.Count(host, ":") > 1 && !strings.HasPrefix(host, "[") {
		return addressError("host", host, "looks like IPv6: write it in brackets, ["+host+"]")
	}
	if _, port, ok := strings.Cut(host, ":"); ok && !isNumber(port) && !strings.HasPrefix(host, "[") {
		return addressError("port", port, "is not a number")
	}
	var detail string
	if e, ok := err.(*url.Error); ok { //nolint:errorlint // url.Parse documents the type
		detail = e.Err.Error()
	}
	return addressError("address", rest, "does not parse: "+detail)
}

func addressError(part, value, problem string) error {
	return &Error{
		Class: BadRequest, Code: CodeAddressSyntax, Op: "parse BMC address",
		Detail: fmt.Sprintf("%s %q %s", part, value, problem),
	}
}
