package redfish

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

const (
	taskURI    = "/redfish/v1/TaskService/Tasks/545"
	monitorURI = "/redfish/v1/TaskService/TaskMonitors/545"
)

// answers serves one URI by a handler.
func answers(f *fake, uri string, h http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.fault
	f.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == uri {
			h(w, r)
			return true
		}
		return before != nil && before(w, r)
	}
}

// softOff is an Op that the system's power state decides.
func softOff(task string) bmc.Op {
	return bmc.Op{Kind: opPower, Task: task, Want: map[string]string{"PowerState": "Off"}}
}

func TestPoll(t *testing.T) {
	retry := func(code int, seconds, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", seconds)
			w.WriteHeader(code)
			fmt.Fprint(w, body)
		}
	}
	for _, tc := range []struct {
		name  string
		h     http.HandlerFunc
		state string // of the machine: Off is what is wanted
		want  bmc.Progress
		class bmc.Class
		part  string
	}{
		// A task monitor (DSP0266 §13.2).
		{name: "monitor, working, no body", h: retry(202, "20", ""), want: bmc.Progress{Percent: -1, RetryAfter: 20 * time.Second}},
		{
			name: "monitor, working, with the task", h: retry(202, "5", `{"@odata.type": "#Task.v1_7_0.Task", "TaskState": "Running", "PercentComplete": 40}`),
			want: bmc.Progress{Percent: 40, State: "Running", RetryAfter: 5 * time.Second},
		},
		{name: "monitor, working, no JSON", h: retry(202, "", "<html>"), want: bmc.Progress{Percent: -1}},
		{name: "monitor, over, 204", h: status(204, ""), state: "Off", want: bmc.Progress{Percent: -1, State: "Off", Done: true}},
		{name: "monitor, over, with the answer", h: status(200, `{"error": {"code": "Base.1.0.Success"}}`), state: "Off", want: bmc.Progress{Percent: -1, State: "Off", Done: true}},
		{name: "monitor, over, not yet to be seen", h: status(200, ``), state: "On", want: bmc.Progress{Percent: -1, State: "On"}},
		{name: "monitor, over, failed", h: status(400, `{"error": {"message": "no such image"}}`), class: bmc.BadRequest, part: "no such image"},
		{name: "monitor, no JSON", h: status(200, "<html>"), class: bmc.Protocol, part: "no JSON"},
		// A Task.
		{name: "new", h: status(200, `{"TaskState": "New", "TaskStatus": "OK"}`), want: bmc.Progress{Percent: -1, State: "New"}},
		{
			name: "running", h: status(200, `{"TaskState": "Running", "PercentComplete": 7.9, "Messages": [{"Message": "first"}, {"Message": "half way"}]}`),
			want: bmc.Progress{Percent: 7, State: "Running", Message: "half way"},
		},
		{name: "percent above all", h: status(200, `{"TaskState": "Running", "PercentComplete": 1e9}`), want: bmc.Progress{Percent: 100, State: "Running"}},
		{name: "percent below", h: status(200, `{"TaskState": "Running", "PercentComplete": -3}`), want: bmc.Progress{Percent: 0, State: "Running"}},
		{
			name: "wrong types", h: status(200, `{"TaskState": "Running", "PercentComplete": "40", "Messages": "one", "TaskStatus": 7}`),
			want: bmc.Progress{Percent: 40, State: "Running"},
		},
		{
			name: "messages without text", h: status(200, `{"TaskState": "Running", "Messages": {"MessageId": "Update.1.0.TransferringToComponent"}}`),
			want: bmc.Progress{Percent: -1, State: "Running", Message: "Update.1.0.TransferringToComponent"},
		},
		{name: "completed", h: status(200, `{"TaskState": "Completed", "TaskStatus": "OK", "PercentComplete": 100}`), state: "Off", want: bmc.Progress{Percent: -1, State: "Off", Done: true}},
		{name: "completed, with a warning", h: status(200, `{"TaskState": "Completed", "TaskStatus": "Warning"}`), state: "Off", want: bmc.Progress{Percent: -1, State: "Off", Done: true}},
		{
			name: "completed badly", h: status(200, `{"TaskState": "Completed", "TaskStatus": "Critical", "Messages": [{"Message": "image does not verify"}]}`),
			class: bmc.BadRequest, part: "image does not verify",
		},
		{
			name: "exception", h: status(200, `{"TaskState": "Exception", "Messages": [{"Message": "no space left"}]}`),
			class: bmc.BadRequest, part: "the task ended as Exception: no space left",
		},
		{name: "killed", h: status(200, `{"TaskState": "Killed"}`), class: bmc.BadRequest, part: "the task ended as Killed"},
		{name: "cancelled", h: status(200, `{"TaskState": "Cancelled"}`), class: bmc.BadRequest, part: "Cancelled"},
		{
			name: "Dell's job", h: status(200, `{"Id": "JID_1", "JobState": "Running", "Message": "Job in progress.", "PercentComplete": 34}`),
			want: bmc.Progress{Percent: 34, State: "Running", Message: "Job in progress."},
		},
		{name: "Dell's job, failed", h: status(200, `{"JobState": "CompletedWithErrors", "Message": "Unable to apply."}`), class: bmc.BadRequest, part: "Unable to apply"},
		// Neither.
		{name: "forgotten, done", h: status(404, ""), state: "Off", want: bmc.Progress{Percent: -1, State: "Off", Done: true}},
		{name: "forgotten, not to be seen", h: status(404, ""), state: "On", want: bmc.Progress{Percent: -1, State: "On"}},
		{name: "gone", h: status(410, ""), state: "Off", want: bmc.Progress{Percent: -1, State: "Off", Done: true}},
		{name: "busy", h: retry(503, "60", ""), class: bmc.Busy},
		{name: "broken", h: status(500, ""), class: bmc.Transient},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFake(t)
			if tc.state != "" {
				f.change(func(s map[string]any) { s["PowerState"] = tc.state })
			}
			answers(f, taskURI, tc.h)
			got, err := mustDial(t, f).Poll(context.Background(), softOff(taskURI))
			if tc.class != "" {
				wantError(t, err, tc.class, "", tc.part)
				return
			}
			if d := cmp.Diff(tc.want, got); err != nil || d != "" {
				t.Errorf("progress (-want +got), %v:\n%s", err, d)
			}
		})
	}
	f := newFake(t)
	_, err := mustDial(t, f).Poll(context.Background(), bmc.Op{Kind: "no such"})
	wantError(t, err, bmc.BadRequest, "", "no such kind")
}

