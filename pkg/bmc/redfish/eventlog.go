package redfish

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

var _ bmc.Log = (*System)(nil)

const (
	// maxLogServices bounds those of one resource.
	maxLogServices = 16
	// maxLogPages bounds the pages of one log; those of iDRAC hold 50 entries.
	maxLogPages = 24
	// maxLogEntries bounds what is asked for.
	maxLogEntries = 4096
	// logReads and logPause bound the wait for a log to be cleared.
	logReads = 10
	logPause = time.Second
)

// logService is DSP0268 LogService, as far as it is used.
type logService struct {
	uri     string
	ID      text `json:"Id"`
	Type    text `json:"LogEntryType"`
	Entries link `json:"Entries"`
	Actions struct {
		Clear struct {
			Target text `json:"target"`
		} `json:"#LogService.ClearLog"`
	} `json:"Actions"`
}

// rank of a log as the machine's system event log: what the hardware reports of
// itself, whatever its vendor calls it. Logs of sign-ins, of the BMC's own
// operating system and of dumps are none.
func (l logService) rank() int {
	if l.Entries == "" {
		return 0
	}
	var rank int
	switch strings.ToLower(path.Base(l.uri)) {
	case "sel":
		rank = 100
	case "iml", "platformlog", "eventlog", "systemlog", "standardlog": // HPE, Lenovo, OpenBMC …
		rank = 60
	case "auditlog", "audit", "journal", "dump", "postcodes", "hostlogger", "sl", "salog",
		"maintenancelog", "debugtokenservice", "fdr", "crashdump", "lclog":
		rank = 1
	default:
		rank = 20
	}
	if strings.EqualFold(string(l.Type), "SEL") {
		rank += 20
	}
	if l.Actions.Clear.Target != "" {
		rank += 5
	}
	return rank
}

// logServices lists the logs of the machine, of its manager and, if these have
// none, of its enclosure, without repetition.
func (s *System) logServices(ctx context.Context, op string) ([]logService, error) {
	var cs struct {
		Logs  link `json:"LogServices"`
		Links struct {
			ManagedBy list[link] `json:"ManagedBy"`
			Chassis   list[link] `json:"Chassis"`
		} `json:"Links"`
	}
	if err := s.readInto(ctx, op, &cs); err != nil {
		return nil, err
	}
	var out []logService
	seen := map[string]bool{}
	add := func(uri string) error {
		if uri == "" || seen[uri] {
			return nil
		}
		seen[uri] = true
		all, err := s.e.gather(ctx, op, uri, maxLogServices, maxLogServices)
		for _, m := range all.members {
			if l, ok := decodeLogService(m); ok {
				out = append(out, l)
			}
		}
		if err != nil && passable(err) {
			return nil
		}
		return err
	}
	if err := add(string(cs.Logs)); err != nil {
		return nil, err
	}
	managers, err := s.managers(ctx, op, cs.Links.ManagedBy)
	if err != nil {
		return nil, err
	}
	var places []string
	places = append(places, managers...)
	if len(cs.Links.Chassis) > 0 {
		places = append(places, string(cs.Links.Chassis[0]))
	}
	for i, uri := range places {
		// A machine's own SEL needs no company, and an enclosure is asked last.
		if best(out).rank() >= 100 || i >= len(managers) && best(out).rank() > 5 {
			break
		}
		var v struct {
			Logs link `json:"LogServices"`
		}
		_, err := s.e.get(ctx, op, uri, &v)
		if err == nil {
			err = add(string(v.Logs))
		}
		if err != nil && !passable(err) {
			return nil, err
		}
	}
	return out, nil
}

func decodeLogService(m member) (logService, bool) {
	l := logService{uri: m.uri}
	err := lenient(json.Unmarshal(m.body, &l))
	return l, err == nil && l.uri != ""
}

// best is the log with the highest rank, the first of equals.
func best(all []logService) logService {
	var out logService
	for _, l := range all {
		if l.rank() > out.rank() {
			out = l
		}
	}
	return out
}

func (s *System) eventLogService(ctx context.Context, op string) (logService, error) {
	all, err := s.logServices(ctx, op)
	if err != nil {
		return logService{}, err
	}
	l := best(all)
	if l.rank() <= 5 {
		return l, &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the BMC shows no event log of the machine"}
	}
	return l, nil
}

// EventLog implements bmc.Log.
func (s *System) EventLog(ctx context.Context, limit int) ([]bmc.LogEntry, error) {
	const op = "read event log"
	l, err := s.eventLogService(ctx, op)
	if err != nil {
		return nil, err
	}
	return s.entries(ctx, op, string(l.Entries), min(max(limit, 1), maxLogEntries))
}

// entries reads the newest entries of a log. Some BMCs list the newest first,
// some last; of a long log that begins with the oldest, the middle is skipped
// where its links show how.
func (s *System) entries(ctx context.Context, op, uri string, limit int) ([]bmc.LogEntry, error) {
	p, err := s.e.firstPage(ctx, op, uri)
	if err != nil {
		return nil, err
	}
	first, links := decodeEntries(p.Members)
	if len(first) == 0 && links > 0 {
		return s.singleEntries(ctx, op, p, limit)
	}
	out := first
	descending := newestFirst(first)
	for n := 1; p.Next != "" && n < maxLogPages; n++ {
		if descending && len(out) >= limit {
			break
		}
		next := string(p.Next)
		if !descending && n == 1 {
			next = skipTo(next, int(p.Count.value)-limit)
		}
		p = page{}
		if _, err := s.e.get(ctx, op, next, &p); err != nil {
			if !passable(err) {
				return nil, err
			}
			break // what there is
		}
		more, _ := decodeEntries(p.Members)
		out = append(out, more...)
		if keep := 2 * max(limit, len(more)); !descending && len(out) > keep {
			out = append([]bmc.LogEntry(nil), out[len(out)-keep:]...)
		}
	}
	if descending {
		out = out[:min(len(out), limit)]
		slices.Reverse(out)
	}
	return out[max(0, len(out)-limit):], nil
}

