// Command gen writes docs/errors from the catalogue of diagnoses. Run it from
// the top of the repository, or name the directory.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/ingot-metal/ingot/pkg/explain"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	dir := "docs/errors"
	if len(args) > 0 {
		dir = args[0]
	}
	old, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	pages := map[string][]byte{"README.md": explain.Index()}
	for _, d := range explain.Catalogue() {
		pages[d.Code+".md"] = explain.Page(d)
	}
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
