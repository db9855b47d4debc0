package tftp

import (
	"bytes"
	"encoding/binary"
	"path"
	"strconv"
	"strings"
	"time"
)

// request is a parsed RRQ.
type request struct {
	file     string // as asked
	netascii bool
	options  []option // in the order asked
}

type option struct{ name, value string }

// parseRequest reads an RRQ or WRQ (RFC 1350 section 5, RFC 2347). Firmware
// pads requests with zero bytes, so an empty option name ends the options.
func parseRequest(p []byte) (request, *wireError) {
	if len(p) < headerLen {
		return request{}, errMalformed
	}
	switch binary.BigEndian.Uint16(p) {
	case opRead:
	case opWrite:
		return request{}, errReadOnly
	default:
		return request{}, errOperation
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
		return request{}, errMalformed
	}
	mode, ok := next()
	if !ok {
		return request{}, errMalformed
	}
	r := request{file: file}
	switch strings.ToLower(mode) {
	case "octet":
	case "netascii":
		r.netascii = true
	default:
		return request{}, errMode
	}
	for len(rest) > 0 {
		name, ok := next()
		if !ok {
			return request{}, errMalformed
		}
		if name == "" {
			break
		}
		value, ok := next()
		if !ok {
			return request{}, errMalformed
		}
		r.options = append(r.options, option{name, value})
	}
	return r, nil
}

// path is the asked file as a clean path with a leading slash. Backslashes are
// slashes (Windows boot loaders), and no dots lead out.
func (r *request) path() string {
	return path.Clean("/" + strings.ReplaceAll(r.file, `\`, "/"))
}

const (
	minBlockSize = 8     // RFC 2348
	maxBlockSize = 65464 // RFC 2348
	// maxWindow caps RFC 7440 windows: beyond it nothing is gained on a LAN and
	// the bursts overrun the buffers of small firmware.
	maxWindow      = 64
	defaultTimeout = time.Second
)

// terms are what a transfer is done by.
type terms struct {
	block   int // bytes
	window  int // blocks
	timeout time.Duration
	oack    []byte // nil: the client named no option that we know
}

// negotiate settles the options (RFC 2347). size is the file's in bytes, -1
// when it is not known; largest is the largest block that the path carries
// whole. An option that is unknown, out of its range or named twice is passed
// over; the OACK has the others in the order asked.
func negotiate(r *request, size int64, largest int) terms {
	t := terms{block: defaultBlockSize, window: 1, timeout: defaultTimeout}
	var seen [4]bool
	for _, o := range r.options {
		v, err := strconv.ParseUint(o.value, 10, 63)
		if err != nil {
			continue
		}
		which := -1
		switch strings.ToLower(o.name) {
		case "blksize":
			if v >= minBlockSize {
				which, v = 0, min(v, uint64(largest), maxBlockSize)
			}
		case "windowsize":
			if v >= 1 {
				which, v = 1, min(v, maxWindow)
			}
		case "timeout":
			if v >= 1 && v <= 255 {
				which = 2
			}
		case "tsize":
			if size >= 0 {
				which, v = 3, uint64(size)
			}
		}
		if which < 0 || seen[which] {
			continue
		}
		seen[which] = true
		switch which {
		case 0:
			t.block = int(v)
		case 1:
			t.window = int(v)
		case 2:
			t.timeout = time.Duration(v) * time.Second
		}
		if t.oack == nil {
			t.oack = []byte{0, opOACK}
		}
		t.oack = append(append(t.oack, o.name...), 0)
		t.oack = append(strconv.AppendUint(t.oack, v, 10), 0)
	}
	return t
}
