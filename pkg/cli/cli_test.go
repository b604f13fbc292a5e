package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ingot-metal/ingot/api/v1alpha1"
)

var update = flag.Bool("update", false, "rewrite generated files")

// ingot runs one command line without an API.
func ingot(t *testing.T, env map[string]string, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code = Run(context.Background(), args, func(k string) string { return env[k] }, Stdio{In: strings.NewReader(""), Out: &o, Err: &e})
	return code, o.String(), e.String()
}

func TestUsage(t *testing.T) {
	home := map[string]string{"HOME": t.TempDir(), "INGOT_DATA_DIR": t.TempDir()}
	file := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	image := file("i.raw", "some bytes")
	hex := strings.Repeat("a", 64)
	tests := []struct {
		name string
		args []string
		code int
		want string // in what is printed to stderr
	}{
		{name: "unknown verb", args: []string{"hots"}, code: 2, want: "unknown command"},
		{name: "unknown flag", args: []string{"hosts", "--wach"}, code: 2, want: "unknown flag"},
		{name: "no API", args: []string{"hosts"}, code: 1, want: "ingot serve"},
		{name: "kubeconfig that is not there", args: []string{"hosts", "--kubeconfig", "/no/such"}, code: 1, want: "ingot serve"},
		{name: "bad output", args: []string{"hosts", "-o", "xml"}, code: 2, want: "json, yaml, wide, name"},
		{name: "watch of json", args: []string{"hosts", "-w", "-o", "json"}, code: 2, want: "kubectl get bmh"},
		{name: "explain nobody", args: []string{"explain"}, code: 2, want: "name one host"},
		{name: "console of nobody", args: []string{"console"}, code: 2, want: "name one host"},
		{name: "console of two", args: []string{"console", "w1", "w2"}, code: 2, want: "name one host"},
		{name: "too many lines", args: []string{"console", "w1", "--last=99999"}, code: 2, want: "1 to 2000"},
		{name: "a number behind --last", args: []string{"console", "w1", "--last", "50"}, code: 1, want: "ingot serve"},
		{name: "power without a verb", args: []string{"power"}, code: 2, want: "on, off or reboot"},
		{name: "power to nobody", args: []string{"power", "on"}, code: 2, want: "name one host or more"},
		{name: "power of another kind", args: []string{"power", "cycle", "w1"}, code: 2, want: "on, off or reboot"},
		{name: "enroll nothing", args: []string{"enroll"}, code: 2, want: ".csv"},
		{name: "no image", args: []string{"provision", "w1"}, code: 2, want: "--image"},
		{name: "image of another scheme", args: []string{"provision", "w1", "--image", "ftp://h/i"}, code: 2, want: "http or https"},
		{name: "image file that is not there", args: []string{"provision", "w1", "--image", "nowhere.raw"}, code: 1, want: "there is no file nowhere.raw"},
		{name: "no checksum", args: []string{"provision", "w1", "--image", "http://h/i"}, code: 2, want: "--checksum"},
		{name: "checksum that is none", args: []string{"provision", "w1", "--image", "http://h/i", "--checksum", "xyz"}, code: 2, want: "neither hex digits nor a URL"},
		{name: "checksum of odd length", args: []string{"provision", "w1", "--image", "http://h/i", "--checksum", "abcdef"}, code: 2, want: "has 6 digits"},
		{name: "checksum of another type", args: []string{"provision", "w1", "--image", "http://h/i", "--checksum", hex, "--checksum-type", "sha512"}, code: 2, want: "which is a sha256"},
		{name: "checksum type", args: []string{"provision", "w1", "--image", image, "--checksum-type", "crc"}, code: 2, want: "sha256, sha512, md5 and auto"},
		{name: "format", args: []string{"provision", "w1", "--image", image, "--format", "iso"}, code: 2, want: "raw and qcow2"},
		{name: "unknown hint", args: []string{"provision", "w1", "--image", image, "--root-device-hint", "serial=1"}, code: 2, want: "serialNumber"},
		{name: "hint that is no number", args: []string{"provision", "w1", "--image", image, "--root-device-hint", "minSizeGigabytes=big"}, code: 2, want: "whole number"},
		{name: "hint that is no truth", args: []string{"provision", "w1", "--image", image, "--root-device-hint", "rotational=maybe"}, code: 2, want: "true or false"},
		{name: "two user data", args: []string{"provision", "w1", "--image", image, "--ssh-key", "a", "--user-data", "b"}, code: 2, want: "--user-data"},
		{name: "one name for two", args: []string{"provision", "w1", "w2", "--image", image, "--hostname", "a"}, code: 2, want: "2 hosts"},
		{name: "host name", args: []string{"provision", "w1", "--image", image, "--hostname", "A_b"}, code: 2, want: "RFC 1123"},
		{name: "private key", args: []string{"provision", "w1", "--image", image, "--ssh-key", file("id", "-----BEGIN OPENSSH PRIVATE KEY-----\n")}, code: 1, want: "id.pub"},
		{name: "no key", args: []string{"provision", "w1", "--image", image, "--ssh-key", file("id.pub", "# none\n")}, code: 1, want: "no public SSH key"},
		{name: "bad cloud-config", args: []string{"provision", "w1", "--image", image, "--user-data", file("u", "#cloud-config\na: b: c\n")}, code: 1, want: "no YAML mapping"},
		{name: "late cloud-config", args: []string{"provision", "w1", "--image", image, "--user-data", file("u", "\n#cloud-config\n")}, code: 1, want: "very first"},
		{name: "good image, no API", args: []string{"provision", "w1", "--image", image}, code: 1, want: "ingot serve"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errOut := ingot(t, home, tt.args...)
			if code != tt.code || !strings.Contains(errOut, tt.want) || !strings.HasPrefix(errOut, "ingot: ") || out != "" {
				t.Errorf("code %d, want %d; stderr %q, want %q in it; stdout %q", code, tt.code, errOut, tt.want, out)
			}
		})
	}
}

func TestEveryVerbHasAnExample(t *testing.T) {
	a := &App{Env: func(string) string { return "" }}
	walk(a.Root(), func(c *cobra.Command) {
		if c.Example == "" || c.Short == "" {
			t.Errorf("%s has no example or no short text", c.CommandPath())
		}
	})
}

func TestReferenceIsFresh(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "reference", "cli.md")
	a := &App{Env: func(string) string { return "" }}
	want := Reference(a.Root())
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("docs/reference/cli.md is stale, run go test ./pkg/cli -run Reference -update (-want +got):\n%s", diff)
	}
}

func TestWhereTheAPIIs(t *testing.T) {
	data, home, named := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "named")
	write := func(path, server string) {
		text := "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: '" + server + "'}}]\ncontexts: [{name: c, context: {cluster: c, namespace: racks}}]\n"
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(data, "ingot", "kubeconfig"), "https://data")
	write(filepath.Join(home, ".kube", "config"), "https://home")
	write(named, "https://named")
	tests := []struct {
		name            string
		app             App
		env             map[string]string
		host, namespace string
	}{
		{name: "flag first", app: App{config: named, namespace: "n"}, env: map[string]string{"KUBECONFIG": "/x", "XDG_STATE_HOME": data}, host: "https://named", namespace: "n"},
		{name: "then KUBECONFIG", env: map[string]string{"KUBECONFIG": named, "XDG_STATE_HOME": data}, host: "https://named", namespace: "racks"},
		{name: "then the data directory", env: map[string]string{"XDG_STATE_HOME": data, "HOME": home}, host: "https://data", namespace: "racks"},
		{name: "which may be named", env: map[string]string{"INGOT_DATA_DIR": filepath.Join(data, "ingot"), "HOME": home}, host: "https://data", namespace: "racks"},
		{name: "then home", env: map[string]string{"HOME": home}, host: "https://home", namespace: "racks"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.app.Env = func(k string) string { return tt.env[k] }
			cfg, namespace, err := tt.app.Config()
			if err != nil {
				t.Fatal(err)
			}
			if cfg.Host != tt.host || namespace != tt.namespace {
				t.Errorf("got %s, %s; want %s, %s", cfg.Host, namespace, tt.host, tt.namespace)
			}
		})
	}
	pod := App{Env: func(k string) string { return map[string]string{"KUBERNETES_SERVICE_HOST": "10.0.0.1"}[k] }}
	if _, _, err := pod.Config(); err == nil || errors.Is(err, errNoAPI) || !strings.Contains(err.Error(), "the pod's service account") {
		t.Errorf("in a pod without an account: %v", err)
	}
	root := App{Env: func(string) string { return "" }, root: true}
	if got := root.DataDir(); got != "/var/lib/ingot" {
		t.Errorf("root's data directory is %s", got)
	}
}

func TestCanChange(t *testing.T) {
	deleted := metav1.Now()
	image := &metal3.Image{URL: "http://h/i"}
	tests := []struct {
		name string
		edit func(*metal3.BareMetalHost)
		// What each verb says; empty: it goes on.
		on, off, reboot, provision, deprovision string
	}{
		{name: "available", edit: func(*metal3.BareMetalHost) {}, reboot: "only a host with an operating system", deprovision: "has no image"},
		{
			name: "provisioned", edit: func(h *metal3.BareMetalHost) {
				h.Status.Provisioning.State, h.Spec.Image, h.Spec.Online, h.Status.PoweredOn = metal3.StateProvisioned, image, true, true
			},
			provision: "first ingot deprovision",
		},
		{
			name: "provisioned and off", edit: func(h *metal3.BareMetalHost) {
				h.Status.Provisioning.State, h.Spec.Image = metal3.StateProvisioned, image
			},
			reboot: "use ingot power on", provision: "first ingot deprovision",
		},
		{
			name: "held", edit: func(h *metal3.BareMetalHost) {
				h.Spec.ConsumerRef = &corev1.ObjectReference{Kind: "Metal3Machine", Name: "m1"}
				h.Status.Provisioning.State, h.Spec.Image, h.Spec.Online = metal3.StateProvisioned, image, true
			},
			provision: "held by Metal3Machine m1", deprovision: "held by Metal3Machine m1",
		},
		{
			name: "inspecting", edit: func(h *metal3.BareMetalHost) { h.Status.Provisioning.State = metal3.StateInspecting },
			off: "needs its power", reboot: "only a host with", deprovision: "has no image",
		},
		{
			name: "new", edit: func(h *metal3.BareMetalHost) { h.Status.Provisioning.State = "" },
			reboot: "is new", deprovision: "has no image: it is new",
		},
		{
			name: "unmanaged", edit: func(h *metal3.BareMetalHost) {
				h.Spec.BMC = metal3.BMCDetails{}
				h.Status.Provisioning.State = metal3.StateUnmanaged
			},
			on: "no BMC address", off: "no BMC address", reboot: "no BMC address", provision: "no BMC address", deprovision: "has no image",
		},
		{
			name: "paused", edit: func(h *metal3.BareMetalHost) { h.Annotations = map[string]string{metal3.PausedAnnotation: ""} },
			on: "paused", off: "paused", reboot: "paused", provision: "paused", deprovision: "paused",
		},
		{
			name: "detached", edit: func(h *metal3.BareMetalHost) { h.Annotations = map[string]string{metal3.DetachedAnnotation: ""} },
			on: "detached", off: "detached", reboot: "detached", provision: "detached", deprovision: "detached",
		},
		{
			name: "deleted", edit: func(h *metal3.BareMetalHost) { h.DeletionTimestamp = &deleted },
			on: "being deleted", off: "being deleted", reboot: "being deleted", provision: "being deleted", deprovision: "being deleted",
		},
		{
			name: "somebody else's", edit: func(h *metal3.BareMetalHost) {
				h.Spec.ExternallyProvisioned, h.Spec.Online = true, true
				h.Status.Provisioning.State = metal3.StateExternallyProvisioned
			},
			provision: "somebody else", deprovision: "somebody else",
		},
		{
			name: "never off", edit: func(h *metal3.BareMetalHost) { h.Spec.DisablePowerOff = true },
			off: "disablePowerOff", reboot: "only a host", deprovision: "has no image",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bmh := &metal3.BareMetalHost{}
			bmh.Name, bmh.Namespace = "w1", "default"
			bmh.Spec.BMC = metal3.BMCDetails{Address: "ipmi://h", CredentialsName: "s"}
			bmh.Status.Provisioning.State = metal3.StateAvailable
			tt.edit(bmh)
			h := host{bmh: bmh}
			for verb, c := range map[string]struct {
				err  error
				want string
			}{
				"on": {canPower(h, "on"), tt.on}, "off": {canPower(h, "off"), tt.off}, "reboot": {canPower(h, "reboot"), tt.reboot},
				"provision": {canProvision(h), tt.provision}, "deprovision": {canDeprovision(h), tt.deprovision},
			} {
				if (c.err == nil) != (c.want == "") || (c.err != nil && !strings.Contains(c.err.Error(), c.want)) {
					t.Errorf("%s: %v, want %q", verb, c.err, c.want)
				}
			}
		})
	}
}

func TestStuck(t *testing.T) {
	when := metav1.NowMicro()
	problem := func(code string, next *metav1.MicroTime) host {
		return host{record: &v1alpha1.HostRecord{Status: v1alpha1.HostRecordStatus{
			Problem: &v1alpha1.Problem{Code: code, Since: &when, NextTry: next},
		}}}
	}
	working := problem("bmc-auth", nil)
	working.record.Status.Operation = &v1alpha1.Operation{Kind: "verify"}
	tests := []struct {
		name        string
		now, before host
		waited      time.Duration
		want        bool
	}{
		{name: "no record"},
		{name: "no problem", now: host{record: &v1alpha1.HostRecord{}}},
		{name: "tried again", now: problem("bmc-slow", &when)},
		{name: "new problem", now: problem("bmc-auth", nil), want: true},
		{name: "the problem from before", now: problem("bmc-auth", nil), before: problem("bmc-auth", nil)},
		{name: "which stays", now: problem("bmc-auth", nil), before: problem("bmc-auth", nil), waited: time.Minute, want: true},
		{name: "another than before", now: problem("hint-none", nil), before: problem("bmc-auth", nil), want: true},
		{name: "being worked on", now: working},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := stuck(tt.now, tt.before, tt.waited); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestDraw(t *testing.T) {
	rows := [][]string{{"NAME", "STATE"}, {"w1", "available"}, {"w2", "available"}, {"w3", "available"}, {"w4", "évil\x1b[2J"}}
	for _, tt := range []struct {
		name          string
		width, height int
		want          string
	}{
		{name: "all", width: 80, height: 24, want: "\x1b[HNAME   STATE\x1b[K\nw1     available\x1b[K\nw2     available\x1b[K\nw3     available\x1b[K\nw4     évil [2J\x1b[K\n\x1b[J"},
		{name: "small", width: 10, height: 4, want: "\x1b[HNAME   ST…\x1b[K\nw1     av…\x1b[K\n… and 3 m…\x1b[K\n\x1b[J"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b strings.Builder
			if err := draw(&b, rows, tt.width, tt.height); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, b.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPatchAt(t *testing.T) {
	patch := map[string]any{"metadata": map[string]any{"annotations": map[string]any{"a": "b"}}, "spec": map[string]any{"image": nil}}
	got, err := patchAt("7", patch)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"metadata":{"annotations":{"a":"b"},"resourceVersion":"7"},"spec":{"image":null}}`
	if string(got) != want {
		t.Errorf("got %s", got)
	}
	if again, _ := json.Marshal(patch["metadata"]); strings.Contains(string(again), "resourceVersion") {
		t.Error("the caller's patch was changed")
	}
}
