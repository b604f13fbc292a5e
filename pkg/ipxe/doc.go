// Package ipxe writes the script that iPXE runs on one machine, from structured data and in one way only.
//
// Nothing in a script is pasted together from text of a person's or a machine's: kernel arguments are [Args], whose keys and values are of a small set of
// characters that neither iPXE's shell, nor its variable expansion, nor the kernel's parser gives a meaning; URLs are checked the same way. What does not fit
// is refused, never quoted.
//
// It also finds the loader files that Debian's package ipxe installs ([FindLoaders]).
package ipxe
