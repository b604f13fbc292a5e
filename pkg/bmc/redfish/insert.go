package redfish

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

const (
	// A BMC fetches the head of an image before it says Inserted.
	mediaReads = 20
	mediaPause = 1500 * time.Millisecond
	// mediaTaskReads bounds the wait for an insertion that became a task.
	mediaTaskReads = 40
	// mediaTries of an insertion that 5xx answers, with what Ironic waits.
	mediaTries    = 3
	mediaTryPause = 3 * time.Second
	// mediaPatience is how long a BMC may take to answer an insertion: sushy-tools
	// fetches all of the image first.
	mediaPatience = 10 * time.Minute
)

// mediaBody is the parameters of InsertMedia (DSP0268 VirtualMedia v1.2), and
// the properties of the PATCH that stands for it.
type mediaBody struct {
	Image          string `json:"Image"`
	Inserted       *bool  `json:"Inserted,omitempty"`
	WriteProtected *bool  `json:"WriteProtected,omitempty"`
	UserName       string `json:"UserName,omitempty"`
	Password       string `json:"Password,omitempty"`
	Protocol       string `json:"TransferProtocolType,omitempty"`
	Method         string `json:"TransferMethod,omitempty"`
}

// InsertMedia implements bmc.Media. A drive that holds the image already is left
// as it is.
func (s *System) InsertMedia(ctx context.Context, r bmc.MediaRequest) (bmc.Slot, error) {
	v, err := s.insert(ctx, "insert virtual media", r)
	if err != nil {
		return bmc.Slot{}, append(urlSecrets(r.URL), r.Password).scrub(err)
	}
	return v.slot(), nil
}

func (s *System) insert(ctx context.Context, op string, r bmc.MediaRequest) (virtualMedia, error) {
	if err := s.checkImage(op, r); err != nil {
		return virtualMedia{}, err
	}
	all, err := s.mediaSlots(ctx, op)
	if err != nil {
		return virtualMedia{}, err
	}
	drives := s.drives(all)
	if len(drives) == 0 {
		return virtualMedia{}, noDrive(op, all)
	}
	if s.has(quirk.MediaStale) {
		// What it says of its drives is not to be relied on: all are emptied, and
		// whether that went well the insertion will show.
		for _, v := range all {
			if v.cd() && v.holds() {
				if _, err := s.eject(ctx, op, v); err != nil && (bmc.ClassOf(err) == bmc.Precondition || !passable(err)) {
					return virtualMedia{}, err
				}
			}
		}
	} else {
		for _, v := range drives {
			if v.names(r.URL) {
				return v, nil
			}
		}
	}
	var last error
	for _, v := range drives {
		done, err := s.insertInto(ctx, op, v, r)
		if err == nil {
			return done, nil
		}
		last = err
		refused := bmc.ClassOf(err) == bmc.BadRequest || bmc.ClassOf(err) == bmc.Unsupported
		if !refused || !s.has(quirk.MediaSkipSlot) {
			break
		}
	}
	return virtualMedia{}, last
}

// insertInto empties one drive, orders the insertion and sees it done.
func (s *System) insertInto(ctx context.Context, op string, v virtualMedia, r bmc.MediaRequest) (virtualMedia, error) {
	if v.holds() && !s.has(quirk.MediaStale) {
		if _, err := s.eject(ctx, op, v); err != nil {
			return v, err
		}
	}
	for try := 1; ; try++ {
		err := s.orderInsert(ctx, op, v, r)
		if err == nil {
			break
		}
		if bmc.ClassOf(err) != bmc.Transient || ctx.Err() != nil {
			return v, err
		}
		if !s.has(quirk.MediaStale) {
			// A write that failed inside the BMC may have been carried out.
			if now, readErr := s.readSlot(ctx, op, v.uri); readErr == nil && now.Image != "" && s.holdsImage(now, r.URL) {
				return now, nil
			}
			return v, err
		}
		if try == mediaTries {
			return v, err
		}
		if err := s.e.sleep(ctx, mediaTryPause); err != nil {
			return v, s.e.classify(ctx, op, err)
		}
	}
	now, err := s.awaitSlot(ctx, op, v.uri, func(now virtualMedia) bool { return s.holdsImage(now, r.URL) })
	if err == nil && !s.holdsImage(now, r.URL) {
		detail := "the BMC took the order, but the drive stays empty: it may not reach the image's server"
		if now.holds() {
			detail = "the BMC took the order, but shows another image in the drive"
		}
		err = &bmc.Error{Class: bmc.Protocol, Op: op, Detail: detail}
	}
	return now, err
}

// orderInsert sends the order, and where the BMC asks for more than the standard
// does, again with one more parameter each time.
func (s *System) orderInsert(ctx context.Context, op string, v virtualMedia, r bmc.MediaRequest) error {
	var last error
	for _, body := range s.mediaBodies(v, r) {
		var a *answer
		if v.Actions.Insert.Target == "" {
			a, last = s.patch(ctx, op, v.uri, body)
		} else {
			a, last = s.e.do(ctx, call{op: op, method: http.MethodPost, uri: string(v.Actions.Insert.Target), body: body, timeout: mediaPatience})
		}
		if last == nil {
			return s.awaitTask(ctx, op, s.taskOf(a))
		}
		if bmc.ClassOf(last) != bmc.BadRequest {
			break
		}
	}
	return last
}

