package diff

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// step is one line of a script.
//
//	at 1.82                                  version of the requests below
//	GET /v1/nodes/$node                      a request
//	GET /v1/nodes/$node @1.1,1.82            the same in several versions; @none sends no header
//	POST /v1/nodes {"driver": "ipmi"}        with a body
//	save node uuid                           $node is from now on what the last answer calls uuid
//	KEYS /v1/nodes/$node                     a GET of whose answer the names count, not the values
//	wait /v1/nodes/$node provision_state available
type step struct {
	name    string // as it is written, with the version
	method  string // "wait" of a wait
	path    string
	version string // empty: no header
	body    string
	field   string            // of a wait
	value   string            // of a wait
	save    map[string]string // field of the answer by variable
}

// parse reads a script.
func parse(r io.Reader) ([]step, error) {
	var steps []step
	version := ""
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		verb, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		fail := func(why string) error { return fmt.Errorf("line %d: %s: %s", n, why, line) }
		switch verb {
		case "at":
			version = rest
		case "save":
			name, field, ok := strings.Cut(rest, " ")
			if !ok || len(steps) == 0 {
				return nil, fail("want save NAME FIELD after a request")
			}
			last := &steps[len(steps)-1]
			if last.save == nil {
				last.save = map[string]string{}
			}
			last.save[name] = field
		case "wait":
			f := strings.SplitN(rest, " ", 3)
			if len(f) != 3 {
				return nil, fail("want wait PATH FIELD VALUE")
			}
			steps = append(steps, step{name: line, method: verb, path: f[0], version: version, field: f[1], value: f[2]})
		case "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "KEYS":
			path, tail, _ := strings.Cut(rest, " ")
			versions := []string{version}
			if list, more, ok := strings.Cut(strings.TrimPrefix(tail, "@"), " "); strings.HasPrefix(tail, "@") {
				versions, tail = strings.Split(list, ","), ""
				if ok {
					tail = more
				}
			}
			for _, v := range versions {
				name := verb + " " + path + " @" + v
				if tail != "" {
					name += " " + tail
				}
				if v == "none" {
					v = ""
				}
				steps = append(steps, step{name: name, method: verb, path: path, version: v, body: tail})
			}
		default:
			return nil, fail("no such verb")
		}
	}
	return steps, lines.Err()
}