func TestTaskOf(t *testing.T) {
	task := `{"@odata.type": "#Task.v1_4_3.Task", "@odata.id": "` + taskURI + `", "TaskMonitor": "` + monitorURI + `"}`
	// fwupd plugins/redfish/tests/redfish.py, and what fu-redfish-smc-device.c reads.
	smc := `{"Accepted": {"code": "Base.v1_4_0.Accepted",
		"Message": "Successfully Accepted Request. Please see the location header and ExtendedInfo for more information.",
		"@Message.ExtendedInfo": [{"MessageId": "SMC.1.0.OemSimpleupdateAcceptedMessage", "Severity": "Ok", "Resolution": "No resolution was required.",
			"Message": "Please also check Task Resource ` + taskURI + ` to see more information.",
			"MessageArgs": ["` + taskURI + `"], "RelatedProperties": ["BiosVerifyAccepted"]}]}}`
	for _, tc := range []struct {
		name     string
		status   int
		location string
		body     string
		quirk    quirk.Name
		want     string
		off      string // without the quirk
	}{
		{name: "monitor", status: 202, location: monitorURI, body: task, want: monitorURI, off: monitorURI},
		{name: "absolute", status: 202, location: "https://10.0.0.9" + monitorURI + "?x=1", want: monitorURI + "?x=1", off: monitorURI + "?x=1"},
		{name: "in the body of a 202", status: 202, body: task, want: taskURI, off: taskURI},
		{name: "no task", status: 204},
		{name: "a new resource is no task", status: 201, location: "/redfish/v1/Systems/1/Storage/1/Volumes/2"},
		{name: "TaskInBody: in the body of a 200", status: 200, body: task, quirk: quirk.TaskInBody, want: taskURI},
		{name: "TaskInBody: in a message (Supermicro)", status: 202, body: smc, quirk: quirk.TaskInBody, want: taskURI},
		{name: "TaskInBody: monitor alone", status: 200, body: `{"TaskMonitor": "` + monitorURI + `"}`, quirk: quirk.TaskInBody, want: monitorURI},
		{name: "TaskInBody: nothing", status: 200, body: `{"Accepted": {"@Message.ExtendedInfo": [{"MessageArgs": ["/redfish/v1/Systems"]}]}}`, quirk: quirk.TaskInBody},
		{name: "nonsense", status: 202, location: "task 7", body: `[1`, quirk: quirk.TaskInBody},
		// openstack/sushy-tools templates/task.json (e402462): Task 42 stands for
		// everything and is always Completed.
		{
			name: "OneTask", status: 202, location: "/redfish/v1/TaskService/Tasks/42", quirk: quirk.OneTask,
			off: "/redfish/v1/TaskService/Tasks/42",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := &answer{status: tc.status, header: http.Header{}, body: []byte(tc.body)}
			if tc.location != "" {
				a.header.Set("Location", tc.location)
			}
			if got := (&System{e: nowhere(tc.quirk)}).taskOf(a); got != tc.want {
				t.Errorf("task %q, want %q", got, tc.want)
			}
			if got := (&System{e: nowhere()}).taskOf(a); got != tc.off {
				t.Errorf("task %q without the quirk, want %q", got, tc.off)
			}
		})
	}
}

