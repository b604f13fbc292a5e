package engine

import (
	"context"
	"maps"
	"net/url"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/record"
)

// mediaRequest takes the credentials out of an image's URL: they go beside it, and
// nobody is shown them.
func mediaRequest(image string) (bmc.MediaRequest, error) {
	u, err := url.Parse(image)
	if err != nil {
		return bmc.MediaRequest{}, &bmc.Error{Class: bmc.BadRequest, Op: "insert virtual media", Detail: "the image's URL does not parse"}
	}
	var r bmc.MediaRequest
	if u.User != nil {
		r.Username = u.User.Username()
		r.Password, _ = u.User.Password()
		u.User = nil
	}
	r.URL = u.String()
	return r, nil
}

// insertMedia puts an image into the virtual drive and reads back. The BMC fetches
// it from where it lies, so we have not looked at it; an image that is in the drive
// already is left there.
func (e *Engine) insertMedia(ctx context.Context, in Input, a host.Action) Post {
	r, err := mediaRequest(a.Media)
	if err != nil {
		return failed(a, mediaProblem(ctx, in, "media-insert", "", err))
	}
	c, err := e.conn(ctx, in)
	if err != nil {
		return failed(a, mediaProblem(ctx, in, "media-insert", r.URL, err))
	}
	m, ok := c.(bmc.Media)
	if !ok {
		return failed(a, mediaProblem(ctx, in, "media-insert", r.URL, errNoMedia()))
	}
	if _, err := m.InsertMedia(ctx, r); err != nil {
		return failed(a, mediaProblem(ctx, in, "media-insert", r.URL, err))
	}
	return Post{Event: host.Outcome{Seq: a.Seq}, Extra: record.Extra{Session: session(c)}}
}

// ejectMedia empties the virtual drives. A BMC that has none holds nothing.
func (e *Engine) ejectMedia(ctx context.Context, in Input, a host.Action) Post {
	c, err := e.conn(ctx, in)
	if err != nil {
		return failed(a, mediaProblem(ctx, in, "media-eject", "", err))
	}
	if m, ok := c.(bmc.Media); ok {
		err := m.EjectMedia(ctx, "")
		if err != nil && bmc.ClassOf(err) != bmc.Unsupported {
			return failed(a, mediaProblem(ctx, in, "media-eject", "", err))
		}
	}
	return Post{Event: host.Outcome{Seq: a.Seq}, Extra: record.Extra{Session: session(c)}}
}

func errNoMedia() error {
	return &bmc.Error{Class: bmc.Unsupported, Op: "insert virtual media", Detail: "this protocol has no virtual media"}
}

// mediaProblem sorts what went wrong with a virtual drive. What is wrong with the
// BMC as a whole keeps its own code.
func mediaProblem(ctx context.Context, in Input, code, image string, err error) *host.Problem {
	p := bmcProblem(ctx, in, err)
	switch bmc.ClassOf(err) {
	case bmc.Unsupported:
		code = "media-unsupported"
	case bmc.BadRequest, bmc.Protocol, bmc.Transient, bmc.Precondition:
	case bmc.Busy:
	default:
		code = p.Code
	}
	facts := maps.Clone(p.Facts)
	if image == "" && in.Host.Media != nil {
		if r, err := mediaRequest(in.Host.Media.URL); err == nil {
			image = r.URL
		}
	}
	if image == "" {
		image = "(unknown)"
	}
	facts["media"] = image
	return NewProblem(code, facts, p.Seen...)
}
