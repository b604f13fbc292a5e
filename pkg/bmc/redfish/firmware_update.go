package redfish

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

const (
	// slowWrite is what a BMC may take to answer a write of firmware, BIOS or
	// storage: 180 s have been needed (Ironic, redfish-read-timeout).
	slowWrite = 180 * time.Second
	// slowestUpload, in bytes a second, gives an upload its time on top.
	slowestUpload = 128 << 10
	// maxUploadTime bounds it all the same.
	maxUploadTime = 2 * time.Hour
)

// updateService is DSP0268 UpdateService, as far as it is used.
type updateService struct {
	Enabled     *bool      `json:"ServiceEnabled"`
	MaxBytes    amount     `json:"MaxImageSizeBytes"`
	Push        text       `json:"HttpPushUri"`
	Multipart   text       `json:"MultipartHttpPushUri"`
	MultiTimes  applyTimes `json:"MultipartHttpPushUri@Redfish.OperationApplyTimeSupport"`
	Targets     *list[any] `json:"HttpPushUriTargets"`
	TargetsBusy *bool      `json:"HttpPushUriTargetsBusy"`
	Options     struct {
		Time struct {
			At text `json:"ApplyTime"`
		} `json:"HttpPushUriApplyTime"`
	} `json:"HttpPushUriOptions"`
	Actions struct {
		Simple struct {
			Target    text       `json:"target"`
			Protocols list[text] `json:"TransferProtocol@Redfish.AllowableValues"`
			Times     applyTimes `json:"@Redfish.OperationApplyTimeSupport"`
		} `json:"#UpdateService.SimpleUpdate"`
	} `json:"Actions"`
}

// applyTimes is @Redfish.OperationApplyTimeSupport (DSP0266 §9.7).
type applyTimes struct {
	Values list[text] `json:"SupportedValues"`
}

// check refuses an apply time that the BMC does not offer.
func (a applyTimes) check(op string, at bmc.ApplyTime) error {
	if at == "" || len(a.Values) == 0 || slices.Contains(a.Values, text(at)) {
		return nil
	}
	var offered []string
	for _, v := range a.Values {
		offered = append(offered, clean(v))
	}
	return &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: fmt.Sprintf("applyTime %s: the BMC takes %s; choose one of them, or leave it empty", clip(string(at)), some(offered))}
}

// waits reports whether a change asked for at a time waits for the next reset.
func (a applyTimes) waits(at bmc.ApplyTime) bool {
	if at != "" {
		return at == bmc.ApplyOnReset
	}
	return len(a.Values) > 0 && !slices.Contains(a.Values, text(bmc.ApplyNow))
}

// UpdateFirmware implements bmc.Firmware. The BMC fetches the image
// (SimpleUpdate, DSP0268) where a URL is given and it can; else the image is
// uploaded (DSP0266 §12.7, multipart; before that, HttpPushUri).
func (s *System) UpdateFirmware(ctx context.Context, u bmc.FirmwareUpdate) (bmc.Op, error) {
	const op = "update firmware"
	source, err := checkUpdate(op, u)
	if err != nil {
		return bmc.Op{}, err
	}
	var svc updateService
	if _, err := s.e.get(ctx, op, updateURI, &svc); err != nil {
		return bmc.Op{}, err
	}
	if svc.Enabled != nil && !*svc.Enabled {
		return bmc.Op{}, &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the BMC's update service is switched off (ServiceEnabled false)"}
	}
	o := bmc.Op{Kind: opFirmware, Resource: firmwareURI, Want: u.Want}
	if source != nil {
		why := s.cannotPull(svc, source)
		if why == "" {
			return s.pull(ctx, op, svc, source, u, o)
		}
		if u.Image == nil {
			return bmc.Op{}, &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: why}
		}
	}
	return s.push(ctx, op, svc, u, o)
}

func checkUpdate(op string, u bmc.FirmwareUpdate) (*url.URL, error) {
	bad := func(format string, args ...any) error {
		return &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: fmt.Sprintf(format, args...)}
	}
	for uri, version := range u.Want {
		if !strings.HasPrefix(uri, "/") || strings.TrimSpace(version) == "" {
			return nil, bad("want %q: give the component's URI (FirmwareInventory lists them) and the version it shall have", clip(uri))
		}
	}
	switch {
	case u.URL == "" && u.Image == nil:
		return nil, bad("neither a URL nor an image is given")
	case u.Size < 0:
		return nil, bad("size %d is negative", u.Size)
	case u.URL == "":
		return nil, nil
	}
	source, err := url.Parse(u.URL)
	if err != nil || source.Scheme == "" || source.Host == "" {
		return nil, bad("the URL of the image does not parse: give scheme://host/path")
	}
	if source.User != nil {
		return nil, bad("the URL of the image holds credentials: give them as user name and password")
	}
	return source, nil
}