// maxSingleEntries are read one by one where the BMC gives links alone.
const maxSingleEntries = 32

func (s *System) singleEntries(ctx context.Context, op string, p page, limit int) ([]bmc.LogEntry, error) {
	members := p.Members
	if n := min(limit, maxSingleEntries); len(members) > n {
		// The order shows in the ids where these are numbers.
		a, errA := strconv.Atoi(path.Base(refOf(members[0]).id))
		b, errB := strconv.Atoi(path.Base(refOf(members[len(members)-1]).id))
		if errA == nil && errB == nil && a > b {
			members = members[:n]
		} else {
			members = members[len(members)-n:]
		}
	}
	var read list[json.RawMessage]
	for _, raw := range members {
		a, err := s.e.do(ctx, call{op: op, method: http.MethodGet, uri: refOf(raw).id})
		if err == nil {
			read = append(read, a.body)
		} else if !passable(err) {
			return nil, err
		}
	}
	out, _ := decodeEntries(read)
	if newestFirst(out) {
		slices.Reverse(out)
	}
	return out, nil
}

// decodeEntries reads DSP0268 LogEntry; links counts the members that are links
// alone.
func decodeEntries(members []json.RawMessage) (out []bmc.LogEntry, links int) {
	for _, raw := range members {
		if !refOf(raw).full() {
			links++
			continue
		}
		var v struct {
			ID       text `json:"Id"`
			Created  text `json:"Created"`
			At       text `json:"EventTimestamp"`
			Severity text `json:"Severity"`
			Type     text `json:"SensorType"`
			Number   text `json:"SensorNumber"`
			Message  text `json:"Message"`
			Name     text `json:"MessageId"`
		}
		if lenient(json.Unmarshal(raw, &v)) != nil {
			continue
		}
		e := bmc.LogEntry{ID: clean(v.ID), Time: instant(v.Created), Severity: clean(v.Severity), Sensor: clean(v.Type), Message: clean(v.Message)}
		if e.Time.IsZero() {
			e.Time = instant(v.At)
		}
		if e.Sensor == "" && v.Number != "" {
			e.Sensor = "#" + clean(v.Number)
		}
		if e.Message == "" {
			e.Message = clean(v.Name)
		}
		out = append(out, e)
	}
	return out, links
}

// newestFirst tells the order of a list by time, or else by number.
func newestFirst(all []bmc.LogEntry) bool {
	if len(all) < 2 {
		return false
	}
	a, b := all[0], all[len(all)-1]
	if !a.Time.IsZero() && !b.Time.IsZero() && !a.Time.Equal(b.Time) {
		return a.Time.After(b.Time)
	}
	i, errI := strconv.Atoi(a.ID)
	j, errJ := strconv.Atoi(b.ID)
	return errI == nil && errJ == nil && i > j
}

// skipTo changes the $skip of a link to a later page (DSP0266 §7.3.1), if it has
// one and that leads forward.
func skipTo(next string, n int) string {
	u, err := url.Parse(next)
	if err != nil {
		return next
	}
	parts := strings.Split(u.RawQuery, "&")
	for i, p := range parts {
		key, value, _ := strings.Cut(p, "=")
		if key != "$skip" && key != "%24skip" {
			continue
		}
		if now, err := strconv.Atoi(value); err == nil && n > now {
			parts[i] = key + "=" + strconv.Itoa(n)
			u.RawQuery = strings.Join(parts, "&")
			return u.String()
		}
	}
	return next
}

// ClearEventLog implements bmc.Log. Many BMCs begin a cleared log with the entry
// that says so.
func (s *System) ClearEventLog(ctx context.Context) error {
	const op = "clear event log"
	l, err := s.eventLogService(ctx, op)
	if err != nil {
		return err
	}
	if l.Actions.Clear.Target == "" {
		return &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the BMC offers no way to clear " + clip(path.Base(l.uri))}
	}
	before, err := s.countEntries(ctx, op, l)
	if err != nil || before == 0 {
		return err
	}
	a, err := s.e.do(ctx, call{op: op, method: http.MethodPost, uri: string(l.Actions.Clear.Target), body: struct{}{}})
	if err != nil {
		return err
	}
	if err := s.awaitTask(ctx, op, s.taskOf(a)); err != nil {
		return err
	}
	for try := range logReads {
		if try > 0 {
			if err := s.e.sleep(ctx, logPause); err != nil {
				return s.e.classify(ctx, op, err)
			}
		}
		now, err := s.countEntries(ctx, op, l)
		if err != nil {
			return err
		}
		if now < before || now <= 1 {
			return nil
		}
	}
	return &bmc.Error{Class: bmc.Protocol, Op: op, Detail: "the BMC took the order, but the log still holds its entries"}
}

func (s *System) countEntries(ctx context.Context, op string, l logService) (int, error) {
	var p page
	_, err := s.e.get(ctx, op, string(l.Entries), &p)
	return max(int(p.Count.value), len(p.Members)), err
}
