package sushytools

import (
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strings"
)

// authenticate is main, RedfishAuthMiddleware over auth. The root is open; all
// else wants Basic, of which a token of a session is none.
func (s *Server) authenticate(r *http.Request) *reply {
	if s.o.Username == "" {
		return nil
	}
	switch strings.Trim(r.URL.Path, "/") {
	case "", "redfish", "redfish/v1":
		return nil
	}
	header := r.Header.Get("Authorization")
	if header == "" {
		return refused("Authorization required")
	}
	kind, token, two := strings.Cut(strings.TrimSpace(header), " ")
	if !two || !strings.EqualFold(kind, "basic") {
		return crashed()
	}
	pair, err := base64.StdEncoding.DecodeString(strings.TrimSpace(token))
	user, password, ok := strings.Cut(string(pair), ":")
	if err != nil || !ok {
		return crashed()
	}
	if user != s.o.Username || subtle.ConstantTimeCompare([]byte(password), []byte(s.o.Password)) != 1 {
		return refused("Incorrect username or password")
	}
	return nil
}

// refused is the exception of error with the code 401 in main, _render_error.
func refused(message string) *reply {
	return &reply{
		status: http.StatusUnauthorized,
		header: map[string]string{"WWW-Authenticate": `Basic realm="Baremetal API"`},
		body: obj{"error": obj{
			"code": "Base.1.0.GeneralError", "message": message,
			"@Message.ExtendedInfo": []obj{{"@odata.type": "/redfish/v1/$metadata#Message.1.0.0.Message", "MessageId": "Base.1.0.GeneralError"}},
		}},
	}
}

// crashed is what a header that is no Basic comes to: BadRequest is raised, and
// auth, format_exception reads e.headers, which that of 401 alone has. The
// exception leaves the application, and the web server answers 500.
func crashed() *reply {
	return &reply{status: http.StatusInternalServerError, text: "Internal Server Error"}
}
