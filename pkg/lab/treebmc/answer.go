package treebmc

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// obj is a JSON object.
type obj = map[string]any

// answer is what goes out.
type answer struct {
	status int
	header map[string]string
	body   any // nil: none
}

func (a *answer) with(header, value string) *answer {
	if a.header == nil {
		a.header = map[string]string{}
	}
	a.header[header] = value
	return a
}

// encode is the body. What came in or was recorded as JSON becomes JSON again.
func (a *answer) encode() []byte {
	if a.body == nil {
		return nil
	}
	data, err := json.Marshal(a.body)
	if err != nil {
		a.status = http.StatusInternalServerError
	}
	return data
}

func (a *answer) write(w http.ResponseWriter, method string, data []byte) {
	w.Header().Set("OData-Version", "4.0")
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	if data != nil {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(a.status)
	if method != http.MethodHead {
		_, _ = w.Write(data)
	}
}

func done() *answer { return &answer{status: http.StatusNoContent} }

// refuse is an error answer (DSP0266 §8.6). related are JSON pointers.
func refuse(status int, id, text string, related ...string) *answer {
	info := obj{"@odata.type": "#Message.v1_1_1.Message", "MessageId": id, "Message": text, "Severity": "Warning", "Resolution": "None."}
	if len(related) > 0 {
		info["RelatedProperties"] = related
	}
	return &answer{status: status, body: obj{"error": obj{
		"code": "Base.1.8.GeneralError", "message": "A general error has occurred. See ExtendedInfo for more information.",
		"@Message.ExtendedInfo": []obj{info},
	}}}
}

func notFound(path string) *answer {
	return refuse(http.StatusNotFound, "Base.1.8.ResourceMissingAtURI", "The resource at the URI "+path+" was not found.")
}

func notAllowed() *answer {
	return refuse(http.StatusMethodNotAllowed, "Base.1.8.OperationNotAllowed", "The HTTP method is not allowed on this resource.")
}

func busy(after time.Duration) *answer {
	seconds := strconv.Itoa(int(after.Round(time.Second) / time.Second))
	return refuse(http.StatusServiceUnavailable, "Base.1.8.ServiceTemporarilyUnavailable",
		"The service is temporarily unavailable.  Retry in "+seconds+" seconds.").with("Retry-After", seconds)
}

func unknownProperty(name string) *answer {
	return refuse(http.StatusBadRequest, "Base.1.8.PropertyUnknown",
		"The property "+name+" is not in the list of valid properties for the resource.", "#/"+name)
}

func readOnly(name string) *answer {
	return refuse(http.StatusBadRequest, "Base.1.8.PropertyNotWritable",
		"The property "+name+" is a read only property and cannot be assigned a value.", "#/"+name)
}

func notInList(value, name string) *answer {
	return refuse(http.StatusBadRequest, "Base.1.8.PropertyValueNotInList",
		"The value "+value+" for the property "+name+" is not in the list of acceptable values.", "#/"+name)
}

func missingParameter(action, name string) *answer {
	return refuse(http.StatusBadRequest, "Base.1.8.ActionParameterMissing",
		"The action "+action+" requires the parameter "+name+" to be present in the request body.", "#/"+name)
}
