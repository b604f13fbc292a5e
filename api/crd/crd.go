// Package crd holds the manifests of every custom resource that ingot serves:
// Metal3's (metal3.io) and its own (ingot.dev). They are made by
// hack/generate.sh from Go types and are part of the binary, so that a server
// and its kinds cannot differ.
package crd

import (
	"embed"
	"fmt"
)

//go:embed *.yaml
var files embed.FS

// Manifest is one CustomResourceDefinition.
type Manifest struct {
	File string // as in this directory
	YAML []byte
}

// Manifests returns all of them, in the order of their file names.
func Manifests() ([]Manifest, error) {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil, fmt.Errorf("list the embedded manifests: %w", err)
	}
	all := make([]Manifest, 0, len(entries))
	for _, e := range entries {
		text, err := files.ReadFile(e.Name())
		if err != nil {
			return nil, fmt.Errorf("read an embedded manifest: %w", err)
		}
		all = append(all, Manifest{File: e.Name(), YAML: text})
	}
	return all, nil
}
