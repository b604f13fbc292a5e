// Package disk writes an image to one disk.
//
// It promises: the disk is the one named, or nothing is touched; nothing is
// written before the manifest, the partition table and the room for a config
// drive are found good; no chunk is written before its digest is verified; what
// the image does not cover reads as zero; and the start of the disk, which makes
// it bootable, is written last, after all else is on stable storage. Memory is
// bounded whatever the manifest says.
package disk
