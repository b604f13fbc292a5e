package redfish

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

const (
	biosURI   = firmwareURI + "/BIOS"
	simpleURI = updateURI + "/Actions/UpdateService.SimpleUpdate"
	fwTaskURI = "/redfish/v1/TaskService/Tasks/7"
)

// flasher is a fake BMC with an update service. Uploads are recorded as they
// came; what is answered to a write is the test's.
type flasher struct {
	*fake
	form    string // name of the upload's JSON part, if it has one
	params  map[string]any
	file    string
	header  http.Header
	length  int64
	chunked bool
	body    map[string]any // of a SimpleUpdate
	answer  func(w http.ResponseWriter)
}

func newFlasher(t *testing.T) *flasher {
	fl := &flasher{fake: newFake(t)}
	fl.put(updateURI, fmt.Sprintf(`{"ServiceEnabled": true, "MaxImageSizeBytes": 1000000,
		"FirmwareInventory": {"@odata.id": %q}, "HttpPushUri": "/redfish/v1/UpdateService/update", "MultipartHttpPushUri": "/push",
		"Actions": {"#UpdateService.SimpleUpdate": {"target": %q,
			"@Redfish.OperationApplyTimeSupport": {"SupportedValues": ["Immediate", "OnReset"]},
			"TransferProtocol@Redfish.AllowableValues": ["HTTP", "HTTPS"]}}}`, firmwareURI, simpleURI))
	fl.put(firmwareURI, fmt.Sprintf(`{"Members": [{"@odata.id": %q}]}`, biosURI))
	fl.setVersion("1.0")
	fl.answer = func(w http.ResponseWriter) {
		w.Header().Set("Location", fwTaskURI)
		w.WriteHeader(http.StatusAccepted)
	}
	fl.setTask("Running", 40)
	fl.fault = fl.handle
	return fl
}

func (fl *flasher) setVersion(v string) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.put(biosURI, fmt.Sprintf(`{"@odata.id": %q, "@odata.type": "#SoftwareInventory.v1_2_0.SoftwareInventory", "Id": "BIOS",
		"Name": "System BIOS", "Version": %q, "Updateable": true}`, biosURI, v))
}

func (fl *flasher) setTask(state string, percent int) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.put(fwTaskURI, fmt.Sprintf(`{"@odata.id": %q, "@odata.type": "#Task.v1_4_3.Task", "TaskState": %q, "PercentComplete": %d}`, fwTaskURI, state, percent))
}

// edit changes the update service.
func (fl *flasher) edit(change func(svc map[string]any)) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	change(fl.docs[updateURI])
}

