package layers_test

import (
	"bufio"
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const (
	module = "github.com/ingot-metal/ingot"
	bmclib = "github.com/bmc-toolbox/bmclib/v2"
)

// pkg is what go list says of a package.
type pkg struct {
	standard bool
	imports  []string // direct, tests left out
	deps     []string // all that it links
	tests    []string // direct imports of its tests
}

func list(t *testing.T) map[string]pkg {
	t.Helper()
	const format = `{{.ImportPath}}|{{.Standard}}|{{join .Imports " "}}|{{join .Deps " "}}|{{join .TestImports " "}} {{join .XTestImports " "}}`
	// -e: a package that does not build is another test's business.
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-deps", "-tags", "e2e", "-f", format, "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	all := map[string]pkg{}
	s := bufio.NewScanner(bytes.NewReader(out))
	s.Buffer(nil, 16<<20)
	for s.Scan() {
		f := strings.Split(s.Text(), "|")
		if len(f) != 5 {
			t.Fatalf("go list printed %q", s.Text())
		}
		all[f[0]] = pkg{
			standard: f[1] == "true", imports: strings.Fields(f[2]), deps: strings.Fields(f[3]), tests: strings.Fields(f[4]),
		}
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// in reports whether an import path is one of the trees, or below one.
func in(path string, trees ...string) bool {
	return slices.ContainsFunc(trees, func(tree string) bool { return path == tree || strings.HasPrefix(path, tree+"/") })
}

func ours(names ...string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = module + "/" + n
	}
	return out
}

func TestRooms(t *testing.T) {
	all := list(t)
	kubernetes := []string{"k8s.io", "sigs.k8s.io", "github.com/metal3-io"}
	rules := []struct {
		name string
		who  []string // trees that the rule is for
		not  []string // trees left out of it
		bad  func(dep string) bool
		all  bool // what is linked, not only what is imported
		say  string
	}{
		{
			name: "the agent knows no Kubernetes and no controller", all: true,
			who: ours("agent", "api/agent", "cmd/ingot-agent"),
			bad: func(d string) bool { return in(d, append(kubernetes, ours("pkg/controller")...)...) },
			say: "it is linked into a ramdisk",
		},
		{
			name: "the life cycle imports the standard library alone",
			who:  ours("pkg/host"),
			bad:  func(d string) bool { return !all[d].standard },
			say:  "it is a pure function",
		},
		{
			name: "the life cycle does no input or output",
			who:  ours("pkg/host"),
			bad:  func(d string) bool { return in(d, "net", "os", "log", "io/fs", "syscall", "context", "math/rand") },
			say:  "time and chance arrive with events",
		},
		{
			name: "contracts import nothing of ours", all: true,
			who: ours("api"),
			bad: func(d string) bool { return in(d, module) },
			say: "api is what others build on",
		},
		{
			name: "boot servers and BMC drivers know no Kubernetes", all: true,
			who: ours("pkg/dhcp", "pkg/tftp", "pkg/ipxe", "pkg/httpboot", "pkg/bmc", "pkg/bootnet", "pkg/usernet", "pkg/console"),
			bad: func(d string) bool { return in(d, kubernetes...) },
			say: "each is usable alone",
		},
		{
			name: "servers know no lab", all: true,
			who: ours("pkg", "agent", "api"), not: ours("pkg/lab"),
			bad: func(d string) bool { return in(d, ours("pkg/lab")...) },
			say: "what is emulated must not be told from what is real",
		},
		{
			name: "the lab knows no controller", all: true,
			who: ours("pkg/lab"),
			bad: func(d string) bool { return in(d, ours("pkg/controller", "pkg/engine", "pkg/record", "pkg/serve")...) },
			say: "it outlives the control plane, and must not help it",
		},
		{
			name: "pkg/kubeapi alone imports Kubernetes' own code and etcd's server",
			who:  []string{module}, not: ours("pkg/kubeapi", "hack"),
			bad: func(d string) bool { return in(d, "k8s.io/kubernetes", "go.etcd.io/etcd/server") },
			say: "it is most of the binary",
		},
		{
			name: "cmd/ingot alone imports pkg/kubeapi",
			who:  []string{module}, not: ours("cmd/ingot", "pkg/kubeapi"),
			bad: func(d string) bool { return in(d, ours("pkg/kubeapi")...) },
			say: "ingot manager runs without",
		},
		{
			name: "pkg/bmc/vendorextra alone imports bmclib",
			who:  []string{module}, not: ours("pkg/bmc/vendorextra"),
			bad: func(d string) bool { return in(d, bmclib) },
			say: "what it does to BMCs is in docs/designs/0009",
		},
		{
			name: "of bmclib, two providers and no client", all: true,
			who: []string{module},
			bad: func(d string) bool {
				return d == bmclib || strings.HasPrefix(d, bmclib+"/providers/") && !in(d, bmclib+"/providers/intelamt", bmclib+"/providers/asrockrack")
			},
			say: "the client dials all providers, and others run ipmitool and sum",
		},
		{
			name: "nothing imports commands", all: true,
			who: []string{module}, not: ours("cmd"),
			bad: func(d string) bool { return in(d, ours("cmd")...) },
			say: "cmd is where things are put together",
		},
	}
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			met := 0
			for path, p := range all {
				if !in(path, rule.who...) || in(path, rule.not...) {
					continue
				}
				met++
				deps := p.imports
				if rule.all {
					deps = p.deps
				}
				for _, d := range deps {
					if !in(d, path) && rule.bad(d) {
						t.Errorf("%s depends on %s: %s", path, d, rule.say)
					}
				}
			}
			if met == 0 {
				t.Errorf("there is no package of %v", rule.who)
			}
		})
	}
}

// Each test binary that links the embedded API is a minute of a build on a small
// machine.
func TestFewTestsLinkTheAPI(t *testing.T) {
	var linked []string
	for path, p := range list(t) {
		if in(path, module) && slices.ContainsFunc(p.tests, func(d string) bool { return in(d, ours("pkg/kubeapi")...) }) {
			linked = append(linked, strings.TrimPrefix(path, module+"/"))
		}
	}
	slices.Sort(linked)
	allowed := []string{"cmd/ingot", "e2e/cli", "e2e/journey", "e2e/shard", "e2e/takeover", "pkg/admission", "pkg/kubeapi", "pkg/controller", "pkg/rest"}
	for _, p := range linked {
		if !slices.Contains(allowed, p) {
			t.Errorf("the tests of %s link pkg/kubeapi: use one of %v, or run the built binary", p, allowed)
		}
	}
}
