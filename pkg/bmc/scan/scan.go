package scan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// MaxAddresses is the largest range: an IPv4 /16.
const MaxAddresses = 1 << 16

// Options of a scan. The zero value scans politely.
type Options struct {
	// Ports where Redfish is asked for; none is 443. Those other than 443 may be
	// plain HTTP.
	Ports []int
	// IPMIPort is where IPMI is asked for; zero is 623, negative is nowhere.
	IPMIPort int
	// Rate is how many addresses are begun in a second, Concurrency how many are
	// asked at a time; zero is 100 and 256.
	Rate, Concurrency int
	// Timeout of one question; zero is 2 s.
	Timeout time.Duration
	// Public allows addresses that are not private.
	Public bool
	// Factory logs in with the factory account, once for each BMC (see Accounts).
	Factory bool
	// Progress, if not nil, hears how many addresses are done and how many BMCs
	// were found. It is called by one goroutine at a time.
	Progress func(done, total, found int)
}

func (o Options) withDefaults() Options {
	if len(o.Ports) == 0 {
		o.Ports = []int{443}
	}
	if o.IPMIPort == 0 {
		o.IPMIPort = 623
	}
	if o.Rate <= 0 {
		o.Rate = 100
	}
	if o.Concurrency <= 0 {
		o.Concurrency = 256
	}
	if o.Timeout <= 0 {
		o.Timeout = 2 * time.Second
	}
	return o
}

// Found is a BMC.
type Found struct {
	Addr    netip.Addr
	Service *Service // nil: no Redfish
	IPMI    int      // port where IPMI answers; zero: nowhere
	// Login is set when the factory account was tried.
	Login *Login
}

// Range checks a range and returns its addresses' number; those of the network
// and of broadcast are not counted.
func Range(p netip.Prefix, public bool) (int, error) {
	if !p.IsValid() {
		return 0, errors.New("no range")
	}
	bits := p.Addr().BitLen() - p.Bits()
	if bits > 16 {
		return 0, fmt.Errorf("%s has more than %d addresses: scan its parts", p, MaxAddresses)
	}
	// No private block is smaller than the ranges above, but for loopback's and
	// link-local's, and none ends within one: both ends tell.
	for _, a := range []netip.Addr{p.Masked().Addr(), last(p)} {
		if !public && !ours(a) {
			return 0, fmt.Errorf("%s is not private: scan only what is yours, and ask for it", p)
		}
	}
	n := 1 << bits
	if p.Addr().Is4() && bits > 1 {
		n -= 2
	}
	return n, nil
}

// ours are addresses that do not lead to strangers: RFC 1918 and 4193, shared
// (RFC 6598), link-local and loopback.
func ours(a netip.Addr) bool {
	shared := netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, 0}), 10)
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || shared.Contains(a)
}

func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Run scans p and returns what it found in the order of addresses. When ctx ends
// it returns what it has found until then, with the error of ctx.
func Run(ctx context.Context, p netip.Prefix, o Options) ([]Found, error) {
	o = o.withDefaults()
	p = p.Masked()
	total, err := Range(p, o.Public)
	if err != nil {
		return nil, err
	}
	s := &scanner{o: o, total: total, client: newClient(o.Timeout)}
	if o.IPMIPort > 0 {
		if s.pinger, err = newPinger(p.Addr(), o.IPMIPort); err != nil {
			return nil, err
		}
		defer s.pinger.close()
	}
	s.walk(ctx, p)
	slices.SortFunc(s.found, func(a, b Found) int { return a.Addr.Compare(b.Addr) })
	return s.found, ctx.Err()
}

type scanner struct {
	o      Options
	total  int
	client *http.Client
	pinger *pinger // nil: no IPMI

	mu    sync.Mutex
	done  int
	found []Found
}

// walk begins addresses at the rate and waits for all that were begun.
func (s *scanner) walk(ctx context.Context, p netip.Prefix) {
	var all sync.WaitGroup
	defer all.Wait()
	limiter := rate.NewLimiter(rate.Limit(s.o.Rate), 1)
	slots := make(chan struct{}, s.o.Concurrency)
	edges := p.Addr().Is4() && p.Bits() < 31
	for a := p.Addr(); p.Contains(a); a = a.Next() {
		if edges && (a == p.Addr() || a == last(p)) {
			continue
		}
		if limiter.Wait(ctx) != nil {
			return
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		all.Go(func() {
			f, ok := s.ask(ctx, a)
			s.finish(f, ok)
			<-slots
		})
	}
}

func (s *scanner) finish(f Found, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done++
	if ok {
		s.found = append(s.found, f)
	}
	if s.o.Progress != nil {
		s.o.Progress(s.done, s.total, len(s.found))
	}
}

// ask asks one address, for IPMI and Redfish at the same time.
func (s *scanner) ask(ctx context.Context, a netip.Addr) (Found, bool) {
	f := Found{Addr: a}
	var both sync.WaitGroup
	if s.pinger != nil {
		both.Go(func() {
			if s.pinger.ping(ctx, a, s.o.Timeout) {
				f.IPMI = s.o.IPMIPort
			}
		})
	}
	both.Go(func() { f.Service = s.service(ctx, a) })
	both.Wait()
	if f.Service != nil && s.o.Factory {
		f.Login = s.login(ctx, a, *f.Service)
	}
	return f, f.IPMI != 0 || f.Service != nil
}

// service asks the ports in turn and takes the first that is Redfish, TLS before
// plain.
func (s *scanner) service(ctx context.Context, a netip.Addr) *Service {
	var found []Service
	for _, port := range s.o.Ports {
		if svc, ok := s.root(ctx, a, port); ok {
			found = append(found, svc)
		}
	}
	if len(found) == 0 {
		return nil
	}
	best := slices.MinFunc(found, func(a, b Service) int { return cmp.Compare(rank(a), rank(b)) })
	return &best
}

func rank(s Service) int {
	if s.TLS {
		return 0
	}
	return 1
}
