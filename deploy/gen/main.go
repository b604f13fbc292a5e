// Command gen writes the manager's roles to the file that is named.
package main

import (
	"fmt"
	"os"

	"github.com/ingot-metal/ingot/deploy"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("want one file to write")
	}
	text, err := deploy.Roles()
	if err != nil {
		return err
	}
	return os.WriteFile(args[0], text, 0o644)
}
