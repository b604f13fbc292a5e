package redfish

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// withoutAndWith runs a test with the quirk's switch off, where it must fail, and on.
func withoutAndWith(t *testing.T, q quirk.Name, run func(t *testing.T, quirks ...quirk.Name) error) {
	t.Helper()
	t.Run(string(q)+" off", func(t *testing.T) {
		if err := run(t); err == nil {
			t.Error("it works without the quirk")
		} else {
			t.Log("as it should: ", err)
		}
	})
	t.Run(string(q)+" on", func(t *testing.T) {
		if err := run(t, q); err != nil {
			t.Error(err)
		}
	})
}

// quirk.ContentLength. bmc-toolbox/bmclib internal/redfishwrapper/firmware.go
// (0df7b75), above its Content-Length header: "Without the content-length header
// the http client will set the Transfer-Encoding to 'chunked' and that does not
// work for some BMCs (iDracs)." The answer's code is not on record; 411 is
// RFC 9110's.
func TestQuirkContentLength(t *testing.T) {
	withoutAndWith(t, quirk.ContentLength, func(t *testing.T, quirks ...quirk.Name) error {
		fl := newFlasher(t)
		answer := fl.answer
		fl.answer = func(w http.ResponseWriter) {
			if fl.chunked {
				w.WriteHeader(http.StatusLengthRequired)
				return
			}
			answer(w)
		}
		_, err := dialFlasher(t, fl, quirks...).UpdateFirmware(context.Background(), bmc.FirmwareUpdate{Image: unseekable{image()}})
		if err == nil && fl.file != "UpdateFile firmware.bin firmware" {
			return fmt.Errorf("sent %q", fl.file)
		}
		return err
	})
}

// quirk.PushPath. iLO names "HttpPushUri": "/cgi-bin/uploadFile" (recorded tree
// hpe-dl360-gen12-ilo7, UpdateService). What it takes there, from a public
// script for iLO 5 (set_firmware, found by that path): multipart parts
// sessionKey, parameters {"UpdateRepository", "UpdateTarget", "ETag", "Section"}
// and file, with "Cookie: sessionKey=…"; it is answered with 200 and no task.
func TestQuirkPushPath(t *testing.T) {
	withoutAndWith(t, quirk.PushPath, func(t *testing.T, quirks ...quirk.Name) error {
		fl := newFlasher(t)
		fl.edit(func(svc map[string]any) {
			delete(svc, "MultipartHttpPushUri")
			svc["HttpPushUri"] = "/cgi-bin/uploadFile"
		})
		fl.answer = func(w http.ResponseWriter) {
			token := fl.header.Get("X-Auth-Token")
			if fl.form != "sessionKey="+token+" parameters " || fl.header.Get("Cookie") != "sessionKey="+token ||
				fl.params["UpdateTarget"] != true || fl.file != "file firmware.bin firmware" {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			fl.setVersion("2.0")
			w.WriteHeader(http.StatusOK)
		}
		s := dialFlasher(t, fl, quirks...)
		op, err := s.UpdateFirmware(context.Background(), bmc.FirmwareUpdate{Image: image(), Want: map[string]string{biosURI: "2.0"}})
		if err != nil {
			return err
		}
		if op.Task != "" {
			return fmt.Errorf("task %q", op.Task)
		}
		p, err := s.Poll(context.Background(), op)
		if err == nil && !p.Done {
			err = fmt.Errorf("not done: %+v", p)
		}
		return err
	})
}

// quirk.FirmwareMultipart. OpenBMC lists SimpleUpdate and takes TFTP alone:
// openbmc/bmcweb issue #142 quotes update_service.hpp, "OpenBMC currently only
// supports TFTP … messages::actionParameterNotSupported(asyncResp->res,
// "TransferProtocol", "UpdateService.SimpleUpdate")", which is a 400 with
// Base.ActionParameterNotSupported.
func TestQuirkFirmwareMultipart(t *testing.T) {
	withoutAndWith(t, quirk.FirmwareMultipart, func(t *testing.T, quirks ...quirk.Name) error {
		fl := newFlasher(t)
		answer := fl.answer
		fl.answer = func(w http.ResponseWriter) {
			if fl.body != nil {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, `{"error": {"@Message.ExtendedInfo": [{"MessageId": "Base.1.8.1.ActionParameterNotSupported",
					"Message": "The parameter TransferProtocol for the action UpdateService.SimpleUpdate is not supported on the target resource."}]}}`)
				return
			}
			answer(w)
		}
		_, err := dialFlasher(t, fl, quirks...).UpdateFirmware(context.Background(), bmc.FirmwareUpdate{URL: "http://h/x", Image: image()})
		if err == nil && !strings.HasPrefix(fl.file, "UpdateFile") {
			return fmt.Errorf("sent %q", fl.file)
		}
		return err
	})
}
