// Package layers holds the tree to its rooms (docs/designs, "Layout"): which
// package may know of which. It has tests alone.
package layers
