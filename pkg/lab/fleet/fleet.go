package fleet

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// maxCount bounds a fleet: each machine has a port of its own on one address.
const maxCount = 20000

// sessionLimit is generous: a test that kills its server two hundred times
// leaves as many sessions behind, and as many consoles. simbmc.Faults has the BMC
// whose are all taken.
const sessionLimit = 500

// Config says what a fleet is made of. Count and BootURL are required.
type Config struct {
	Count   int
	Seed    uint64
	BootURL string // the boot door, http://IP:6180, without a slash at the end
	Prefix  string // of the machines' names; empty is "sim"
	// Protocols and Firmware are dealt out in turn; empty is RedfishHTTP and UEFI.
	Protocols []Protocol
	Firmware  []simbmc.BootMode
	// Latency is the time between a power action's answer and its effect.
	Latency time.Duration
	// Events gives the BMCs an event service.
	Events bool
	// POST is how long firmware takes before it looks for something to start.
	POST time.Duration
	// Listen is the address the BMCs are on; empty is 127.0.0.1.
	Listen string
	// Journal gets what happens to the machines; nil records nothing.
	Journal *simbmc.Journal
	// Log gets what goes wrong with the fleet itself; nil discards it.
	Log *slog.Logger

	agent func(context.Context, *guest) (outcome, error) // nil: the real run loop
}

// Fleet is a running set of machines.
type Fleet struct {
	cfg      Config
	client   *http.Client
	store    *pages
	workers  *workers
	machines []*Machine

	ctx     context.Context // of all machines
	cancel  context.CancelFunc
	running sync.WaitGroup // runs and faces

	mu     sync.Mutex
	closed bool
}

// New builds the machines, all powered off, and serves their BMCs until Close.
func New(cfg Config) (*Fleet, error) {
	switch {
	case cfg.Count < 1 || cfg.Count > maxCount:
		return nil, fmt.Errorf("a fleet of %d machines: want 1 to %d", cfg.Count, maxCount)
	case absolute(cfg.BootURL) != nil:
		return nil, fmt.Errorf("boot door: %w", absolute(cfg.BootURL))
	}
	if cfg.Prefix == "" {
		cfg.Prefix = "sim"
	}
	if len(cfg.Protocols) == 0 {
		cfg.Protocols = []Protocol{RedfishHTTP}
	}
	if len(cfg.Firmware) == 0 {
		cfg.Firmware = []simbmc.BootMode{simbmc.ModeUEFI}
	}
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1"
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.agent == nil {
		cfg.agent = runAgent
	}
	lent, err := newWorkers()
	if err != nil {
		return nil, err
	}
	f := &Fleet{
		cfg:     cfg,
		store:   newPages(),
		workers: lent,
		client: &http.Client{
			Timeout:   10 * time.Second,
			Transport: &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: 5 * time.Second},
		},
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	if err := f.build(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Machines returns all machines, in order.
func (f *Fleet) Machines() []*Machine { return f.machines }

// Machine finds one by its name.
func (f *Fleet) Machine(name string) (*Machine, bool) {
	for _, m := range f.machines {
		if m.Name == name {
			return m, true
		}
	}
	return nil, false
}

// Close cuts the power of all machines and their BMCs, and waits until nothing
// of them runs.
func (f *Fleet) Close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.cancel()
	for _, m := range f.machines {
		m.bmc.Close()
	}
	f.running.Wait()
	f.workers.decoder.Close()
	f.client.CloseIdleConnections()
}

// launch runs fn beside the fleet unless the fleet is closed.
func (f *Fleet) launch(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.running.Add(1)
	go func() {
		defer f.running.Done()
		fn()
	}()
}

func (f *Fleet) build() error {
	var conf *tls.Config
	for i := range f.cfg.Count {
		protocol := f.cfg.Protocols[i%len(f.cfg.Protocols)]
		name := fmt.Sprintf("%s-%04d", f.cfg.Prefix, i)
		hw := build(name, f.cfg.Seed, i, f.cfg.Firmware[i%len(f.cfg.Firmware)])
		m := &Machine{
			Name: name, Username: "admin", Password: hw.password, MAC: hw.info.MACs[0],
			Insecure: protocol == RedfishTLS, Protocol: protocol, Firmware: hw.firmware, fleet: f, hw: hw,
		}
		for _, d := range hw.disks {
			m.disks = append(m.disks, newDisk(f.store, d.Size))
		}
		m.body = simbmc.NewMemory(hw.info, hw.firmware, m.start, m.stop)
		m.bmc = simbmc.New(m.body, simbmc.Config{
			Username: m.Username, Password: m.Password, Latency: f.cfg.Latency, Journal: f.cfg.Journal,
			SessionLimit: sessionLimit, Events: f.cfg.Events,
		})
		f.machines = append(f.machines, m)
		if protocol == RedfishTLS && conf == nil {
			var err error
			if conf, err = selfSigned(); err != nil {
				return err
			}
		}
		if err := f.serve(m, protocol, conf); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// serve gives the machine's BMC a port of its own.
func (f *Fleet) serve(m *Machine, protocol Protocol, conf *tls.Config) error {
	var face func() error
	switch protocol {
	case RedfishHTTP, RedfishTLS:
		ln, err := net.Listen("tcp", net.JoinHostPort(f.cfg.Listen, "0"))
		if err != nil {
			return err
		}
		if protocol == RedfishHTTP {
			conf = nil
		}
		m.Address = fmt.Sprintf("%s://%s%s", protocol, ln.Addr(), m.bmc.SystemPath())
		face = func() error { return m.bmc.ServeRedfish(f.ctx, ln, conf) }
	case IPMI:
		conn, err := net.ListenPacket("udp", net.JoinHostPort(f.cfg.Listen, "0"))
		if err != nil {
			return err
		}
		m.Address = fmt.Sprintf("%s://%s", protocol, conn.LocalAddr())
		face = func() error { return m.bmc.ServeIPMI(f.ctx, conn) }
	default:
		return fmt.Errorf("unknown protocol %q", protocol)
	}
	f.launch(func() {
		if err := face(); err != nil && !errors.Is(err, context.Canceled) {
			f.cfg.Log.Error("BMC stopped", "machine", m.Name, "error", err)
		}
	})
	return nil
}

// selfSigned makes the certificate that all TLS faces share, as BMCs come from
// the factory.
func selfSigned() (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("bmc key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "ingot lab BMC"},
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("bmc certificate: %w", err)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	}, nil
}
