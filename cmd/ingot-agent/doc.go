// Command ingot-agent is the /init of ingot's ramdisk: it brings the machine up
// far enough to talk, then does what the server asks (package agent).
//
// As PID 1 it never exits. What it decides it says on the console, one line
// each, so that a person at the serial port can follow; what is fatal it says
// there too, and powers the machine off after a minute.
package main
