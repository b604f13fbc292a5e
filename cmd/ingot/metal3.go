package main

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/ingot-metal/ingot/pkg/cli"
	"github.com/ingot-metal/ingot/pkg/serve"
)

// metal3Setting is a flag or a variable that operators of Metal3's
// baremetal-operator set. docs/reference/metal3.md lists them from here.
type metal3Setting struct {
	name string // a flag with its dashes, or a variable; with a * at its end: all that begin so
	flag string // ours that it sets; empty: none
	// leftover says what to do instead where it has no meaning here. It is said
	// once, and nothing more follows: Deployments and the ConfigMap that Metal3's
	// operator was configured by are often taken over as they are, and hosts that
	// nobody looks after are worse than a setting that is not heeded.
	leftover string
	// refused says why it cannot be meant, and what to do. It ends the start: what
	// a person wrote to have something else than ingot work on the machines.
	refused string
	does    string // for the documentation
}

// defaultWorkers are the hosts worked on at the same time, unless something else
// is asked for.
const defaultWorkers = 16

func metal3Settings() []metal3Setting {
	const boots = "ingot boots its own kernel and ramdisk: --boot-files names their directory"
	const ironic = "ingot needs no Ironic: stop it, for it would switch the same machines, and remove the variable"
	const network = "make a ProvisioningNetwork object (docs/howto)"
	return []metal3Setting{
		{name: "--namespace", does: "hosts of these namespaces alone are seen, separated by commas; empty: all"},
		{name: "--metrics-addr", flag: "metrics-address", does: "the same; `0` for none"},
		{name: "--health-addr", flag: "health-address", does: "`/healthz` and `/readyz`, the same; `0` for none"},
		{name: "--webhook-port", does: "the port of `--webhook-address`; 0: no webhooks. They are served where `--webhook-service` or `--webhook-url` says how the API finds them"},
		{name: "--enable-leader-election", flag: "leader-elect", does: "the same; on unless it is switched off"},
		{name: "--lease-duration-seconds", flag: "lease-duration-seconds", does: "after how long a silent replica's hosts go to the others; default 15"},
		{name: "--renew-deadline-seconds", flag: "renew-deadline-seconds", does: "how long a replica acts on its hosts without having renewed its Lease; default 10"},
		{name: "--retry-period-seconds", flag: "retry-period-seconds", does: "how often Leases are renewed, or tried for; default 2"},
		{name: "--build-preprov-image", flag: "build-preprov-image", does: "an external builder makes the ramdisks, asked by PreprovisioningImage"},
		{name: "--hostclaims", flag: "hostclaims", does: "HostClaims are served"},
		{name: "--dev", does: "true: `--log-level debug`"},
		{name: "--provisioner", does: "`ironic`, Metal3's default, and `ingot` are taken for ingot's own engine; any other is refused"},
		{name: "--test-mode", refused: "there is no fixture in ingot: try on the machines of `ingot lab up --simulated`", does: "refused: `ingot lab up --simulated` has machines to try on"},
		{name: "--demo-mode", refused: "there is no demo provisioner in ingot: try on the machines of `ingot lab up --simulated`", does: "refused: `ingot lab up --simulated` has machines to try on"},
		{name: "--kube-api-qps", flag: "kube-api-qps", does: "requests a second to the Kubernetes API; default 0: no limit of ours, the API server has its own (priority and fairness). Metal3's 20 made 800 hosts wait for each other for minutes"},
		{name: "--kube-api-burst", flag: "kube-api-burst", does: "how many of them in a row; only with `--kube-api-qps`"},
		{name: "--controller-concurrency", flag: "workers", does: "hosts that are worked on at the same time; 0: 16"},
		{name: "--max-provisioning-retries", flag: "max-provisioning-retries", does: "the same"},
		{name: "--tls-min-version", flag: "tls-min-version", does: "`TLS12` or `TLS13`, of the HTTPS door and the metrics. With `TLS13`, BMCs that know no better cannot push events, and their changes are seen by polls"},
		{name: "--tls-max-version", flag: "tls-max-version", does: "the same"},
		{name: "--tls-cipher-suites", flag: "tls-cipher-suites", does: "IANA's names, separated by commas; of TLS 1.2"},
		{name: "--tls-curve-preferences", flag: "tls-curve-preferences", does: "`X25519MLKEM768`, `X25519`, `P256`, `P384`, `P521`, separated by commas"},

		{name: "WATCH_NAMESPACE", flag: "namespace", does: "as `--namespace`, which goes before it"},
		{name: "BMO_CONCURRENCY", flag: "workers", does: "as `--controller-concurrency`, which goes before it"},
		{name: "LEASE_DURATION_SECONDS", flag: "lease-duration-seconds", does: "as the flag, which goes before it"},
		{name: "RENEW_DEADLINE_SECONDS", flag: "renew-deadline-seconds", does: "as the flag, which goes before it"},
		{name: "RETRY_PERIOD_SECONDS", flag: "retry-period-seconds", does: "as the flag, which goes before it"},
		{name: "POD_NAMESPACE", does: "not needed: the Leases are in `kube-system`, one service to a cluster"},
		{name: "PROVISIONING_LIMIT", leftover: "ingot has no limit of hosts at a time: an image is fetched once for all of them", does: "means nothing, said once: images are prepared once for all hosts, and served in chunks"},
		{name: "DEPLOY_KERNEL_URL*", leftover: boots, does: "means nothing, said once: `--boot-files`"},
		{name: "DEPLOY_RAMDISK_URL*", leftover: boots, does: "means nothing, said once: `--boot-files`"},
		{name: "DEPLOY_ISO_URL*", leftover: boots, does: "means nothing, said once: `--boot-files`"},
		{name: "IRONIC_*", leftover: ironic, does: "means nothing, said once: stop Ironic"},
		{name: "METAL3_AUTH_ROOT_DIR", leftover: ironic, does: "means nothing, said once: stop Ironic"},
		{name: "PROVISIONING_NETWORK_DISABLED", leftover: network, does: "means nothing, said once: without a ProvisioningNetwork there is no DHCP"},
		{name: "PROVISIONING_INTERFACE", leftover: network, does: "means nothing, said once: ProvisioningNetwork"},
		{name: "PROVISIONING_IP", leftover: network, does: "means nothing, said once: ProvisioningNetwork"},
		{name: "DHCP_RANGE", leftover: network, does: "means nothing, said once: ProvisioningNetwork"},
		{name: "LIVE_ISO_FORCE_PERSISTENT_BOOT_DEVICE", leftover: "ingot reads back what the BMC did, and repeats what it did not keep", does: "means nothing, said once"},
		{name: "DIRECT_DEPLOY_FORCE_PERSISTENT_BOOT_DEVICE", leftover: "ingot reads back what the BMC did, and repeats what it did not keep", does: "means nothing, said once"},
		{name: "PROVISIONER_PLUGIN_DIR", refused: "a plugin is to work on the machines, and ingot loads none: unset it, or run Metal3's operator", does: "refused: ingot loads no plugins"},
	}
}

