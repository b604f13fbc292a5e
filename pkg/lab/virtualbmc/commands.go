package virtualbmc

import (
	"context"
	"slices"
)

const (
	netFnChassis = 0x00
	netFnApp     = 0x06
)

// Completion codes as pyghmi and VirtualBMC give them.
const (
	ok             = 0x00
	noSuchParam    = 0x80 // bmc.py 139; of a payload: already active
	noPayload      = 0x81 // bmc.py 62; of a privilege level: not for this user
	unknownCommand = 0xc1
	invalidData    = 0xcc
	badState       = 0xd5
	unspecified    = 0xff
)

// command carries out an IPMI message and answers it (session.py 1639 to 1645,
// 662 to 707); nil is silence.
func (s *session) command(ctx context.Context, m []byte) []byte {
	netFn, command, data := m[1]>>2, m[5], m[6:len(m)-1]
	var code byte
	var answer []byte
	switch {
	case netFn == netFnApp && command == 0x3b:
		var silent bool
		if code, answer, silent = s.setPrivilege(data); silent {
			return nil
		}
	case netFn == netFnApp && command == 0x3c:
		// serversession.py 181 to 188: acknowledged, and the session goes on.
	default:
		code, answer = s.server.command(ctx, netFn, command, data)
	}
	head := []byte{m[3], (netFn + 1) << 2}
	body := append([]byte{0x20, m[4], command, code}, answer...)
	return s.seal(payloadIPMI, slices.Concat(head, []byte{checksum(head)}, body, []byte{checksum(body)}))
}

// setPrivilege is serversession.py 171 to 180. The answer to a question for the
// present level (0) before any was set is an exception there, which nothing
// catches: silence.
func (s *session) setPrivilege(data []byte) (code byte, answer []byte, silent bool) {
	if len(data) == 0 {
		return 0, nil, true
	}
	if level := data[0]; level > 1 {
		if level > s.role&0x07 {
			code = noPayload // 81h: exceeds the user's limit
		} else {
			s.privilege = level
		}
	}
	return code, []byte{s.privilege}, s.privilege == 0
}

// command is bmc.py 162: all that there is.
func (s *Server) command(ctx context.Context, netFn, command byte, data []byte) (byte, []byte) {
	switch {
	case netFn == netFnApp && command == 0x01:
		// serversession.py 251 to 258, 382: the numbers of maker and product are
		// four bytes each, all zero.
		return ok, []byte{0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	case netFn == netFnApp && command == 0x02:
		return unknownCommand, nil // cold reset: vbmc has none (bmc.py 33, 184)
	case netFn == netFnApp && (command == 0x48 || command == 0x49):
		return noPayload, nil // no serial console (bmc.py 61, 75)
	case netFn == netFnChassis && command == 0x01:
		on, err := s.domain.power(ctx)
		if err != nil {
			// vbmc returns D5h as if it were the state, which pyghmi cannot
			// read (bmc.py 96, 185).
			return unspecified, nil
		}
		if on {
			return ok, []byte{1, 0, 0}
		}
		return ok, []byte{0, 0, 0}
	case netFn == netFnChassis && command == 0x02:
		return s.control(ctx, data), nil
	case netFn == netFnChassis && command == 0x08:
		return s.setBootOption(ctx, data), nil
	case netFn == netFnChassis && command == 0x09:
		return s.bootOption(ctx, data)
	}
	return unknownCommand, nil // bmc.py 182
}

// control is Chassis Control (bmc.py 101). A cycle is not implemented by vbmc,
// and answered with CCh (36, 121); a directive that nobody knows is done without
// doing anything (102, 118).
func (s *Server) control(ctx context.Context, data []byte) byte {
	if len(data) == 0 {
		return unspecified // an IndexError (bmc.py 104, 185)
	}
	var act func(context.Context) error
	switch data[0] {
	case 0:
		act = s.domain.off
	case 1:
		act = s.domain.on
	case 2:
		return invalidData
	case 3:
		act = s.domain.reset
	case 4:
		act = s.domain.interrupt
	case 5:
		act = s.domain.shutdown
	default:
		return ok
	}
	if act(ctx) != nil {
		return badState // vbmc.py, each method's except clause
	}
	return ok
}

// bootOption is Get System Boot Options (bmc.py 127): only the flags exist, they
// are always valid, for the next start alone, and of the legacy BIOS.
func (s *Server) bootOption(ctx context.Context, data []byte) (byte, []byte) {
	if len(data) == 0 {
		return unspecified, nil
	}
	if data[0] != 5 {
		return noSuchParam, nil
	}
	device, err := s.domain.bootDevice(ctx)
	if err != nil {
		return unspecified, nil // nothing catches libvirt's error
	}
	return ok, []byte{1, 5, 0x80, device, 0, 0, 0}
}

// setBootOption is Set System Boot Options (bmc.py 144). Of the flags only the
// device counts; what vbmc says of it is thrown away (157): a device it does not
// have is answered with success.
func (s *Server) setBootOption(ctx context.Context, data []byte) byte {
	if len(data) == 0 {
		return unspecified
	}
	switch data[0] {
	case 0, 3, 4:
		return ok
	case 5:
	default:
		return unknownCommand
	}
	if len(data) < 3 {
		return unspecified
	}
	selector := data[2] >> 2 & 0x0f
	switch selector { // the devices that pyghmi has a name for: command.py 68 to 74
	case 0, 1, 2, 3, 5, 6, 15:
	default:
		return invalidData
	}
	s.domain.setBootDevice(ctx, selector)
	return ok
}
