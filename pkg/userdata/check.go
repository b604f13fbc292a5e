package userdata

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// CheckUserData refuses user data that says what it is and then is not that. A
// form that is not known here passes: who boots the image may know it.
func CheckUserData(b []byte) error {
	// cloud-init takes the form from the first line alone.
	first, _, _ := bytes.Cut(b, []byte("\n"))
	line := strings.TrimRight(string(first), " \t\r")
	switch {
	case line == "#cloud-config":
		_, err := mapping(KeyUserData, b)
		return err
	case misspelt(line):
		return invalid(KeyUserData, 1, "must read #cloud-config exactly, or cloud-init ignores all of it")
	case strings.HasPrefix(line, "{") && bytes.Contains(b, []byte(`"ignition"`)):
		if err := jsonError(b); err != nil {
			return err
		}
	}
	return nil
}

// misspelt recognises a cloud-config header that cloud-init does not.
func misspelt(line string) bool {
	plain := strings.ToLower(strings.ReplaceAll(line, " ", ""))
	plain = strings.ReplaceAll(strings.TrimPrefix(plain, "\ufeff"), "_", "-")
	plain = strings.TrimRight(strings.TrimLeft(plain, "#"), ":")
	return plain == "cloud-config"
}

// jsonError says on which line b stops being JSON.
func jsonError(b []byte) error {
	var any json.RawMessage
	err := json.Unmarshal(b, &any)
	if err == nil {
		return nil
	}
	line := 0
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		line = 1 + bytes.Count(b[:min(int(syntax.Offset), len(b))], []byte("\n"))
	}
	return invalid(KeyUserData, line, "is no JSON, though it begins as an Ignition configuration: %v", err)
}

// yamlLine finds the place in the parser's message; all its forms have one.
var yamlLine = regexp.MustCompile(`line (\d+):? ?`)

// mapping parses YAML (or JSON, its subset) whose top is a mapping. Nothing
// gives an empty one. Duplicate keys pass, as they do in cloud-init.
func mapping(key string, b []byte) (map[string]any, error) {
	var v any
	if err := yaml.Unmarshal(b, &v); err != nil {
		return nil, yamlError(key, err)
	}
	switch m := v.(type) {
	case nil:
		return nil, nil
	case map[string]any:
		return m, nil
	default:
		return nil, invalid(key, 1, "is no mapping of keys to values")
	}
}

// yamlError keeps the place and the kind of a parser's error. Some kinds quote
// the text, which may be a password, so the quotation is dropped.
func yamlError(key string, err error) *Error {
	message := err.Error()
	line := 0
	if m := yamlLine.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1]) // digits only, by the expression
	}
	if i := strings.LastIndex(message, "yaml: "); i >= 0 {
		message = message[i+len("yaml: "):]
	}
	message = yamlLine.ReplaceAllString(message, "")
	if i := strings.IndexAny(message, "`'\"\n"); i >= 0 {
		message = strings.TrimSpace(message[:i]) + " …"
	}
	return invalid(key, line, "is no YAML: %s", message)
}

// lineOf finds the line on which a top-level key stands, or 0.
func lineOf(b []byte, key string) int {
	for i, line := range strings.Split(string(b), "\n") {
		if strings.HasPrefix(strings.TrimLeft(line, `"'{ `), key) {
			return i + 1
		}
	}
	return 0
}

// UnknownMACs lists the MACs that the links of valid network data name and the
// machine does not have; the system would come up without these links. Bonds
// and VLANs may have addresses of their own and are passed over.
func UnknownMACs(data []byte, machine []string) []string {
	network, err := mapping(KeyNetworkData, data)
	if err != nil {
		return nil
	}
	links, _ := network["links"].([]any)
	var unknown []string
	for _, l := range links {
		link, _ := l.(map[string]any)
		kind, _ := link["type"].(string)
		mac, _ := link["ethernet_mac_address"].(string)
		if mac == "" || kind == "bond" || kind == "vlan" {
			continue
		}
		same := func(m string) bool { return strings.EqualFold(m, mac) }
		if !slices.ContainsFunc(machine, same) && !slices.Contains(unknown, mac) {
			unknown = append(unknown, mac)
		}
	}
	return unknown
}
