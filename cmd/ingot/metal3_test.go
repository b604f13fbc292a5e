package main

import (
	"bytes"
	"crypto/tls"
	"flag"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/ingot-metal/ingot/pkg/cli"
)

var update = flag.Bool("update", false, "write the section of docs/reference/metal3.md anew")

// managed reads a command line of ingot manager as it does, up to the point where
// it would start.
func managed(t *testing.T, args []string, env map[string]string, file string) (*settings, []string, error) {
	t.Helper()
	s, m := &settings{}, &metal3Flags{}
	var said []string
	a := &cli.App{Stdio: cli.Stdio{Out: io.Discard, Err: io.Discard}, Env: func(k string) string { return env[k] }}
	var environ []string
	for k, v := range env {
		environ = append(environ, k+"="+v)
	}
	root := &cobra.Command{SilenceErrors: true, SilenceUsage: true}
	root.PersistentFlags().StringP("namespace", "n", "", "")
	cmd := &cobra.Command{Use: "manager", RunE: func(cmd *cobra.Command, _ []string) error {
		err := cli.FromEnvironment(cmd.Flags(), a.Env)
		if err != nil {
			return err
		}
		left, err := m.before(cmd.Flags(), environ, s)
		if err == nil {
			err = s.complete(a, cmd)
		}
		if err != nil {
			return err
		}
		said = left
		return m.apply(cmd.Flags(), s)
	}}
	s.flags(cmd.Flags(), t.TempDir())
	cmd.Flags().BoolVar(&s.LeaderElection, "leader-elect", true, "")
	m.register(cmd.Flags())
	root.AddCommand(cmd)
	if file != "" {
		path := filepath.Join(t.TempDir(), "ingot.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	root.SetArgs(append([]string{"manager"}, args...))
	return s, said, root.Execute()
}

func TestMetal3Settings(t *testing.T) {
	for _, tc := range []struct {
		name string
		args []string
		env  map[string]string
		file string
		want func(*settings) bool
	}{
		{name: "nothing said", want: func(s *settings) bool {
			return s.LeaderElection && s.KubeQPS == 0 && s.Workers == 16 && len(s.Namespaces) == 0 && s.LeaseDuration == 15*time.Second && s.TLS.Min == tls.VersionTLS12
		}},
		{
			name: "Metal3's own manifest", args: []string{"--enable-leader-election", "--tls-min-version=TLS13", "--webhook-port=9443"},
			want: func(s *settings) bool { return s.LeaderElection && s.TLS.Min == tls.VersionTLS13 },
		},
		{
			name: "addresses", args: []string{"--metrics-addr", "127.0.0.1:1", "--health-addr=:2"},
			want: func(s *settings) bool { return s.MetricsAddress == "127.0.0.1:1" && s.HealthAddress == ":2" },
		},
		{name: "no leader election", args: []string{"--enable-leader-election=false"}, want: func(s *settings) bool { return !s.LeaderElection }},
		{name: "namespaces", args: []string{"--namespace", "a, b,"}, want: func(s *settings) bool { return strings.Join(s.Namespaces, "+") == "a+b" }},
		{name: "namespaces by variable", env: map[string]string{"WATCH_NAMESPACE": "a,b"}, want: func(s *settings) bool { return strings.Join(s.Namespaces, "+") == "a+b" }},
		{
			name: "the flag goes before the variable", args: []string{"--namespace=c"}, env: map[string]string{"WATCH_NAMESPACE": "a"},
			want: func(s *settings) bool { return strings.Join(s.Namespaces, "+") == "c" },
		},
		{
			name: "our variable goes before Metal3's, that before the file", file: "workers: 3\nblob-quota: 7\n",
			env:  map[string]string{"INGOT_WORKERS": "5", "BMO_CONCURRENCY": "4"},
			want: func(s *settings) bool { return s.Workers == 5 && s.BlobQuota == 7 },
		},
		{name: "Metal3's variable goes before the file", file: "workers: 3\n", env: map[string]string{"BMO_CONCURRENCY": "4"}, want: func(s *settings) bool { return s.Workers == 4 }},
		{name: "concurrency", args: []string{"--controller-concurrency", "40"}, env: map[string]string{"BMO_CONCURRENCY": "4"}, want: func(s *settings) bool { return s.Workers == 40 }},
		{name: "as much concurrency as is good", args: []string{"--controller-concurrency", "0"}, want: func(s *settings) bool { return s.Workers == 16 }},
		{
			name: "lease", args: []string{"--lease-duration-seconds", "60"}, env: map[string]string{"RENEW_DEADLINE_SECONDS": "40", "RETRY_PERIOD_SECONDS": "5", "LEASE_DURATION_SECONDS": "1"},
			want: func(s *settings) bool {
				return s.LeaseDuration == time.Minute && s.RenewDeadline == 40*time.Second && s.RetryPeriod == 5*time.Second
			},
		},
		{name: "client limits", args: []string{"--kube-api-qps=20", "--kube-api-burst=31"}, want: func(s *settings) bool { return s.KubeQPS == 20 && s.KubeBurst == 31 }},
		{name: "retries", args: []string{"--max-provisioning-retries=0"}, want: func(s *settings) bool { return s.Machine.MaxTries == 0 }},
		{name: "dev", args: []string{"--dev"}, want: func(s *settings) bool { return s.Log.Enabled(t.Context(), slog.LevelDebug) }},
		{name: "dev is no louder than what was asked for", args: []string{"--dev", "--log-level=warn"}, want: func(s *settings) bool { return !s.Log.Enabled(t.Context(), slog.LevelInfo) }},
		{
			name: "ciphers and curves", args: []string{"--tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "--tls-curve-preferences=X25519,CurveP256", "--tls-max-version=TLS12"},
			want: func(s *settings) bool {
				return len(s.TLS.Suites) == 1 && len(s.TLS.Curves) == 2 && s.TLS.Curves[1] == tls.CurveP256 && s.TLS.Max == tls.VersionTLS12
			},
		},
		{name: "its own default provisioner", args: []string{"--provisioner=ironic"}, want: func(*settings) bool { return true }},
		{name: "features that are here", args: []string{"--hostclaims", "--build-preprov-image"}, env: map[string]string{"POD_NAMESPACE": "x"}, want: func(*settings) bool { return true }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, _, err := managed(t, tc.args, tc.env, tc.file)
			if err != nil {
				t.Fatal(err)
			}
			if !tc.want(s) {
				t.Errorf("settings %+v", s.Config)
			}
		})
	}
}

func TestMetal3Refused(t *testing.T) {
	for _, tc := range []struct {
		name string
		args []string
		env  map[string]string
		file string
		want string
	}{
		{name: "another provisioner", args: []string{"--provisioner=anaconda"}, want: "leave the flag out"},
		{name: "plugins", env: map[string]string{"PROVISIONER_PLUGIN_DIR": "/plugins"}, want: "PROVISIONER_PLUGIN_DIR is set"},
		{name: "test mode", args: []string{"--test-mode"}, want: "ingot lab up"},
		{name: "demo mode", args: []string{"--demo-mode=true"}, want: "ingot lab up"},
		{name: "lease shorter than its renewal", args: []string{"--lease-duration-seconds=5"}, want: "must be above"},
		{name: "no number", env: map[string]string{"BMO_CONCURRENCY": "many"}, want: `BMO_CONCURRENCY="many"`},
		{name: "workers below zero", args: []string{"--controller-concurrency=-1"}, want: "--workers -1"},
		{name: "TLS of last year", args: []string{"--tls-min-version=TLS11"}, want: "want TLS12 or TLS13"},
		{name: "TLS upside down", args: []string{"--tls-min-version=TLS13", "--tls-max-version=TLS12"}, want: "is above"},
		{name: "a weak cipher", args: []string{"--tls-cipher-suites=TLS_RSA_WITH_RC4_128_SHA"}, want: "known are TLS_"},
		{name: "an unknown curve", args: []string{"--tls-curve-preferences=P42"}, want: "P42"},
		{name: "Metal3's name in our file", file: "metrics-addr: x\n", want: `no setting "metrics-addr"`},
		{name: "limits below zero", args: []string{"--kube-api-qps=-2"}, want: "below zero"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, _, err := managed(t, tc.args, tc.env, tc.file); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

// What is left over from Metal3's operator is named once each, with what to do,
// and does not keep ingot from starting.
func TestMetal3Leftovers(t *testing.T) {
	_, said, err := managed(t, []string{"--webhook-port=1234"}, map[string]string{
		"IRONIC_ENDPOINT": "https://x/v1/", "IRONIC_INSECURE": "true", "PROVISIONING_LIMIT": "20", "DEPLOY_KERNEL_URL": "http://x/k",
		"DEPLOY_RAMDISK_URL_X86_64": "http://x/r", "DHCP_RANGE": "10.0.0.1,10.0.0.2", "IRONIC_FAST_TRACK": "", "HOME": "/",
	}, "")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range said {
		name, remedy, ok := strings.Cut(s, " means nothing here: ")
		if !ok || remedy == "" {
			t.Errorf("%q says not what to do", s)
		}
		names = append(names, name)
	}
	want := "DEPLOY_KERNEL_URL DEPLOY_RAMDISK_URL_X86_64 DHCP_RANGE IRONIC_ENDPOINT IRONIC_INSECURE PROVISIONING_LIMIT"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("said of\n%s, want\n%s", got, want)
	}
}

// The documentation lists what the table has.
func TestMetal3SettingsDocumented(t *testing.T) {
	const path = "../../docs/reference/metal3.md"
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head := []byte("| flag or variable | what ingot does | held by |\n")
	i := bytes.Index(doc, head)
	if i < 0 {
		t.Fatal("there is no table of flags and variables")
	}
	n := bytes.Index(doc[i:], []byte("\n\n"))
	if n < 0 {
		n = len(doc) - i - 1
	}
	got, want := string(doc[i:i+n+1]), metal3Section()
	if got == want {
		return
	}
	if !*update {
		t.Fatalf("the section Flags and environment is not the table's; go test ./cmd/ingot -run Documented -update writes it:\n%s", want)
	}
	out := append(append(append([]byte(nil), doc[:i]...), want...), doc[i+n+1:]...)
	if err := os.WriteFile(path, out, 0o600); err != nil {
		t.Fatal(err)
	}
}
