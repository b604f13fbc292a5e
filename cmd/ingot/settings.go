package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"github.com/ingot-metal/ingot/pkg/cli"
	"github.com/ingot-metal/ingot/pkg/console"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/serve"
)

// settings are the flags that serve and manager share.
type settings struct {
	serve.Config
	config   string
	logLevel string
}

func (s *settings) flags(f *pflag.FlagSet, dataDir string) {
	s.Machine = host.Defaults()
	f.StringVar(&s.config, "config", "", "YAML file of these settings, by flag name")
	f.StringVar(&s.DataDir, "data-dir", dataDir, "where everything is kept")
	f.StringVar(&s.RESTAddress, "rest-address", "127.0.0.1:6385", "address of the Ironic-compatible REST door")
	d := &s.RESTDoor
	f.StringVar(&d.Auth, "rest-auth", serve.NoAuth, "who is let in at the REST door: noauth (whoever reaches it), http_basic, keystone or kubernetes")
	f.BoolVar(&d.ForceNoAuth, "rest-force-noauth", false, "let in whoever reaches the REST door on an address other than loopback, too")
	f.StringSliceVar(&d.Hosts, "rest-allowed-hosts", nil, "more names by which the REST door is known (beside localhost, its addresses and the name of this machine): checked where there is no login, and in the certificate of --rest-tls")
	f.BoolVar(&d.TLS, "rest-tls", false, "TLS on the REST door, with a certificate of ingot's own authority")
	f.StringVar(&d.CertFile, "rest-tls-cert-file", "", "TLS on the REST door, with this certificate (and its chain), read anew when it changes")
	f.StringVar(&d.KeyFile, "rest-tls-private-key-file", "", "private key of --rest-tls-cert-file")
	f.StringVar(&d.Htpasswd, "rest-htpasswd-file", "", "users and bcrypt hashes of --rest-auth http_basic (htpasswd -B), read anew when it changes")
	f.StringVar(&d.Clouds, "rest-clouds-file", "", "clouds.yaml with the credential by which --rest-auth keystone validates tokens")
	f.StringVar(&d.Cloud, "rest-cloud", "", "which cloud of --rest-clouds-file (default: its only one)")
	f.StringVar(&d.KeystoneURI, "rest-keystone-uri", "", "where clients get tokens, as they are told (default: the cloud's auth_url)")
	f.StringVar(&d.ServiceProject, "rest-service-project", "", "Keystone project, by id or by name in the domain default, whose users with the role service are trusted with all nodes (Nova's; default: none)")
	f.StringVar(&s.HTTPAddress, "http-address", ":6180", "address of the boot door: loaders, scripts, kernels, image chunks")
	f.StringVar(&s.HTTPSAddress, "https-address", ":6183", "address of the door for agents, uploads and the webhook")
	f.StringVar(&s.MetricsAddress, "metrics-address", ":8443", "address of the metrics; 0 for none")
	f.StringVar(&s.HealthAddress, "health-address", ":9440", "address of /healthz and /readyz; 0 for none")
	f.StringVar(&s.BootFiles, "boot-files", "", "directory of kernels and ramdisks (default: boot in the data directory)")
	f.StringVar(&s.Loaders, "loaders", "", "directory of iPXE's loaders (default: Debian's /usr/lib/ipxe)")
	f.StringVar(&s.Flavour, "flavour", "server", "ramdisk where no ProvisioningNetwork names one: vm or server")
	f.StringVar(&s.Console, "agent-console", "ttyS0", "console of the agent's kernel")
	f.StringSliceVar(&s.Loopback, "allow-loopback", nil, "host:port on this machine that images may be fetched from (a lab needs it)")
	f.Int64Var(&s.BlobQuota, "blob-quota", 0, "bytes that images and other blobs may take; 0: no limit")
	f.StringVar((*string)(&s.RecordConsoles), "record-consoles", string(console.Operations), "when the machines' serial consoles are recorded: operations (that boot the machine), always or never")
	f.DurationVar(&s.PollEvery, "power-poll", time.Minute, "how often each host's power is read")
	f.BoolVar(&s.BMCEvents, "bmc-events", true, "have BMCs push Redfish events to the HTTPS door, so that a change of power is seen at once")
	f.BoolVar(&s.BuildPreprovImage, "build-preprov-image", false, "have an external builder make each host's ramdisk (PreprovisioningImage) before a machine is booted")
	f.BoolVar(&s.LiveISOOnce, "live-iso-boot-once", false, "boot live ISOs by an override for one start, set anew at each that ingot orders, instead of a lasting one")
	f.BoolVar(&s.HostClaims, "hostclaims", true, "let HostClaims take hosts that a HostDeployPolicy admits them to")
	f.IntVar(&s.Shards, "shards", 0, "into how many shares the hosts fall, for replicas to have: the same for all; 0: as agreed before, or 16")
	f.StringVar(&s.Advertise, "advertise-address", "", "address, with or without a port, at which agents and other replicas reach the HTTPS door (default: found out)")
	f.IntVar(&s.Workers, "workers", defaultWorkers, "hosts that are worked on at the same time")
	f.DurationVar(&s.Machine.HelloTimeout, "boot-timeout", s.Machine.HelloTimeout, "how long a machine may take from power on to the agent's call")
	f.DurationVar(&s.Machine.RetryUnit, "retry-unit", s.Machine.RetryUnit, "half of the first wait after a failure; it doubles each time")
	f.IntVar(&s.Machine.MaxTries, "max-provisioning-retries", s.Machine.MaxTries, "how often one image is tried on a host; 0: no limit")
	f.StringVar(&s.logLevel, "log-level", "info", "debug, info, warn or error")
}

