package redfish

import (
	"context"
	"encoding/json"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// An iDRAC takes the target Cd for a drive of metal; its virtual CD is chosen by
// its own attributes (dell/iDRAC-Redfish-Scripting #90, #116, #324). iDRAC9 takes
// them by PATCH, iDRAC8 by an import of configuration.

// opDellBoot is the import that chooses a boot device. SetBootOverride waits for
// it, so nobody keeps it.
const opDellBoot = "dell-boot"

// Attributes of the group ServerBoot, and the values used.
const (
	dellFirstDevice = "ServerBoot.1.FirstBootDevice"
	dellBootOnce    = "ServerBoot.1.BootOnce"
	dellVirtualCD   = "VCD-DVD"
	dellNormal      = "Normal"
	dellEnabled     = "Enabled"
	dellDisabled    = "Disabled"
)

const (
	// dellImportPolls × dellImportPause bounds the wait for an import, which takes
	// half a minute.
	dellImportPolls = 60
	dellImportPause = 2 * time.Second
)

// dellManager is DSP0268 Manager with Dell's additions.
type dellManager struct {
	ID    text `json:"Id"`
	Links struct {
		OEM struct {
			Dell struct {
				Attributes list[link] `json:"DellAttributes"`
			} `json:"Dell"`
		} `json:"Oem"`
	} `json:"Links"`
	Actions struct {
		OEM map[string]json.RawMessage `json:"Oem"`
	} `json:"Actions"`
}

// dellBoot is an iDRAC's own choice of where to start from.
type dellBoot struct {
	manager    dellManager
	uri        string // of the attributes
	etag       string
	attributes attributes // without ServerBoot: this iDRAC does not show it
}

func (d *dellBoot) shown() bool { return d.attributes[dellFirstDevice] != nil }

// shows compares what is read with what was written.
func (d *dellBoot) shows(want map[string]string) bool {
	for name, v := range want {
		if d.attributes[name] != v {
			return false
		}
	}
	return true
}

func (s *System) readDellBoot(ctx context.Context, op string, cs *computerSystem) (*dellBoot, error) {
	if len(cs.Links.ManagedBy) == 0 {
		return nil, &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the system names no manager"}
	}
	uri := strings.TrimRight(string(cs.Links.ManagedBy[0]), "/")
	d := &dellBoot{}
	if _, err := s.e.get(ctx, op, uri, &d.manager); err != nil {
		return nil, err
	}
	d.uri = uri + "/Attributes"
	// One of them is the manager's own; the others are the system's and the
	// lifecycle controller's.
	if i := slices.IndexFunc(d.manager.Links.OEM.Dell.Attributes, func(l link) bool {
		return path.Base(strings.TrimRight(string(l), "/")) == path.Base(uri)
	}); i >= 0 {
		d.uri = string(d.manager.Links.OEM.Dell.Attributes[i])
	}
	return d, s.fillDellBoot(ctx, op, d)
}

func (s *System) fillDellBoot(ctx context.Context, op string, d *dellBoot) error {
	var doc struct {
		ETag       text       `json:"@odata.etag"`
		Attributes attributes `json:"Attributes"`
	}
	a, err := s.e.get(ctx, op, d.uri, &doc)
	if unsupported(err) {
		return nil
	}
	if err != nil {
		return err
	}
	d.attributes, d.etag = doc.Attributes, a.etag(doc.ETag)
	return nil
}

// dellOverride reads the iDRAC's own choice.
func (s *System) dellOverride(ctx context.Context, op string, cs *computerSystem) (bmc.BootTarget, bool, error) {
	d, err := s.readDellBoot(ctx, op, cs)
	if unsupported(err) {
		return bmc.BootNone, false, nil
	}
	if err != nil || d.attributes[dellFirstDevice] != dellVirtualCD {
		return bmc.BootNone, false, err
	}
	return bmc.BootCD, d.attributes[dellBootOnce] == dellDisabled, nil
}

// setDellVirtualCD chooses the virtual CD. The firmware mode is not part of the
// choice.
func (s *System) setDellVirtualCD(ctx context.Context, op string, cs *computerSystem, o bmc.BootOverride) error {
	if o.Mode != "" && cs.Boot.Mode != "" && !strings.EqualFold(string(o.Mode), string(cs.Boot.Mode)) {
		return &bmc.Error{
			Class: bmc.Unsupported, Op: op,
			Detail: "the machine starts from a virtual CD in its own mode, " + clean(cs.Boot.Mode) + ": change it in the BIOS settings",
		}
	}
	d, err := s.readDellBoot(ctx, op, cs)
	if err != nil {
		return err
	}
	want := map[string]string{dellFirstDevice: dellVirtualCD, dellBootOnce: dellEnabled}
	if o.Persistent {
		want[dellBootOnce] = dellDisabled
	}
	if d.shown() {
		switch err := s.patchDellBoot(ctx, op, d, want); bmc.ClassOf(err) {
		case bmc.BadRequest, bmc.Unsupported, bmc.Protocol: // iDRAC8 has them to be read
		default:
			return err
		}
	}
	return s.importDellBoot(ctx, op, d, want)
}

// clearDellVirtualCD ends the choice of the virtual CD, which would win over the
// override that is set next.
func (s *System) clearDellVirtualCD(ctx context.Context, op string, cs *computerSystem) error {
	d, err := s.readDellBoot(ctx, op, cs)
	if unsupported(err) {
		return nil
	}
	if err != nil || d.attributes[dellFirstDevice] != dellVirtualCD {
		return err
	}
	want := map[string]string{dellFirstDevice: dellNormal}
	switch err := s.patchDellBoot(ctx, op, d, want); bmc.ClassOf(err) {
	case bmc.BadRequest, bmc.Unsupported, bmc.Protocol:
		return s.importDellBoot(ctx, op, d, want)
	default:
		return err
	}
}

// patchDellBoot writes the attributes and reads them back.
func (s *System) patchDellBoot(ctx context.Context, op string, d *dellBoot, want map[string]string) error {
	if d.shows(want) {
		return nil
	}
	_, err := s.e.do(ctx, call{
		op: op, method: http.MethodPatch, uri: d.uri, match: d.etag,
		body: map[string]any{"Attributes": want},
	})
	if err != nil {
		return err
	}
	for try := range verifyReads {
		if try > 0 {
			if err := s.e.sleep(ctx, verifyPause); err != nil {
				return s.e.classify(ctx, op, err)
			}
		}
		if err := s.fillDellBoot(ctx, op, d); err != nil || d.shows(want) {
			return err
		}
	}
	return &bmc.Error{Class: bmc.Protocol, Op: op, Detail: "the iDRAC took the order, but shows another first boot device"}
}

// importDellBoot has the attributes imported, and waits until they show.
func (s *System) importDellBoot(ctx context.Context, op string, d *dellBoot, want map[string]string) error {
	var target text
	for name, raw := range d.manager.Actions.OEM {
		if strings.HasSuffix(name, "#OemManager.ImportSystemConfiguration") {
			var a action
			if lenient(json.Unmarshal(raw, &a)) == nil {
				target = a.Target
			}
		}
	}
	if target == "" {
		return &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the iDRAC offers neither the attribute " + dellFirstDevice + " nor an import of configuration"}
	}
	body := map[string]any{
		"ShareParameters": map[string]string{"Target": "ALL"},
		"ImportBuffer":    dellImport(d.fqdd(), want),
	}
	o, err := s.begin(ctx, call{op: op, method: http.MethodPost, uri: string(target), body: body}, bmc.Op{Kind: opDellBoot, Resource: d.uri, Want: want})
	if err != nil {
		return err
	}
	for range dellImportPolls {
		if p, err := s.Poll(ctx, o); err != nil || p.Done {
			return err
		}
		if err := s.e.sleep(ctx, dellImportPause); err != nil {
			return s.e.classify(ctx, op, err)
		}
	}
	return &bmc.Error{Class: bmc.Busy, Op: op, Detail: "the iDRAC is still at the import of its boot device", RetryAfter: dellImportPause * dellImportPolls}
}

// readBackDellBoot looks for what was imported. An iDRAC that shows it nowhere is
// believed when its job is over.
func (s *System) readBackDellBoot(ctx context.Context, op string, o bmc.Op) (bmc.Progress, error) {
	d := &dellBoot{uri: o.Resource}
	if err := s.fillDellBoot(ctx, op, d); err != nil {
		return bmc.Progress{}, err
	}
	if d.shown() && !d.shows(o.Want) {
		return bmc.Progress{Percent: -1, Message: "the iDRAC does not show its new boot device yet"}, nil
	}
	return bmc.Progress{Done: true, Percent: 100}, nil
}

// fqdd is Dell's name of the manager.
func (d *dellBoot) fqdd() string {
	if d.manager.ID != "" {
		return string(d.manager.ID)
	}
	return "iDRAC.Embedded.1"
}

// dellImport is a server configuration profile. The job fails if there is white
// space in it that means nothing (sushy-oem-idrac).
func dellImport(fqdd string, want map[string]string) string {
	var b strings.Builder
	b.WriteString(`<SystemConfiguration><Component FQDD="` + xmlSafe(fqdd) + `">`)
	for _, name := range []string{dellBootOnce, dellFirstDevice} {
		if v, ok := want[name]; ok {
			group := strings.Replace(name, "ServerBoot.1.", "ServerBoot.1#", 1)
			b.WriteString(`<Attribute Name="` + group + `">` + v + `</Attribute>`)
		}
	}
	b.WriteString(`</Component></SystemConfiguration>`)
	return b.String()
}

// xmlSafe keeps what an FQDD is made of.
func xmlSafe(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return -1
	}, s)
}