// cannotPull says why the BMC cannot fetch the image itself, or nothing.
func (s *System) cannotPull(svc updateService, source *url.URL) string {
	simple := svc.Actions.Simple
	protocol := strings.ToUpper(source.Scheme)
	switch {
	case simple.Target == "":
		return "the BMC fetches no images (it has no SimpleUpdate): give the image itself"
	case s.has(quirk.FirmwareMultipart):
		return "the SimpleUpdate of this BMC does not work (quirk " + string(quirk.FirmwareMultipart) + "): give the image itself"
	case len(simple.Protocols) > 0 && !slices.ContainsFunc(simple.Protocols, func(p text) bool { return strings.EqualFold(clean(p), protocol) }):
		var offered []string
		for _, p := range simple.Protocols {
			offered = append(offered, clean(p))
		}
		return fmt.Sprintf("the BMC does not fetch images by %s, only by %s: serve the image so, or give the image itself", clip(protocol), some(offered))
	}
	return ""
}

// pull asks the BMC to fetch the image.
func (s *System) pull(ctx context.Context, op string, svc updateService, source *url.URL, u bmc.FirmwareUpdate, o bmc.Op) (bmc.Op, error) {
	simple := svc.Actions.Simple
	if err := simple.Times.check(op, u.ApplyTime); err != nil {
		return bmc.Op{}, err
	}
	body := map[string]any{"ImageURI": u.URL, "TransferProtocol": strings.ToUpper(source.Scheme)}
	if len(u.Targets) > 0 {
		body["Targets"] = u.Targets
	}
	if u.Username != "" {
		body["Username"], body["Password"] = u.Username, u.Password
	}
	if u.ApplyTime != "" {
		body["@Redfish.OperationApplyTime"] = string(u.ApplyTime)
	}
	o.NeedsReset = simple.Times.waits(u.ApplyTime)
	return s.begin(ctx, call{op: op, method: http.MethodPost, uri: string(simple.Target), body: body, timeout: slowWrite}, o)
}

// versioned is anything that tells a version of firmware: SoftwareInventory,
// ComputerSystem, Manager or NetworkAdapter.
type versioned struct {
	Version     text `json:"Version"`
	BIOS        text `json:"BiosVersion"`
	Manager     text `json:"FirmwareVersion"`
	Controllers list[struct {
		Firmware text `json:"FirmwarePackageVersion"`
	}] `json:"Controllers"`
}

func (v versioned) version() string {
	if s := firstOf(clean(v.Version), clean(v.BIOS), clean(v.Manager)); s != "" || len(v.Controllers) == 0 {
		return s
	}
	return clean(v.Controllers[0].Firmware)
}

// readBackFirmware compares versions as they are written: there is no order of
// versions that holds across vendors. Without versions to look for, the end of
// the task is the end.
func (s *System) readBackFirmware(ctx context.Context, op string, o bmc.Op) (bmc.Progress, error) {
	p := bmc.Progress{Done: true, Percent: 100}
	if len(o.Want) == 0 {
		p.Message = "no version was named to be read back"
		return p, nil
	}
	for _, uri := range sortedKeys(o.Want) {
		want := strings.TrimSpace(o.Want[uri])
		var v versioned
		_, err := s.e.get(ctx, op, uri, &v)
		switch {
		case notFound(err): // iDRAC's URIs hold the version, and change with it
			if v.Version, err = s.successor(ctx, op, uri, want); err != nil {
				return bmc.Progress{}, err
			}
		case err != nil:
			return bmc.Progress{}, err
		}
		if got := v.version(); got != want {
			p = bmc.Progress{Percent: -1, Message: fmt.Sprintf("%s has version %q, wanted is %q", clip(uri), got, clip(want))}
			break
		}
	}
	return p, nil
}

// successor looks for the component that took the place of a URI which held its
// version: the same but for the version wanted (Installed-159-1.8.2__BIOS.Setup.1-1).
func (s *System) successor(ctx context.Context, op, uri, want string) (text, error) {
	w, err := s.startWalk(ctx, op)
	if err != nil {
		return "", err
	}
	raws, err := w.collection(ctx, "firmware inventory", resourceRef{id: firmwareURI})
	if err != nil {
		return "", err
	}
	for _, sw := range decodeAll[software](raws) {
		if clean(sw.Version) != want {
			continue
		}
		before, after, found := strings.Cut(foldURI(string(sw.URI)), strings.ToLower(want))
		old := foldURI(uri)
		if found && len(old) > len(before)+len(after) && strings.HasPrefix(old, before) && strings.HasSuffix(old, after) {
			return sw.Version, nil
		}
	}
	return "", nil
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
