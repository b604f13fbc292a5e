package sushytools

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// device is an entry of vmedia's PersistentDict: it is kept by the identity that
// a client wrote, be there such a machine or not.
type device struct {
	name       string
	types      []string
	image      string // the file's name
	inserted   any    // as the client wrote it
	protected  any
	user, pass string
	verify     bool
	cert       string
	certified  bool
}

// devices are vmedia's default SUSHY_EMULATOR_VMEDIA_DEVICES.
func devices() []string { return []string{"Cd", "Floppy"} }

// device is vmedia, _get_device.
func (s *Server) device(identity, name string) (*device, error) {
	owner := s.mediaOwner(identity)
	if d := owner[name]; d != nil {
		return d, nil
	}
	d := &device{inserted: false, protected: false}
	switch name {
	case "Cd":
		d.name, d.types = "Virtual CD", []string{"CD", "DVD"}
	case "Floppy":
		d.name, d.types = "Virtual Removable Media", []string{"Floppy", "USBStick"}
	default:
		return nil, notFound("No such virtual media device %s owned by resource %s", name, identity)
	}
	owner[name] = d
	return d, nil
}

// mediaOwner holds the drives of one identity. Those of no machine are made up
// for the answer and forgotten, where the emulator would keep them.
func (s *Server) mediaOwner(identity string) map[string]*device {
	for _, sys := range s.systems {
		if strings.EqualFold(sys.info.UUID, identity) {
			return sys.media
		}
	}
	return map[string]*device{}
}

// withOwner gives a view of virtual media the machine: called as a system, or as a
// manager by vmctl-old.
func (s *Server) withOwner(r *request, f func(*system) (*reply, error)) (*reply, error) {
	if s.o.MediaOnManager {
		return s.withAnyManager(r, f)
	}
	return s.with(r, f)
}

// mediaBase is where virtual media live.
func (s *Server) mediaBase(identity string) string {
	owner := "Systems"
	if s.o.MediaOnManager {
		owner = "Managers"
	}
	return path("/redfish/v1", owner, identity, "VirtualMedia")
}

// mediaList is vmctl, virtual_media_collection_resource; template
// virtual_media_collection@a654a033.
func (s *Server) mediaList(r *request) (*reply, error) {
	return s.withOwner(r, func(sys *system) (*reply, error) {
		uri := s.mediaBase(sys.info.UUID)
		var members []obj
		for _, d := range devices() {
			members = append(members, link(uri, d))
		}
		o := collection("VirtualMediaCollection", "Virtual Media Services", uri, members)
		o["Description"], o["@Redfish.Copyright"] = "Redfish-BMC Virtual Media Service Settings", copyright17
		return &reply{body: o}, nil
	})
}

// media is vmctl, virtual_media_resource; template virtual_media@a654a033. Image
// is the name of a file, never the URL it came from.
func (s *Server) media(r *request) (*reply, error) {
	id, name := r.vars["identity"], r.vars["device"]
	d, err := s.device(id, name)
	if err != nil {
		return nil, err
	}
	uri := path(s.mediaBase(id), name)
	hidden := ""
	if d.pass != "" {
		hidden = "******"
	}
	return &reply{body: obj{
		"@odata.type": "#VirtualMedia.v1_4_0.VirtualMedia", "@odata.context": "/redfish/v1/$metadata#VirtualMedia.VirtualMedia",
		"@odata.id": uri, "@Redfish.Copyright": copyright17,
		"Id": name, "Name": d.name, "MediaTypes": d.types, "Image": d.image, "ImageName": "", "ConnectedVia": "URI",
		"Inserted": d.inserted, "WriteProtected": d.protected,
		"Actions": obj{
			"#VirtualMedia.EjectMedia":  obj{"target": uri + "/Actions/VirtualMedia.EjectMedia"},
			"#VirtualMedia.InsertMedia": obj{"target": uri + "/Actions/VirtualMedia.InsertMedia"},
			"Oem":                       obj{},
		},
		"UserName": d.user, "Password": hidden, "Certificates": link(uri + "/Certificates"), "VerifyCertificate": d.verify,
	}}, nil
}

