package image

import (
	"bytes"
	"encoding/binary"
)

// headSize is how much of a file is looked at: an ISO says so at 32 KiB.
const headSize = 64 << 10

// Compressions that are undone.
const (
	compressGzip = "gzip"
	compressXZ   = "xz"
	compressZstd = "zstd"
)

// sniffCompression recognises compressed files by their first bytes. Those that
// are not served are an error rather than a disk full of noise.
func sniffCompression(head []byte) (string, error) {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b, 8}):
		return compressGzip, nil
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		return compressXZ, nil
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return compressZstd, nil
	}
	for _, other := range []struct{ name, magic string }{
		{"bzip2", "BZh"}, {"zip", "PK\x03\x04"}, {"lz4", "\x04\x22\x4d\x18"}, {"7-Zip", "7z\xbc\xaf\x27\x1c"},
	} {
		if bytes.HasPrefix(head, []byte(other.magic)) {
			return "", terminal(CodeFormat, "the image is a %s file: compress it with zstd, gzip or xz instead", other.name)
		}
	}
	return "", nil
}

// sniffFormat decides between raw and qcow2 and refuses what is neither, or is
// not what was declared.
func sniffFormat(head []byte, declared string) (string, error) {
	found := FormatRaw
	switch {
	case bytes.HasPrefix(head, []byte(qcow2Magic)):
		found = FormatQCOW2
	case bytes.HasPrefix(head, []byte("KDMV")), bytes.HasPrefix(head, []byte("COWD")), bytes.HasPrefix(head, []byte("# Disk DescriptorFile")):
		return "", other("VMDK")
	case bytes.HasPrefix(head, []byte("vhdxfile")):
		return "", other("VHDX")
	case bytes.HasPrefix(head, []byte("conectix")):
		return "", other("VHD")
	case len(head) >= 68 && binary.LittleEndian.Uint32(head[64:]) == 0xbeda107f:
		return "", other("VDI")
	case len(head) >= 32774 && string(head[32769:32774]) == "CD001" && !(head[510] == 0x55 && head[511] == 0xaa):
		return "", terminal(CodeFormat, "the image is an ISO for optical media without a boot record for disks: a disk cannot boot from it")
	case bytes.HasPrefix(head, []byte("<!DOCTYPE")), bytes.HasPrefix(bytes.ToLower(head[:min(5, len(head))]), []byte("<html")):
		return "", terminal(CodeFormat, "the image is a web page: the URL leads to a download page or an error page")
	}
	if declared != "" && declared != found {
		e := terminal(CodeFormat, "the image is declared %s but is %s: set format: %s", declared, found, found)
		e.Facts = map[string]string{"found": found}
		return "", e
	}
	return found, nil
}

func other(name string) error {
	return terminal(CodeFormat, "the image is a %s file: convert it once (qemu-img convert -O qcow2) and set format: qcow2", name)
}