// Evidence: bmc-toolbox/bmclib#399 and fwupd's tests of Supermicro (TestTaskOf has
// the text): the answer to an update names its task in a message only.
func TestQuirkTaskInBody(t *testing.T) {
	onAndOff(t, quirk.TaskInBody, func(t *testing.T, on bool, q quirk.Set) {
		f := newFake(t)
		answers(f, "/redfish/v1/UpdateService/upload", status(202, `{"Accepted": {"@Message.ExtendedInfo": [
			{"MessageId": "SMC.1.0.OemSimpleupdateAcceptedMessage", "MessageArgs": ["`+taskURI+`"]}]}}`))
		s, err := dial(t, serve(t, f), admin, Options{Quirks: q})
		if err != nil {
			t.Fatal(err)
		}
		o, err := s.begin(context.Background(), call{op: "update", method: http.MethodPost, uri: "/redfish/v1/UpdateService/upload"}, bmc.Op{Kind: opFirmware})
		if err != nil || (o.Task == taskURI) != on {
			t.Errorf("task %q, %v", o.Task, err)
		}
	})
}

// Evidence: facts/bmc.md §2 (bmclib's firmware.go lists all tasks); openstack/sushy
// connector.py gives up: "returned status 202, but no Location header". The
// collection's order is unverified.
func TestQuirkAcceptedNoLocation(t *testing.T) {
	onAndOff(t, quirk.AcceptedNoLocation, func(t *testing.T, on bool, q quirk.Set) {
		f := newFake(t)
		answers(f, "/redfish/v1/UpdateService/upload", status(202, ""))
		f.put("/redfish/v1/TaskService/Tasks", `{"Members": [{"@odata.id": "`+taskURI+`"}, {"@odata.id": "/redfish/v1/TaskService/Tasks/546"}, {"@odata.id": "/absent"}]}`)
		f.put(taskURI, `{"TaskState": "Running"}`)
		f.put("/redfish/v1/TaskService/Tasks/546", `{"TaskState": "Completed"}`)
		s, err := dial(t, serve(t, f), admin, Options{Quirks: q})
		if err != nil {
			t.Fatal(err)
		}
		o, err := s.begin(context.Background(), call{op: "update", method: http.MethodPost, uri: "/redfish/v1/UpdateService/upload"}, bmc.Op{Kind: opFirmware})
		if err != nil || (o.Task == taskURI) != on {
			t.Errorf("task %q, %v", o.Task, err)
		}
	})
}