// mediaBodies lists the bodies to try. Inserted and WriteProtected are what the
// action does anyway; XCC's PATCH mounts nothing without them.
func (s *System) mediaBodies(v virtualMedia, r bmc.MediaRequest) []mediaBody {
	yes := true
	body := mediaBody{Image: r.URL, Inserted: &yes, WriteProtected: &yes, UserName: r.Username, Password: r.Password}
	if s.has(quirk.MediaMinimalBody) && v.Actions.Insert.Target != "" {
		body.Inserted, body.WriteProtected = nil, nil
	}
	out := []mediaBody{body}
	if !s.has(quirk.MediaTransfer) {
		return out
	}
	if body.Protocol = transferProtocol(r.URL); body.Protocol != "" {
		out = append(out, body)
	}
	body.Method = "Stream"
	out = append(out, body)
	if body.UserName == "" {
		body.UserName, body.Password = "none", "none" // only that there are some
		out = append(out, body)
	}
	return out
}

// transferProtocol is DSP0268 TransferProtocolType for a URL.
func transferProtocol(image string) string {
	u, err := url.Parse(image)
	if err != nil {
		return ""
	}
	switch strings.ToLower(u.Scheme) {
	case "http", "https", "nfs", "cifs", "ftp", "sftp", "tftp", "scp":
		return strings.ToUpper(u.Scheme)
	case "smb":
		return "CIFS"
	}
	return ""
}

// EjectMedia implements bmc.Media.
func (s *System) EjectMedia(ctx context.Context, slot string) error {
	const op = "eject virtual media"
	if slot != "" {
		v, err := s.readSlot(ctx, op, slot)
		if err != nil || !v.holds() {
			return err
		}
		_, err = s.eject(ctx, op, v)
		return err
	}
	all, err := s.mediaSlots(ctx, op)
	if err != nil {
		return err
	}
	var last error
	for _, v := range all {
		if !v.cd() || !v.holds() || v.Actions.Eject.Target == "" && !s.patches(v) {
			continue
		}
		if _, err := s.eject(ctx, op, v); err != nil {
			if !passable(err) {
				return err
			}
			last = err
		}
	}
	return last
}

// eject empties a drive that holds something and sees it done. A BMC that
// refuses, but then shows the drive empty, has done what was asked.
func (s *System) eject(ctx context.Context, op string, v virtualMedia) (virtualMedia, error) {
	if s.has(quirk.MediaOffToEject) {
		state, err := s.PowerState(ctx)
		if err != nil {
			return v, err
		}
		if state != bmc.PowerOff {
			return v, &bmc.Error{
				Class: bmc.Precondition, Op: op,
				Detail: "this BMC empties a virtual drive only while its machine is off: power it off, then eject",
			}
		}
	}
	secret := urlSecrets(string(v.Image))
	err := s.orderEject(ctx, op, v)
	if err != nil && !passable(err) {
		return v, secret.scrub(err)
	}
	if err != nil {
		if now, readErr := s.readSlot(ctx, op, v.uri); readErr == nil && !now.holds() {
			return now, nil
		}
		return v, secret.scrub(err)
	}
	now, err := s.awaitSlot(ctx, op, v.uri, func(now virtualMedia) bool { return !now.holds() })
	if err == nil && now.holds() {
		err = &bmc.Error{Class: bmc.Protocol, Op: op, Detail: "the BMC took the order, but the drive is not empty"}
	}
	return now, secret.scrub(err)
}

func (s *System) orderEject(ctx context.Context, op string, v virtualMedia) error {
	var a *answer
	var err error
	switch {
	case v.Actions.Eject.Target != "":
		c := call{op: op, method: http.MethodPost, uri: string(v.Actions.Eject.Target)}
		if s.has(quirk.EjectEmptyObject) {
			c.body = struct{}{}
		}
		a, err = s.e.do(ctx, c)
	case s.patches(v):
		a, err = s.patch(ctx, op, v.uri, map[string]any{"Image": nil, "Inserted": false})
	default:
		return &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the BMC offers no way to empty this drive"}
	}
	if err != nil {
		return err
	}
	return s.awaitTask(ctx, op, s.taskOf(a))
}

func (s *System) readSlot(ctx context.Context, op, uri string) (virtualMedia, error) {
	v := virtualMedia{uri: uri}
	_, err := s.e.get(ctx, op, uri, &v)
	return v, err
}

// awaitSlot reads a drive until it is as wanted, or no longer.
func (s *System) awaitSlot(ctx context.Context, op, uri string, wanted func(virtualMedia) bool) (virtualMedia, error) {
	var v virtualMedia
	var err error
	for try := range mediaReads {
		if try > 0 {
			if err := s.e.sleep(ctx, mediaPause); err != nil {
				return v, s.e.classify(ctx, op, err)
			}
		}
		v, err = s.readSlot(ctx, op, uri)
		if err == nil && wanted(v) {
			break
		}
		if err != nil && bmc.ClassOf(err) != bmc.Transient && bmc.ClassOf(err) != bmc.Busy {
			break
		}
	}
	return v, err
}

// awaitTask waits for a task (DSP0266 §13.2), if there is one, within bounds. A
// task that is forgotten or does not end is decided by the read-back.
func (s *System) awaitTask(ctx context.Context, op, uri string) error {
	for try := 0; uri != "" && try < mediaTaskReads; try++ {
		if try > 0 {
			if err := s.e.sleep(ctx, mediaPause); err != nil {
				return s.e.classify(ctx, op, err)
			}
		}
		p, found, err := s.pollTask(ctx, op, uri)
		if !found || unsupported(err) {
			return nil
		}
		if err != nil || p.Done {
			return err
		}
	}
	return nil
}
