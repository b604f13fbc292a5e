package redfish

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

const (
	logsPath = managerPath + "/LogServices"
	selPath  = logsPath + "/SEL"
)

// newLogBMC has a SEL at its manager.
func newLogBMC(t *testing.T) *routed {
	b := newRouted(t)
	b.change(func(s map[string]any) {
		s["Links"] = map[string]any{"ManagedBy": []any{map[string]any{"@odata.id": managerPath}}}
		s["LogServices"] = map[string]any{"@odata.id": sysPath + "/LogServices"}
	})
	b.put(sysPath+"/LogServices", `{"Members": [{"@odata.id": "`+sysPath+`/LogServices/PostCodes"}]}`)
	b.put(sysPath+"/LogServices/PostCodes", `{"Entries": {"@odata.id": "`+sysPath+`/LogServices/PostCodes/Entries"}}`)
	b.put(managerPath, `{"LogServices": {"@odata.id": "`+logsPath+`"}}`)
	b.put(logsPath, `{"Members": [{"@odata.id": "`+logsPath+`/Journal"}, {"@odata.id": "`+selPath+`"}]}`)
	b.put(logsPath+"/Journal", `{"Entries": {"@odata.id": "`+logsPath+`/Journal/Entries"}}`)
	b.put(selPath, `{"LogEntryType": "SEL", "Entries": {"@odata.id": "`+selPath+`/Entries"},
		"Actions": {"#LogService.ClearLog": {"target": "`+selPath+`/Actions/LogService.ClearLog"}}}`)
	return b
}

func entry(n int) string {
	at := time.Date(2024, 6, 1, 0, n, 0, 0, time.UTC).Format(time.RFC3339)
	return fmt.Sprintf(`{"@odata.id": "%s/Entries/%d", "Id": "%d", "Created": %q, "Message": "m%d"}`, selPath, n, n, at, n)
}

func list1(from, to int) string {
	var out []string
	for n := from; n != to; {
		out = append(out, entry(n))
		if to > from {
			n++
		} else {
			n--
		}
	}
	return strings.Join(out, ",")
}

func TestEventLog(t *testing.T) {
	for _, tc := range []struct {
		name    string
		entries string
		limit   int
		want    string // ids
		reads   int    // of entries; 0: not looked at
	}{
		{name: "empty", entries: `{"Members": []}`, limit: 5},
		{name: "oldest first", entries: `{"Members": [` + list1(1, 8) + `]}`, limit: 3, want: "5 6 7", reads: 1},
		{name: "newest first (iDRAC)", entries: `{"Members": [` + list1(7, 0) + `]}`, limit: 3, want: "5 6 7", reads: 1},
		{name: "newest first, two pages", entries: `{"Members": [` + list1(9, 5) + `], "Members@odata.nextLink": "` + selPath + `/Entries?$skip=4", "Members@odata.count": 9}`, limit: 6, want: "4 5 6 7 8 9", reads: 2},
		{name: "newest first, one page is enough", entries: `{"Members": [` + list1(9, 5) + `], "Members@odata.nextLink": "` + selPath + `/Entries?$skip=4"}`, limit: 2, want: "8 9", reads: 1},
		{name: "oldest first, the middle skipped", entries: `{"Members": [` + list1(1, 5) + `], "Members@odata.nextLink": "` + selPath + `/Entries?$skip=4", "Members@odata.count": 900}`, limit: 2, want: "899 900", reads: 2},
		{name: "links alone", entries: `{"Members": [{"@odata.id": "` + selPath + `/Entries/3"}, {"@odata.id": "` + selPath + `/Entries/2"}, {"@odata.id": "` + selPath + `/Entries/1"}]}`, limit: 2, want: "2 3"},
		{name: "wrong types", entries: `{"Members": [7, null, {"Id": 4, "Created": "then", "SensorNumber": 9}]}`, limit: 5, want: "4"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newLogBMC(t)
			b.put(selPath+"/Entries", tc.entries)
			for n := 1; n < 4; n++ {
				b.put(fmt.Sprintf("%s/Entries/%d", selPath, n), entry(n))
			}
			inner := b.fault
			b.fault = func(w http.ResponseWriter, r *http.Request) bool {
				skip, err := strconv.Atoi(r.URL.Query().Get("$skip"))
				if err != nil {
					return inner(w, r)
				}
				if strings.Contains(tc.name, "newest") {
					fmt.Fprintf(w, `{"Members": [%s]}`, list1(9-skip, 0))
					return true
				}
				fmt.Fprintf(w, `{"Members": [%s]}`, list1(skip+1, min(skip+5, 901)))
				return true
			}
			s := b.with()
			b.forget()
			got, err := s.EventLog(context.Background(), tc.limit)
			if err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, e := range got {
				ids = append(ids, e.ID)
			}
			if strings.Join(ids, " ") != tc.want {
				t.Errorf("entries %q, want %q", ids, tc.want)
			}
			if n := strings.Count(strings.Join(b.requests(), "\n"), "SEL/Entries"); tc.reads > 0 && n != tc.reads {
				t.Errorf("%d reads, want %d: %q", n, tc.reads, b.requests())
			}
		})
	}
}

