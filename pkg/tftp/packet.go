package tftp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"time"
)

// Opcodes of RFC 1350 §5 and RFC 2347.
const (
	opRRQ   = 1
	opWRQ   = 2
	opDATA  = 3
	opACK   = 4
	opERROR = 5
	opOACK  = 6
)

// Error codes of RFC 1350, appendix, and RFC 2347 §4.
const (
	errUndefined = 0
	errNotFound  = 1
	errAccess    = 2
	errIllegal   = 4
)

const (
	defaultBlock = 512
	maxBlock     = 1468 // an Ethernet frame's 1500 less IP, UDP and TFTP headers: never a fragment, which PXE ROMs do not put together
	maxRequest   = 512  // RFC 2347 §2
	maxOptions   = 16
)

// request is a read request taken apart.
type request struct {
	name    string
	block   int           // to use; 512 without the option
	timeout time.Duration // zero: not asked for
	// The options that are acknowledged, in the order asked.
	options []string
	tsize   bool
}

var (
	errMalformed = errors.New("malformed request")
	errMode      = errors.New("only octet mode is served")
)

// parseRequest reads what follows a request's opcode. Unknown options are left out of the answer, as RFC 2347 §3 wants.
func parseRequest(b []byte) (request, error) {
	if len(b) > maxRequest || len(b) == 0 || b[len(b)-1] != 0 {
		return request{}, errMalformed
	}
	fields := bytes.Split(b[:len(b)-1], []byte{0})
	if len(fields) < 2 || len(fields) > 2+2*maxOptions {
		return request{}, errMalformed
	}
	r := request{name: string(fields[0]), block: defaultBlock}
	if !strings.EqualFold(string(fields[1]), "octet") {
		return request{}, errMode
	}
	seen := map[string]bool{}
	for rest := fields[2:]; len(rest) >= 2; rest = rest[2:] { // some ROMs add a stray zero byte: an odd field is passed over
		name := strings.ToLower(string(rest[0]))
		if value, err := strconv.ParseUint(string(rest[1]), 10, 32); err == nil && !seen[name] && r.option(name, int(value)) {
			r.options = append(r.options, name)
			seen[name] = true
		}
	}
	return r, nil
}

// option takes one option, and reports whether it is acknowledged.
func (r *request) option(name string, value int) bool {
	switch name {
	case "blksize":
		if value < defaultBlock || value > 65464 { // RFC 2348 allows less; a smaller block than the default helps nobody
			return false
		}
		r.block = min(value, maxBlock)
	case "timeout":
		if value < 1 || value > 255 {
			return false
		}
		r.timeout = time.Duration(value) * time.Second
	case "tsize":
		r.tsize = true
	default:
		return false
	}
	return true
}

// oack answers the options; nil where none is acknowledged.
func (r *request) oack(size int64) []byte {
	if len(r.options) == 0 {
		return nil
	}
	b := []byte{0, opOACK}
	for _, name := range r.options {
		var value int64
		switch name {
		case "blksize":
			value = int64(r.block)
		case "timeout":
			value = int64(r.timeout / time.Second)
		case "tsize":
			value = size
		}
		b = append(append(append(append(b, name...), 0), strconv.FormatInt(value, 10)...), 0)
	}
	return b
}

func errorPacket(code uint16, text string) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0, opERROR}, code)
	return append(append(b, text...), 0)
}

// errorText reads a client's ERROR, cut to what may stand in a log.
func errorText(b []byte) string {
	if len(b) < 4 {
		return "error"
	}
	text, _, _ := bytes.Cut(b[4:min(len(b), 132)], []byte{0})
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, string(text))
	return "error " + strconv.Itoa(int(binary.BigEndian.Uint16(b[2:]))) + ": " + clean
}
