package sushytools

import (
	"errors"
	"net/http"
	"strings"
)

// view answers one method of one URL.
type view func(*request) (*reply, error)

// route is flask's: segments in braces are variables.
type route struct {
	path []string
	get  view
	// other methods by name
	other map[string]view
}

func (s *Server) table() []route {
	var routes []route
	add := func(path string, get view, other map[string]view) {
		routes = append(routes, route{path: strings.Split(strings.Trim(path, "/"), "/"), get: get, other: other})
	}
	post := func(v view) map[string]view { return map[string]view{http.MethodPost: v} }
	patch := func(v view) map[string]view { return map[string]view{http.MethodPatch: v} }
	const v1, sys = "/redfish/v1", "/redfish/v1/Systems/{identity}"

	add(v1, s.root, nil)
	add(v1+"/Systems", s.systemList, nil)
	add(v1+"/Systems/Bios/BiosRegistry", s.biosRegistry, nil) // before the variable
	add(sys, s.systemGet, patch(s.systemPatch))
	add(sys+"/Actions/ComputerSystem.Reset", nil, post(s.reset))
	add(sys+"/EthernetInterfaces", s.nicList, nil)
	add(sys+"/EthernetInterfaces/{nic}", s.nic, nil)
	add(sys+"/Processors", s.processorList, nil)
	add(sys+"/Processors/{processor}", s.processor, nil)
	add(sys+"/BIOS", s.bios, nil)
	add(sys+"/BIOS/Settings", s.biosSettings, patch(s.biosPatch))
	add(sys+"/BIOS/Actions/Bios.ResetBios", nil, post(s.biosReset))
	add(sys+"/SecureBoot", s.secureBoot, patch(s.secureBootPatch))
	add(sys+"/SimpleStorage", s.simpleStorage, nil)
	add(sys+"/SimpleStorage/{storage}", notReproduced, nil)
	add(sys+"/Storage", s.storageList, nil)
	add(sys+"/Storage/{storage}", s.storage, nil)
	add(sys+"/Storage/{storage}/Drives/{drive}", s.drive, nil)
	add(sys+"/Storage/{storage}/Volumes", s.volumeList, post(s.volumeCreate))
	add(sys+"/Storage/{storage}/Volumes/{volume}", s.volume, nil) // no DELETE

	media := sys + "/VirtualMedia"
	if s.o.MediaOnManager {
		media = v1 + "/Managers/{identity}/VirtualMedia"
	}
	add(media, s.mediaList, nil)
	add(media+"/{device}", s.media, patch(s.mediaPatch))
	add(media+"/{device}/Actions/VirtualMedia.InsertMedia", nil, post(s.insert))
	add(media+"/{device}/Actions/VirtualMedia.EjectMedia", nil, post(s.eject))
	add(media+"/{device}/Certificates", s.certificates, post(s.addCertificate))
	add(media+"/{device}/Certificates/{certificate}", s.certificate, map[string]view{http.MethodDelete: s.deleteCertificate})

	add(v1+"/Managers", s.managerList, nil)
	add(v1+"/Managers/{identity}", s.manager, patch(s.managerPatch))
	add(v1+"/Chassis", s.chassisList, nil)
	add(v1+"/Chassis/{identity}", s.chassis, patch(s.chassisPatch))
	add(v1+"/Chassis/{identity}/Thermal", s.thermal, nil)
	add(v1+"/UpdateService", s.updateService, nil)
	add(v1+"/UpdateService/Actions/UpdateService.SimpleUpdate", nil, post(s.simpleUpdate))
	add(v1+"/TaskService", s.taskService, nil)
	add(v1+"/TaskService/Tasks/42", s.task, nil)
	add(v1+"/Registries", s.registries, nil)
	add(v1+"/Registries/BiosAttributeRegistry.v1_0_0", s.biosRegistryFile, nil)
	add(v1+"/Registries/Messages", s.messageRegistryFile, nil)
	add(v1+"/Registries/Messages/Registry", notReproduced, nil)
	add(v1+"/CertificateService", notReproduced, nil)
	add(v1+"/CertificateService/CertificateLocations", notReproduced, nil)
	add(v1+"/CertificateService/Actions/CertificateService.ReplaceCertificate", nil, post(notReproduced))
	return routes
}

