// Package inspect finds out what a machine is made of, without changing it and
// without running any program.
//
// Each collector has a time limit of its own. One that fails or hangs is named
// in Inventory.Skipped and costs the others nothing: a machine with one dead
// disk is still inspected. The roots (/sys, /proc, /dev) are parameters, so that
// tests run on captures.
package inspect
