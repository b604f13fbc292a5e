// Package console records what a machine prints on its serial console and hands
// it to whoever watches, without a byte changed.
//
// A Recorder keeps one machine's console open: an IPMI SOL session or a Redfish
// console over SSH (any bmc.Console), opened again after a pause that grows when
// it breaks. Status says at any time whether it is connected and since when, or
// why not and when it tries next. What was printed last is in a ring of bounded
// size; Mark notes where an attempt to provision began, and Since returns what was
// printed from there on. Many may Follow it live; one at a time may type.
//
// A Keeper keeps a Recorder for each of many machines while its console is wanted,
// at most so many at once.
//
// Promises: memory is bounded, by twice Options.Bytes, whatever the machine prints and
// however slow the readers are; a slow reader misses bytes and is told how many,
// it never holds up the recording; credentials that a BMC refused are not offered
// again for an hour, unless somebody calls Retry.
package console
