package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/ingot-metal/ingot/pkg/node"
)

// fault is an error as the client is told of it. What is wrong with a route or a
// version has a title (webob's form), all else a faultcode.
type fault struct {
	status int
	title  string
	text   string
	allow  string // of 405
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
	return refuse(http.StatusNotAcceptable, "Request not acceptable. "+format, args...)
}

// noRoute is the answer where there is nothing.
func noRoute() error {
	return &fault{status: http.StatusNotFound, title: "Not Found", text: "The resource could not be found."}
}

// faultOf is err as a client is told of it.
func faultOf(err error) *fault {
	var f *fault
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &tooLarge):
		return &fault{status: http.StatusRequestEntityTooLarge, text: fmt.Sprintf("The request body is larger than the %d bytes that are taken here.", tooLarge.Limit)}
	case errors.Is(err, node.ErrNotFound):
		return &fault{status: http.StatusNotFound, text: "It was deleted in the meantime."}
	case errors.Is(err, node.ErrExists):
		return &fault{status: http.StatusConflict, text: "Another one has that UUID, name or address."}
	case errors.Is(err, node.ErrChanged):
		return &fault{status: http.StatusConflict, text: "It was changed in the meantime: read it and try again."}
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
