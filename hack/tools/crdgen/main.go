// Command crdgen turns controller-gen's output into the manifests that ingot
// ships: it merges our overlay into the schemas and writes every manifest with
// sorted keys, so that the same sources give the same bytes.
//
//	crdgen GENERATED_DIR OVERLAY_DIR OUTPUT_DIR
//
// An overlay is named like the manifest it is for and holds what is to be merged
// into the schema of its only version: maps merge, lists grow by what they lack,
// anything else is replaced.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"

	"sigs.k8s.io/yaml"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "crdgen:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return errors.New("usage: crdgen GENERATED_DIR OVERLAY_DIR OUTPUT_DIR")
	}
	generated, overlays, output := args[0], args[1], args[2]
	files, err := filepath.Glob(filepath.Join(generated, "*.yaml"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("no manifests in %s", generated)
	}
	unused, err := names(overlays)
	if err != nil {
		return err
	}
	written := map[string]bool{}
	for _, file := range files {
		name := filepath.Base(file)
		if err := convert(file, filepath.Join(overlays, name), filepath.Join(output, name)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		delete(unused, name)
		written[name] = true
	}
	for name := range unused {
		return fmt.Errorf("overlay %s matches no manifest", name)
	}
	old, err := names(output)
	if err != nil {
		return err
	}
	for name := range old {
		if !written[name] {
			if err := os.Remove(filepath.Join(output, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func names(dir string) (map[string]bool, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	set := map[string]bool{}
	for _, f := range files {
		set[filepath.Base(f)] = true
	}
	return set, err
}

func convert(in, overlay, out string) error {
	text, err := os.ReadFile(in)
	if err != nil {
		return err
	}
	var crd map[string]any
	if err := yaml.Unmarshal(text, &crd); err != nil {
		return err
	}
	schema, err := onlySchema(crd)
	if err != nil {
		return err
	}
	text, err = os.ReadFile(overlay)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		var more map[string]any
		if err := yaml.UnmarshalStrict(text, &more); err != nil {
			return err
		}
		merge(schema, more)
	}
	text, err = yaml.Marshal(crd)
	if err != nil {
		return err
	}
	head := []byte("# Made by hack/generate.sh; edit the types or hack/tools/overlay instead.\n")
	return os.WriteFile(out, bytes.Join([][]byte{head, text}, nil), 0o644)
}

func onlySchema(crd map[string]any) (map[string]any, error) {
	spec, _ := crd["spec"].(map[string]any)
	versions, _ := spec["versions"].([]any)
	if len(versions) != 1 {
		return nil, fmt.Errorf("want one version, found %d", len(versions))
	}
	version, _ := versions[0].(map[string]any)
	schema, _ := version["schema"].(map[string]any)
	open, ok := schema["openAPIV3Schema"].(map[string]any)
	if !ok {
		return nil, errors.New("no schema")
	}
	return open, nil
}

func merge(into, from map[string]any) {
	for key, value := range from {
		switch value := value.(type) {
		case map[string]any:
			if old, ok := into[key].(map[string]any); ok {
				merge(old, value)
				continue
			}
			into[key] = value
		case []any:
			old, _ := into[key].([]any)
			for _, item := range value {
				if !contains(old, item) {
					old = append(old, item)
				}
			}
			into[key] = old
		default:
			into[key] = value
		}
	}
}

func contains(list []any, item any) bool {
	for _, have := range list {
		if reflect.DeepEqual(have, item) {
			return true
		}
	}
	return false
}