// mediaPatch is vmctl, virtual_media_patch: VerifyCertificate alone; an Image is
// refused.
func (s *Server) mediaPatch(r *request) (*reply, error) {
	return s.withOwner(r, func(*system) (*reply, error) {
		in, err := r.json()
		if err != nil {
			return nil, err
		}
		verify, given := in["VerifyCertificate"]
		if !given || verify == nil {
			return nil, badRequest("Empty or malformed patch")
		}
		on, ok := verify.(bool)
		if !ok {
			return nil, badRequest("VerifyCertificate must be a boolean")
		}
		d, err := s.device(r.vars["identity"], r.vars["device"])
		if err != nil {
			return nil, err
		}
		d.verify = on
		return done(), nil
	})
}

// insert is vmctl, virtual_media_insert. What is in the drive is replaced without
// a word.
func (s *Server) insert(r *request) (*reply, error) {
	in, err := r.json()
	if err != nil {
		return nil, err
	}
	user, pass := or(in, "UserName", ""), or(in, "Password", "")
	if truth(user) != truth(pass) {
		return s.render(badRequest("UserName and Password must be passed together")), nil
	}
	return s.withOwner(r, func(sys *system) (*reply, error) {
		d, err := s.device(r.vars["identity"], r.vars["device"])
		if err != nil {
			return nil, err
		}
		image, ok := in["Image"].(string)
		if !ok {
			return nil, fail("Failed fetching image from URL %s: Invalid URL", asText(in["Image"]))
		}
		err = s.insertImage(r.ctx, d, image, or(in, "Inserted", true), or(in, "WriteProtected", true), asWord(user), asWord(pass))
		if err != nil {
			return nil, err
		}
		if err := sys.setBootImage(r.ctx, r.vars["device"], image); err != nil {
			return nil, err
		}
		return done(), nil
	})
}

// or is dict.get with a default.
func or(o obj, key string, otherwise any) any {
	if v, ok := o[key]; ok {
		return v
	}
	return otherwise
}

func asWord(v any) string {
	s, _ := v.(string)
	return s
}

// insertImage is vmedia, insert_image: the emulator downloads all of the image
// before it answers; here its headers are enough. The server's refusals become
// 400 or 502, no answer at all 500.
func (s *Server) insertImage(ctx context.Context, d *device, image string, inserted, protected any, user, pass string) error {
	failed := func(err error) error { return fail("Failed fetching image from URL %s: %s", image, err) }
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, image, nil)
	if err != nil {
		return failed(err)
	}
	if user != "" && pass != "" {
		req.SetBasicAuth(user, pass)
	}
	client := *s.o.Client
	if client.Transport == nil && !d.verify {
		client.Transport = &http.Transport{
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // SUSHY_EMULATOR_VMEDIA_VERIFY_SSL is off by default
			DisableKeepAlives: true,
		}
	}
	resp, err := client.Do(req)
	if err != nil {
		var where *url.Error
		if errors.As(err, &where) {
			err = where.Err // without the URL, which was said
		}
		return failed(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		code := http.StatusBadRequest
		if resp.StatusCode >= http.StatusInternalServerError {
			code = http.StatusBadGateway
		}
		return &fishy{code: code, msg: fmt.Sprintf("Cannot download virtual media: got error %d from the server", resp.StatusCode)}
	}
	d.image, d.inserted, d.protected = fileName(image, resp.Header.Get("Content-Disposition")), inserted, protected
	d.user, d.pass = user, pass
	return nil
}

func dispositionName(header string) string {
	if m := regexp.MustCompile(`filename="(.+)"`).FindStringSubmatch(header); m != nil {
		return m[1]
	}
	return ""
}

