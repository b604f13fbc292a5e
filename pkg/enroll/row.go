package enroll

import (
	"net"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Columns a list may have, in the order in which they are documented. Any other
// column becomes a label.
func Columns() []string {
	return []string{"name", "address", "username", "password", "secret", "mac", "rack", "unit", "zone", "class"}
}

// labelOf maps the columns that are labels by another name.
func labelOf(column string) string {
	switch column {
	case "rack", "unit", "class":
		return "ingot.dev/" + column
	case "zone":
		return "infrastructure.cluster.x-k8s.io/failure-domain"
	}
	return column
}

// isLabel tells the columns that are labels from those that are fields.
func isLabel(column string) bool {
	return !slices.Contains(Columns()[:6], column)
}

// row is one host as a list gives it: values by column, trimmed.
type row struct {
	line   int
	values map[string]string
}

func (r row) problem(column, value, what, do string) Problem {
	if column == "password" {
		value = ""
	}
	return Problem{Line: r.line, Column: column, Value: value, What: what, Do: do}
}

// check finds everything that is wrong with the row by itself.
func (r row) check(address func(string) (string, error)) Problems {
	var ps Problems
	add := func(column, what, do string) {
		ps = append(ps, r.problem(column, r.values[column], what, do))
	}
	switch name := r.values["name"]; {
	case name == "":
		add("name", "is missing", "give every host a name")
	case len(validation.IsDNS1123Subdomain(name)) > 0:
		add("name", "is no name that Kubernetes takes", "use lower-case letters, digits, '-' and '.', like "+slug(name))
	case isUUID(name):
		add("name", "is a UUID", "Metal3 allows none as a name: use another")
	}
	if r.values["address"] == "" {
		add("address", "is missing", "give the BMC's address, like redfish://10.0.0.3/redfish/v1/Systems/1 or ipmi://10.0.0.3")
	} else if _, err := address(r.values["address"]); err != nil {
		// The parser of addresses says which part is wrong, and hides passwords.
		ps = append(ps, Problem{Line: r.line, Column: "address", What: "cannot be used: " + err.Error()})
	}
	ps = append(ps, r.checkCredentials()...)
	if mac := r.values["mac"]; mac != "" {
		if _, ok := parseMAC(mac); !ok {
			add("mac", "is no MAC address", "write six pairs of hex digits, like 52:54:00:12:34:56")
		}
	}
	for _, column := range sortedKeys(r.values) {
		if !isLabel(column) || r.values[column] == "" {
			continue
		}
		if len(validation.IsValidLabelValue(r.values[column])) > 0 {
			add(column, "cannot be a label", "use at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends")
		}
	}
	return ps
}

func (r row) checkCredentials() Problems {
	var ps Problems
	user, password, secret := r.values["username"], r.values["password"], r.values["secret"]
	switch {
	case user == "" && password == "" && secret == "":
		ps = append(ps, r.problem("username", "", "is missing, and so is secret",
			"give username and password, or the name of a Secret that has them"))
	case user == "" && password != "":
		ps = append(ps, r.problem("username", "", "is missing, but there is a password", "give both"))
	case user != "" && password == "":
		ps = append(ps, r.problem("password", "", "is missing, but there is a username", "give both"))
	}
	if secret != "" && len(validation.IsDNS1123Subdomain(secret)) > 0 {
		ps = append(ps, r.problem("secret", secret, "is no name that Kubernetes takes",
			"use lower-case letters, digits, '-' and '.', like "+slug(secret)))
	}
	return ps
}

// secretName is the Secret that the host's credentials are in.
func (r row) secretName() string {
	if s := r.values["secret"]; s != "" {
		return s
	}
	return r.values["name"] + "-bmc-secret"
}

// labels of the host.
func (r row) labels() map[string]string {
	labels := map[string]string{}
	for column, value := range r.values {
		if isLabel(column) && value != "" {
			labels[labelOf(column)] = value
		}
	}
	return labels
}

// parseMAC takes 48-bit addresses in every notation that net.ParseMAC does, and
// returns them as Metal3 writes them.
func parseMAC(s string) (string, bool) {
	mac, err := net.ParseMAC(s)
	if err != nil || len(mac) != 6 {
		return "", false
	}
	return mac.String(), true
}

// IsMAC tells whether s is an address that a list may give.
func IsMAC(s string) bool {
	_, ok := parseMAC(s)
	return ok
}

// slug is the nearest name that Kubernetes takes.
func slug(name string) string {
	var b strings.Builder
	for _, c := range strings.ToLower(shorten(name)) {
		if (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' {
			b.WriteRune(c)
		} else {
			b.WriteByte('-')
		}
	}
	if s := strings.Trim(b.String(), "-."); len(validation.IsDNS1123Subdomain(s)) == 0 {
		return s
	}
	return "rack1-node7"
}

func isUUID(s string) bool {
	return regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`).MatchString(s)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