func TestEventLogEntry(t *testing.T) {
	got, _ := decodeEntries([]json.RawMessage{[]byte(`{"Id": "1", "Created": "2012-03-07T14:45:00Z", "Severity": "Critical", "SensorType": "Temperature",
		"Message": "Temperature threshold exceeded"}`), []byte(`{"Id": "2", "Created": "1970-01-01T00:00:05Z", "SensorNumber": 26, "MessageId": "7e01"}`)})
	want := []bmc.LogEntry{
		{ID: "1", Time: time.Date(2012, 3, 7, 14, 45, 0, 0, time.UTC), Severity: "Critical", Sensor: "Temperature", Message: "Temperature threshold exceeded"},
		{ID: "2", Sensor: "#26", Message: "7e01"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("entries (-want +got):\n%s", d)
	}
}

func TestClearEventLog(t *testing.T) {
	clear := "POST " + selPath + "/Actions/LogService.ClearLog"
	for _, tc := range []struct {
		name   string
		before int
		after  int
		writes int
		class  bmc.Class
		part   string
	}{
		{name: "cleared", before: 5, writes: 1},
		{name: "with an entry that says so", before: 5, after: 1, writes: 1},
		{name: "empty already"},
		{name: "ignored", before: 5, after: 5, writes: 1, class: bmc.Protocol, part: "still holds"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newLogBMC(t)
			b.put(selPath+"/Entries", `{"Members": [`+list1(1, tc.before+1)+`]}`)
			b.routes[clear] = func(w http.ResponseWriter, _ map[string]any) {
				b.fake.mu.Lock()
				b.put(selPath+"/Entries", `{"Members": [`+list1(1, tc.after+1)+`]}`)
				b.fake.mu.Unlock()
				noContent(w)
			}
			err := b.with().ClearEventLog(context.Background())
			if n := len(b.written()); n != tc.writes {
				t.Errorf("%d writes, want %d", n, tc.writes)
			}
			if tc.class != "" {
				wantError(t, err, tc.class, "", tc.part)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNoEventLog(t *testing.T) {
	b := newLogBMC(t)
	b.put(logsPath, `{"Members": [{"@odata.id": "`+logsPath+`/Journal"}]}`)
	_, err := b.with().EventLog(context.Background(), 5)
	wantError(t, err, bmc.Unsupported, "", "no event log of the machine")
	wantError(t, b.with().ClearEventLog(context.Background()), bmc.Unsupported, "", "no event log")
}

func TestSkipTo(t *testing.T) {
	for _, tc := range []struct {
		next string
		n    int
		want string
	}{
		{"/e?$skip=50", 900, "/e?$skip=900"},
		{"/e?$top=5&%24skip=50", 900, "/e?$top=5&%24skip=900"},
		{"/e?$skip=50", 10, "/e?$skip=50"},
		{"/e?$skip=x", 900, "/e?$skip=x"},
		{"/e?page=2", 900, "/e?page=2"},
	} {
		if got := skipTo(tc.next, tc.n); got != tc.want {
			t.Errorf("skipTo(%q, %d) = %q, want %q", tc.next, tc.n, got, tc.want)
		}
	}
}

func FuzzDecodeEntries(f *testing.F) {
	f.Add([]byte(`{"Members": [{"Id": "1", "Created": "2024-06-11T00:13:00-05:00", "SensorNumber": 26}], "Members@odata.nextLink": "/e?$skip=50", "Members@odata.count": 5}`))
	f.Add([]byte(`{"Members": {"Id": 1}, "Members@odata.count": "five"}`))
	f.Add([]byte(`{"LogEntryType": "SEL", "Entries": "/e", "Actions": []}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if l, ok := decodeLogService(member{uri: "/SEL", body: body}); ok {
			_ = best([]logService{l, l})
		}
		var p page
		_ = lenient(json.Unmarshal(body, &p))
		out, _ := decodeEntries(p.Members)
		_ = newestFirst(out)
		_ = skipTo(string(p.Next), int(p.Count.value))
		for _, e := range out {
			if len(e.Message) > 4*301 || strings.ContainsAny(e.Message+e.ID+e.Severity, "\n\x1b") {
				t.Errorf("entry not fit for a log: %+v", e)
			}
		}
	})
}