// metal3Flags are those of Metal3's that are not ours under another name.
type metal3Flags struct {
	lease, renew, retry                                int
	qps                                                float32
	burst, webhookPort                                 int
	dev, testMode, demoMode                            bool
	provisioner, minVersion, maxVersion, suites, curve string
}

func (m *metal3Flags) register(f *pflag.FlagSet) {
	f.IntVar(&m.lease, "lease-duration-seconds", 15, "after how long a silent replica's hosts go to the others")
	f.IntVar(&m.renew, "renew-deadline-seconds", 10, "how long a replica acts on its hosts without having renewed its Lease")
	f.IntVar(&m.retry, "retry-period-seconds", 2, "how often Leases are renewed, or tried for")
	f.Float32Var(&m.qps, "kube-api-qps", 0, "requests a second to the Kubernetes API; 0: no limit but the API server's own")
	f.IntVar(&m.burst, "kube-api-burst", 30, "how many of them in a row; with --kube-api-qps")
	f.StringVar(&m.minVersion, "tls-min-version", "TLS12", "least TLS version of the HTTPS door and the metrics: TLS12 or TLS13")
	f.StringVar(&m.maxVersion, "tls-max-version", "TLS13", "highest TLS version: TLS12 or TLS13")
	f.StringVar(&m.suites, "tls-cipher-suites", "", "cipher suites of TLS 1.2 by IANA's names, separated by commas (default: Go's)")
	f.StringVar(&m.curve, "tls-curve-preferences", "", "key exchanges, separated by commas (default: Go's)")
	hidden := func(name string) {
		if fl := f.Lookup(name); fl != nil {
			fl.Hidden = true
		}
	}
	f.IntVar(&m.webhookPort, "webhook-port", 9443, "Metal3's: see --webhook-address")
	f.BoolVar(&m.dev, "dev", false, "Metal3's: --log-level debug")
	f.StringVar(&m.provisioner, "provisioner", "ingot", "Metal3's: ironic and ingot are the same here")
	f.BoolVar(&m.testMode, "test-mode", false, "Metal3's: refused")
	f.BoolVar(&m.demoMode, "demo-mode", false, "Metal3's: refused")
	for _, name := range []string{"webhook-port", "dev", "provisioner", "test-mode", "demo-mode"} {
		hidden(name)
	}
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		for _, s := range metal3Settings() {
			if s.flag != "" && s.name == "--"+name {
				return pflag.NormalizedName(s.flag)
			}
		}
		return pflag.NormalizedName(name)
	})
}

