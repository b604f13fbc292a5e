package treebmc

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// slash redirects to the URI with a slash at its end.
//
// quirk.TrailingSlash. Unverified that a BMC insists; the recorded iLO 7 writes
// some of its own links so ("/redfish/v1/systems/1/bios/").
func (s *Server) slash(r *request) *answer {
	if !s.o.Quirks.Has(quirk.TrailingSlash) || strings.HasSuffix(r.path, "/") || !strings.HasPrefix(r.key, rootKey) {
		return nil
	}
	return (&answer{status: http.StatusPermanentRedirect}).with("Location", r.path+"/")
}

// uncompressed refuses a registry.
//
// quirk.GzipRegistry: sushy's release note accept-encoding, "cases where
// Accept-Encoding: identity is not accepted".
func (s *Server) uncompressed(r *request) *answer {
	if s.o.Quirks.Has(quirk.GzipRegistry) && strings.Contains(r.key, "registr") &&
		!strings.Contains(r.header.Get("Accept-Encoding"), "gzip") {
		return refuse(http.StatusNotAcceptable, "Base.1.8.GeneralError", "Not acceptable.")
	}
	return nil
}

func (s *Server) get(r *request) *answer {
	if t := s.tasks[r.key]; t != nil {
		return s.readTask(r.key, t)
	}
	k := r.key
	doc := s.doc(k)
	// quirk.BIOSPath: sushy-tools, main.py: /redfish/v1/Systems/<identity>/BIOS, and
	// Flask minds the case.
	wrongCase := s.o.Quirks.Has(quirk.BIOSPath) && strings.HasSuffix(k, "/bios") && !strings.HasSuffix(strings.TrimRight(r.path, "/"), "/BIOS")
	if doc == nil || wrongCase {
		return notFound(r.path)
	}
	if kind(doc, "ComputerSystem") {
		s.tick(k)
	}
	body, refused := s.queried(doc, r.query)
	if refused != nil {
		return refused
	}
	return (&answer{status: http.StatusOK, body: body}).with("ETag", s.etag(k))
}

// queried answers the query parameters that the root offers (DSP0266 §7.3); one
// that it does not is 501.
func (s *Server) queried(doc obj, query map[string][]string) (obj, *answer) {
	offered := sub(s.doc(rootKey), "ProtocolFeaturesSupported")
	for _, name := range slices.Sorted(keysOf(query)) {
		value := ""
		if len(query[name]) > 0 {
			value = query[name][0]
		}
		no := refuse(http.StatusNotImplemented, "Base.1.8.QueryNotSupported", "Querying is not supported by the implementation.")
		switch name {
		case "$expand":
			if sub(offered, "ExpandQuery")["NoLinks"] != true || !strings.HasPrefix(value, ".") {
				return nil, no
			}
			doc = s.expanded(doc)
		case "$select":
			if offered["SelectQuery"] != true {
				return nil, no
			}
			doc = selected(doc, strings.Split(value, ","))
		case "$top", "$skip":
			if offered["TopSkipQuery"] != true {
				return nil, no
			}
			doc = paged(doc, name, value)
		case "only", "excerpt":
		default:
			if strings.HasPrefix(name, "$") {
				return nil, no
			}
		}
	}
	return doc, nil
}

// expanded puts the members themselves into a collection, one level deep.
func (s *Server) expanded(doc obj) obj {
	out := clone(doc)
	all := members(out)
	for i, m := range all {
		if _, full := s.at(m); full != nil {
			all[i] = full
		}
	}
	return out
}

func selected(doc obj, names []string) obj {
	out := obj{}
	for name, value := range doc {
		if strings.HasPrefix(name, "@") || slices.Contains(names, name) {
			out[name] = value
		}
	}
	return out
}

func paged(doc obj, name, value string) obj {
	n, err := strconv.Atoi(value)
	out := clone(doc)
	all := members(out)
	if err != nil || n < 0 || all == nil {
		return out
	}
	n = min(n, len(all))
	if name == "$top" {
		out["Members"] = all[:n]
	} else {
		out["Members"] = all[n:]
	}
	return out
}
