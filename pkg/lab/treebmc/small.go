package treebmc

import (
	"embed"
	"io/fs"
)

//go:embed small
var small embed.FS

// Small is a tree of our own with one of everything that a Server acts on, for
// tests that must run where the recorded ones are not. It is no real BMC's.
func Small() fs.FS {
	tree, err := fs.Sub(small, "small")
	if err != nil {
		return small // cannot be: the name is a constant
	}
	return tree
}
