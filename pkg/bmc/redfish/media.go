package redfish

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

var _ bmc.Media = (*System)(nil)

const (
	maxSlots    = 32 // the most on record are ten (Lenovo XCC)
	maxManagers = 4
)

// virtualMedia is DSP0268 VirtualMedia, as far as it is used.
type virtualMedia struct {
	uri      string
	ID       text       `json:"Id"`
	Types    list[text] `json:"MediaTypes"`
	Image    text       `json:"Image"`
	Inserted tristate   `json:"Inserted"`
	Via      text       `json:"ConnectedVia"`
	Actions  struct {
		Insert struct {
			Target text `json:"target"`
		} `json:"#VirtualMedia.InsertMedia"`
		Eject struct {
			Target text `json:"target"`
		} `json:"#VirtualMedia.EjectMedia"`
	} `json:"Actions"`
}

// Slots lists the virtual drives: three requests where there is one manager and
// the BMC expands collections.
func (s *System) Slots(ctx context.Context) ([]bmc.Slot, error) {
	all, err := s.mediaSlots(ctx, "list virtual media")
	if err != nil {
		return nil, err
	}
	out := make([]bmc.Slot, 0, len(all))
	for _, v := range all {
		out = append(out, v.slot())
	}
	return out, nil
}

// mediaSlots finds the drives: below the managers of the machine, or else below
// the machine itself (DSP0268 moved them there in ComputerSystem v1.13). A BMC
// that has both shows one thing twice, so one place counts.
func (s *System) mediaSlots(ctx context.Context, op string) ([]virtualMedia, error) {
	var cs struct {
		Media link `json:"VirtualMedia"`
		Links struct {
			ManagedBy list[link] `json:"ManagedBy"`
		} `json:"Links"`
	}
	if err := s.readInto(ctx, op, &cs); err != nil {
		return nil, err
	}
	var out []virtualMedia
	var last error
	system := func() error {
		if cs.Media == "" {
			return nil
		}
		found, err := s.slotsAt(ctx, op, string(cs.Media))
		out = append(out, found...)
		return err
	}
	if s.has(quirk.MediaOnSystem) {
		if last = system(); last != nil && !passable(last) {
			return nil, last
		}
	}
	if len(out) == 0 {
		managers, err := s.managers(ctx, op, cs.Links.ManagedBy)
		if err != nil {
			return nil, err
		}
		for _, uri := range managers {
			found, err := s.managerSlots(ctx, op, uri)
			if err != nil && !passable(err) {
				return nil, err
			}
			if err != nil {
				last = err
			}
			out = append(out, found...)
		}
	}
	if len(out) == 0 && !s.has(quirk.MediaOnSystem) {
		if err := system(); err != nil {
			return nil, err
		}
	}
	switch {
	case len(out) > 0:
		return out[:min(len(out), maxSlots)], nil
	case last != nil:
		return nil, last
	}
	return nil, &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the BMC offers no virtual media (some do with a licence only)"}
}

