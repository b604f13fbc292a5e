// Package inventory judges and translates what an agent found in its machine:
// Check bounds a report that came over the network, HardwareDetails renders it
// as Metal3 shows it and OfDetails reads that back, ChooseDisk picks the disk an
// image is written to, and Diff names what was swapped since the last time.
//
// Everything here is a pure function of its arguments; the same inventory gives
// the same result, whatever the order in which the agent listed it.
package inventory
