package serve

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/redfish"
	"github.com/ingot-metal/ingot/pkg/engine"
)

// maxEventsAtOnce bounds how many pushed events are read at the same time: this
// door asks for no login, and an event may have a megabyte.
const maxEventsAtOnce = 16

// listener knows the contexts that BMCs were given; controller.Hosts does.
type listener interface {
	Heard(eventContext string) bool
}

// bmcEvents takes what BMCs push (DSP0266 §12.2). An event's context shows that
// its sender was given it; whatever else it says is not looked at, but for the
// machine, which is.
type bmcEvents struct {
	hosts listener
	slots chan struct{}
}

func newBMCEvents(hosts listener) *bmcEvents {
	return &bmcEvents{hosts: hosts, slots: make(chan struct{}, maxEventsAtOnce)}
}

func (b *bmcEvents) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
	default:
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, redfish.MaxEventBody))
	if err != nil {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	event, err := redfish.ParseEvent(body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if !b.hosts.Heard(event.Context) {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// eventsAt is where the BMC at an address reaches our door: at the door's own
// address, or, where it is open on all, at the one from which we reach the BMC.
func (s *service) eventsAt(ctx context.Context, a bmc.Address) string {
	door, ok := s.l.https.Addr().(*net.TCPAddr)
	if !ok {
		return ""
	}
	from := localFor(ctx, a.HostPort())
	own, ok := netip.AddrFromSlice(door.IP)
	own = own.Unmap()
	if !ok || own.IsUnspecified() {
		own = from
	}
	// A BMC elsewhere does not reach our loopback, and no URL names a link.
	if !own.IsValid() || own.IsLoopback() && !from.IsLoopback() || own.IsLinkLocalUnicast() && own.Is6() {
		return ""
	}
	u := url.URL{Scheme: "https", Host: net.JoinHostPort(own.String(), strconv.Itoa(door.Port)), Path: engine.EventsPath}
	return u.String()
}

// localFor is our address on the way to a BMC. Nothing is sent.
func localFor(ctx context.Context, hostPort string) netip.Addr {
	d := net.Dialer{Timeout: 5 * time.Second} // a name may have to be resolved
	c, err := d.DialContext(ctx, "udp", hostPort)
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	ap, err := netip.ParseAddrPort(c.LocalAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}