// metal3Environment takes the flags that neither the command line nor our own variables
// name from Metal3's variables. It returns what was found that means nothing here.
func metal3Environment(f *pflag.FlagSet, environ []string) (said []string, err error) {
	for _, s := range metal3Settings() {
		if strings.HasPrefix(s.name, "--") {
			continue
		}
		for _, kv := range environ {
			name, value, _ := strings.Cut(kv, "=")
			prefix, any := strings.CutSuffix(s.name, "*")
			if name != prefix && (!any || !strings.HasPrefix(name, prefix)) || value == "" {
				continue
			}
			switch {
			case s.refused != "":
				return nil, cli.Usage("%s is set: %s", name, s.refused)
			case s.leftover != "":
				said = append(said, name+" means nothing here: "+s.leftover)
			case s.flag != "" && !f.Changed(s.flag):
				if err := f.Set(s.flag, value); err != nil {
					return nil, cli.Usage("%s=%q: %v", name, value, err)
				}
			}
		}
	}
	slices.Sort(said)
	return said, nil
}

// before takes what is to be known before the settings are complete.
func (m *metal3Flags) before(f *pflag.FlagSet, environ []string, s *settings) (said []string, err error) {
	if m.dev && !f.Changed("log-level") {
		s.logLevel = "debug"
	}
	return metal3Environment(f, environ)
}

