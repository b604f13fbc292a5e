package treebmc

import (
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// insert is VirtualMedia.InsertMedia.
func (s *Server) insert(r *request, k string, slot obj) *answer {
	image := str(r.body["Image"])
	if image == "" {
		return missingParameter("InsertMedia", "Image")
	}
	if refused := s.refusesInsert(r, k, slot, image); refused != nil {
		return refused
	}
	if slot["Inserted"] == true {
		return refuse(http.StatusConflict, "Base.1.8.ResourceInUse", "The change to the requested resource failed because the resource is in use or in transition.")
	}
	load(slot, r.body, image)
	// quirk.MediaFileName: sushy-tools, resources/vmedia.py _write_from_response: the
	// file name of Content-Disposition stands for the image, whatever its URL.
	if s.o.Quirks.Has(quirk.MediaFileName) {
		slot["Image"] = "download.iso"
	}
	s.touch(k)
	return done()
}

func load(slot, body obj, image string) {
	slot["Image"], slot["Inserted"], slot["ConnectedVia"] = image, true, "URI"
	slot["ImageName"] = path.Base(image)
	slot["WriteProtected"] = body["WriteProtected"] != false
	if name := str(body["UserName"]); name != "" {
		slot["UserName"] = name
	}
}

func (s *Server) refusesInsert(r *request, k string, slot obj, image string) *answer {
	has := s.o.Quirks.Has
	_, inserted := r.body["Inserted"]
	_, protected := r.body["WriteProtected"]
	switch {
	// quirk.MediaMinimalBody: 400 "The property Inserted is not in the list of valid
	// properties for the resource." (ansible community.general #4839).
	case has(quirk.MediaMinimalBody) && inserted:
		return unknownProperty("Inserted")
	case has(quirk.MediaMinimalBody) && protected:
		return unknownProperty("WriteProtected")
	// quirk.MediaPlainURL. Unverified: ironic's release note remove-filename-param.
	case has(quirk.MediaPlainURL) && (strings.ContainsAny(image, "?=") || !strings.HasSuffix(image, ".iso")):
		return refuse(http.StatusBadRequest, "Base.1.8.PropertyValueFormatError", "The value "+image+" for the property Image is of a different format than the property can accept.", "#/Image")
	// quirk.MediaSkipSlot. Unverified: Launchpad 2031595 has 400 or 405 from Cisco's
	// slots that only its viewer fills.
	case has(quirk.MediaSkipSlot) && s.firstSlot(k):
		return notAllowed()
	// quirk.MediaFirstSlot: ironic, drac/boot.py: "For iDRAC10 systems, only virtual
	// media ID "1" is acceptable". Unverified what the others answer.
	case has(quirk.MediaFirstSlot) && !s.firstSlot(k):
		return refuse(http.StatusBadRequest, "Base.1.8.ActionNotSupported", "The action InsertMedia is not supported by the resource.")
	// quirk.MediaStale: ironic, redfish/boot.py: "On some Dell hw, the eject media may
	// still be in progress", met as a server-side error. Unverified: its body.
	case has(quirk.MediaStale) && slot["Inserted"] == true:
		return refuse(http.StatusInternalServerError, "IDRAC.2.4.VRM0021", "Virtual Media is detached or Virtual Media redirection for the selected virtual disk is already in use.")
	}
	if has(quirk.MediaTransfer) {
		return s.wantsTransfer(r.body)
	}
	return nil
}

// wantsTransfer names one parameter that is missing.
//
// quirk.MediaTransfer: sushy, virtual_media.py: code …ActionParameterMissing or
// …PropertyMissing with "#/TransferProtocolType" among the RelatedProperties; then
// GeneralError with TransferMethod in its text; on an NVIDIA DGX MessageId
// …ActionParameterMissing with UserName or Password in its text.
func (s *Server) wantsTransfer(body obj) *answer {
	for _, name := range []string{"TransferProtocolType", "TransferMethod", "UserName", "Password"} {
		if str(body[name]) == "" {
			return missingParameter("InsertMedia", name)
		}
	}
	return nil
}

// eject is VirtualMedia.EjectMedia. An empty slot is no error.
func (s *Server) eject(r *request, k string, slot obj) *answer {
	// quirk.EjectEmptyObject: sushy's release note fix-eject-media-empty-dict: HPE iLO
	// "need to pass empty dictionary otherwise throws Unsupported media type error".
	if s.o.Quirks.Has(quirk.EjectEmptyObject) && r.body == nil {
		return refuse(http.StatusUnsupportedMediaType, "iLO.2.8.UnsupportedMediaType", "Unsupported media type.")
	}
	// quirk.MediaOffToEject. Unverified: Launchpad 2160374.
	if s.o.Quirks.Has(quirk.MediaOffToEject) && slot["Inserted"] == true {
		for _, host := range s.hosts() {
			if s.doc(host)["PowerState"] != "Off" {
				return refuse(http.StatusConflict, "Base.1.8.ResourceInUse", "The change to the requested resource failed because the resource is in use or in transition.")
			}
		}
	}
	s.unload(slot)
	s.touch(k)
	return done()
}

func (s *Server) unload(slot obj) {
	slot["Image"], slot["Inserted"], slot["ConnectedVia"] = nil, false, "NotConnected"
	// quirk.MediaSkipSlot: "Supermicro systems do not properly clear out the
	// "ImageName" property" (ansible community.general #12537).
	if !s.o.Quirks.Has(quirk.MediaSkipSlot) {
		slot["ImageName"] = nil
	}
}

// patchMedia is how a slot without actions is filled and emptied.
//
// quirk.MediaPatch: PATCH {"Image": "http://192.168.1.2/Core-current.iso",
// "Inserted": true, "WriteProtected": true} of an SR630 V2 (gofish #529); "only
// support mount image/iso from HTTPFS/NFS on EXT member via PATCH"
// (python-redfish-lenovo #21).
func (s *Server) patchMedia(r *request, slot obj) *answer {
	if len(flat(sub(slot, "Actions"))) > 0 {
		return readOnly("Image")
	}
	id := str(slot["Id"])
	if strings.HasPrefix(id, "RDOC") || strings.HasPrefix(id, "Remote") {
		return readOnly("Image")
	}
	image, has := r.body["Image"]
	switch {
	case has && str(image) != "":
		// sushy: Lenovo SD530 "will not attach vMedia if Inserted is not specified".
		if r.body["Inserted"] != true {
			return done()
		}
		load(slot, r.body, str(image))
	case has || r.body["Inserted"] == false:
		s.unload(slot)
	}
	s.touch(r.key)
	return (&answer{status: http.StatusOK, body: slot}).with("ETag", s.etag(r.key))
}

// firstSlot reports whether a slot is the first of its collection.
func (s *Server) firstSlot(k string) bool {
	all := members(s.doc(path.Dir(k)))
	return len(all) > 0 && slices.Min(keysIn(all)) == k
}

func keysIn(links []any) []string {
	out := make([]string, 0, len(links))
	for _, l := range links {
		out = append(out, key(ref(l)))
	}
	return out
}