func (fl *flasher) handle(w http.ResponseWriter, r *http.Request) bool {
	path := r.URL.Path
	if r.Method != http.MethodPost || strings.HasSuffix(path, "/Sessions") {
		return false
	}
	fl.mu.Lock()
	allowed := fl.allowed(r)
	fl.mu.Unlock()
	if !allowed {
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	fl.header, fl.length, fl.chunked = r.Header.Clone(), r.ContentLength, len(r.TransferEncoding) > 0
	kind, args, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch kind {
	case "multipart/form-data":
		parts := multipart.NewReader(r.Body, args["boundary"])
		for {
			p, err := parts.NextPart()
			if err != nil {
				break
			}
			data, _ := io.ReadAll(p)
			switch {
			case p.FileName() != "":
				fl.file = p.FormName() + " " + p.FileName() + " " + string(data)
			case json.Unmarshal(data, &fl.params) == nil:
				fl.form += p.FormName() + " "
			default:
				fl.form += p.FormName() + "=" + string(data) + " "
			}
		}
	case "application/octet-stream":
		data, _ := io.ReadAll(r.Body)
		fl.file = string(data)
	default:
		_ = json.NewDecoder(r.Body).Decode(&fl.body)
	}
	fl.answer(w)
	return true
}

func dialFlasher(t *testing.T, fl *flasher, quirks ...quirk.Name) *System {
	t.Helper()
	set := quirk.Set{}
	for _, q := range quirks {
		set[q] = true
	}
	s, err := dial(t, serve(t, fl), admin, Options{Quirks: set})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// unseekable hides that a reader can seek.
type unseekable struct{ io.Reader }

func image() io.Reader { return bytes.NewReader([]byte("firmware")) }

func TestSimpleUpdate(t *testing.T) {
	fl := newFlasher(t)
	s := dialFlasher(t, fl)
	ctx := context.Background()
	op, err := s.UpdateFirmware(ctx, bmc.FirmwareUpdate{
		URL: "http://10.0.0.1/bios.bin", Username: "u", Password: "p", Targets: []string{biosURI},
		ApplyTime: bmc.ApplyOnReset, Want: map[string]string{biosURI: "2.0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := bmc.Op{Kind: opFirmware, Task: fwTaskURI, Resource: firmwareURI, Want: map[string]string{biosURI: "2.0"}, NeedsReset: true}
	if d := cmp.Diff(want, op); d != "" {
		t.Errorf("op (-want +got):\n%s", d)
	}
	body := map[string]any{
		"ImageURI": "http://10.0.0.1/bios.bin", "TransferProtocol": "HTTP", "Username": "u", "Password": "p",
		"Targets": []any{biosURI}, "@Redfish.OperationApplyTime": "OnReset",
	}
	if d := cmp.Diff(body, fl.body); d != "" {
		t.Errorf("request (-want +got):\n%s", d)
	}
	// A restart of ours: all that is left is the Op, as JSON.
	data, err := json.Marshal(op)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte(`"p"`)) {
		t.Errorf("the password is in the record: %s", data)
	}
	var resumed bmc.Op
	if err := json.Unmarshal(data, &resumed); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		state, version string
		done           bool
	}{{"Running", "1.0", false}, {"Completed", "1.0", false}, {"Completed", "2.0 ", true}} {
		fl.setTask(step.state, 50)
		fl.setVersion(step.version)
		p, err := s.Poll(ctx, resumed)
		if err != nil || p.Done != step.done {
			t.Errorf("task %s, version %s: %+v, %v", step.state, step.version, p, err)
		}
	}
	fl.setTask("Exception", 50)
	if _, err := s.Poll(ctx, resumed); bmc.ClassOf(err) != bmc.BadRequest {
		t.Errorf("a task that failed: %v", err)
	}
}

func TestMultipartPush(t *testing.T) {
	fl := newFlasher(t)
	s := dialFlasher(t, fl)
	op, err := s.UpdateFirmware(context.Background(), bmc.FirmwareUpdate{
		Image: unseekable{image()}, Size: 8, Name: `dir/bi"os.bin`, Targets: []string{biosURI}, ApplyTime: bmc.ApplyNow,
	})
	if err != nil || op.Task != fwTaskURI || op.NeedsReset {
		t.Fatalf("%+v, %v", op, err)
	}
	if fl.form != "UpdateParameters " || fl.file != "UpdateFile bi_os.bin firmware" {
		t.Errorf("parts %q, %q", fl.form, fl.file)
	}
	if d := cmp.Diff(map[string]any{"Targets": []any{biosURI}, "@Redfish.OperationApplyTime": "Immediate"}, fl.params); d != "" {
		t.Errorf("parameters (-want +got):\n%s", d)
	}
	if fl.chunked || fl.length <= 8 {
		t.Errorf("length %d, chunked %t", fl.length, fl.chunked)
	}
	// Without a version to look for, the task's end is the end.
	fl.setTask("Completed", 100)
	if p, err := s.Poll(context.Background(), op); err != nil || !p.Done {
		t.Errorf("%+v, %v", p, err)
	}
}

// The session may end between the read of the service and the upload. What can
// be rewound is sent again, once; what cannot is the caller's to begin again.
func TestPushSessionEnds(t *testing.T) {
	for name, tc := range map[string]struct {
		image io.Reader
		want  bmc.Class
	}{
		"rewound": {image: image()},
		"stream":  {image: unseekable{image()}, want: bmc.Transient},
	} {
		t.Run(name, func(t *testing.T) {
			fl := newFlasher(t)
			s := dialFlasher(t, fl)
			handle, cut := fl.fault, true
			fl.fault = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/push" && cut {
					cut = false
					_, _ = io.Copy(io.Discard, r.Body)
					w.WriteHeader(http.StatusUnauthorized)
					return true
				}
				return handle(w, r)
			}
			_, err := s.UpdateFirmware(context.Background(), bmc.FirmwareUpdate{Image: tc.image, Size: 8})
			if tc.want != "" {
				if bmc.ClassOf(err) != tc.want {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || fl.file != "UpdateFile firmware.bin firmware" {
				t.Errorf("%q, %v", fl.file, err)
			}
		})
	}
}

// What is wrong with the image is said of the image, not of the BMC.
func TestPushBadImage(t *testing.T) {
	for name, tc := range map[string]struct {
		image io.Reader
		size  int64
		want  string
	}{
		"short":        {unseekable{image()}, 9, "size 9: the image ended after 8 bytes"},
		"wrong size":   {image(), 9, "size 9: the image has 8 bytes"},
		"breaks off":   {unseekable{io.MultiReader(image(), iotest.ErrReader(errors.New("disk on fire")))}, 20, "the image cannot be read: disk on fire"},
		"not readable": {unseekable{iotest.ErrReader(errors.New("disk on fire"))}, 0, "the image cannot be read: disk on fire"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := dialFlasher(t, newFlasher(t)).UpdateFirmware(context.Background(), bmc.FirmwareUpdate{Image: tc.image, Size: tc.size})
			if bmc.ClassOf(err) != bmc.BadRequest || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestRawPush(t *testing.T) {
	fl := newFlasher(t)
	fl.edit(func(svc map[string]any) {
		delete(svc, "MultipartHttpPushUri")
		svc["HttpPushUriTargets"], svc["HttpPushUriTargetsBusy"] = []any{}, false
		svc["HttpPushUriOptions"] = map[string]any{"HttpPushUriApplyTime": map[string]any{"ApplyTime": "Immediate"}}
	})
	handle := fl.fault
	var patches []string
	fl.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPatch {
			data, _ := io.ReadAll(r.Body)
			patches = append(patches, string(data))
			return true
		}
		return handle(w, r)
	}
	s := dialFlasher(t, fl)
	op, err := s.UpdateFirmware(context.Background(), bmc.FirmwareUpdate{Image: image(), Targets: []string{biosURI}, ApplyTime: bmc.ApplyOnReset})
	if err != nil || !op.NeedsReset || op.Task != fwTaskURI {
		t.Fatalf("%+v, %v", op, err)
	}
	if fl.file != "firmware" || fl.length != 8 {
		t.Errorf("sent %q with length %d", fl.file, fl.length)
	}
	want := []string{
		`{"HttpPushUriOptions":{"HttpPushUriApplyTime":{"ApplyTime":"OnReset"}},"HttpPushUriTargets":["` + biosURI + `"],"HttpPushUriTargetsBusy":true}`,
		`{"HttpPushUriTargets":[],"HttpPushUriTargetsBusy":false}`,
	}
	if d := cmp.Diff(want, patches); d != "" {
		t.Errorf("the service is reserved and released (-want +got):\n%s", d)
	}
	fl.edit(func(svc map[string]any) { svc["HttpPushUriTargetsBusy"] = true })
	if _, err := s.UpdateFirmware(context.Background(), bmc.FirmwareUpdate{Image: image()}); bmc.ClassOf(err) != bmc.Busy {
		t.Errorf("a service that is held: %v", err)
	}
}

func TestUpdateFirmwareRefuses(t *testing.T) {
	for _, tc := range []struct {
		name   string
		update bmc.FirmwareUpdate
		edit   func(svc map[string]any)
		want   string
		class  bmc.Class
	}{
		{name: "nothing", want: "neither a URL nor an image", class: bmc.BadRequest},
		{name: "credentials in the URL", update: bmc.FirmwareUpdate{URL: "http://u:hush@h/x"}, want: "give them as user name", class: bmc.BadRequest},
		{name: "no URL", update: bmc.FirmwareUpdate{URL: "bios.bin"}, want: "scheme://host/path", class: bmc.BadRequest},
		{name: "wanted version", update: bmc.FirmwareUpdate{URL: "http://h/x", Want: map[string]string{"bios": "2"}}, want: `want "bios"`, class: bmc.BadRequest},
		{name: "protocol", update: bmc.FirmwareUpdate{URL: "tftp://h/x"}, want: "not fetch images by TFTP, only by HTTP, HTTPS", class: bmc.Unsupported},
		{name: "apply time", update: bmc.FirmwareUpdate{URL: "http://h/x", ApplyTime: "AtNoon"}, want: "the BMC takes Immediate, OnReset", class: bmc.BadRequest},
		{name: "too large", update: bmc.FirmwareUpdate{Image: unseekable{image()}, Size: 2000000}, want: "at most 1000000 bytes", class: bmc.BadRequest},
		{
			name: "no SimpleUpdate", update: bmc.FirmwareUpdate{URL: "http://h/x"}, edit: func(svc map[string]any) { delete(svc, "Actions") },
			want: "give the image itself", class: bmc.Unsupported,
		},
		{
			name: "no upload", update: bmc.FirmwareUpdate{Image: image()}, want: "give a URL", class: bmc.Unsupported,
			edit: func(svc map[string]any) { delete(svc, "HttpPushUri"); delete(svc, "MultipartHttpPushUri") },
		},
		{
			name: "switched off", update: bmc.FirmwareUpdate{Image: image()}, want: "switched off", class: bmc.Unsupported,
			edit: func(svc map[string]any) { svc["ServiceEnabled"] = false },
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fl := newFlasher(t)
			if tc.edit != nil {
				fl.edit(tc.edit)
			}
			_, err := dialFlasher(t, fl).UpdateFirmware(context.Background(), tc.update)
			if err == nil || bmc.ClassOf(err) != tc.class || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hush") {
				t.Errorf("got %v, want class %s and %q", err, tc.class, tc.want)
			}
			if fl.file != "" || fl.body != nil {
				t.Error("something was sent")
			}
		})
	}
}

// The URI of a component may hold its version, and is another after the update:
// iDRAC's Installed-159-1.8.2__BIOS.Setup.1-1 (recorded tree dell-r750-idrac9).
func TestFirmwareSuccessor(t *testing.T) {
	fl := newFlasher(t)
	s := dialFlasher(t, fl)
	old, now := firmwareURI+"/Installed-159-1.8.2__BIOS.Setup.1-1", firmwareURI+"/Installed-159-1.10.2__BIOS.Setup.1-1"
	other := firmwareURI + "/Installed-25227-1.10.2__iDRAC.Embedded.1-1"
	op := bmc.Op{Kind: opFirmware, Want: map[string]string{old: "1.10.2"}}
	for _, step := range []struct {
		uri, version string
		done         bool
	}{{other, "1.10.2", false}, {now, "1.10.2", true}} {
		fl.mu.Lock()
		fl.put(firmwareURI, fmt.Sprintf(`{"Members": [{"@odata.id": %q}]}`, step.uri))
		fl.put(step.uri, fmt.Sprintf(`{"@odata.id": %q, "Version": %q}`, step.uri, step.version))
		fl.mu.Unlock()
		p, err := s.Poll(context.Background(), op)
		if err != nil || p.Done != step.done {
			t.Errorf("%s: %+v, %v", step.uri, p, err)
		}
	}
}

// A BMC that says nothing for longer than reads may take is waited for when it
// writes flash.
func TestFirmwareWriteIsPatient(t *testing.T) {
	fl := newFlasher(t)
	fl.answer = func(w http.ResponseWriter) {
		time.Sleep(2 * time.Second) // the BMC's own slowness
		w.WriteHeader(http.StatusAccepted)
	}
	s, err := dial(t, serve(t, fl), admin, Options{Timeout: 1500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.UpdateFirmware(context.Background(), bmc.FirmwareUpdate{URL: "http://h/x"}); err != nil {
		t.Error(err)
	}
}

func TestFirmwareInventoryRecordedTrees(t *testing.T) {
	for _, tc := range []struct {
		set   string
		named []string // component, URI's end, version, updatable
		all   int
	}{
		{"dell-r750-idrac9", []string{
			"bios Installed-159-1.8.2__BIOS.Setup.1-1 1.8.2 true", "bmc Installed-25227-6.00.30.00__iDRAC.Embedded.1-1 6.00.30.00 true",
			"nic:NIC.Embedded.1 NIC.Embedded.1 21.80.9 true", "nic:NIC.Integrated.1 NIC.Integrated.1 21.80.16.95 true",
			"nic:NIC.Slot.5 NIC.Slot.5 24.40.10.00 true", "nic:InfiniBand.Slot.7 InfiniBand.Slot.7 20.31.10.14 true",
		}, 33},
		{"dmtf-public-rackmount1", []string{"bios 437XR1138R2 P79 v1.45 (12/06/2017) true", "bmc BMC 1.45.455b66-rev4 true"}, 4},
		{"hpe-dl360-gen12-ilo7", []string{
			"bios 2 U68 v1.40 (05/22/2025) true", "bmc 1 1.14.00 May 28 2025 true",
			"nic:DE041000 DE041000 2.10.08 true", "nic:DE040000 DE040000 28.44.1036 true",
		}, 18},
		{"lenovo-sr670-xcc", []string{"bios 1 U8E112A true", "bmc 1 TGBT20E 1.40 2021-05-17 true"}, 14},
		{"openbmc-stock", []string{"bmc 5d0869c4 2.15.0-dev-686-g100c36de90 true"}, 1},
		{"supermicro-gb300-nvl", []string{"bios AB86B73D_8D56_41E4_971E_B11DB71F2E33 2.1b false", "bmc FW_BMC_0 70.01.00.09 true"}, 29},
	} {
		t.Run(tc.set, func(t *testing.T) {
			tr := openTree(t, tc.set)
			s := dialTree(t, expandingTree{tree: tr})
			before := tr.requests()
			all, err := s.FirmwareInventory(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			var named []string
			for _, c := range all {
				if c.ID == "" || c.Version == "" && c.Component != "" {
					t.Errorf("component without id or version: %+v", c)
				}
				if c.Component != "" {
					named = append(named, fmt.Sprintf("%s %s %s %t", c.Component, tailOf(c.ID), c.Version, c.Updatable))
				}
			}
			if d := cmp.Diff(tc.named, named); d != "" {
				t.Errorf("named components (-want +got):\n%s", d)
			}
			if len(all) != tc.all {
				t.Errorf("%d components, want %d", len(all), tc.all)
			}
			t.Logf("%d requests", tr.requests()-before)
			// Every one can be read back.
			for _, c := range all[:min(len(all), len(tc.named))] {
				p, err := s.Poll(context.Background(), bmc.Op{Kind: opFirmware, Want: map[string]string{c.ID: c.Version}})
				if err != nil || !p.Done {
					t.Errorf("%s %s: %+v, %v", c.Component, c.ID, p, err)
				}
			}
		})
	}
}
