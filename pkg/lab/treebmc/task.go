package treebmc

import (
	"net/http"

	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// task is work that goes on after its request was answered.
type task struct {
	reads int // until it is over
	over  bool
	total int
	apply func() // what it comes to
}

// later does work at once, or as a task where tasks are on.
func (s *Server) later(name string, apply func()) *answer {
	if s.o.TaskReads == 0 {
		apply()
		return done()
	}
	return s.begin(name, s.o.TaskReads, apply)
}

// begin answers with a task (DSP0266 §13.2).
func (s *Server) begin(name string, reads int, apply func()) *answer {
	doc := obj{
		"@odata.type": "#Task.v1_4_3.Task", "Name": name, "TaskState": "Running", "TaskStatus": "OK",
		"PercentComplete": 0, "Messages": []any{},
	}
	var uri string
	switch collection := rootKey + "/taskservice/tasks"; {
	// quirk.OneTask: sushy-tools, main.py, answers every update with Task 42, which
	// is complete.
	case s.o.Quirks.Has(quirk.OneTask):
		uri = "/redfish/v1/TaskService/Tasks/42"
		doc["@odata.id"], doc["Id"] = uri, "42"
		doc["TaskState"], doc["PercentComplete"] = "Completed", 100
		s.docs[key(uri)] = doc
		apply()
		return (&answer{status: http.StatusAccepted, body: doc}).with("Location", uri)
	case s.doc(collection) != nil:
		uri = s.add(collection, doc)
	default:
		uri = "/redfish/v1/TaskService/Tasks/ingot"
		doc["@odata.id"], doc["Id"] = uri, "ingot"
		s.docs[key(uri)] = doc
	}
	s.tasks[key(uri)] = &task{reads: reads, total: reads, apply: apply}
	switch {
	// quirk.AcceptedNoLocation. Unverified: no record at hand.
	case s.o.Quirks.Has(quirk.AcceptedNoLocation):
		t := s.tasks[key(uri)]
		t.reads, t.over = 0, true
		apply()
		return &answer{status: http.StatusAccepted}
	// quirk.TaskInBody: "SMC does not return the task id in the Location header of the
	// response to a firmware upload. In BMC version 1.05.03 … the payload format
	// changes … to a Redfish task" (bmclib #399).
	case s.o.Quirks.Has(quirk.TaskInBody):
		return &answer{status: http.StatusAccepted, body: doc}
	}
	return (&answer{status: http.StatusAccepted, body: doc}).with("Location", uri)
}

// readTask is a read of a task, which brings it nearer to its end.
func (s *Server) readTask(k string, t *task) *answer {
	doc := s.doc(k)
	if doc == nil {
		return notFound(k)
	}
	if t.over {
		// quirk.TaskVanishes: ironic's release note fix-bios-update-silent-fail: the
		// task is gone once the update is over.
		if s.o.Quirks.Has(quirk.TaskVanishes) {
			s.forget(k)
			delete(s.tasks, k)
			return notFound(k)
		}
		return &answer{status: http.StatusOK, body: doc}
	}
	if t.reads--; t.reads <= 0 {
		t.over = true
		doc["TaskState"], doc["PercentComplete"] = "Completed", 100
		t.apply()
		if s.o.Quirks.Has(quirk.TaskVanishes) {
			return s.readTask(k, t)
		}
	} else {
		doc["PercentComplete"] = 100 * (t.total - t.reads) / t.total
	}
	return (&answer{status: http.StatusOK, body: doc}).with("ETag", s.etag(k))
}
