// Package httpboot serves what has no secret over plain HTTP: loaders, iPXE scripts, kernels, ramdisks, unified kernel images and public blobs by digest.
//
// The door is a fixed table; nothing of a request ever becomes a path of the file system:
//
//	/boot/ipxe?mac=52:54:00:12:34:56   the machine's script, 404 for an unknown one
//	/boot/file/NAME                    a loader of [Config.Loaders]
//	/boot/kernel/FLAVOUR               vmlinuz-FLAVOUR of [Config.Artefacts]
//	/boot/initrd/FLAVOUR               initrd-FLAVOUR.img
//	/boot/uki/FLAVOUR                  uki-FLAVOUR.efi
//	/images/sha256/HEX                 a blob, ranges honoured
//
// Firmware is not a browser: slashes are collapsed without a redirect (shim asks for DIR//grubx64.efi and follows none), and only GET and HEAD are known.
//
// A transfer may take as long as it likes while bytes move; one that stands still for [Config.Stall] is cut. Each request ends in one [Event].
package httpboot
