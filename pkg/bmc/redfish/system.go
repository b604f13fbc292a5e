package redfish

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"strings"
	"sync"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

const rootURI = "/redfish/v1/"

// System is one machine behind an Endpoint. It is safe for concurrent use.
type System struct {
	e   *Endpoint
	uri string

	quirks ofSystem

	mu     sync.Mutex
	resets []string // reset types of the ActionInfo, read once
	renew  bool     // a persistent override was set for one start only
	closed bool
}

var (
	_ bmc.Conn    = (*System)(nil)
	_ bmc.Power   = (*System)(nil)
	_ bmc.Boot    = (*System)(nil)
	_ bmc.Details = (*System)(nil)
)

// Open logs in at addr and finds its machine. When it returns an error, nothing
// is left open.
func Open(ctx context.Context, addr bmc.Address, creds bmc.Credentials, o Options) (*System, error) {
	return NewEndpoint(addr, creds, o).System(ctx, addr.System)
}

// System finds a machine behind the BMC: the one at path, or, if path is empty,
// the only one. It logs in, so that wrong credentials show. The Endpoint's
// session ends when the last of its Systems is closed, or when none could be
// opened.
func (e *Endpoint) System(ctx context.Context, path string) (*System, error) {
	e.mu.Lock()
	e.refs++
	e.mu.Unlock()
	s := &System{e: e, uri: path}
	err := e.present(ctx)
	if err == nil && path == "" {
		s.uri, err = e.onlySystem(ctx)
	}
	if err != nil {
		_ = e.release(ctx) // the first error says more
		return nil, err
	}
	return s, nil
}

// present makes sure that the BMC is there and takes the credentials.
func (e *Endpoint) present(ctx context.Context) error {
	if _, err := e.serviceRoot(ctx); err != nil {
		return err
	}
	if e.creds.Username == "" {
		return nil
	}
	_, err := e.authenticate(ctx, identity{})
	return err
}

func (e *Endpoint) release(ctx context.Context) error {
	e.mu.Lock()
	e.refs--
	last := e.refs == 0
	e.mu.Unlock()
	if last {
		return e.close(ctx)
	}
	return nil
}

// Endpoint is the BMC of this machine, through which its siblings are found.
func (s *System) Endpoint() *Endpoint { return s.e }

// SPKI is Endpoint.SPKI of the machine's BMC.
func (s *System) SPKI() []byte { return s.e.SPKI() }

// SessionURI is Endpoint.SessionURI of the machine's BMC.
func (s *System) SessionURI() string { return s.e.SessionURI() }

// EndSession is Endpoint.EndSession of the machine's BMC.
func (s *System) EndSession(ctx context.Context, uri string) error { return s.e.EndSession(ctx, uri) }

// Close ends the session, if this was the last System of its Endpoint.
func (s *System) Close(ctx context.Context) error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	return s.e.release(ctx)
}

// serviceRoot is read once, without credentials (DSP0266 §13.3.1 opens it to
// all): it tells a BMC without Redfish before a password is sent.
func (e *Endpoint) serviceRoot(ctx context.Context) (*serviceRoot, error) {
	const op = "read Redfish service root"
	e.mu.Lock()
	root := e.root
	e.mu.Unlock()
	if root != nil {
		return root, nil
	}
	a, err := e.do(ctx, call{op: op, method: "GET", uri: rootURI, anon: true})
	if err != nil {
		var be *bmc.Error
		switch {
		case !errors.As(err, &be):
		case be.Class == bmc.Unsupported:
			be.Detail += ": there is no Redfish service"
		case be.Class == bmc.BadRequest:
			// What a web server says to plain HTTP on its TLS port.
			be.Class = bmc.Protocol
			be.Detail += ": no Redfish service, or one that wants TLS (write +https in the address)"
		}
		return nil, err
	}
	root = &serviceRoot{}
	if err := decode(op, a.body, root); err != nil {
		return nil, err
	}
	if root.Systems == "" && root.Version == "" {
		return nil, &bmc.Error{Class: bmc.Protocol, Op: op, Detail: "the answer is no Redfish service root"}
	}
	e.mu.Lock()
	e.root = root
	e.mu.Unlock()
	e.quirks.root(root)
	return root, nil
}

