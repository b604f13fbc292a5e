package treebmc

import (
	"net/http"
	"regexp"
	"strings"

	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// simpleUpdate is UpdateService.SimpleUpdate. The version that comes of it is the
// last dotted number in the image's name.
func (s *Server) simpleUpdate(r *request) *answer {
	image := str(r.body["ImageURI"])
	if image == "" {
		return missingParameter("SimpleUpdate", "ImageURI")
	}
	targets := words(r.body["Targets"])
	for _, t := range targets {
		if s.doc(key(t)) == nil {
			return notFound(t)
		}
	}
	return s.flash(image, targets)
}

// pushKeys are the URIs that take an image.
func (s *Server) pushKeys() map[string]string {
	_, service := s.at(s.doc(rootKey)["UpdateService"])
	out := map[string]string{}
	for _, name := range []string{"HttpPushUri", "MultipartHttpPushUri"} {
		if uri := str(service[name]); uri != "" {
			out[key(uri)] = name
		}
	}
	return out
}

// fileName of an uploaded image in a multipart body.
var fileName = regexp.MustCompile(`filename="([^"\r\n]{1,200})"`)

func (s *Server) push(r *request) *answer {
	switch {
	// quirk.ContentLength: bmclib sets Content-Length, because iDRAC drops chunked
	// bodies. Unverified: what it answers.
	case s.o.Quirks.Has(quirk.ContentLength) && r.length < 0:
		return refuse(http.StatusLengthRequired, "Base.1.8.GeneralError", "Length required.")
	case len(r.raw) == 0:
		return refuse(http.StatusBadRequest, "Base.1.8.GeneralError", "There is no image.")
	}
	name := "image"
	if m := fileName.FindSubmatch(r.raw[:min(len(r.raw), 64<<10)]); m != nil {
		name = string(m[1])
	}
	return s.flash(name, nil)
}

var dotted = regexp.MustCompile(`\d+(?:\.\d+)+`)

// flash is the update itself: always a task, as the standard has it.
func (s *Server) flash(image string, targets []string) *answer {
	version := "updated"
	if all := dotted.FindAllString(image[strings.LastIndex(image, "/")+1:], -1); len(all) > 0 {
		version = all[len(all)-1]
	}
	return s.begin("update firmware", max(s.o.TaskReads, 1), func() {
		if targets == nil {
			_, service := s.at(s.doc(rootKey)["UpdateService"])
			_, inventory := s.at(service["FirmwareInventory"])
			for _, m := range members(inventory) {
				if k, component := s.at(m); component["Updateable"] == true {
					targets = []string{k}
					break
				}
			}
		}
		for _, t := range targets {
			if doc := s.doc(key(t)); doc != nil {
				s.showBIOS(doc, version)
				doc["Version"] = version
				s.touch(key(t))
			}
		}
	})
}

// showBIOS has the systems tell the new version of a BIOS that is flashed.
func (s *Server) showBIOS(item obj, version string) {
	if !strings.EqualFold(str(item["Id"]), "BIOS") && !strings.EqualFold(str(item["Name"]), "BIOS") {
		return
	}
	_, systems := s.at(s.doc(rootKey)["Systems"])
	for _, m := range members(systems) {
		if k, system := s.at(m); system != nil && system["BiosVersion"] == item["Version"] {
			system["BiosVersion"] = version
			s.touch(k)
		}
	}
}
