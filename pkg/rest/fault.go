package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/node"
)

// fault is an error as the client is told of it. What is wrong with a route or a
// version has a title (webob's form), all else a faultcode.
type fault struct {
	status int
	title  string
	text   string
	allow  string // of 405
	bare   bool   // not in error_message: what Ironic refuses before it looks at it
}

func (f *fault) Error() string { return f.text }

func refuse(status int, format string, args ...any) error {
	return &fault{status: status, text: fmt.Sprintf(format, args...)}
}

func badRequest(format string, args ...any) error {
	return refuse(http.StatusBadRequest, format, args...)
}

func notFound(format string, args ...any) error { return refuse(http.StatusNotFound, format, args...) }

func conflict(format string, args ...any) error { return refuse(http.StatusConflict, format, args...) }

// notAcceptable is the answer to a field, filter or verb that the version asked for
// does not have.
func notAcceptable(format string, args ...any) error {
	return refuse(http.StatusNotAcceptable, "%s", strings.TrimSpace("Request not acceptable. "+fmt.Sprintf(format, args...)))
}

// sinceVersion is the answer to what came with a version newer than the one asked for.
func sinceVersion(v ironic.Version) error {
	return notAcceptable("The minimal required API version should be %s", v)
}

// notAllowed is the answer to a method that a resource does not have.
func notAllowed(allow string) error {
	return &fault{status: http.StatusMethodNotAllowed, title: "Method Not Allowed", text: "The method is not allowed for this resource.", allow: allow}
}

// noRoute is the answer where there is nothing.
func noRoute() error {
	return &fault{status: http.StatusNotFound, title: "Not Found", text: "The resource could not be found."}
}

// faultOf is err as a client is told of it.
func faultOf(err error) *fault {
	var f *fault
	var tooLarge *http.MaxBytesError
	var refused *node.Refusal
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &tooLarge):
		return &fault{status: http.StatusRequestEntityTooLarge, bare: true, text: "Request body is too large. Please contact the service administrator."}
	case errors.As(err, &refused):
		return &fault{status: http.StatusBadRequest, text: refused.Reason}
	case errors.Is(err, node.ErrNotFound):
		return &fault{status: http.StatusNotFound, text: "It was deleted in the meantime."}
	case errors.Is(err, node.ErrExists):
		return &fault{status: http.StatusConflict, text: "Another one has that UUID, name or address."}
	case errors.Is(err, node.ErrChanged):
		return &fault{status: http.StatusConflict, text: "It was changed in the meantime: read it and try again."}
	case apierrors.IsInvalid(err), apierrors.IsForbidden(err), apierrors.IsBadRequest(err):
		// An admission rule of the hosts' API: what was asked for cannot be kept.
		return &fault{status: http.StatusBadRequest, text: err.Error()}
	case apierrors.IsConflict(err):
		return &fault{status: http.StatusConflict, text: "It was changed in the meantime: read it and try again."}
	case apierrors.IsTooManyRequests(err), apierrors.IsServerTimeout(err), apierrors.IsTimeout(err), apierrors.IsServiceUnavailable(err):
		// Ironic's clients try again after 503.
		return &fault{status: http.StatusServiceUnavailable, text: "The hosts' API does not answer at the moment: " + err.Error()}
	}
	return &fault{status: http.StatusInternalServerError, text: err.Error()}
}

// write answers in Ironic's form: JSON in a string in JSON.
func (f *fault) write(w http.ResponseWriter) {
	code := "Client"
	if f.status >= http.StatusInternalServerError {
		code = "Server"
	}
	inner := map[string]any{"debuginfo": nil, "faultcode": code, "faultstring": f.text}
	if f.title != "" {
		inner = map[string]any{"code": f.status, "title": f.title, "description": f.text}
	}
	if f.allow != "" {
		w.Header().Set("Allow", f.allow)
	}
	if f.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	if f.bare {
		answer(w, f.status, map[string]string{"faultcode": code, "faultstring": f.text})
		return
	}
	text, _ := json.Marshal(inner)
	answer(w, f.status, map[string]string{"error_message": string(text)})
}

func answer(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{"error_message": "{}"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A client that went away is no concern of ours.
	_, _ = w.Write(text)
}
