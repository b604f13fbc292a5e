package vendorextra

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"
)

// A SOAP answer of AMT is seven elements deep and has a hundred.
const (
	maxDepth  = 32
	maxTokens = 20_000
)

var errEnvelope = errors.New("the answer is no SOAP envelope within bounds")

// envelope is what of an answer we look at ourselves.
type envelope struct {
	power    int   // CIM_AssociatedPowerManagementService.PowerState; 0: not told
	offered  []int // its AvailableRequestedPowerStates, before any were hidden
	returned []int // ReturnValues
	fault    string
}

// scan bounds an answer before the provider parses it: its parser recurses, and
// four million open elements (12 MB) end the whole process. Power states that
// keep does not want are cut out, so that the provider can choose no other.
func scan(body []byte, keep func(state int) bool) ([]byte, envelope, error) {
	var e envelope
	d := xml.NewDecoder(bytes.NewReader(body))
	// As the provider's parser does: the encoding is UTF-8 whatever it says.
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	out := make([]byte, 0, len(body))
	var copied int64 // of body
	var began, depth int64
	var text []byte
	roots := 0
	for tokens := 0; ; tokens++ {
		at := d.InputOffset()
		token, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || tokens == maxTokens {
			return nil, e, errEnvelope
		}
		switch t := token.(type) {
		case xml.StartElement:
			if depth == 0 {
				roots++
			}
			if depth++; depth > maxDepth || roots > 1 {
				return nil, e, errEnvelope
			}
			began, text = at, text[:0]
		case xml.CharData:
			text = append(text, t...)
		case xml.EndElement:
			if depth--; depth < 0 {
				return nil, e, errEnvelope
			}
			if e.leaf(t.Name.Local, strings.TrimSpace(string(text)), keep) {
				out = append(out, body[copied:began]...)
				copied = d.InputOffset()
			}
			text = text[:0]
		}
	}
	if depth != 0 || roots != 1 {
		return nil, e, errEnvelope
	}
	return append(out, body[copied:]...), e, nil
}

// leaf notes an element's text, and reports whether to cut the element out.
func (e *envelope) leaf(name, text string, keep func(int) bool) (cut bool) {
	switch name {
	case "PowerState":
		e.power, _ = strconv.Atoi(text)
	case "AvailableRequestedPowerStates":
		n, err := strconv.Atoi(text)
		if err != nil {
			return true
		}
		e.offered = append(e.offered, n)
		return keep != nil && !keep(n)
	case "ReturnValue":
		n, err := strconv.Atoi(text)
		if err != nil {
			n = -1
		}
		e.returned = append(e.returned, n)
	case "Text": // Fault/Reason/Text (SOAP 1.2 part 1, §5.4.2)
		if e.fault == "" {
			e.fault = clip(text)
		}
	}
	return false
}
