// Command gen writes docs/reference/quirks.md.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/ingot-metal/ingot/pkg/bmc/quirk/internal/table"
)

func main() {
	if err := run("../../.."); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// run works from pkg/bmc/quirk, where go generate starts it.
func run(root string) error {
	page, err := table.Generate(root)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, "docs/reference/quirks.md"), page, 0o644)
}
