// Package userdata makes the config drive from which an installed system takes
// its identity, network and first-boot instructions: OpenStack's config-2
// layout with Metal3's content, as an ISO 9660 image (or FAT, for disks with
// sectors of 4,096 bytes) whose bytes depend on the input alone.
//
// What cloud-init would ignore in silence is refused before a disk is touched:
// metadata or network data that is no YAML mapping, a cloud-config that does
// not parse or whose first line is misspelt. Everything else in user data is
// passed on byte for byte. Errors name the key and the line, never the content.
package userdata
