// Package scan finds BMCs in an address range and disturbs nothing: each address
// gets, at a bounded rate, two datagrams of IPMI and one GET of the Redfish
// service root, which every BMC gives to anybody (DSP0266 §13.3.1). Credentials
// are sent when asked for alone: one try for each BMC, of the factory account of
// the maker that it says it is of, so that no account is locked.
//
// Ranges are bounded to [MaxAddresses], and to private ones unless asked for.
package scan
