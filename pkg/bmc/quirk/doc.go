// Package quirk knows in which ways BMCs depart from the standard. Each
// departure is a named switch ([All] lists them); each vendor's switches are one
// file of data, with the evidence for each. Drivers ask a [Set] what to do and
// know no vendor by name.
//
// [Detect] makes the Set of a BMC from what it says of itself, and an [Override]
// is an operator's last word on it. Both take whatever a network or a person
// sends: they neither panic nor run away.
package quirk

//go:generate go run ./gen
