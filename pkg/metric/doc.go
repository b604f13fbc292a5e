// Package metric counts what becomes of hosts, under the names, labels and types
// that dashboards made for Metal3 read, and under names of ingot's own.
//
// Everything is counted from what the life cycle was before an event and after
// it: nothing is asked for, and no host is looked at twice. Series that carry a
// host's name go with the host. No other label has values that a user chooses.
package metric
