package redfish

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

var _ bmc.Storage = (*System)(nil)

// Properties of a volume in Op.Want.
const (
	wantRAID   = "RAIDType"
	wantDrives = "Drives" // URIs, sorted, joined by a blank
	wantGone   = "gone"   // the volume at Op.Resource shall be no more
)

// Storage implements bmc.Storage.
func (s *System) Storage(ctx context.Context) ([]bmc.StorageController, error) {
	const op = "read storage"
	w, err := s.startWalk(ctx, op)
	if err != nil {
		return nil, err
	}
	_, a, err := s.read(ctx, op)
	if err != nil {
		return nil, err
	}
	var hw hardware
	if err := decode(op, a.body, &hw); err != nil {
		return nil, err
	}
	if hw.Storage.id == "" && !hw.Storage.full() {
		return nil, &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the BMC lists no storage of this machine"}
	}
	subs, err := w.subsystems(ctx, hw.Storage, true)
	if err != nil {
		return nil, err
	}
	out := make([]bmc.StorageController, 0, len(subs))
	for _, sub := range subs {
		out = append(out, sub.controller())
	}
	return out, nil
}

func (s subsystem) controller() bmc.StorageController {
	out := bmc.StorageController{ID: string(s.URI), Name: clean(s.Name), Model: s.model(), RAIDTypes: s.raidTypes()}
	for _, c := range s.controllers {
		out.Firmware = firstOf(out.Firmware, clean(c.Firmware))
	}
	for _, d := range s.drives {
		if d.empty() {
			continue
		}
		spare := clean(d.Hotspare)
		out.Drives = append(out.Drives, bmc.Drive{
			ID: string(d.URI), Name: firstOf(clean(d.Name), nameOf(d.ID, d.URI)), Model: clean(d.Model), Serial: clean(d.Serial),
			Bytes: d.Bytes.bytes(), BlockSize: d.Block.bytes(), MediaType: clean(d.Media), Protocol: clean(d.Protocol),
			Health: clean(d.Status.Health), IsHotSpare: spare != "" && !strings.EqualFold(spare, "None"),
		})
	}
	for _, v := range s.volumes {
		b := bmc.Volume{
			ID: string(v.URI), Name: firstOf(clean(v.Name), nameOf(v.ID, v.URI)), RAIDType: v.raid(),
			Bytes: v.Bytes.bytes(), Encrypted: v.Encrypted.value,
		}
		for _, d := range v.Links.Drives {
			b.DriveIDs = append(b.DriveIDs, d.id)
		}
		out.Volumes = append(out.Volumes, b)
	}
	return out
}

// raidTypes are the levels that the controllers say they make.
func (s subsystem) raidTypes() []string {
	var out []string
	for _, c := range s.controllers {
		for _, t := range c.RAIDTypes {
			if r := clean(t); r != "" && !strings.EqualFold(r, "None") && !slices.Contains(out, r) {
				out = append(out, r)
			}
		}
	}
	return out
}

// CreateVolume implements bmc.Storage. A volume of the same drives and level
// that is there already is the answer.
func (s *System) CreateVolume(ctx context.Context, controller string, v bmc.VolumeSpec) (bmc.Op, error) {
	const op = "create volume"
	w, err := s.startWalk(ctx, op)
	if err != nil {
		return bmc.Op{}, err
	}
	var st storageResource
	if _, err := s.e.get(ctx, op, controller, &st); err != nil {
		if notFound(err) {
			return bmc.Op{}, refuse(op, "controller %q: the BMC has none there; Storage lists those it has", controller)
		}
		return bmc.Op{}, err
	}
	if st.Volumes.id == "" {
		return bmc.Op{}, &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the controller makes no volumes"}
	}
	sub, err := w.subsystem(ctx, st, true)
	if err != nil {
		return bmc.Op{}, err
	}
	limits, err := w.volumeLimits(ctx, st.Volumes.id)
	if err != nil {
		return bmc.Op{}, err
	}
	want := bmc.Op{Kind: opVolume, Resource: st.Volumes.id, Want: map[string]string{wantRAID: v.RAIDType, wantDrives: driveSet(v.DriveIDs)}}
	if _, ok := madeAlready(sub.volumes, want); ok && v.RAIDType != "" && len(v.DriveIDs) > 0 {
		want.Done = true
		return want, nil
	}
	if err := checkVolume(op, sub, limits, v); err != nil {
		return bmc.Op{}, err
	}
	drives := make([]map[string]string, 0, len(v.DriveIDs))
	for _, d := range v.DriveIDs {
		drives = append(drives, map[string]string{"@odata.id": d})
	}
	body := map[string]any{"RAIDType": v.RAIDType, "Links": map[string]any{"Drives": drives}}
	if v.Name != "" {
		body["Name"] = v.Name
	}
	if v.Bytes > 0 {
		body["CapacityBytes"] = v.Bytes
	}
	if v.ApplyTime != "" {
		body["@Redfish.OperationApplyTime"] = string(v.ApplyTime)
	}
	want.NeedsReset = limits.Times.waits(v.ApplyTime)
	return s.begin(ctx, call{op: op, method: http.MethodPost, uri: st.Volumes.id, body: body, timeout: slowWrite}, want)
}

