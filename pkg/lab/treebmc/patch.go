package treebmc

import (
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// maxDepth bounds what a PATCH may nest.
const maxDepth = 16

// merge changes doc as patch says (RFC 7396, which DSP0266 §7.8 comes to for
// objects): null empties, objects go deep, all else is replaced. It never keeps
// a part of patch itself.
func merge(doc, patch obj) {
	if doc != nil {
		mergeAt(doc, patch, 0)
	}
}

func mergeAt(doc, patch obj, depth int) {
	for name, value := range patch {
		deep, isObject := value.(obj)
		old, wasObject := doc[name].(obj)
		switch {
		case isObject && wasObject && depth < maxDepth:
			mergeAt(old, deep, depth+1)
		default:
			doc[name] = copied(value)
		}
	}
}

func keysOf[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }

// fixed are properties that no PATCH changes.
var fixed = []string{"Id", "PowerState", "Status", "Actions", "Members", "UUID", "MemorySummary", "ProcessorSummary"}

// always may be written although a recorded resource does not show them.
var always = []string{
	"Password", "HttpHeaders", "LocationIndicatorActive", "AssetTag", "@Redfish.SettingsApplyTime", "SecureBootEnable",
	"Image", "Inserted", "WriteProtected", "UserName", "Attributes",
}

func (s *Server) patch(r *request) *answer {
	doc := s.doc(r.key)
	switch {
	case doc == nil:
		return notFound(r.path)
	case r.body == nil:
		return refuse(http.StatusBadRequest, "Base.1.8.MalformedJSON", "The request body submitted was malformed JSON.")
	}
	if refused := s.precondition(r); refused != nil {
		return refused
	}
	if refused := s.inPost(r); refused != nil {
		return refused
	}
	for _, name := range slices.Sorted(keysOf(r.body)) {
		if _, known := doc[name]; !known && !slices.Contains(always, name) && name != "Boot" {
			return unknownProperty(name)
		}
		if slices.Contains(fixed, name) || strings.HasPrefix(name, "@odata.") {
			return readOnly(name)
		}
	}
	switch parent := s.settings[r.key]; {
	case parent != "":
		return s.stage(r, parent)
	case kind(doc, "ComputerSystem"):
		return s.patchSystem(r, doc)
	case kind(doc, "VirtualMedia"):
		return s.patchMedia(r, doc)
	case kind(doc, "Bios"):
		if s.settingsOf(doc) != "" {
			return readOnly("Attributes") // they wait at the settings object
		}
	case kind(doc, "SecureBoot"):
		return s.patchSecureBoot(r, doc)
	case kind(doc, "ManagerAccount"):
		return s.patchAccount(r, doc)
	}
	merge(doc, r.body)
	s.touch(r.key)
	s.vcdAttributes(r.body)
	return (&answer{status: http.StatusOK, body: doc}).with("ETag", s.etag(r.key))
}

// precondition judges If-Match (DSP0266 §6.5).
//
// quirk.ETagRequired: "HTTP 428 Precondition Required" to a PATCH without
// If-Match, of a Lenovo (ansible #56150).
//
// quirk.ETagLadder: If-Match: W/"1682532272", as it was read, is answered "The
// request did not provide the required precondition", of a Gigabyte (ansible
// community.general #6434). Unverified that the strong spelling is the one it
// takes; here it is.
func (s *Server) precondition(r *request) *answer {
	match := r.header.Get("If-Match")
	if match == "" {
		if s.o.Quirks.Has(quirk.ETagRequired) {
			return refuse(http.StatusPreconditionRequired, "Base.1.8.PreconditionRequired", "A precondition header or annotation is required to change this resource.")
		}
		return nil
	}
	want := s.etag(r.key)
	if s.o.Quirks.Has(quirk.ETagLadder) {
		if strong := strings.TrimPrefix(want, "W/"); match != strong {
			return refuse(http.StatusPreconditionFailed, "Base.1.8.PreconditionFailed", "The ETag supplied did not match the ETag required to change this resource.")
		}
		return nil
	}
	if s.o.CheckETags && match != "*" && match != want {
		return refuse(http.StatusPreconditionFailed, "Base.1.8.PreconditionFailed", "The ETag supplied did not match the ETag required to change this resource.")
	}
	return nil
}

// remove is DELETE.
func (s *Server) remove(r *request) *answer {
	doc := s.doc(r.key)
	switch {
	case doc == nil:
		return notFound(r.path)
	case kind(doc, "Session"):
		s.logout(r.key)
		s.forget(r.key)
		return done()
	case kind(doc, "EventDestination"):
		s.forget(r.key)
		return done()
	case kind(doc, "Volume"):
		return s.later("delete volume", func() { s.forget(r.key) })
	case kind(doc, "ManagerAccount"):
		return s.removeAccount(r, doc)
	case kind(doc, "Task"):
		delete(s.tasks, r.key)
		s.forget(r.key)
		return done()
	}
	return notAllowed()
}

// forget takes a resource away, and out of its collection if it has one.
func (s *Server) forget(k string) {
	if parent := s.doc(k[:strings.LastIndex(k, "/")]); parent != nil && parent["Members"] != nil {
		s.drop(k)
		return
	}
	delete(s.docs, k)
	delete(s.files, k)
}