// managers are those of the machine, or all there are if it names none.
func (s *System) managers(ctx context.Context, op string, named list[link]) ([]string, error) {
	var out []string
	for _, l := range named {
		if l != "" && len(out) < maxManagers {
			out = append(out, string(l))
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	root, err := s.e.serviceRoot(ctx)
	if err != nil || root.Managers == "" {
		return nil, err
	}
	var all collection
	if _, err := s.e.get(ctx, op, string(root.Managers), &all); err != nil {
		if unsupported(err) {
			err = nil
		}
		return nil, err
	}
	for _, l := range all.Members {
		if l != "" && len(out) < maxManagers {
			out = append(out, string(l))
		}
	}
	return out, nil
}

func (s *System) managerSlots(ctx context.Context, op, uri string) ([]virtualMedia, error) {
	var manager struct {
		Media link `json:"VirtualMedia"`
	}
	if _, err := s.e.get(ctx, op, uri, &manager); err != nil || manager.Media == "" {
		return nil, err
	}
	return s.slotsAt(ctx, op, string(manager.Media))
}

func (s *System) slotsAt(ctx context.Context, op, uri string) ([]virtualMedia, error) {
	all, err := s.e.gather(ctx, op, uri, maxSlots, maxSlots)
	if err != nil {
		return nil, err
	}
	var out []virtualMedia
	for _, m := range all.members {
		if v, ok := decodeSlot(m); ok {
			out = append(out, v)
		}
	}
	return out, nil
}

// decodeSlot reads a drive; false if it is none.
func decodeSlot(m member) (virtualMedia, bool) {
	v := virtualMedia{uri: m.uri}
	if lenient(json.Unmarshal(m.body, &v)) != nil || v.uri == "" {
		return v, false
	}
	return v, true
}

// slot is what others see of a drive.
func (v virtualMedia) slot() bmc.Slot {
	return bmc.Slot{ID: v.uri, Types: cleanWords(v.Types), Image: plainImage(string(v.Image)), Inserted: v.holds()}
}

// holds reports whether there is something in the drive. NotConnected means
// empty, whatever else a BMC leaves standing (Supermicro: the image's name, ansible
// community.general #6969).
func (v virtualMedia) holds() bool {
	switch {
	case strings.EqualFold(string(v.Via), "NotConnected"):
		return false
	case v.Inserted.known:
		return v.Inserted.value
	}
	return v.Image != ""
}

// holdsImage reports whether the drive holds this image, as far as the BMC tells. It
// may leave the name out, or what stands before the path; or it has another name
// for it (quirk.MediaFileName).
func (s *System) holdsImage(v virtualMedia, image string) bool {
	if v.names(image) {
		return true
	}
	got := string(v.Image)
	bare := !strings.ContainsAny(got, "/:")
	return v.holds() && (got == "" || bare && s.has(quirk.MediaFileName) || plainImage(got) == path.Base(plainImage(image)))
}

// names reports whether the drive holds this image and no other. The name of a
// file alone does not tell: that of two machines' images may be the same.
func (v virtualMedia) names(image string) bool {
	got := string(v.Image)
	if got == image && v.Inserted.value {
		return true // even if ConnectedVia was left behind
	}
	want := plainImage(image)
	_, noScheme, _ := strings.Cut(want, "://")
	return v.holds() && got != "" && (got == image || plainImage(got) == want || plainImage(got) == noScheme)
}

// plainImage takes credentials and query out of an image's URL.
func plainImage(raw string) string {
	raw, _, _ = strings.Cut(clip(raw), "?")
	scheme, rest, found := strings.Cut(raw, "://")
	if !found {
		scheme, rest = "", raw
	}
	host, file, slash := strings.Cut(rest, "/")
	if i := strings.LastIndex(host, "@"); i >= 0 {
		host = host[i+1:]
	}
	if found {
		host = scheme + "://" + host
	}
	if slash {
		host += "/" + file
	}
	return host
}

// drives are the slots that take a CD image by its URL, the best first. DVD alone
// is enough (Cisco UCS, Launchpad 2031595), and so is a drive that does not say
// (MegaRAC). A drive without a way in is for a browser's console only (Cisco
// C845A, Supermicro's Slot_0).
func (s *System) drives(all []virtualMedia) []virtualMedia {
	var out []virtualMedia
	for _, v := range all {
		if v.cd() && (v.Actions.Insert.Target != "" || s.patches(v)) {
			out = append(out, v)
		}
	}
	if s.has(quirk.MediaFirstSlot) {
		for _, v := range out {
			if path.Base(v.uri) == "1" {
				return []virtualMedia{v}
			}
		}
		return out[:min(len(out), 1)]
	}
	return out
}

func (v virtualMedia) cd() bool {
	for _, t := range v.Types {
		if strings.EqualFold(string(t), "CD") || strings.EqualFold(string(t), "DVD") {
			return true
		}
	}
	return len(v.Types) == 0
}

// patches reports whether the drive is written to by PATCH. XCC's RDOCn hold
// files uploaded to the BMC and Remoten what a browser mounts; neither takes a URL.
func (s *System) patches(v virtualMedia) bool {
	if !s.has(quirk.MediaPatch) || v.Actions.Insert.Target != "" {
		return false
	}
	name := strings.ToUpper(path.Base(v.uri))
	return !strings.HasPrefix(name, "RDOC") && !strings.HasPrefix(name, "REMOTE")
}

// checkImage refuses before anything is sent what the BMC cannot take.
func (s *System) checkImage(op string, r bmc.MediaRequest) error {
	refuse := func(detail string) error {
		return &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: detail}
	}
	u, err := url.Parse(r.URL)
	switch {
	case err != nil, u.Scheme == "", u.Host == "":
		return refuse("the image's URL does not parse")
	case u.User != nil:
		return refuse("the image's URL holds credentials; they go beside it")
	case s.has(quirk.MediaPlainURL) && (strings.ContainsAny(r.URL, "?=") || !strings.HasSuffix(r.URL, ".iso")):
		return refuse("this BMC takes an image only from a URL that ends in .iso and has neither ? nor = in it")
	}
	return nil
}

// noDrive explains why nothing can be inserted.
func noDrive(op string, all []virtualMedia) error {
	var seen []string
	for _, v := range all {
		seen = append(seen, fmt.Sprintf("%s (%s)", path.Base(v.uri), strings.Join(words(v.Types), " ")))
	}
	return &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "no virtual CD drive takes an image by URL; there are " + some(seen)}
}
