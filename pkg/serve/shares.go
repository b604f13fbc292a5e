package serve

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/pkg/shard"
)

// embeddedReplica is the name of the one service of an embedded API. The lock on
// its data directory keeps another from it.
const embeddedReplica = "embedded"

// leasesConfig is how Leases are spoken of: past any rate limit of ours, and never
// longer than they last.
func (s *service) leasesConfig() *rest.Config {
	cfg := rest.CopyConfig(s.REST)
	cfg.QPS = -1
	return cfg
}

// member joins the other replicas.
func (s *service) member(ctx context.Context) (*shard.Member, error) {
	c, err := client.New(s.leasesConfig(), client.Options{Scheme: s.direct.Scheme()})
	if err != nil {
		return nil, err
	}
	name := embeddedReplica
	if !s.Embedded {
		if name, err = os.Hostname(); err != nil {
			return nil, err
		}
	}
	m, err := shard.New(shard.Config{
		Client: c, Namespace: namespace, Name: name, Door: s.advertised(), Shards: s.Shards, Exclusive: s.Embedded,
		Duration: s.LeaseDuration, Deadline: s.RenewDeadline, Retry: s.RetryPeriod,
		Now: time.Now, NewID: shortID, Log: s.Log,
	})
	if err != nil {
		return nil, err
	}
	return m, m.Join(ctx)
}

func shortID() string {
	b := make([]byte, 5)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}

// advertised is the HTTPS door as agents and other replicas reach it: as it was
// told, or the address that it listens at, or, where that is every address, the
// one that leads to the Kubernetes API.
func (s *service) advertised() string {
	p := strconv.Itoa(port(s.l.https))
	if a := s.Advertise; a != "" {
		if _, _, err := net.SplitHostPort(a); err == nil {
			return "https://" + a
		}
		return "https://" + net.JoinHostPort(strings.Trim(a, "[]"), p)
	}
	at, err := netip.ParseAddrPort(s.l.https.Addr().String())
	if err == nil && !at.Addr().IsUnspecified() {
		return "https://" + net.JoinHostPort(at.Addr().Unmap().String(), p)
	}
	if u, err := url.Parse(s.REST.Host); err == nil && u.Host != "" {
		target := u.Host
		if u.Port() == "" {
			target = net.JoinHostPort(u.Hostname(), "443")
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if own := localFor(ctx, target); own.IsValid() {
			return "https://" + net.JoinHostPort(own.String(), p)
		}
	}
	return s.httpsURL()
}

// elect has one replica at a time serve a network: a range's addresses are given
// out by one, and an address is one machine's.
func (s *service) elect(ctx context.Context, name string, serve func(context.Context)) error {
	k, err := kubernetes.NewForConfig(s.leasesConfig())
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	duration, deadline, retry := s.leaseTimes()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: namespace, Name: "ingot-network-" + name},
			Client:     k.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: host + "-" + shortID()},
		},
		LeaseDuration: duration, RenewDeadline: deadline, RetryPeriod: retry, ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) {
				defer cancel() // what ended gives the Lease back
				serve(ctx)
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("sharing network %s: %w", name, err)
	}
	e.Run(ctx)
	return nil
}

// leaseTimes are those of the flags, or leader election's.
func (s *service) leaseTimes() (duration, deadline, retry time.Duration) {
	or := func(d, otherwise time.Duration) time.Duration {
		if d > 0 {
			return d
		}
		return otherwise
	}
	return or(s.LeaseDuration, shard.DefaultDuration), or(s.RenewDeadline, shard.DefaultDeadline), or(s.RetryPeriod, shard.DefaultRetry)
}
