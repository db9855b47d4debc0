package packet

import (
	"bytes"
	"encoding/binary"
	"path"
	"strconv"
	"strings"
	"time"
)

// Request is a parsed RRQ.
type Request struct {
	Netascii bool // line ends are to be converted

	file    string   // as asked
	options []option // in the order asked
}

type option struct{ name, value string }

// ParseRequest reads an RRQ or WRQ (RFC 1350 section 5, RFC 2347). Firmware
// pads requests with zero bytes, so an empty option name ends the options.
func ParseRequest(p []byte) (Request, *Error) {
	if len(p) < HeaderLen {
		return Request{}, errMalformed
	}
	switch binary.BigEndian.Uint16(p) {
	case OpRead:
	case OpWrite:
		return Request{}, errReadOnly
	default:
		return Request{}, errOperation
	}
	rest := p[2:]
	next := func() (field string, ok bool) {
		i := bytes.IndexByte(rest, 0)
		if i < 0 {
			return "", false
		}
		field, rest = string(rest[:i]), rest[i+1:]
		return field, true
	}
	file, ok := next()
	if !ok || file == "" {
		return Request{}, errMalformed
	}
	mode, ok := next()
	if !ok {
		return Request{}, errMalformed
	}
	r := Request{file: file}
	switch strings.ToLower(mode) {
	case "octet":
	case "netascii":
		r.Netascii = true
	default:
		return Request{}, errMode
	}
	for len(rest) > 0 {
		name, ok := next()
		if !ok {
			return Request{}, errMalformed
		}
		if name == "" {
			break
		}
		value, ok := next()
		if !ok {
			return Request{}, errMalformed
		}
		r.options = append(r.options, option{name, value})
	}
	return r, nil
}

// Path is the asked file as a clean path with a leading slash. Backslashes are
// slashes (Windows boot loaders), and no dots lead out.
func (r *Request) Path() string {
	return path.Clean("/" + strings.ReplaceAll(r.file, `\`, "/"))
}

const (
	// MinBlockSize is the smallest block in bytes (RFC 2348).
	MinBlockSize = 8
	// MaxWindow caps RFC 7440 windows: beyond it nothing is gained on a LAN and
	// the bursts overrun the buffers of small firmware.
	MaxWindow = 64
	// MaxFlight caps a window in bytes, so that it and the one before fit into a
	// socket's buffer of the usual size: two of the largest UDP payloads, rounded down.
	MaxFlight = 130_000

	maxBlockSize     = 65464 // RFC 2348
	defaultBlockSize = 512   // RFC 1350
	defaultTimeout   = time.Second
)

// Terms are what a transfer is done by.
type Terms struct {
	Block   int // bytes
	Window  int // blocks
	Timeout time.Duration
	OACK    []byte // the packet; nil: the client named no option that we know
}

// Options that are known, by their place in an array of values.
const (
	optBlock = iota
	optWindow
	optTimeout
	optSize
	numOptions
)

// Negotiate settles the options (RFC 2347). size is the file's in bytes, -1
// when it is not known; largest is the largest block that the path carries
// whole. An option that is unknown, out of its range or named twice is passed
// over; the OACK has the others in the order asked.
func (r *Request) Negotiate(size int64, largest int) Terms {
	values := [numOptions]uint64{optBlock: defaultBlockSize, optWindow: 1, optTimeout: uint64(defaultTimeout / time.Second)}
	var seen [numOptions]bool
	which := make([]int, len(r.options)) // value of each option; -1: passed over
	for i, o := range r.options {
		which[i] = -1
		v, err := strconv.ParseUint(o.value, 10, 63)
		if err != nil {
			continue
		}
		opt, v := understand(strings.ToLower(o.name), v, size, largest)
		if opt < 0 || seen[opt] {
			continue
		}
		which[i], seen[opt], values[opt] = opt, true, v
	}
	values[optWindow] = min(values[optWindow], max(1, MaxFlight/(values[optBlock]+HeaderLen)))
	t := Terms{Block: int(values[optBlock]), Window: int(values[optWindow]), Timeout: time.Duration(values[optTimeout]) * time.Second}
	for i, o := range r.options {
		if which[i] < 0 {
			continue
		}
		if t.OACK == nil {
			t.OACK = []byte{0, OpOACK}
		}
		t.OACK = append(append(t.OACK, o.name...), 0)
		t.OACK = append(strconv.AppendUint(t.OACK, values[which[i]], 10), 0)
	}
	return t
}

// understand gives the option and what it is granted as; -1: it is not known, or v is out of its range.
func understand(name string, v uint64, size int64, largest int) (opt int, granted uint64) {
	switch {
	case name == "blksize" && v >= MinBlockSize:
		return optBlock, min(v, uint64(largest), maxBlockSize)
	case name == "windowsize" && v >= 1:
		return optWindow, min(v, MaxWindow)
	case name == "timeout" && v >= 1 && v <= 255:
		return optTimeout, v
	case name == "tsize" && size >= 0:
		return optSize, uint64(size)
	}
	return -1, 0
}
