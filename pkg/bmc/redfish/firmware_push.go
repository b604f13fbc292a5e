package redfish

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// form is how an upload is wrapped.
type form int

const (
	formRaw       form = iota // the image alone, application/octet-stream (HttpPushUri)
	formMultipart             // UpdateParameters and UpdateFile (DSP0266 §12.7.1)
	formSession               // sessionKey, parameters, file; the token as a cookie too
)

// pushForm tells how a path wants its uploads. These paths are no part of the
// standard, which names HttpPushUri and leaves the form open.
func (s *System) pushForm(uri string) form {
	if !s.has(quirk.PushPath) {
		return formRaw
	}
	for _, known := range []struct {
		path string
		form form
	}{
		{"/cgi-bin/uploadFile", formSession},             // iLO 5 to 7
		{"/mfwupdate", formMultipart},                    // XCC, also where HttpPushUri names it
		{updateURI + "/update-multipart", formMultipart}, // NVIDIA's OpenBMC
		{updateURI + "/upload", formMultipart},           // MegaRAC
	} {
		if sameURI(known.path, uri) {
			return known.form
		}
	}
	return formRaw
}

// push uploads the image.
func (s *System) push(ctx context.Context, op string, svc updateService, u bmc.FirmwareUpdate, o bmc.Op) (bmc.Op, error) {
	if u.Image == nil {
		return bmc.Op{}, &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: "no image is given"}
	}
	up := &upload{form: formMultipart, image: u.Image, size: u.Size, name: path.Base(firstOf(u.Name, "firmware.bin"))}
	defer up.stop() // net/http may read on after the answer
	uri := string(svc.Multipart)
	if uri == "" {
		if uri = string(svc.Push); uri == "" {
			return bmc.Op{}, &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the BMC takes no uploads: give a URL that it can fetch"}
		}
		up.form = s.pushForm(uri)
	}
	if err := s.measure(op, up); err != nil {
		return bmc.Op{}, err
	}
	if most := svc.MaxBytes.bytes(); most > 0 && up.size > most {
		return bmc.Op{}, &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: fmt.Sprintf("size %d: the BMC takes at most %d bytes; give the image of one component", up.size, most)}
	}
	switch up.form {
	case formMultipart:
		if err := svc.MultiTimes.check(op, u.ApplyTime); err != nil {
			return bmc.Op{}, err
		}
		o.NeedsReset = svc.MultiTimes.waits(u.ApplyTime)
		parameters := map[string]any{"Targets": append([]string{}, u.Targets...)}
		if u.ApplyTime != "" {
			parameters["@Redfish.OperationApplyTime"] = string(u.ApplyTime)
		}
		up.parameters = parameters
	case formSession:
		up.parameters = map[string]any{"UpdateRepository": false, "UpdateTarget": true, "ETag": "ingot", "Section": 0}
	case formRaw:
		release, err := s.reserve(ctx, op, svc, u)
		if err != nil {
			return bmc.Op{}, err
		}
		defer release()
		o.NeedsReset = u.ApplyTime == bmc.ApplyOnReset
	}
	timeout := min(slowWrite+time.Duration(max(up.size, 0)/slowestUpload)*time.Second, maxUploadTime)
	o, err := s.begin(ctx, call{op: op, method: http.MethodPost, uri: uri, upload: up, timeout: timeout}, o)
	if err != nil {
		if own := up.fault(op); own != nil {
			return bmc.Op{}, own
		}
	}
	return o, err
}

// reserve sets what a raw upload cannot carry itself: when and to what it is
// applied (DSP0268 UpdateService, HttpPushUriOptions and HttpPushUriTargets).
func (s *System) reserve(ctx context.Context, op string, svc updateService, u bmc.FirmwareUpdate) (release func(), err error) {
	release = func() {}
	if svc.TargetsBusy != nil && *svc.TargetsBusy {
		return release, &bmc.Error{Class: bmc.Busy, Op: op, Detail: "another client holds the BMC's update service (HttpPushUriTargetsBusy)"}
	}
	body := map[string]any{}
	if at := string(u.ApplyTime); at != "" && clean(svc.Options.Time.At) != at && clean(svc.Options.Time.At) != "" {
		body["HttpPushUriOptions"] = map[string]any{"HttpPushUriApplyTime": map[string]any{"ApplyTime": at}}
	}
	if len(u.Targets) > 0 && svc.Targets != nil {
		body["HttpPushUriTargets"] = u.Targets
		if svc.TargetsBusy != nil {
			body["HttpPushUriTargetsBusy"] = true
			release = func() {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
				defer cancel()
				// A reservation that stays is a nuisance, not a failed update.
				_, _ = s.patch(ctx, op, updateURI, map[string]any{"HttpPushUriTargetsBusy": false, "HttpPushUriTargets": []string{}})
			}
		}
	}
	if len(body) == 0 {
		return release, nil
	}
	_, err = s.patch(ctx, op, updateURI, body)
	return release, err
}

// maxBuffer is what is kept in memory of an image whose length nobody knows.
const maxBuffer = 256 << 20

