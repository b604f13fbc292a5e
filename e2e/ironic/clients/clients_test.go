//go:build e2e

package clients

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write docs/reference/rest-clients.md")

// suites in the order of the table's columns.
var suites = []string{"openstack CLI", "openstacksdk", "Nova", "gophercloud", "Metal3's operator", "Terraform"}

// known are steps that fail at Ironic too, or that ingot refuses on purpose.
var known = map[string]string{}

// TestClients runs them all, one after the other: their nodes' names and addresses are fixed.
func TestClients(t *testing.T) {
	var failed []string
	t.Cleanup(func() { // after the server's log, where it is found
		for _, f := range failed {
			t.Log(f)
		}
	})
	site := newSite(t)
	tap, err := newTap(site.url)
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	run := map[string]func(*testing.T, *suite){
		suites[0]: func(t *testing.T, p *suite) { p.python(t, "cli.py", "cli.txt") },
		suites[1]: func(t *testing.T, p *suite) { p.python(t, "sdk.py") },
		suites[2]: func(t *testing.T, p *suite) { p.python(t, "nova.py") },
		suites[3]: gophercloudAcceptance,
		suites[4]: metal3Operator,
		suites[5]: terraform,
	}
	for _, name := range suites {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			tap.begin(name, "start")
			run[name](t, &suite{tap: tap, site: site, client: name})
			for _, f := range tap.failures(name) {
				step, _, _ := strings.Cut(f, ": ")
				if reason, ok := known[step]; ok {
					t.Logf("known: %s (%s)", f, reason)
					continue
				}
				t.Error(f)
				failed = append(failed, name+": "+f)
			}
		})
	}
	page(t, tap.table(suites))
}

// page is the document that the table is in.
func page(t *testing.T, table string) {
	t.Helper()
	path := filepath.Join("..", "..", "..", "docs", "reference", "rest-clients.md")
	text := fmt.Sprintf(head, table)
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Log("\n" + table)
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("INGOT_REST") == "" && flag.Lookup("test.run").Value.String() == "" && string(old) != text {
		t.Errorf("%s says otherwise; go test -tags e2e ./e2e/ironic/clients -update writes it", path)
	}
}

const head = `# REST: endpoint × client × result

Made by ` + "`go test -tags e2e ./e2e/ironic/clients -update`" + `, which runs these clients against ` + "`ingot serve`" + ` through a proxy that
writes down what they ask. The openstack command (6.0.0, python-ironicclient 5.0.1) and openstacksdk (0.101.0) are Debian's packages. Nova's column
is the calls of its driver made with that SDK. gophercloud's column is its own acceptance tests (v2.15.0), as they are in its module. The columns of
Metal3's operator and Terraform are the requests that those programs make, sent by us: neither is run.

%s`

// suite is what one client's steps have.
type suite struct {
	*tap
	*site
	client string
	late   string // the step whose state did not come
}

// step does something as a client of Go. After a state that did not come in time,
// nothing more is tried: it would wait as long again.
func (p *suite) step(t *testing.T, name string, do func() error) {
	t.Helper()
	p.begin(p.client, name)
	if p.late != "" {
		p.fail("not tried after " + p.late)
		return
	}
	err := do()
	if errors.Is(err, errLate) {
		p.late = name
	}
	if err != nil {
		p.fail(err.Error())
	}
}

// python runs a script of ours with Debian's interpreter, which alone has Debian's clients.
func (p *suite) python(t *testing.T, args ...string) {
	t.Helper()
	if _, err := os.Stat("/usr/lib/python3/dist-packages/openstack"); err != nil {
		t.Skip("python3-openstackclient, python3-ironicclient and python3-openstacksdk are not installed: hack/packages.sh e2e")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	args = append([]string{args[0], p.URL}, args[1:]...)
	cmd := exec.CommandContext(ctx, "/usr/bin/python3", args...)
	cmd.Dir = "testdata"
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "PYTHONWARNINGS=ignore")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%v: %v\n%s", args, err, tail(errs.String()))
	}
	steps, failed := 0, 0
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		var s struct {
			Step string
			OK   bool
		}
		if json.Unmarshal(lines.Bytes(), &s) != nil {
			continue
		}
		steps++
		if !s.OK {
			failed++
		}
	}
	t.Logf("%d steps, %d failed", steps, failed)
	if steps == 0 {
		t.Errorf("%v did nothing:\n%s", args, tail(errs.String()))
	}
}

func tail(s string) string { return s[max(0, len(s)-2000):] }

// gophercloudAcceptance runs gophercloud's own tests, one after the other.
func gophercloudAcceptance(t *testing.T, p *suite) {
	const module = "github.com/gophercloud/gophercloud/v2/internal/acceptance/openstack/baremetal/"
	for _, pkg := range []string{"v1", "noauth"} {
		binary := filepath.Join(t.TempDir(), pkg+".test")
		if out, err := exec.Command("go", "test", "-tags", "acceptance", "-c", "-o", binary, module+pkg).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		list, err := exec.Command(binary, "-test.list", ".").Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range strings.Fields(string(list)) {
			p.step(t, pkg+" "+name, func() error {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				cmd := exec.CommandContext(ctx, binary, "-test.v", "-test.run", "^"+regexp.QuoteMeta(name)+"$")
				cmd.Dir = t.TempDir()
				cmd.Env = append(os.Environ(), "OS_BRANCH=master", "OS_REGION_NAME=lab", "OS_AUTH_URL="+p.URL+"/v3", "OS_USERNAME=admin",
					"OS_PASSWORD=admin", "OS_PROJECT_NAME=admin", "OS_DOMAIN_ID=default", "IRONIC_ENDPOINT="+p.URL+"/v1")
				out, err := cmd.CombinedOutput()
				switch {
				case err != nil:
					return fmt.Errorf("%w: %s", err, tail(string(out)))
				case !strings.Contains(string(out), "--- PASS"):
					return fmt.Errorf("it did not run: %s", out)
				}
				return nil
			})
		}
	}
}
