package simbmc

import (
	"errors"
	"net"

	"github.com/bougou/go-ipmi/pkg/protocol"
	"github.com/bougou/go-ipmi/pkg/rmcpplus"
	"github.com/bougou/go-ipmi/pkg/types"
)

// noResources is the RMCP+ status of a full session table (IPMI 2.0 table 13-15).
const noResources = 0x01

// faultConn is the socket of an IPMI face: it drops and refuses packets as the
// faults say, and ends the library's read loop, which would spin on an error
// that lasts.
type faultConn struct {
	net.PacketConn
	face *ipmiFace
}

func (c *faultConn) ReadFrom(buf []byte) (int, net.Addr, error) {
	for {
		n, addr, err := c.PacketConn.ReadFrom(buf)
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				c.face.mu.Lock()
				c.face.fault = err
				c.face.mu.Unlock()
			}
			return 0, nil, net.ErrClosed
		}
		faults := c.face.b.faults.get()
		if faults.Refuse || faults.Hang {
			continue
		}
		c.face.b.requests.Add(1)
		if kind, payload, ok := handshake(buf[:n]); ok {
			if kind == types.PayloadTypeRmcpOpenSessionRequest && faults.SessionsFull {
				c.refuse(payload, addr)
				continue
			}
			if kind == types.PayloadTypeRAKPMessage3 {
				c.face.b.logins.Add(1)
			}
		}
		return n, addr, nil
	}
}

// handshake returns the payload of a packet that belongs to no session yet.
func handshake(pkt []byte) (types.PayloadType, []byte, bool) {
	if len(pkt) < 16 || pkt[3]&0x1f != 0x07 || pkt[4] != 0x06 { // RMCP class IPMI, format RMCP+
		return 0, nil, false
	}
	id, _, kind, _, payload, ok := protocol.ParseRMCPPlusHeader(pkt)
	return types.PayloadType(kind), payload, ok && id == 0
}

func (c *faultConn) refuse(request []byte, addr net.Addr) {
	var req rmcpplus.OpenSessionRequest
	if req.Unpack(request) != nil {
		return
	}
	res := rmcpplus.OpenSessionResponse{
		MessageTag:             req.MessageTag,
		RmcpStatusCode:         noResources,
		RemoteConsoleSessionID: req.RemoteConsoleSessionID,
	}
	pkt := protocol.BuildRMCPPlusPacket(uint8(types.PayloadTypeRmcpOpenSessionResponse), 0, 0, 0, res.Pack())
	_, _ = c.PacketConn.WriteTo(pkt, addr)
}
