package treebmc

import (
	"net/http"
	"strings"
)

// post is an action, or the making of a member of a collection.
func (s *Server) post(r *request) *answer {
	if s.isLogin(r) {
		return s.login(r)
	}
	if push := s.pushKeys(); push[r.key] != "" {
		return s.push(r)
	}
	if on, action, ok := strings.Cut(r.key, "/actions/"); ok {
		return s.act(r, on, action[strings.LastIndex(action, "/")+1:])
	}
	doc := s.doc(r.key)
	switch {
	case doc == nil:
		return notFound(r.path)
	case kind(doc, "ManagerAccountCollection"):
		return s.addAccount(r)
	case kind(doc, "EventDestinationCollection"):
		return s.subscribe(r)
	case kind(doc, "VolumeCollection"):
		return s.addVolume(r)
	}
	return notAllowed()
}

// act carries out an action of the resource at on. It must be among its Actions.
func (s *Server) act(r *request, on, action string) *answer {
	doc := s.doc(on)
	name := ""
	for offered := range flat(sub(doc, "Actions")) {
		if strings.EqualFold(strings.TrimPrefix(offered, "#"), action) {
			name = strings.TrimPrefix(offered, "#")
		}
	}
	if name == "" {
		return refuse(http.StatusNotFound, "Base.1.8.ActionNotSupported", "The action "+action+" is not supported by the resource.")
	}
	switch name {
	case "ComputerSystem.Reset":
		return s.reset(r, on, doc)
	case "Manager.Reset":
		clear(s.sessions)
		return done()
	case "VirtualMedia.InsertMedia":
		return s.insert(r, on, doc)
	case "VirtualMedia.EjectMedia":
		return s.eject(r, on, doc)
	case "Bios.ResetBios":
		return s.resetBIOS(r, on)
	case "SecureBoot.ResetKeys":
		return s.resetKeys(r, on, doc)
	case "UpdateService.SimpleUpdate":
		return s.simpleUpdate(r)
	case "LogService.ClearLog":
		return s.clearLog(doc)
	case "EventService.SubmitTestEvent":
		return done()
	case "OemManager.ImportSystemConfiguration":
		return s.importConfiguration(r)
	}
	return refuse(http.StatusNotImplemented, "Base.1.8.ActionNotSupported", "treebmc does not carry out "+name+".")
}

// flat lists the actions, those of the OEM too.
func flat(actions obj) map[string]obj {
	out := map[string]obj{}
	for name, value := range actions {
		action, _ := value.(obj)
		if strings.HasPrefix(name, "#") {
			out[name] = action
			continue
		}
		for name, value := range action {
			if strings.HasPrefix(name, "#") {
				out[name], _ = value.(obj)
			}
		}
	}
	return out
}

// allowed are the values that a parameter of an action may have: beside the
// action, or in its ActionInfo.
func (s *Server) allowed(doc obj, action, parameter string) []string {
	a := flat(sub(doc, "Actions"))["#"+action]
	if values := words(a[parameter+"@Redfish.AllowableValues"]); values != nil {
		return values
	}
	_, info := s.at(a["@Redfish.ActionInfo"])
	list, _ := info["Parameters"].([]any)
	for _, p := range list {
		if p, ok := p.(obj); ok && p["Name"] == parameter {
			return words(p["AllowableValues"])
		}
	}
	return nil
}

// clearLog empties a log (DSP0268 LogService.ClearLog).
func (s *Server) clearLog(log obj) *answer {
	k, entries := s.at(log["Entries"])
	if entries == nil {
		return notFound(k)
	}
	entries["Members"] = []any{}
	s.count(k)
	return done()
}
