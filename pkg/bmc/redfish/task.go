package redfish

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// taskOf finds the task in an answer (DSP0266 §13.2: 202, Location is the task
// monitor, the body may be the Task).
func (s *System) taskOf(a *answer) string {
	if s.has(quirk.OneTask) {
		return ""
	}
	if uri := localPath(a.header.Get("Location")); uri != "" && a.status == http.StatusAccepted {
		return uri
	}
	if a.status != http.StatusAccepted && !s.has(quirk.TaskInBody) {
		return ""
	}
	var body struct {
		ID       text `json:"@odata.id"`
		Type     text `json:"@odata.type"`
		Monitor  text `json:"TaskMonitor"`
		Accepted struct {
			Messages list[struct {
				Args list[text] `json:"MessageArgs"`
			}] `json:"@Message.ExtendedInfo"`
		} `json:"Accepted"`
	}
	if lenient(json.Unmarshal(a.body, &body)) != nil {
		return ""
	}
	if strings.HasPrefix(string(body.Type), "#Task.") || isTask(string(body.ID)) {
		return localPath(string(body.ID))
	}
	if !s.has(quirk.TaskInBody) {
		return ""
	}
	if isTask(string(body.Monitor)) {
		return localPath(string(body.Monitor))
	}
	for _, m := range body.Accepted.Messages {
		for _, arg := range m.Args {
			if isTask(string(arg)) {
				return localPath(string(arg))
			}
		}
	}
	return ""
}

// isTask reports whether a URI is one of the TaskService's.
func isTask(uri string) bool {
	return strings.Contains(strings.ToLower(localPath(uri)), "/taskservice/task")
}

// localPath strips a link to its path and query; empty if it has none. An Op is
// recorded: there is no use in what the BMC takes for its address.
func localPath(uri string) string {
	u, err := url.Parse(strings.TrimSpace(uri))
	if err != nil || !strings.HasPrefix(u.EscapedPath(), "/") {
		return ""
	}
	if u.RawQuery != "" {
		return u.EscapedPath() + "?" + u.RawQuery
	}
	return u.EscapedPath()
}

// maxTasks bounds the tasks that are looked at to find the one just begun.
const maxTasks = 4

// latestTask is the newest task that is not over, by its place in the collection;
// empty if there is none.
func (s *System) latestTask(ctx context.Context) string {
	const op = "find the task"
	root, err := s.e.serviceRoot(ctx)
	if err != nil {
		return ""
	}
	service := strings.TrimRight(string(root.Tasks), "/")
	if service == "" {
		service = rootURI + "TaskService"
	}
	var all collection
	if _, err := s.e.get(ctx, op, service+"/Tasks", &all); err != nil {
		return ""
	}
	for i := len(all.Members) - 1; i >= max(0, len(all.Members)-maxTasks); i-- {
		uri := localPath(string(all.Members[i]))
		if uri == "" {
			continue
		}
		var t task
		if _, err := s.e.get(ctx, op, uri, &t); err == nil && t.State != "" && !t.over() {
			return uri
		}
	}
	return ""
}

// task is DSP0268 Task, as far as it is used; Dell's and DSP0268's jobs are of
// the same shape.
type task struct {
	State    text            `json:"TaskState"`
	JobState text            `json:"JobState"`
	Status   text            `json:"TaskStatus"`
	Percent  text            `json:"PercentComplete"`
	Message  text            `json:"Message"`
	Messages list[extendedI] `json:"Messages"`
}

// pollTask asks a Task or a task monitor. Not found is no error: it is for the
// resource to decide. A monitor's answer, once it is not 202, is that of the
// operation itself, an error's too.
func (s *System) pollTask(ctx context.Context, op, uri string) (p bmc.Progress, found bool, err error) {
	a, err := s.e.do(ctx, call{op: op, method: http.MethodGet, uri: uri})
	if a != nil && (a.status == http.StatusNotFound || a.status == http.StatusGone) {
		return p, false, nil
	}
	if err != nil {
		return p, true, err
	}
	var t task
	if err := decode(op, a.body, &t); err != nil && len(a.body) > 0 && a.status != http.StatusAccepted {
		return p, true, err
	}
	p, err = t.progress(op, a.status)
	p.RetryAfter = retryAfter(a.header)
	return p, true, err
}

func (t *task) state() string {
	if t.State == "" {
		return clean(t.JobState)
	}
	return clean(t.State)
}

// over reports whether a task has ended, in whatever way.
func (t *task) over() bool {
	p, err := t.progress("", http.StatusOK)
	return p.Done || err != nil
}

// progress of a task that came with an HTTP status; an error if it failed.
func (t *task) progress(op string, status int) (bmc.Progress, error) {
	p := bmc.Progress{Percent: -1, State: t.state(), Message: clean(t.Message)}
	if n, err := strconv.ParseFloat(strings.TrimSpace(string(t.Percent)), 64); err == nil && !math.IsNaN(n) {
		p.Percent = int(min(max(n, 0), 100))
	}
	if n := len(t.Messages); n > 0 {
		if p.Message = clean(t.Messages[n-1].Message); p.Message == "" {
			p.Message = clean(t.Messages[n-1].ID)
		}
	}
	failed := false
	switch strings.ToLower(p.State) {
	case "completed":
		// DSP0268 Task.TaskStatus: "the completion status of the task".
		failed = strings.EqualFold(string(t.Status), "Critical")
		p.Done = !failed
	case "exception", "killed", "cancelled", "canceled", "failed", "completedwitherrors":
		failed = true
	case "":
		p.Done = status != http.StatusAccepted // a task monitor
	}
	if failed {
		return p, &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: strings.TrimSuffix("the task ended as "+p.State+": "+p.Message, ": ")}
	}
	return p, nil
}

// RunningTask is the newest task of the BMC that is not over, empty if there is
// none: what an update became whose answer was lost.
func (s *System) RunningTask(ctx context.Context) string { return s.latestTask(ctx) }
