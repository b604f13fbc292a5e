package enroll

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
	kyaml "sigs.k8s.io/yaml"
)

// readYAML reads YAML, and JSON as the part of YAML that it is: documents that are
// lists of rows, or manifests.
func (b *builder) readYAML(data []byte) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			b.problem(Problem{What: "cannot be read", Do: strings.TrimPrefix(err.Error(), "yaml: ")})
			return
		}
		if len(doc.Content) != 1 {
			continue
		}
		root := doc.Content[0]
		if line := aliased(root); line > 0 {
			b.problem(Problem{Line: line, What: "uses an alias", Do: "write the value out"})
			continue
		}
		switch {
		case root.Kind == yaml.SequenceNode:
			for _, item := range root.Content {
				b.addNode(item)
			}
		case root.Kind == yaml.MappingNode && field(root, "kind") != nil:
			b.addManifest(root)
		case root.Kind == yaml.ScalarNode && root.Tag == "!!null":
			// An empty document, as between two lines of dashes.
		default:
			b.problem(Problem{Line: root.Line, What: "is no list of hosts", Do: "begin every host with a dash: - name: …"})
		}
	}
}

// aliased returns the line of the first alias: they can make a small file vast.
func aliased(n *yaml.Node) int {
	if n.Kind == yaml.AliasNode {
		return n.Line
	}
	for _, c := range n.Content {
		if line := aliased(c); line > 0 {
			return line
		}
	}
	return 0
}

func field(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// addNode adds a row that is written as a mapping. Values keep the text they are
// written with: a serial of 007 is no number.
func (b *builder) addNode(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		b.problem(Problem{Line: n.Line, What: "is no host", Do: "write key: value pairs, at least name and address"})
		return
	}
	if field(n, "kind") != nil {
		b.addManifest(n)
		return
	}
	r := row{line: n.Line, values: map[string]string{}}
	good := true
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case value.Kind != yaml.ScalarNode:
			b.problem(Problem{Line: value.Line, Column: shorten(key.Value), What: "is not a single value", Do: "every key has one text"})
			good = false
		case isLabel(key.Value) && len(validation.IsQualifiedName(labelOf(key.Value))) > 0:
			b.problem(Problem{Line: key.Line, Column: shorten(key.Value), What: "cannot be the name of a label", Do: "the keys are " + strings.Join(Columns(), ", ") + "; any other must be a valid label"})
			good = false
		case value.Tag == "!!null":
		default:
			r.values[key.Value] = strings.TrimSpace(value.Value)
		}
	}
	if good {
		b.addRow(r)
	}
}

// addManifest adds a BareMetalHost or Secret as it is written, with every field,
// and the items of a List.
func (b *builder) addManifest(n *yaml.Node) {
	kind := field(n, "kind").Value
	if items := field(n, "items"); items != nil && strings.HasSuffix(kind, "List") {
		for _, item := range items.Content {
			b.addNode(item)
		}
		return
	}
	u, err := decode(n)
	if err != nil {
		b.problem(Problem{Line: n.Line, What: "cannot be read: " + err.Error()})
		return
	}
	apiVersion := u.GetAPIVersion()
	bad := func(column, value, what, do string) {
		b.problem(Problem{Line: n.Line, Column: column, Value: value, What: what, Do: do})
	}
	switch {
	case kind == kindHost && apiVersion == hostGroup, kind == kindSecret && apiVersion == "v1":
	default:
		bad("kind", kind, "is neither a BareMetalHost of "+hostGroup+" nor a Secret of v1", "apply it with kubectl")
		return
	}
	if u.GetName() == "" || len(validation.IsDNS1123Subdomain(u.GetName())) > 0 {
		bad("metadata.name", u.GetName(), "is no name that Kubernetes takes", "use lower-case letters, digits, '-' and '.'")
		return
	}
	strip(u)
	if u.GetNamespace() == "" {
		u.SetNamespace(b.Namespace)
	}
	if kind == kindSecret {
		if err := secretData(u); err != nil {
			bad("stringData", "", err.Error(), "give every key one text")
			return
		}
		b.secrets = append(b.secrets, Object{Unstructured: u, Line: n.Line})
		return
	}
	b.addHostManifest(u, n.Line)
}

func (b *builder) addHostManifest(u *unstructured.Unstructured, line int) {
	address, _, _ := unstructured.NestedString(u.Object, "spec", "bmc", "address")
	mac, _, _ := unstructured.NestedString(u.Object, "spec", "bootMACAddress")
	r := row{line: line, values: map[string]string{"name": u.GetName(), "address": address, "mac": mac}}
	ps := b.duplicates(r)
	if address != "" {
		if _, err := b.Address(address); err != nil {
			ps = append(ps, Problem{Line: line, Column: "spec.bmc.address", What: "cannot be used: " + err.Error()})
		}
	}
	if len(ps) > 0 {
		b.problems = append(b.problems, ps...)
		return
	}
	if _, found, _ := unstructured.NestedFieldNoCopy(u.Object, "spec", "online"); !found {
		spec, ok := u.Object["spec"].(map[string]any)
		if !ok {
			spec = map[string]any{}
			u.Object["spec"] = spec
		}
		spec["online"] = false
	}
	b.hosts = append(b.hosts, Object{Unstructured: u, Line: line})
}

// decode goes by way of JSON, whose numbers are those of Kubernetes.
func decode(n *yaml.Node) (*unstructured.Unstructured, error) {
	text, err := yaml.Marshal(n)
	if err != nil {
		return nil, err
	}
	raw, err := kyaml.YAMLToJSON(text)
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(raw); err != nil {
		return nil, err
	}
	if meta, ok := u.Object["metadata"]; ok {
		if _, ok := meta.(map[string]any); !ok {
			return nil, errors.New("metadata is no mapping")
		}
	}
	return u, nil
}

// strip takes off what the API writes, as found in the output of kubectl get.
func strip(u *unstructured.Unstructured) {
	delete(u.Object, "status")
	for _, f := range []string{"managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink"} {
		unstructured.RemoveNestedField(u.Object, "metadata", f)
	}
}

// secretData folds stringData into data, which is what the API keeps.
func secretData(u *unstructured.Unstructured) error {
	texts, found, err := unstructured.NestedStringMap(u.Object, "stringData")
	if err != nil {
		return errors.New("is not a mapping of texts")
	}
	if !found {
		return nil
	}
	data, _, err := unstructured.NestedStringMap(u.Object, "data")
	if err != nil {
		return errors.New("stands beside data that is not a mapping of texts")
	}
	if data == nil {
		data = map[string]string{}
	}
	for k, v := range texts {
		data[k] = base64.StdEncoding.EncodeToString([]byte(v))
	}
	delete(u.Object, "stringData")
	return unstructured.SetNestedStringMap(u.Object, data, "data")
}