// DeleteVolume implements bmc.Storage. A volume that is gone is done.
func (s *System) DeleteVolume(ctx context.Context, uri string) (bmc.Op, error) {
	const op = "delete volume"
	o := bmc.Op{Kind: opVolume, Resource: uri, Want: map[string]string{wantGone: "true"}}
	if !strings.Contains(foldURI(uri), "/volumes/") {
		return bmc.Op{}, refuse(op, "volume %q: this is no volume's URI; Storage lists those there are", uri)
	}
	var v struct {
		ETag text `json:"@odata.etag"`
	}
	a, err := s.e.get(ctx, op, uri, &v)
	if notFound(err) {
		o.Done = true
		return o, nil
	}
	if err != nil {
		return bmc.Op{}, err
	}
	c := call{op: op, method: http.MethodDelete, uri: uri, timeout: slowWrite}
	if s.has(quirk.ETagRequired) {
		c.match = a.etag(v.ETag)
	}
	return s.begin(ctx, c, o)
}

// readBackVolume looks whether a volume is there, or gone.
func (s *System) readBackVolume(ctx context.Context, op string, o bmc.Op) (bmc.Progress, error) {
	if o.Want[wantGone] != "" {
		var v volumeResource
		_, err := s.e.get(ctx, op, o.Resource, &v)
		switch {
		case notFound(err):
			return bmc.Progress{Done: true, Percent: 100}, nil
		case err != nil:
			return bmc.Progress{}, err
		}
		return bmc.Progress{Percent: -1, Message: "the volume is still there"}, nil
	}
	w, err := s.startWalk(ctx, op)
	if err != nil {
		return bmc.Progress{}, err
	}
	raws, err := w.collection(ctx, "volumes", resourceRef{id: o.Resource})
	if err != nil {
		return bmc.Progress{}, err
	}
	other, ok := madeAlready(decodeAll[volumeResource](raws), o)
	switch {
	case ok:
		return bmc.Progress{Done: true, Percent: 100}, nil
	case other != "":
		return bmc.Progress{}, &bmc.Error{Class: bmc.Protocol, Op: op, Detail: fmt.Sprintf("the drives became a volume of %s, wanted was %s", other, clip(o.Want[wantRAID]))}
	}
	return bmc.Progress{Percent: -1, Message: "there is no such volume yet"}, nil
}

// madeAlready looks for a volume of the drives wanted; other is its level, if it
// is another than wanted.
func madeAlready(all []volumeResource, o bmc.Op) (other string, ok bool) {
	for _, v := range all {
		var drives []string
		for _, d := range v.Links.Drives {
			drives = append(drives, d.id)
		}
		if v.raid() == "" || !strings.EqualFold(driveSet(drives), o.Want[wantDrives]) {
			continue
		}
		if strings.EqualFold(v.raid(), o.Want[wantRAID]) {
			return "", true
		}
		other = v.raid()
	}
	return other, false
}

// driveSet makes one text of some drives, whatever their order.
func driveSet(uris []string) string {
	out := make([]string, 0, len(uris))
	for _, u := range uris {
		out = append(out, strings.TrimRight(u, "/"))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}
