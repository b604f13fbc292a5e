package record

import (
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/host"
)

// deployed is what an image and a custom deploy method come to together; nil:
// neither is there.
func deployed(i *metal3.Image, d *metal3.CustomDeploy) *host.Image {
	var out *host.Image
	if i != nil && i.URL != "" {
		out = image(*i)
	}
	if d != nil && d.Method != "" {
		if out == nil {
			out = &host.Image{}
		}
		out.Method = d.Method
	}
	return out
}

func customDeploy(i *host.Image) *metal3.CustomDeploy {
	if i == nil || i.Method == "" {
		return nil
	}
	return &metal3.CustomDeploy{Method: i.Method}
}

// DataImage is what a DataImage wants in its host's drive: nothing once it is
// being deleted, and while it is paused what is in there.
func DataImage(d *metal3.DataImage, in *host.Media) string {
	if _, paused := d.Annotations[metal3.PausedAnnotation]; paused {
		if in == nil || in.Use != host.MediaData {
			return ""
		}
		return in.URL
	}
	if !d.DeletionTimestamp.IsZero() {
		return ""
	}
	return d.Spec.URL
}

// DataImageStatus is the status of a host's DataImage, without its time. What
// went wrong with the drive is told here too.
func DataImageStatus(h host.Host) metal3.DataImageStatus {
	var st metal3.DataImageStatus
	if m := h.Media; m != nil && m.Use == host.MediaData && m.In {
		st.AttachedImage.URL = m.URL
	}
	if p := h.Problem; p != nil && p.Facts["media"] != "" && h.State != host.Provisioning {
		st.Error = metal3.DataImageError{Count: p.Attempts, Message: clip(Message(p), 1024)}
	}
	if h.Wants.DataImage != "" && h.Provisioned.Live() {
		st.Error = metal3.DataImageError{Count: 1, Message: "the host runs a live ISO from its virtual drive, which stays there"}
	}
	return st
}

func fromMedia(m *v1alpha1.Media) *host.Media {
	if m == nil {
		return nil
	}
	return &host.Media{URL: m.URL, Use: host.MediaUse(m.Use), In: m.Inserted}
}

func toMedia(m *host.Media) *v1alpha1.Media {
	if m == nil {
		return nil
	}
	return &v1alpha1.Media{URL: m.URL, Use: string(m.Use), Inserted: m.In}
}

func fromRamdisk(r *v1alpha1.Ramdisk) *host.Ramdisk {
	if r == nil {
		return nil
	}
	return &host.Ramdisk{Kernel: r.Kernel, Initrd: r.Initrd, Params: r.Params, ISO: r.ISO}
}

func toRamdisk(r *host.Ramdisk) *v1alpha1.Ramdisk {
	if r == nil {
		return nil
	}
	return &v1alpha1.Ramdisk{Kernel: r.Kernel, Initrd: r.Initrd, Params: r.Params, ISO: r.ISO}
}
