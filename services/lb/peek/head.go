package peek

import "bytes"

// methodMost bounds the name of a method in bytes: what has no space by then is no HTTP.
const methodMost = 64

// Host gives the host that the HTTP/1 request in b asks for, without the port:
// that of a target in absolute form, or of the first Host header (RFC 9112,
// section 3.2). Of several Host headers the first counts; the server answers 400
// to such a request. The preface of HTTP/2 has no Host.
//
// read is the number of bytes in whole lines that earlier calls for the same request have
// read, and is 0 before the first: a head that comes byte by byte is read only once.
func Host(b []byte, read *int32) ([]byte, Outcome) {
	if *read > 0 {
		return hostHeader(b, read)
	}
	rest := b
	for len(rest) > 0 && (rest[0] == '\r' || rest[0] == '\n') { // RFC 9112, section 2.2
		rest = rest[1:]
	}
	method, rest, ok := bytes.Cut(rest, []byte{' '})
	if len(method) > methodMost || !isToken(method) {
		return nil, Garbage
	}
	if !ok {
		return nil, More
	}
	if len(method) == 0 {
		return nil, Garbage
	}
	line, rest, ok := cutLine(rest)
	if !ok {
		return nil, More
	}
	target, version, _ := bytes.Cut(line, []byte{' '})
	if !bytes.HasPrefix(version, []byte("HTTP/")) {
		return nil, Garbage
	}
	if !bytes.HasPrefix(version, []byte("HTTP/1.")) { // PRI * HTTP/2.0
		return nil, Absent
	}
	if host, ok := absolute(target); ok {
		return found(host)
	}
	*read = int32(len(b) - len(rest))
	return hostHeader(b, read)
}

// hostHeader looks for Host in the header lines behind what was read.
func hostHeader(b []byte, read *int32) ([]byte, Outcome) {
	for {
		line, rest, ok := cutLine(b[*read:])
		if !ok {
			return nil, More
		}
		if len(line) == 0 {
			return nil, Absent
		}
		if line[0] != ' ' && line[0] != '\t' { // else it is folded: more of the header before
			name, value, ok := bytes.Cut(line, []byte{':'})
			if !ok || !isToken(name) || len(name) == 0 {
				return nil, Garbage
			}
			if len(name) == 4 && bytes.EqualFold(name, []byte("host")) {
				return found(bytes.Trim(value, " \t"))
			}
		}
		*read = int32(len(b) - len(rest))
	}
}

// absolute gives the authority of a target in absolute form, without user information.
func absolute(target []byte) ([]byte, bool) {
	scheme, rest, ok := bytes.Cut(target, []byte("://"))
	if !ok || len(scheme) == 0 || bytes.IndexByte(scheme, '/') >= 0 {
		return nil, false
	}
	if end := bytes.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	return rest[bytes.LastIndexByte(rest, '@')+1:], true
}

// found gives the host of HOST[:PORT]; that of an IPv6 address stays in brackets.
func found(authority []byte) ([]byte, Outcome) {
	if i := bytes.LastIndexByte(authority, ':'); i > bytes.LastIndexByte(authority, ']') {
		authority = authority[:i]
	}
	if len(authority) == 0 {
		return nil, Absent
	}
	return authority, Found
}

// cutLine cuts off the first line, which ends with LF or CR LF.
func cutLine(b []byte) (line, rest []byte, ok bool) {
	line, rest, ok = bytes.Cut(b, []byte{'\n'})
	return bytes.TrimSuffix(line, []byte{'\r'}), rest, ok
}

// isToken reports whether b may be a method or the name of a header (RFC 9110, section 5.6.2).
func isToken(b []byte) bool {
	for _, c := range b {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9'
		if !letter && bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) < 0 {
			return false
		}
	}
	return true
}
