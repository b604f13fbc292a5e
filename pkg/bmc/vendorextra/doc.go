// Package vendorextra reaches BMCs that speak neither Redfish nor IPMI well
// enough, through one provider of bmclib that the operator names for the host:
// Intel AMT, or the web API of three ASRock Rack boards.
//
// bmclib is not trusted with more than composing and reading the vendor's
// messages. Its client, its registry and its other providers are not linked.
// Every byte goes over a transport of ours, which verifies the certificate,
// bounds what is read and sends a wrong password once; every call runs in a
// goroutine of its own that is given up when the caller's context ends, and a
// panic in it is an answer that could not be read. docs/designs/0009 says why
// each of these is needed.
package vendorextra
