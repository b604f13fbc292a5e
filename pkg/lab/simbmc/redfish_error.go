package simbmc

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// base is the message registry that errors quote (DSP0268, Base).
const base = "Base.1.18."

// redfishError is an error answer (DSP0266 §8.6).
type redfishError struct {
	status     int
	id         string // of the message, without the registry
	message    string
	args       []string
	resolution string
}

func (e *redfishError) body() obj {
	args := e.args
	if args == nil {
		args = []string{}
	}
	return obj{"error": obj{
		"code":    base + "GeneralError",
		"message": "A general error has occurred. See ExtendedInfo for more information.",
		"@Message.ExtendedInfo": []obj{{
			"@odata.type":     "#Message.v1_1_2.Message",
			"MessageId":       base + e.id,
			"Message":         e.message,
			"MessageArgs":     args,
			"Severity":        "Critical",
			"MessageSeverity": "Critical",
			"Resolution":      e.resolution,
		}},
	}}
}

func errNotFound(path string) *redfishError {
	return &redfishError{
		status: http.StatusNotFound, id: "ResourceMissingAtURI",
		message:    fmt.Sprintf("The resource at the URI '%s' was not found.", path),
		args:       []string{path},
		resolution: "Place a valid resource at the URI or correct the URI and resubmit the request.",
	}
}

func errMethod() *redfishError {
	return &redfishError{
		status: http.StatusMethodNotAllowed, id: "OperationNotAllowed",
		message:    "The HTTP method is not allowed on this resource.",
		resolution: "None.",
	}
}

func errMalformed() *redfishError {
	return &redfishError{
		status: http.StatusBadRequest, id: "MalformedJSON",
		message:    "The request body submitted was malformed JSON and could not be parsed by the receiving service.",
		resolution: "Ensure that the request body is valid JSON and resubmit the request.",
	}
}

func errUnauthorized() *redfishError {
	return &redfishError{
		status: http.StatusUnauthorized, id: "NoValidSession",
		message:    "There is no valid session established with the implementation.",
		resolution: "Establish a session before attempting any operations.",
	}
}

func errSessionsFull() *redfishError {
	return &redfishError{
		status: http.StatusServiceUnavailable, id: "SessionLimitExceeded",
		message:    "The session establishment failed due to the number of simultaneous sessions exceeding the limit of the implementation.",
		resolution: "Reduce the number of other sessions before trying to establish the session or increase the limit of simultaneous sessions, if supported.",
	}
}

func errBusy() *redfishError {
	return &redfishError{
		status: http.StatusServiceUnavailable, id: "ServiceTemporarilyUnavailable",
		message:    "The service is temporarily unavailable. Retry later.",
		resolution: "Wait for the indicated retry duration and retry the operation.",
	}
}

func errPrecondition() *redfishError {
	return &redfishError{
		status: http.StatusPreconditionFailed, id: "PreconditionFailed",
		message:    "The ETag supplied did not match the ETag required to change this resource.",
		resolution: "Try the operation again using the appropriate ETag.",
	}
}

func errMissing(property string) *redfishError {
	return &redfishError{
		status: http.StatusBadRequest, id: "ActionParameterMissing",
		message:    fmt.Sprintf("The action requires that the parameter %s be present in the request body.", property),
		args:       []string{property},
		resolution: "Supply the action with the required parameter in the request body when the request is resubmitted.",
	}
}

func errUnknownProperty(property string) *redfishError {
	return &redfishError{
		status: http.StatusBadRequest, id: "PropertyUnknown",
		message:    fmt.Sprintf("The property %s is not in the list of valid properties for the resource.", property),
		args:       []string{property},
		resolution: "Remove the unknown property from the request body and resubmit the request if the operation failed.",
	}
}

func errNotInList(value any, property string) *redfishError {
	text := fmt.Sprint(value)
	return &redfishError{
		status: http.StatusBadRequest, id: "PropertyValueNotInList",
		message:    fmt.Sprintf("The value '%s' for the property %s is not in the list of acceptable values.", text, property),
		args:       []string{text, property},
		resolution: "Choose a value from the enumeration list that the implementation can support and resubmit the request if the operation failed.",
	}
}

func errInternal(err error) *redfishError {
	return &redfishError{
		status: http.StatusInternalServerError, id: "InternalError",
		message:    "The request failed due to an internal service error: " + err.Error(),
		resolution: "Resubmit the request. If the problem persists, consider resetting the service.",
	}
}

// errFrom turns a body's refusal into the answer that BMCs give.
func errFrom(err error, what string) *redfishError {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrState), errors.Is(err, errPending):
		return &redfishError{
			status: http.StatusConflict, id: "ResourceInStateConflict",
			message:    "The request cannot be completed: " + what + " " + strings.TrimPrefix(err.Error(), what+": "),
			resolution: "Wait until the resource is in a state that allows the request.",
		}
	case errors.Is(err, ErrUnsupported):
		return &redfishError{
			status: http.StatusBadRequest, id: "ActionNotSupported",
			message:    fmt.Sprintf("The action %s is not supported by the resource.", what),
			args:       []string{what},
			resolution: "The action supplied cannot be resubmitted to the implementation.",
		}
	default:
		return errInternal(err)
	}
}
