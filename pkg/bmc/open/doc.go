// Package open picks the driver for a BMC address and keeps ways to BMCs open
// between uses: a session and its connections for as long as there is work, and
// none for a BMC that nobody speaks to.
package open