// Evidence: ironcore-dev/metal-operator#668: upon completion iLO's monitor is 404
// with Base.1.18.ResourceMissingAtURI; openstack/sushy
// fix-dell-bmc-404-race-condition: a job that is 404 while it is being made.
func TestQuirkTaskVanishes(t *testing.T) {
	missing := status(404, `{"error":{"code":"iLO.0.10.ExtendedInfo","message":"See @Message.ExtendedInfo for more information.",
		"@Message.ExtendedInfo":[{"MessageArgs":["/redfish/v1/TaskService/TaskMonitors/1/"],"MessageId":"Base.1.18.ResourceMissingAtURI"}]}}`)
	onAndOff(t, quirk.TaskVanishes, func(t *testing.T, on bool, q quirk.Set) {
		f := newFake(t)
		f.change(func(s map[string]any) { s["PowerState"] = "On" })
		answers(f, monitorURI, missing)
		s, err := dial(t, serve(t, f), admin, Options{Quirks: q})
		if err != nil {
			t.Fatal(err)
		}
		// Not there, or not yet: the caller is told when to look again.
		p, err := s.Poll(context.Background(), softOff(monitorURI))
		if err != nil || p.Done || (p.State == "the BMC has forgotten the task" && p.RetryAfter == vanishedPause) != on {
			t.Errorf("progress %+v, %v", p, err)
		}
		f.change(func(s map[string]any) { s["PowerState"] = "Off" })
		if p, err = s.Poll(context.Background(), softOff(monitorURI)); err != nil || !p.Done {
			t.Errorf("progress %+v, %v", p, err)
		}
	})
}

// Evidence: openstack/sushy-tools emulator/templates/task.json (e402462). That a
// further emulator's one task is busy with something else is unverified.
func TestQuirkOneTask(t *testing.T) {
	onAndOff(t, quirk.OneTask, func(t *testing.T, on bool, q quirk.Set) {
		f := newFake(t)
		const one = "/redfish/v1/TaskService/Tasks/42"
		answers(f, one, status(200, `{"@odata.type": "#Task.v1_4_3.Task", "Id": "42", "Name": "Task 42", "TaskState": "Running"}`))
		s, err := dial(t, serve(t, f), admin, Options{Quirks: q})
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.Poll(context.Background(), softOff(one)) // recorded before the quirk was known
		if err != nil || p.Done != on {
			t.Errorf("progress %+v, %v", p, err)
		}
		if asked := strings.Contains(strings.Join(f.requests(), " "), one); asked == on {
			t.Errorf("asked for the task: %v", asked)
		}
	})
}

// A staged write goes by the ETags of quirk.ETagLadder as well.
func TestBeginPatchesUnderAnETag(t *testing.T) {
	f := newFake(t)
	s := with(t, f, quirk.ETagLadder)
	f.mu.Lock()
	tags(f, `W/"9"`, `"9"`, http.StatusPreconditionFailed)
	f.mu.Unlock()
	c := call{op: "stage", method: http.MethodPatch, uri: sysPath, body: map[string]any{"Boot": map[string]any{}}, match: `W/"9"`}
	if _, err := s.begin(context.Background(), c, bmc.Op{Kind: opBIOS}); err != nil {
		t.Error(err)
	}
}