// apply fills in the settings.
func (m *metal3Flags) apply(f *pflag.FlagSet, s *settings) error {
	for flag, set := range map[string]bool{"--test-mode": m.testMode, "--demo-mode": m.demoMode} {
		if set {
			i := slices.IndexFunc(metal3Settings(), func(s metal3Setting) bool { return s.name == flag })
			return cli.Usage("%s: %s", flag, metal3Settings()[i].refused)
		}
	}
	if m.provisioner != "ingot" && m.provisioner != "ironic" {
		return cli.Usage("--provisioner %q: ingot works on the machines with its own engine, and loads no plugin: leave the flag out, or run Metal3's operator for this one", m.provisioner)
	}
	switch {
	case !f.Changed("webhook-port"):
	case m.webhookPort == 0:
		s.Webhook = serve.Webhook{}
	default:
		s.Webhook.Address = ":" + strconv.Itoa(m.webhookPort)
	}
	namespaces, err := f.GetString("namespace")
	if err != nil {
		return err
	}
	s.Namespaces = list(namespaces)
	switch {
	case s.Workers < 0:
		return cli.Usage("--workers %d: want a number above zero, or 0 for %d", s.Workers, defaultWorkers)
	case s.Workers == 0:
		s.Workers = defaultWorkers
	}
	s.LeaseDuration, s.RenewDeadline, s.RetryPeriod = seconds(m.lease), seconds(m.renew), seconds(m.retry)
	if s.RetryPeriod <= 0 || s.RenewDeadline <= s.RetryPeriod || s.LeaseDuration <= s.RenewDeadline {
		return cli.Usage("--lease-duration-seconds (%s) must be above --renew-deadline-seconds (%s), and that above --retry-period-seconds (%s)", s.LeaseDuration, s.RenewDeadline, s.RetryPeriod)
	}
	if m.qps < 0 || m.burst < 0 {
		return cli.Usage("--kube-api-qps and --kube-api-burst: want no number below zero")
	}
	s.KubeQPS, s.KubeBurst = m.qps, m.burst
	s.TLS, err = m.tls()
	return err
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

// tls reads the bounds of TLS.
func (m *metal3Flags) tls() (out serve.TLS, err error) {
	versions := map[string]uint16{"TLS12": tls.VersionTLS12, "TLS13": tls.VersionTLS13}
	out.Min, out.Max = versions[m.minVersion], versions[m.maxVersion]
	switch {
	case out.Min == 0:
		return out, cli.Usage("--tls-min-version %q: want TLS12 or TLS13", m.minVersion)
	case out.Max == 0:
		return out, cli.Usage("--tls-max-version %q: want TLS12 or TLS13", m.maxVersion)
	case out.Min > out.Max:
		return out, cli.Usage("--tls-min-version %s is above --tls-max-version %s", m.minVersion, m.maxVersion)
	}
	for _, name := range list(m.suites) {
		i := slices.IndexFunc(tls.CipherSuites(), func(c *tls.CipherSuite) bool { return c.Name == name })
		if i < 0 {
			return out, cli.Usage("--tls-cipher-suites: %q is none that is known to be safe; known are %s", name, suiteNames())
		}
		out.Suites = append(out.Suites, tls.CipherSuites()[i].ID)
	}
	curves := map[string]tls.CurveID{
		"X25519MLKEM768": tls.X25519MLKEM768, "X25519": tls.X25519, "P256": tls.CurveP256, "P384": tls.CurveP384, "P521": tls.CurveP521,
	}
	for _, name := range list(m.curve) {
		id, known := curves[strings.TrimPrefix(name, "Curve")]
		if !known {
			return out, cli.Usage("--tls-curve-preferences: %q is not known: want some of X25519MLKEM768, X25519, P256, P384, P521", name)
		}
		out.Curves = append(out.Curves, id)
	}
	return out, nil
}

func suiteNames() string {
	var names []string
	for _, c := range tls.CipherSuites() {
		names = append(names, c.Name)
	}
	return strings.Join(names, ", ")
}

// list splits at commas; an empty one has nothing in it.
func list(s string) []string {
	var out []string
	for _, x := range strings.Split(s, ",") {
		if x = strings.TrimSpace(x); x != "" {
			out = append(out, x)
		}
	}
	return out
}

// metal3Section is the table of docs/reference/metal3.md.
func metal3Section() string {
	var b strings.Builder
	b.WriteString("| flag or variable | what ingot does | held by |\n|---|---|---|\n")
	for _, s := range metal3Settings() {
		does := s.does
		if s.flag != "" && "--"+s.flag != s.name {
			does = "`--" + s.flag + "`: " + does
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.name, does, s.heldBy())
	}
	return b.String()
}

// heldBy names the test of a row.
func (s metal3Setting) heldBy() string {
	switch {
	case s.refused != "" || s.name == "--provisioner":
		return "TestMetal3Refused"
	case s.leftover != "":
		return "TestMetal3Leftovers"
	}
	return "TestMetal3Settings"
}
