package redfish

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// The types below read what BMCs really send: numbers where the schema says
// string, one value where it says list, null or a wrong type anywhere. A value
// of a wrong type reads as absent, so that one bad property does not cost the
// resource.

// text is a string, or what can be taken for one.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	switch v := v.(type) {
	case string:
		*t = text(v)
	case float64, bool:
		*t = text(bytes.TrimSpace(b))
	default:
		*t = ""
	}
	return nil
}

// link is the target of a reference, {"@odata.id": "/redfish/…"}; some write the
// bare string.
type link string

func (l *link) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*l = link(s)
		return nil
	}
	var ref struct {
		ID text `json:"@odata.id"`
	}
	*l = ""
	if lenient(json.Unmarshal(b, &ref)) == nil {
		*l = link(ref.ID)
	}
	return nil
}

// list is an array, or a single element in its place. Elements of a wrong type
// are left out.
type list[T any] []T

// maxList bounds lists: the longest that is walked are network interfaces.
const maxList = 1024

func (l *list[T]) UnmarshalJSON(b []byte) error {
	*l = nil
	var raw []json.RawMessage
	if json.Unmarshal(b, &raw) != nil {
		raw = []json.RawMessage{b}
	}
	for _, r := range raw[:min(len(raw), maxList)] {
		var v T
		if bytes.Equal(bytes.TrimSpace(r), []byte("null")) || json.Unmarshal(r, &v) != nil {
			continue
		}
		*l = append(*l, v)
	}
	return nil
}

// lenient forgives what the JSON decoder complains about after it has read the
// rest: an object of the wrong type somewhere.
func lenient(err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return nil
	}
	return err
}

// decode reads a body into out.
func decode(op string, body []byte, out any) error {
	if err := lenient(json.Unmarshal(body, out)); err != nil {
		return &bmc.Error{Class: bmc.Protocol, Op: op, Detail: "the answer is no JSON", Err: err}
	}
	return nil
}

// serviceRoot is DSP0268 ServiceRoot, as far as it is used.
type serviceRoot struct {
	Version        text `json:"RedfishVersion"`
	Vendor         text `json:"Vendor"`
	Product        text `json:"Product"`
	Name           text `json:"Name"`
	OEM            keys `json:"Oem"`
	Systems        link `json:"Systems"`
	SessionService link `json:"SessionService"`
	Managers       link `json:"Managers"`
	AccountService link `json:"AccountService"`
	EventService   link `json:"EventService"`
	Tasks          link `json:"Tasks"`
	Links          struct {
		Sessions link `json:"Sessions"`
	} `json:"Links"`
	Features struct {
		Expand struct {
			NoLinks bool `json:"NoLinks"`
		} `json:"ExpandQuery"`
	} `json:"ProtocolFeaturesSupported"`
	Registries link `json:"Registries"`
}

// collection is any Redfish collection of links.
type collection struct {
	Members list[link] `json:"Members"`
}

// computerSystem is DSP0268 ComputerSystem, as far as it is used.
type computerSystem struct {
	ID           link   `json:"@odata.id"`
	ETag         text   `json:"@odata.etag"`
	Manufacturer text   `json:"Manufacturer"`
	Model        text   `json:"Model"`
	Serial       text   `json:"SerialNumber"`
	SKU          text   `json:"SKU"`
	UUID         text   `json:"UUID"`
	Power        text   `json:"PowerState"`
	Boot         boot   `json:"Boot"`
	Interfaces   link   `json:"EthernetInterfaces"`
	Settings     object `json:"@Redfish.Settings"`
	Actions      struct {
		Reset resetAction `json:"#ComputerSystem.Reset"`
	} `json:"Actions"`
	Links struct {
		ManagedBy list[link] `json:"ManagedBy"`
	} `json:"Links"`
}

// object is @Redfish.Settings (DSP0266 §9.9): where settings wait for a reset.
type object struct {
	Object     link       `json:"SettingsObject"`
	ApplyTimes list[text] `json:"SupportedApplyTimes"`
}

type resetAction struct {
	Target  text       `json:"target"`
	Allowed list[text] `json:"ResetType@Redfish.AllowableValues"`
	Info    link       `json:"@Redfish.ActionInfo"`
}

// boot is ComputerSystem.Boot.
type boot struct {
	Enabled        text       `json:"BootSourceOverrideEnabled"`
	Target         text       `json:"BootSourceOverrideTarget"`
	Mode           text       `json:"BootSourceOverrideMode"`
	AllowedEnabled list[text] `json:"BootSourceOverrideEnabled@Redfish.AllowableValues"`
	AllowedTarget  list[text] `json:"BootSourceOverrideTarget@Redfish.AllowableValues"`
	AllowedMode    list[text] `json:"BootSourceOverrideMode@Redfish.AllowableValues"`
	HTTPURI        optional   `json:"HttpBootUri"`
	Order          list[text] `json:"BootOrder"`
	Options        link       `json:"BootOptions"`
}

// optional is a property of which it matters whether the BMC has it, be it null.
type optional struct {
	present bool
	value   text
}

func (o *optional) UnmarshalJSON(b []byte) error {
	o.present = true
	return o.value.UnmarshalJSON(b)
}