// answer finds the view. A slash at the end does not matter (main, Application:
// strict_slashes is off); what is unknown is 404 and 405 in the emulator's own
// words.
func (s *Server) answer(r *http.Request, body []byte) *reply {
	segments := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	for _, rt := range s.routes {
		vars, ok := rt.match(segments)
		if !ok {
			continue
		}
		v := rt.other[r.Method]
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			v = rt.get
		}
		if v == nil {
			return s.render(&fishy{code: http.StatusMethodNotAllowed, msg: werkzeugMethod})
		}
		rep, err := v(&request{ctx: r.Context(), http: r, vars: vars, body: body})
		if err != nil {
			return s.failed(rt, vars, err)
		}
		return rep
	}
	return s.render(notFound("%s", werkzeugNotFound))
}

// failed renders an error. A machine that was called by its name is to be asked
// for by its UUID, with 307; where the URL has more variables the emulator cannot
// make the new one and fails (main, all_exception_handler: url_for is given the
// identity alone).
func (s *Server) failed(rt route, vars map[string]string, err error) *reply {
	var f *fishy
	if !errors.As(err, &f) || f.alias == "" {
		return s.render(err)
	}
	if len(vars) > 1 {
		return s.render(fail("Could not build url for endpoint"))
	}
	to := make([]string, len(rt.path))
	for i, p := range rt.path {
		if to[i] = p; strings.HasPrefix(p, "{") {
			to[i] = f.alias
		}
	}
	return &reply{status: http.StatusTemporaryRedirect, header: map[string]string{"Location": "/" + strings.Join(to, "/")}}
}

func (rt route) match(segments []string) (map[string]string, bool) {
	if len(segments) != len(rt.path) {
		return nil, false
	}
	vars := map[string]string{}
	for i, p := range rt.path {
		switch {
		case strings.HasPrefix(p, "{"):
			vars[strings.Trim(p, "{}")] = segments[i]
		case p != segments[i]:
			return nil, false
		}
	}
	return vars, true
}

// root is main, root_resource; template root@e402462e.
func (s *Server) root(*request) (*reply, error) {
	o := obj{
		"@odata.type": "#ServiceRoot.v1_5_0.ServiceRoot", "@odata.id": "/redfish/v1/", "@Redfish.Copyright": copyright14,
		"Id": "RedvirtService", "Name": "Redvirt Service", "RedfishVersion": "1.5.0",
		"UUID":    "85775665-c110-4b85-8989-e6162170b3ec",
		"Systems": link("/redfish/v1/Systems"),
	}
	if s.o.FeatureSet != Minimum {
		o["Managers"] = link("/redfish/v1/Managers")
	}
	if s.o.FeatureSet == Full {
		for _, name := range []string{"Chassis", "Registries", "CertificateService", "UpdateService"} {
			o[name] = link("/redfish/v1/" + name)
		}
	}
	return &reply{body: o}, nil
}

func link(format string, args ...string) obj {
	return obj{"@odata.id": path(format, args...)}
}

// path joins segments.
func path(base string, more ...string) string {
	return strings.Join(append([]string{base}, more...), "/")
}

// collection is what the templates of collections share.
func collection(kind, name, uri string, members []obj) obj {
	if members == nil {
		members = []obj{}
	}
	return obj{
		"@odata.type": "#" + kind + "." + kind, "@odata.context": "/redfish/v1/$metadata#" + kind + "." + kind, "@odata.id": uri,
		"Name": name, "Members@odata.count": len(members), "Members": members,
	}
}
