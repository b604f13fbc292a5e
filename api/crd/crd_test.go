package crd_test

import (
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/ingot-metal/ingot/api/crd"
)

func read(t *testing.T) map[string]*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	all, err := crd.Manifests()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*apiextensionsv1.CustomResourceDefinition{}
	for _, m := range all {
		d := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(m.YAML, d); err != nil {
			t.Fatalf("%s: %v", m.File, err)
		}
		if want := d.Spec.Group + "_" + d.Spec.Names.Plural + ".yaml"; m.File != want {
			t.Errorf("file %s, want %s", m.File, want)
		}
		found[d.Spec.Names.Kind] = d
	}
	return found
}

func TestKinds(t *testing.T) {
	found := read(t)
	for _, tc := range []struct {
		kind   string
		short  string
		scope  apiextensionsv1.ResourceScope
		status bool
	}{
		{kind: "BareMetalHost", short: "bmh", scope: "Namespaced", status: true},
		{kind: "HardwareData", short: "hd", scope: "Namespaced"},
		{kind: "HostRecord", short: "hr", scope: "Namespaced", status: true},
		{kind: "HostTimeline", short: "ht", scope: "Namespaced"},
		{kind: "ProvisioningNetwork", short: "pnet", scope: "Cluster", status: true},
	} {
		t.Run(tc.kind, func(t *testing.T) {
			d := found[tc.kind]
			if d == nil {
				t.Fatal("no manifest")
			}
			version := d.Spec.Versions[0]
			if len(d.Spec.Names.ShortNames) == 0 || d.Spec.Names.ShortNames[0] != tc.short {
				t.Errorf("short names %v, want %s", d.Spec.Names.ShortNames, tc.short)
			}
			if d.Spec.Scope != tc.scope {
				t.Errorf("scope %s, want %s", d.Spec.Scope, tc.scope)
			}
			if got := version.Subresources != nil && version.Subresources.Status != nil; got != tc.status {
				t.Errorf("status subresource: %v, want %v", got, tc.status)
			}
		})
	}
}

// What we add to Metal3's schema is there, and what was there stays.
func TestOverlay(t *testing.T) {
	schema := read(t)["BareMetalHost"].Spec.Versions[0].Schema.OpenAPIV3Schema
	spec, status := schema.Properties["spec"].Properties, schema.Properties["status"].Properties
	enums := func(p apiextensionsv1.JSONSchemaProps) map[string]bool {
		set := map[string]bool{}
		for _, e := range p.Enum {
			set[string(e.Raw)] = true
		}
		return set
	}
	for _, tc := range []struct {
		name   string
		schema apiextensionsv1.JSONSchemaProps
		values []string
	}{
		{name: "inspectionMode", schema: spec["inspectionMode"], values: []string{`"disabled"`, `"agent"`, `"fast"`}},
		{name: "image.format", schema: spec["image"].Properties["format"], values: []string{`""`, `"raw"`, `"qcow2"`, `"live-iso"`}},
		{name: "errorType", schema: status["errorType"], values: []string{`"registration error"`, `"servicing error"`, `"detach error"`}},
	} {
		got := enums(tc.schema)
		for _, v := range tc.values {
			if !got[v] {
				t.Errorf("%s does not take %s: %v", tc.name, v, got)
			}
		}
	}
	raid := spec["raid"].Properties["softwareRAIDVolumes"]
	if raid.Items == nil || raid.Items.Schema.Properties["rootVolume"].Type != "boolean" || raid.Items.Schema.Properties["level"].Type != "string" {
		t.Error("softwareRAIDVolumes lack rootVolume or level")
	}
	if spec["networkInterfaces"].Type != "array" || status["provisioningFailCount"].Type != "integer" || status["lastAttemptedImage"].Type != "object" {
		t.Error("fields of v0.14 are missing")
	}
}
