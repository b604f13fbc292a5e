package treebmc

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"

	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// admit wants a session's token or Basic of all but the service root, which
// DSP0266 §13.3.1 opens to all, and the login itself.
func (s *Server) admit(r *request) *answer {
	open := r.key == "/redfish" || r.key == rootKey || r.key == rootKey+"/odata" || r.key == rootKey+"/$metadata"
	if s.o.Username == "" || open && r.method == http.MethodGet || s.isLogin(r) {
		return nil
	}
	if token := r.header.Get("X-Auth-Token"); token != "" {
		if _, ok := s.sessions[token]; ok {
			return nil
		}
	} else if name, password, ok := basic(r.header.Get("Authorization")); ok && s.good(name, password) {
		return nil
	}
	return refuse(http.StatusUnauthorized, "Base.1.8.NoValidSession", "There is no valid session established with the implementation.")
}

func basic(header string) (name, password string, ok bool) {
	encoded, ok := strings.CutPrefix(header, "Basic ")
	if !ok {
		return "", "", false
	}
	plain, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return "", "", false
	}
	return strings.Cut(string(plain), ":")
}

func (s *Server) good(name, password string) bool {
	known, ok := s.users[name]
	return ok && name != "" && known == password
}

func (s *Server) isLogin(r *request) bool {
	return r.method == http.MethodPost && !s.o.Quirks.Has(quirk.NoSessions) && r.key == s.sessionsKey()
}

func (s *Server) sessionsKey() string {
	root := s.doc(rootKey)
	if uri := ref(sub(root, "Links")["Sessions"]); uri != "" {
		return key(uri)
	}
	return rootKey + "/sessionservice/sessions"
}

// login opens a session (DSP0266 §13.3.4).
//
// A BMC whose sessions are all taken answers 503 "The maximum number of user
// sessions is reached." IDRAC.2.1.RAC0218 (gofish #75).
func (s *Server) login(r *request) *answer {
	name := str(r.body["UserName"])
	if s.o.Username != "" && !s.good(name, str(r.body["Password"])) {
		return refuse(http.StatusUnauthorized, "Base.1.8.NoValidSession", "The user name or password is wrong.")
	}
	if len(s.sessions) >= s.o.MaxSessions {
		return refuse(http.StatusServiceUnavailable, "IDRAC.2.1.RAC0218", "The maximum number of user sessions is reached.")
	}
	collection := s.sessionsKey()
	s.serial++
	token := fmt.Sprintf("token%d", s.serial)
	doc := obj{"@odata.type": "#Session.v1_3_0.Session", "Name": "User Session", "UserName": name}
	uri := fmt.Sprintf("%s/SessionService/Sessions/ingot%d", "/redfish/v1", s.serial)
	if s.doc(collection) != nil {
		uri = s.add(collection, doc)
	} else {
		doc["@odata.id"] = uri
		s.docs[key(uri)] = doc
	}
	s.sessions[token] = key(uri)
	return (&answer{status: http.StatusCreated, body: doc}).with("X-Auth-Token", token).with("Location", uri)
}

// logout ends the session that is deleted.
func (s *Server) logout(k string) {
	for token, session := range s.sessions {
		if session == k {
			delete(s.sessions, token)
		}
	}
}
