// Command build makes what ingot's machines boot, from Debian's kernel packages
// and our own static programs, without installing anything and without root:
//
//	go run ./images/build -out DIR            the ramdisks and UKIs of both flavours
//	go run ./images/build -out DIR demo       and the demo image
//	sudo go run ./images/build -out DIR debian   a Debian with cloud-init
//
// Only what has changed is rebuilt: each product is kept with the digest of all
// that went into it.
package main
