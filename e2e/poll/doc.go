// Command poll measures what it costs to read the power of many hosts, against
// the budget of the design: 10,000 BMCs every minute.
//
//	go run ./e2e/poll --bmcs 10000 --every 60s
//
// The BMCs are in a child process, each at an address of its own in 127.0.0.0/8,
// with real TLS and sessions. This process polls them with what the service polls
// with (engine.Poller, the pool and the Redfish driver), and nothing else: its CPU
// and memory are the price. In a first round every BMC is logged in to; the second
// is the measurement.
//
// A hundredth of the machines is switched behind the poller's back as the second
// round begins: what the polls found is reported, so that cheap polls are seen to
// be polls.
package main
