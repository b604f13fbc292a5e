package rest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/rest/internal/tasks"
)

const tasksDoc = "../../docs/reference/rest.md"

// TestTasks runs the curl commands of docs/reference/rest.md, in their order, over
// HTTP. Between them the life cycle's part is played: what was asked for is done.
func TestTasks(t *testing.T) {
	d := newDoor(t)
	s := httptest.NewServer(d.s)
	t.Cleanup(s.Close)
	vars := map[string]string{}
	ran := 0
	for _, line := range commands(t, blocks(t, "curl")) {
		if name, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "curl ") {
			vars[name] = words(t, value, vars)[0]
			if name == "IRONIC" {
				vars[name] = s.URL + "/v1"
			}
			continue
		}
		if n, found := d.nodes.Get("w1"); found {
			vars["UUID"] = n.UUID
		}
		answer := curl(t, words(t, line, vars))
		if answer.status >= http.StatusBadRequest {
			t.Fatalf("%s\nis answered %d: %s", line, answer.status, answer.body)
		}
		ran++
		d.play("w1")
	}
	if ran < 14 {
		t.Errorf("only %d commands were found", ran)
	}
	if _, found := d.nodes.Get("w1"); found {
		t.Error("w1 is still there")
	}
}

// TestTasksInGo does the same by gophercloud, with the code that rest.md shows.
func TestTasksInGo(t *testing.T) {
	d := newDoor(t)
	s := httptest.NewServer(d.s)
	t.Cleanup(s.Close)
	var out bytes.Buffer
	if err := tasks.Run(t.Context(), s.URL+"/v1", &out, d.play); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "w1 enroll \nactive  \n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	source, err := os.ReadFile("internal/tasks/tasks.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range blocks(t, "go") {
		indented := "\t" + strings.ReplaceAll(strings.TrimSuffix(block, "\n"), "\n", "\n\t")
		if !strings.Contains(string(source), strings.ReplaceAll(indented, "\n\t\n", "\n\n")) {
			t.Errorf("rest.md shows code that this test does not run:\n%s", block)
		}
	}
}

// play has what was asked of a node be done, as the life cycle would: the BareMetalHost
// and the HostRecord say so.
func (d *door) play(ident string) {
	d.t.Helper()
	n, found := d.nodes.Get(ident)
	if !found || n.Record == nil || n.Host == nil {
		return
	}
	ctx := d.t.Context()
	hr := &v1alpha1.HostRecord{}
	if err := d.nodes.Client.Get(ctx, client.ObjectKeyFromObject(n.Record), hr); err != nil {
		d.t.Fatal(err)
	}
	b := &metal3.BareMetalHost{}
	if err := d.nodes.Client.Get(ctx, client.ObjectKeyFromObject(n.Host), b); client.IgnoreNotFound(err) != nil {
		d.t.Fatal(err)
	} else if err != nil {
		d.nodes.Forget(n.Host) // it was deleted
		d.nodes.Forget(n.Record)
		if n.Attrs != nil {
			d.nodes.Forget(n.Attrs)
		}
		return
	}
	st := hr.Status.Node
	if st == nil {
		st = &v1alpha1.NodeStatus{Hold: hr.Spec.Hold}
		hr.Status.Node = st
	}
	if ask := hr.Spec.Ask; ask != nil && ask.N > st.Asked {
		st.Asked = ask.N
		switch ironic.Verb(ask.Verb) {
		case ironic.VerbManage, ironic.VerbInspect:
			st.Hold, b.Status.Provisioning.State = string(ironic.Manageable), metal3.StateRegistering
		case ironic.VerbProvide, ironic.VerbDeleted:
			st.Hold, b.Status.Provisioning.State = "", metal3.StateAvailable
		case ironic.VerbActive:
			st.Hold, b.Status.Provisioning.State = "", metal3.StateProvisioned
		}
	}
	if err := d.nodes.Client.Status().Update(ctx, b); err != nil {
		d.t.Fatal(err)
	}
	if err := d.nodes.Client.Status().Update(ctx, hr); err != nil {
		d.t.Fatal(err)
	}
	d.nodes.Observe(b)
	d.nodes.Observe(hr)
}

// blocks are the blocks of a language in rest.md.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	text, err := os.ReadFile(tasksDoc)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllSubmatch(text, -1) {
		all = append(all, string(m[1]))
	}
	if len(all) == 0 {
		t.Fatalf("%s has no block of %s", tasksDoc, language)
	}
	return all
}

// commands are those of blocks of shell: a quote may go over lines.
func commands(t *testing.T, blocks []string) []string {
	t.Helper()
	var all []string
	for _, block := range blocks {
		line := ""
		for _, l := range strings.Split(strings.TrimSuffix(block, "\n"), "\n") {
			line += l
			if strings.Count(line, "'")%2 == 0 {
				all = append(all, line)
				line = ""
			} else {
				line += "\n"
			}
		}
		if line != "" {
			t.Fatalf("%s: the quote is not closed:\n%s", tasksDoc, block)
		}
	}
	return all
}

// words splits a command as a shell does: single quotes, double quotes and $NAME.
func words(t *testing.T, line string, vars map[string]string) []string {
	t.Helper()
	var all []string
	expand := func(s string) string {
		return os.Expand(s, func(name string) string {
			v, known := vars[name]
			if !known {
				t.Fatalf("%s: $%s is not set", line, name)
			}
			return v
		})
	}
	word, in := "", false
	for i := 0; i < len(line); i++ {
		switch ch := line[i]; ch {
		case '\'', '"':
			end := strings.IndexByte(line[i+1:], ch)
			if end < 0 {
				t.Fatalf("%s: the quote is not closed", line)
			}
			part := line[i+1 : i+1+end]
			if ch == '"' {
				part = expand(part)
			}
			word, in, i = word+part, true, i+1+end
		case ' ', '\n':
			if in {
				all = append(all, word)
			}
			word, in = "", false
		default:
			end := strings.IndexAny(line[i:], "'\" \n")
			if end < 0 {
				end = len(line) - i
			}
			word, in, i = word+expand(line[i:i+end]), true, i+end-1
		}
	}
	if in {
		all = append(all, word)
	}
	return all
}

type answered struct {
	status int
	body   []byte
}

// curl does what the curl command of these words does.
func curl(t *testing.T, words []string) answered {
	t.Helper()
	method, where, body := http.MethodGet, "", ""
	header := http.Header{}
	if words[0] != "curl" {
		t.Fatalf("%q is no curl command", words)
	}
	for i := 1; i < len(words); i++ {
		switch words[i] {
		case "-s":
			continue
		case "-X", "-H", "-d":
			i++
		default:
			where = words[i]
			continue
		}
		switch words[i-1] {
		case "-X":
			method = words[i]
		case "-H":
			name, value, _ := strings.Cut(words[i], ": ")
			header.Set(name, value)
		case "-d":
			body = words[i]
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), method, where, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > 0 && !json.Valid(text) {
		t.Errorf("%q is answered with what is no JSON: %s", words, text)
	}
	return answered{status: res.StatusCode, body: text}
}