// measure finds the image's length, so that it is sent with a Content-Length.
// An image that tells none is sent in chunks, or, to a BMC that knows none, read
// into memory first.
func (s *System) measure(op string, up *upload) error {
	if seeker, ok := up.image.(io.Seeker); ok {
		var end int64
		start, err := seeker.Seek(0, io.SeekCurrent)
		if err == nil {
			end, err = seeker.Seek(0, io.SeekEnd)
		}
		if err == nil {
			_, err = seeker.Seek(start, io.SeekStart)
		}
		switch {
		case err != nil:
			return imageError(op, err)
		case up.size > 0 && up.size != end-start:
			return refuse(op, "size %d: the image has %d bytes", up.size, end-start)
		}
		up.size, up.start = end-start, start
		return nil
	}
	if up.size > 0 {
		return nil
	}
	up.size = -1
	if !s.has(quirk.ContentLength) {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(up.image, maxBuffer+1))
	if err != nil {
		return imageError(op, err)
	}
	if len(data) > maxBuffer {
		return refuse(op, "size is not given, the BMC must be told it, and the image is longer than 256 MiB: give its size")
	}
	up.image, up.size = bytes.NewReader(data), int64(len(data))
	return nil
}

func imageError(op string, err error) error {
	return &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: "the image cannot be read", Err: err}
}

// upload is the body of a push. It is streamed, never held.
type upload struct {
	form       form
	parameters map[string]any
	image      io.Reader
	size       int64 // -1: not known
	start      int64 // where an image that can seek begins
	name       string

	current *guarded // what the request under way reads
	failed  error    // why there was no request
}

// fault is what went wrong on our side of an upload.
func (up *upload) fault(op string) error {
	if up.failed != nil {
		return up.failed
	}
	if up.current == nil {
		return nil
	}
	read, err := up.current.stop()
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return refuse(op, "size %d: the image ended after %d bytes", up.size, read)
	case err != nil:
		return imageError(op, err)
	}
	return nil
}

func (up *upload) stop() {
	if up.current != nil {
		_, _ = up.current.stop()
	}
}

// fill makes the request's body. It is called again if the session had ended: an
// image that can seek is then read from its beginning.
func (up *upload) fill(req *http.Request, op string, id identity) error {
	seeker, ok := up.image.(io.Seeker)
	switch {
	case up.current != nil && !ok:
		up.failed = &bmc.Error{Class: bmc.Transient, Op: op, Detail: "the BMC ended the session during the upload: begin again"}
		return up.failed
	case up.current != nil:
		up.stop()
		if _, err := seeker.Seek(up.start, io.SeekStart); err != nil {
			up.failed = imageError(op, err)
			return up.failed
		}
	}
	if up.form == formSession && id.token == "" {
		up.failed = &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the BMC takes uploads in a session only, and gave none"}
		return up.failed
	}
	up.current = &guarded{r: up.image, left: up.size}
	var body io.Reader = up.current
	kind, length := "application/octet-stream", up.size
	if up.form != formRaw {
		head, tail, boundary, err := up.envelope(id)
		if err != nil {
			return err
		}
		kind, body = boundary, io.MultiReader(bytes.NewReader(head), body, bytes.NewReader(tail))
		if length >= 0 {
			length += int64(len(head) + len(tail))
		}
	}
	if up.form == formSession {
		req.Header.Set("Cookie", "sessionKey="+id.token)
	}
	req.Header.Set("Content-Type", kind)
	req.Body, req.ContentLength = io.NopCloser(body), length
	return nil
}

// envelope is what stands before and after the image in a multipart body.
func (up *upload) envelope(id identity) (head, tail []byte, contentType string, err error) {
	parameters, err := json.Marshal(up.parameters)
	if err != nil {
		return nil, nil, "", err
	}
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	names := [2]string{"UpdateParameters", "UpdateFile"}
	if up.form == formSession {
		names = [2]string{"parameters", "file"}
		if err := w.WriteField("sessionKey", id.token); err != nil {
			return nil, nil, "", err
		}
	}
	h := textproto.MIMEHeader{}
	h.Set("Content-Disposition", fmt.Sprintf(`form-data; name="%s"`, names[0]))
	h.Set("Content-Type", "application/json")
	part, err := w.CreatePart(h)
	if err != nil {
		return nil, nil, "", err
	}
	if _, err := part.Write(parameters); err != nil {
		return nil, nil, "", err
	}
	quoted := strings.NewReplacer(`\`, "_", `"`, "_", "\r", "_", "\n", "_").Replace(up.name)
	h = textproto.MIMEHeader{}
	h.Set("Content-Disposition", fmt.Sprintf(`form-data; name="%s"; filename="%s"`, names[1], quoted))
	h.Set("Content-Type", "application/octet-stream")
	if _, err := w.CreatePart(h); err != nil {
		return nil, nil, "", err
	}
	at := b.Len()
	if err := w.Close(); err != nil {
		return nil, nil, "", err
	}
	return b.Bytes()[:at:at], b.Bytes()[at:], w.FormDataContentType(), nil
}

// guarded reads as much of an image as was promised, and nothing more once it
// has been stopped: net/http may read on after it has returned.
type guarded struct {
	mu      sync.Mutex
	r       io.Reader
	left    int64 // of what was promised; negative: all there is
	read    int64
	err     error
	stopped bool
}

func (g *guarded) Read(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.stopped:
		return 0, io.ErrClosedPipe
	case g.left == 0:
		return 0, io.EOF
	case g.left > 0 && int64(len(p)) > g.left:
		p = p[:g.left]
	}
	n, err := g.r.Read(p)
	g.read += int64(n)
	if g.left > 0 {
		if g.left -= int64(n); g.left > 0 && err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
	}
	if err != nil && err != io.EOF {
		g.err = err
	}
	return n, err
}

// stop ends reading, and tells how far it came and what stopped it before.
func (g *guarded) stop() (read int64, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopped = true
	return g.read, g.err
}
