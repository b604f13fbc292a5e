package serve

import (
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"k8s.io/client-go/rest"

	"github.com/ingot-metal/ingot/pkg/console"
	"github.com/ingot-metal/ingot/pkg/host"
)

// Config of a service.
type Config struct {
	REST     *rest.Config
	ClientCA *x509.Certificate // authority of the API's client certificates; nil: unknown
	DataDir  string
	Embedded bool // the API is our own: point its webhook at ourselves

	RESTAddress, HTTPAddress, HTTPSAddress string
	MetricsAddress, HealthAddress          string
	RESTDoor                               RESTDoor
	Webhook                                Webhook

	BootFiles string   // directory of kernels and ramdisks
	Loaders   string   // directory of iPXE's loaders
	Flavour   string   // of the ramdisk, where no network names one
	Console   string   // console= of the agent's kernel
	Loopback  []string // host:port on this machine that images may come from
	BlobQuota int64    // bytes; 0: no limit

	RecordConsoles console.Mode // empty: console.Operations

	Machine   host.Machine
	PollEvery time.Duration
	// BMCEvents asks BMCs to push events to the HTTPS door.
	BMCEvents bool
	// HostClaims carries out HostClaims.
	HostClaims bool
	// BuildPreprovImage asks an external builder for each host's ramdisk before it
	// is booted (PreprovisioningImage).
	BuildPreprovImage bool
	// LiveISOOnce has live ISOs booted by an override for each start, not a lasting
	// one.
	LiveISOOnce bool
	// AgentSilence is after how long an agent counts as lost; 0: 90 s. An idle
	// one calls every 30 s.
	AgentSilence time.Duration
	Workers      int

	LeaderElection bool
	// KubeQPS and KubeBurst limit requests to the Kubernetes API; 0: no limit of
	// our own.
	KubeQPS   float32
	KubeBurst int
	// Namespaces are those whose hosts are served; empty: all.
	Namespaces []string
	TLS        TLS
	// LeaseDuration, RenewDeadline and RetryPeriod of the Leases by which replicas
	// lead and share the work; 0: leader election's 15, 10 and 2 s.
	LeaseDuration, RenewDeadline, RetryPeriod time.Duration
	// Shards that the hosts fall into, the same for all replicas; 0: as agreed
	// before, or shard.DefaultShards.
	Shards int
	// Advertise is the address, with or without a port, at which agents and other
	// replicas reach the HTTPS door; empty: it is found out.
	Advertise string

	Log        *slog.Logger
	Out        io.Writer // told when it is ready
	APIAddress string    // for the line that says so
}

// namespace of our own objects: doors, authority, shares.
const namespace = "kube-system"

func (c Config) blobs() string { return filepath.Join(c.DataDir, "blobs") }
func (c Config) index() string { return filepath.Join(c.DataDir, "images") }

// listeners are the doors' sockets. They are opened before anything is written,
// so that an address in use is said at once.
type listeners struct {
	rest, http, https net.Listener
	webhook           net.Listener // nil: none
}

func (c Config) listen() (l listeners, err error) {
	for _, door := range []struct {
		flag, addr string
		to         *net.Listener
	}{
		{"--rest-address", c.RESTAddress, &l.rest},
		{"--http-address", c.HTTPAddress, &l.http},
		{"--https-address", c.HTTPSAddress, &l.https},
		{"--webhook-address", c.Webhook.Address, &l.webhook},
	} {
		if door.to == &l.webhook && !c.Webhook.wanted() {
			continue
		}
		if *door.to, err = net.Listen("tcp", door.addr); err != nil {
			l.close()
			return l, fmt.Errorf("%s %s: %w: name another address, or port 0 for any", door.flag, door.addr, err)
		}
	}
	return l, nil
}

func (l listeners) close() {
	for _, x := range []net.Listener{l.rest, l.http, l.https, l.webhook} {
		if x != nil {
			x.Close()
		}
	}
}

func port(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }
