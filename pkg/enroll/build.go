package enroll

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	kindHost   = "BareMetalHost"
	kindSecret = "Secret"
	hostGroup  = "metal3.io/v1alpha1"
)

func secretKind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Version: "v1", Kind: kindSecret}
}

// builder collects objects and problems, and knows what was seen before.
type builder struct {
	Options
	hosts, secrets []Object
	problems       Problems
	// Where a value was first seen, to find the same in two lines.
	names, addresses, macs map[string]int
	made                   map[string]madeSecret
}

type madeSecret struct {
	line               int
	username, password string
}

func newBuilder(o Options) *builder {
	return &builder{
		Options: o,
		names:   map[string]int{}, addresses: map[string]int{}, macs: map[string]int{},
		made: map[string]madeSecret{},
	}
}

func (b *builder) problem(p Problem) { b.problems = append(b.problems, p) }

func (b *builder) finish() Set {
	b.problems.sort()
	if len(b.problems) > maxProblems {
		more := len(b.problems) - maxProblems
		b.problems = append(b.problems[:maxProblems:maxProblems], Problem{What: fmt.Sprintf("%d more problems are not shown", more)})
	}
	return Set{Objects: slices.Concat(b.secrets, b.hosts), Problems: b.problems}
}

// addRow makes the host and Secret of a row, if nothing is wrong with it.
func (b *builder) addRow(r row) {
	ps := r.check(b.Address)
	ps = append(ps, b.duplicates(r)...)
	if user := r.values["username"]; user != "" {
		name := r.secretName()
		if first, ok := b.made[name]; ok && (first.username != user || first.password != r.values["password"]) {
			ps = append(ps, r.problem("secret", name, fmt.Sprintf("has other credentials in line %d", first.line), "give each its own Secret"))
		}
	}
	if len(ps) > 0 {
		b.problems = append(b.problems, ps...)
		return
	}
	b.addSecret(r)
	b.hosts = append(b.hosts, Object{Unstructured: b.host(r), Line: r.line})
}

// duplicates records what the row says, and finds who said it before. Bad rows
// are recorded too: a line that repeats a bad one is wrong as well.
func (b *builder) duplicates(r row) Problems {
	var ps Problems
	mac, _ := parseMAC(r.values["mac"])
	address := ""
	if r.values["address"] != "" {
		if full, err := b.Address(r.values["address"]); err == nil {
			address = strings.ToLower(full)
		}
	}
	for _, c := range []struct {
		column, value, do string
		seen              map[string]int
	}{
		{"name", r.values["name"], "names must differ", b.names},
		{"address", address, "two hosts would switch one machine", b.addresses},
		{"mac", mac, "correct one of the two", b.macs},
	} {
		if c.value == "" {
			continue
		}
		if first, ok := c.seen[c.value]; ok {
			ps = append(ps, r.problem(c.column, r.values[c.column], fmt.Sprintf("is in line %d already", first), c.do))
		} else {
			c.seen[c.value] = r.line
		}
	}
	return ps
}

func (b *builder) addSecret(r row) {
	user, password := r.values["username"], r.values["password"]
	name := r.secretName()
	if _, ok := b.made[name]; ok || user == "" {
		return
	}
	b.made[name] = madeSecret{line: r.line, username: user, password: password}
	b.secrets = append(b.secrets, Object{Line: r.line, Unstructured: &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1",
		"kind":       kindSecret,
		"metadata":   map[string]any{"name": name, "namespace": b.Namespace},
		"type":       "Opaque",
		"data": map[string]any{
			"username": base64.StdEncoding.EncodeToString([]byte(user)),
			"password": base64.StdEncoding.EncodeToString([]byte(password)),
		},
	}}})
}

func (b *builder) host(r row) *unstructured.Unstructured {
	meta := map[string]any{"name": r.values["name"], "namespace": b.Namespace}
	if labels := r.labels(); len(labels) > 0 {
		m := map[string]any{}
		for k, v := range labels {
			m[k] = v
		}
		meta["labels"] = m
	}
	spec := map[string]any{
		// A machine without an image has no use for power. Plan and Apply keep
		// what an existing host has.
		"online": false,
		"bmc":    map[string]any{"address": r.values["address"], "credentialsName": r.secretName()},
	}
	if mac, ok := parseMAC(r.values["mac"]); ok {
		spec["bootMACAddress"] = mac
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": hostGroup, "kind": kindHost, "metadata": meta, "spec": spec,
	}}
}