func lastSlash(s string) int { return strings.LastIndexByte(s, '/') }

// eject is vmctl, virtual_media_eject: an empty drive is success. The CD drive
// itself leaves the machine (systems, _remove_boot_images).
func (s *Server) eject(r *request) (*reply, error) {
	d, err := s.device(r.vars["identity"], r.vars["device"])
	if err != nil {
		return nil, err
	}
	d.image, d.inserted, d.protected, d.user, d.pass = "", false, false, "", ""
	return s.withOwner(r, func(sys *system) (*reply, error) {
		if err := sys.setBootImage(r.ctx, r.vars["device"], ""); err != nil {
			return nil, err
		}
		return done(), nil
	})
}

// certificates and the views below are vmctl's of the same name: a drive has one
// certificate, Default; templates certificate_collection@cbb7f19a,
// certificate@0051bd4b.
func (s *Server) certificates(r *request) (*reply, error) {
	return s.withOwner(r, func(*system) (*reply, error) {
		d, err := s.device(r.vars["identity"], r.vars["device"])
		if err != nil {
			return nil, err
		}
		uri := path(s.mediaBase(r.vars["identity"]), r.vars["device"], "Certificates")
		members := []obj{}
		if d.certified {
			members = append(members, link(uri, "Default"))
		}
		return &reply{body: obj{
			"@odata.type": "#CertificateCollection.CertificateCollection", "@odata.id": uri, "@Redfish.Copyright": copyright21,
			"Name": "Certificate Collection", "Members@odata.count": len(members), "Members": members,
			"@Redfish.SupportedCertificates": []string{"PEM"}, "Oem": obj{},
		}}, nil
	})
}

func (s *Server) addCertificate(r *request) (*reply, error) {
	return s.withOwner(r, func(*system) (*reply, error) {
		in, err := r.json()
		if err != nil {
			return nil, err
		}
		for _, must := range []string{"CertificateString", "CertificateType"} {
			if _, ok := in[must]; !ok {
				return nil, badRequest("Missing required parameter '" + must + "'")
			}
		}
		if in["CertificateType"] != "PEM" {
			return nil, badRequest("Only PEM certificates are supported, got " + asText(in["CertificateType"]))
		}
		d, err := s.device(r.vars["identity"], r.vars["device"])
		if err != nil {
			return nil, err
		}
		if d.certified {
			return nil, conflict("Virtual media certificate already exists")
		}
		d.cert, d.certified = asText(in["CertificateString"]), true
		rep := done()
		rep.header = map[string]string{"Location": path(s.mediaBase(r.vars["identity"]), r.vars["device"], "Certificates", "Default")}
		return rep, nil
	})
}

func (s *Server) certificate(r *request) (*reply, error) {
	return s.withOwner(r, func(*system) (*reply, error) {
		d, err := s.device(r.vars["identity"], r.vars["device"])
		if err != nil {
			return nil, err
		}
		if !d.certified || r.vars["certificate"] != "Default" {
			return nil, notFound("Not found")
		}
		return &reply{body: obj{
			"@odata.type": "#Certificate.v1_3_0.Certificate", "@Redfish.Copyright": copyright21,
			"@odata.id": path(s.mediaBase(r.vars["identity"]), r.vars["device"], "Certificates", "Default"),
			"Id":        "Default", "Name": "HTTPS Certificate Default", "CertificateString": d.cert, "CertificateType": "PEM", "Oem": obj{},
		}}, nil
	})
}

func (s *Server) deleteCertificate(r *request) (*reply, error) {
	return s.withOwner(r, func(*system) (*reply, error) {
		d, err := s.device(r.vars["identity"], r.vars["device"])
		if err != nil {
			return nil, err
		}
		if !d.certified || r.vars["certificate"] != "Default" {
			return nil, notFound("Certificate %s not found", r.vars["certificate"])
		}
		d.cert, d.certified = "", false
		return done(), nil
	})
}
