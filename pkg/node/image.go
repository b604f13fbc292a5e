package node

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/api/ironic"
)

// imageKeys are those of instance_info that a BareMetalHost's image has a place for.
var imageKeys = []string{
	"image_source", "image_checksum", "image_os_hash_algo", "image_os_hash_value", "image_disk_format", "boot_iso",
}

const liveISO = "live-iso"

// imageOf is the image that instance_info means; nil: it names none.
func imageOf(info ironic.Object) (*metal3.Image, error) {
	format := func(name string) *string {
		if name == "" {
			return nil
		}
		return &name
	}
	if iso := text(info["boot_iso"]); iso != "" {
		return &metal3.Image{URL: iso, DiskFormat: format(liveISO)}, nil
	}
	source := text(info["image_source"])
	if source == "" {
		return nil, nil
	}
	if !strings.Contains(source, "://") {
		return nil, refuse("instance_info/image_source %q is no URL: there is no image service here.", source)
	}
	if text(info["kernel"]) != "" || text(info["ramdisk"]) != "" {
		return nil, refuse("instance_info names a kernel and a ramdisk: partition images are not supported, only images of whole disks.")
	}
	i := &metal3.Image{URL: source, DiskFormat: format(text(info["image_disk_format"]))}
	if i.DiskFormat != nil && (*i.DiskFormat == "iso" || *i.DiskFormat == liveISO) {
		i.DiskFormat = format(liveISO)
		return i, nil
	}
	if value := text(info["image_os_hash_value"]); value != "" {
		i.Checksum = value
		switch algo := strings.ToLower(text(info["image_os_hash_algo"])); algo {
		case "md5", "sha256", "sha512":
			i.ChecksumType = metal3.ChecksumType(algo)
		case "":
		default:
			return nil, refuse("instance_info/image_os_hash_algo %q is not supported: give a sha256 or sha512.", algo)
		}
	} else {
		i.Checksum = text(info["image_checksum"])
	}
	if i.Checksum == "" && !i.IsOCI() {
		return nil, refuse("instance_info has no checksum of the image: give image_os_hash_algo and image_os_hash_value, or image_checksum.")
	}
	return i, nil
}

// shownImage is an image as instance_info tells it.
func shownImage(i *metal3.Image) ironic.Object {
	if i == nil || i.URL == "" {
		return nil
	}
	if i.IsLiveISO() {
		return ironic.Object{"boot_iso": i.URL}
	}
	out := ironic.Object{"image_source": i.URL}
	switch i.ChecksumType {
	case metal3.SHA256, metal3.SHA512:
		out["image_os_hash_algo"], out["image_os_hash_value"] = string(i.ChecksumType), i.Checksum
	default:
		if i.Checksum != "" {
			out["image_checksum"] = i.Checksum
		}
	}
	if i.DiskFormat != nil && *i.DiskFormat != "" {
		out["image_disk_format"] = *i.DiskFormat
	}
	return out
}

// imageID is another text for each image; empty: none.
func imageID(i *metal3.Image) string {
	if i == nil {
		return ""
	}
	raw, err := json.Marshal(i)
	if err != nil {
		return i.URL
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}

func sameImage(a, b *metal3.Image) bool {
	if a == nil || b == nil {
		return a == b
	}
	format := func(i *metal3.Image) string {
		if i.DiskFormat == nil {
			return ""
		}
		return *i.DiskFormat
	}
	return a.URL == b.URL && a.Checksum == b.Checksum && a.ChecksumType == b.ChecksumType && format(a) == format(b)
}
