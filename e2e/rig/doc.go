// Package rig runs the shipped binary for the tests and programs below e2e, as a
// child that cannot outlive them: if they end, however they end, so does it.
//
// A Server can be stopped, or killed, and started again on the same data
// directory. Ports that must be the same after that are taken from Ports.
package rig