// fill takes what neither the command line nor the environment names from the
// configuration file.
func fill(f *pflag.FlagSet, path string) error {
	file := map[string]any{}
	if path != "" {
		raw, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("--config: %w", err)
		}
		if err := yaml.UnmarshalStrict(raw, &file); err != nil {
			return fmt.Errorf("--config %s: %w", path, err)
		}
	}
	for name := range file {
		if fl := f.Lookup(name); fl == nil || fl.Name != name {
			return cli.Usage("--config %s: there is no setting %q; the names are those of the flags (ingot serve --help)", path, name)
		}
	}
	var err error
	f.VisitAll(func(fl *pflag.Flag) {
		if fl.Changed || err != nil {
			return
		}
		v, ok := file[fl.Name]
		if !ok {
			return
		}
		text := fmt.Sprint(v)
		if list, ok := v.([]any); ok {
			parts := make([]string, len(list))
			for i, x := range list {
				parts[i] = fmt.Sprint(x)
			}
			text = strings.Join(parts, ",")
		}
		if e := f.Set(fl.Name, text); e != nil {
			err = cli.Usage("--config %s: %s: %v", path, fl.Name, e)
		}
	})
	return err
}

// complete checks the settings and fills in what follows from others.
func (s *settings) complete(a *cli.App, cmd *cobra.Command) error {
	if err := fill(cmd.Flags(), s.config); err != nil {
		return err
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.logLevel)); err != nil {
		return cli.Usage("--log-level %q: want debug, info, warn or error", s.logLevel)
	}
	if s.Flavour != "vm" && s.Flavour != "server" {
		return cli.Usage("--flavour %q: want vm or server", s.Flavour)
	}
	if _, err := console.ParseMode(string(s.RecordConsoles)); err != nil {
		return cli.Usage("--record-consoles %q: %v", s.RecordConsoles, err)
	}
	if err := s.RESTDoor.Check(); err != nil {
		return cli.Usage("%v", err)
	}
	s.Log = slog.New(slog.NewTextHandler(a.Err, &slog.HandlerOptions{Level: level}))
	s.Out = a.Out
	dir, err := filepath.Abs(s.DataDir)
	if err != nil {
		return err
	}
	s.DataDir = dir
	if s.BootFiles == "" {
		s.BootFiles = filepath.Join(dir, "boot")
	}
	return nil
}
