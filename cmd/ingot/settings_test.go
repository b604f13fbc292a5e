package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/ingot-metal/ingot/pkg/cli"
)

func TestFill(t *testing.T) {
	tests := []struct {
		name string
		args []string
		env  map[string]string
		file string
		want func(s *settings) bool
		err  string
	}{
		{name: "defaults", want: func(s *settings) bool { return s.RESTAddress == "127.0.0.1:6385" && s.Workers == 16 }},
		{
			name: "REST door", file: "rest-auth: http_basic\nrest-allowed-hosts: [metal.example, 10.0.0.1]\n", env: map[string]string{"INGOT_REST_HTPASSWD_FILE": "/etc/ingot/htpasswd", "INGOT_REST_TLS": "true"},
			want: func(s *settings) bool {
				d := s.RESTDoor
				return d.Auth == "http_basic" && d.Htpasswd == "/etc/ingot/htpasswd" && d.TLS && len(d.Hosts) == 2
			},
		},
		{
			name: "file", file: "rest-address: 10.0.0.1:1\nworkers: 3\npower-poll: 5s\nallow-loopback: [127.0.0.1:1, 127.0.0.1:2]\n",
			want: func(s *settings) bool {
				return s.RESTAddress == "10.0.0.1:1" && s.Workers == 3 && s.PollEvery == 5*time.Second && len(s.Loopback) == 2
			},
		},
		{
			name: "environment before file", file: "workers: 3\nflavour: vm\n", env: map[string]string{"INGOT_WORKERS": "4"},
			want: func(s *settings) bool { return s.Workers == 4 && s.Flavour == "vm" },
		},
		{
			name: "command line before environment", args: []string{"--workers", "5"}, file: "workers: 3\n", env: map[string]string{"INGOT_WORKERS": "4"},
			want: func(s *settings) bool { return s.Workers == 5 },
		},
		{name: "unknown key", file: "rest-adress: x\n", err: `no setting "rest-adress"`},
		{name: "no YAML", file: "a: [", err: "--config"},
		{name: "a key twice", file: "workers: 3\nworkers: 4\n", err: "workers"},
		{name: "a bad value", file: "workers: many\n", err: "workers"},
		{name: "a bad value of the environment", env: map[string]string{"INGOT_POWER_POLL": "often"}, err: `INGOT_POWER_POLL="often"`},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			s := &settings{}
			f := pflag.NewFlagSet("serve", pflag.ContinueOnError)
			s.flags(f, "/data")
			if err := f.Parse(tc.args); err != nil {
				t.Fatal(err)
			}
			path := ""
			if tc.file != "" {
				path = filepath.Join(t.TempDir(), "ingot.yaml")
				if err := os.WriteFile(path, []byte(tc.file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			err := cli.FromEnvironment(f, func(k string) string { return tc.env[k] })
			if err == nil {
				err = fill(f, path)
			}
			switch {
			case tc.err != "":
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("error %v, want one with %s", err, tc.err)
				}
			case err != nil:
				t.Error(err)
			case !tc.want(s):
				t.Errorf("settings %+v", s.Config)
			}
		})
	}
}