// systems lists the URIs of the machines behind the BMC.
func (e *Endpoint) systems(ctx context.Context) ([]string, error) {
	const op = "list systems"
	root, err := e.serviceRoot(ctx)
	if err != nil {
		return nil, err
	}
	uri := string(root.Systems)
	if uri == "" {
		uri = rootURI + "Systems"
	}
	var all collection
	if _, err := e.get(ctx, op, uri, &all); err != nil {
		return nil, err
	}
	var out []string
	for _, m := range all.Members {
		if m != "" {
			out = append(out, string(m))
		}
	}
	return out, nil
}

// onlySystem picks the machine when the address names none. NVIDIA's boards show
// their GPU baseboard as a further system, HGX_*, which is no host.
func (e *Endpoint) onlySystem(ctx context.Context) (string, error) {
	all, err := e.systems(ctx)
	if err != nil {
		return "", err
	}
	var hosts []string
	for _, uri := range all {
		if !strings.HasPrefix(path.Base(strings.TrimRight(uri, "/")), "HGX_") {
			hosts = append(hosts, uri)
		}
	}
	if len(hosts) > 1 && e.has(quirk.HostSystem) {
		if hosts, err = e.hosts(ctx, hosts); err != nil {
			return "", err
		}
	}
	switch len(hosts) {
	case 1:
		return hosts[0], nil
	case 0:
		return "", &bmc.Error{Class: bmc.Unsupported, Op: "find the system", Detail: "the BMC lists no system"}
	}
	return "", &bmc.Error{
		Class: bmc.BadRequest, Code: bmc.CodeManySystems, Op: "find the system",
		Detail: "there are several, and the address names none: " + some(hosts),
	}
}

// maxCandidates bounds the systems that are looked at to find the host.
const maxCandidates = 8

// hosts are those of the systems that are machines to be provisioned: with
// firmware settings and a reset, or, if none has both, with either. What is left
// out are baseboards of accelerators, DPUs, and the hypervisor that some OpenBMC
// show beside the machine under it.
func (e *Endpoint) hosts(ctx context.Context, candidates []string) ([]string, error) {
	by := map[int][]string{}
	for _, uri := range candidates[:min(len(candidates), maxCandidates)] {
		var cs struct {
			Type    text `json:"SystemType"`
			BIOS    link `json:"Bios"`
			Actions struct {
				Reset resetAction `json:"#ComputerSystem.Reset"`
			} `json:"Actions"`
		}
		if _, err := e.get(ctx, "find the system", uri, &cs); unsupported(err) {
			continue
		} else if err != nil {
			return nil, err
		}
		score := 0
		if cs.BIOS != "" {
			score += 2
		}
		if cs.Actions.Reset.Target != "" && (cs.Type == "" || strings.EqualFold(string(cs.Type), "Physical")) {
			score++
		}
		by[score] = append(by[score], uri)
	}
	for score := 3; score > 0; score-- {
		if len(by[score]) > 0 {
			return by[score], nil
		}
	}
	return candidates, nil
}

// some lists the first of names, bounded for a line of text.
func some(names []string) string {
	const most = 16
	s := clip(strings.Join(names[:min(len(names), most)], ", "))
	if len(names) > most {
		s += fmt.Sprintf(" and %d more", len(names)-most)
	}
	return s
}

// read gets the machine's resource.
func (s *System) read(ctx context.Context, op string) (*computerSystem, *answer, error) {
	var cs computerSystem
	a, err := s.readPart(ctx, op, &cs)
	if err != nil {
		return nil, nil, err
	}
	if err := s.isSystem(op, cs.ID, cs.Power, cs.UUID); err != nil {
		return nil, nil, err
	}
	s.learn(&cs)
	return &cs, a, nil
}

// readPart gets as much of the machine's resource as out takes.
func (s *System) readPart(ctx context.Context, op string, out any) (*answer, error) {
	a, err := s.e.get(ctx, op, s.uri, out)
	var be *bmc.Error
	if errors.As(err, &be) && be.Class == bmc.Unsupported {
		return nil, s.missing(ctx, be)
	}
	return a, err
}

func (s *System) isSystem(op string, id link, power, uuid text) error {
	if id == "" && power == "" && uuid == "" {
		return &bmc.Error{Class: bmc.Protocol, Op: op, Detail: "the answer is no ComputerSystem: " + clip(s.uri)}
	}
	return nil
}

// missing explains a system that is not there by those that are.
func (s *System) missing(ctx context.Context, be *bmc.Error) error {
	be.Class, be.Code = bmc.BadRequest, bmc.CodeAddressSyntax
	be.Detail = fmt.Sprintf("the BMC has no system at %s", clip(s.uri))
	if all, err := s.e.systems(ctx); err == nil {
		be.Detail += "; it has " + some(all)
	}
	return be
}

// Identify reads the machine's resource: one request.
func (s *System) Identify(ctx context.Context) (bmc.Identity, error) {
	cs, _, err := s.read(ctx, "identify the machine")
	if err != nil {
		return bmc.Identity{}, err
	}
	id := bmc.Identity{
		Protocol:     bmc.ProtocolRedfish,
		Manufacturer: clean(cs.Manufacturer),
		Model:        clean(cs.Model),
		Serial:       clean(cs.Serial),
		SystemUUID:   strings.ToLower(clean(cs.UUID)),
		SystemID:     s.uri,
	}
	id.Manufacturer = s.manufacturer(ctx, cs)
	id.Serial = s.serial(cs)
	return id, nil
}

func clean(t text) string { return strings.TrimSpace(clip(string(t))) }

// Details reads the manager's firmware version and the MAC addresses of the
// machine's network interfaces.
func (s *System) Details(ctx context.Context, id bmc.Identity) (bmc.Identity, error) {
	const op = "read details"
	cs, _, err := s.read(ctx, op)
	if err != nil {
		return id, err
	}
	if len(cs.Links.ManagedBy) > 0 {
		var manager struct {
			Version text `json:"FirmwareVersion"`
			Model   text `json:"Model"`
		}
		if _, err := s.e.get(ctx, op, string(cs.Links.ManagedBy[0]), &manager); err != nil && !unsupported(err) {
			return id, err
		}
		id.BMCVersion = clean(manager.Version)
		s.e.quirks.manager(manager.Model, manager.Version)
	}
	if cs.Interfaces == "" {
		return id, nil
	}
	id.MACs, err = s.macs(ctx, string(cs.Interfaces))
	if unsupported(err) {
		err = nil
	}
	return id, err
}

func unsupported(err error) bool { return err != nil && bmc.ClassOf(err) == bmc.Unsupported }

// maxInterfaces bounds the walk of one machine's network interfaces.
const maxInterfaces = 64

// ethernet is DSP0268 EthernetInterface, as far as it is used.
type ethernet struct {
	ID        text `json:"@odata.id"`
	MAC       text `json:"MACAddress"`
	Permanent text `json:"PermanentMACAddress"`
}

// macs reads the interfaces: one request where the BMC expands collections.
func (s *System) macs(ctx context.Context, uri string) ([]net.HardwareAddr, error) {
	all, err := readMembers(ctx, s.e, "read network interfaces", uri, maxInterfaces, func(m ethernet) (string, bool) {
		return string(m.ID), m.MAC == "" && m.Permanent == ""
	})
	var out []net.HardwareAddr
	seen := map[string]bool{}
	for _, m := range all {
		for _, v := range []text{m.Permanent, m.MAC} {
			mac, err := net.ParseMAC(strings.TrimSpace(string(v)))
			if err != nil || len(mac) != 6 || mac.String() == "00:00:00:00:00:00" {
				continue // absent, InfiniBand, or an empty port
			}
			if !seen[mac.String()] {
				seen[mac.String()] = true
				out = append(out, mac)
			}
			break
		}
	}
	return out, err
}
