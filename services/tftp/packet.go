package tftp

import (
	"encoding/binary"
	"fmt"
	"strings"

	"helperd/internal/human"
)

// Opcodes (RFC 1350 section 5, RFC 2347).
const (
	opRead  = 1
	opWrite = 2
	opData  = 3
	opACK   = 4
	opError = 5
	opOACK  = 6
)

// Error codes (RFC 1350 appendix).
const (
	codeUndefined    = 0
	codeNotFound     = 1
	codeAccess       = 2
	codeIllegal      = 4
	headerLen        = 4
	maxRequest       = 2048
	defaultBlockSize = 512
)

// wireError is what the client is told. Its text never shows a path of this machine.
type wireError struct {
	code uint16
	text string
}

func (e *wireError) Error() string { return fmt.Sprintf("error %d: %s", e.code, e.text) }

var (
	errMalformed  = &wireError{codeIllegal, "malformed request"}
	errMode       = &wireError{codeIllegal, "unknown mode: use octet or netascii"}
	errOperation  = &wireError{codeIllegal, "illegal TFTP operation"}
	errReadOnly   = &wireError{codeAccess, "access violation: this server is read-only"}
	errNotFound   = &wireError{codeNotFound, "file not found"}
	errAccess     = &wireError{codeAccess, "access violation"}
	errBusy       = &wireError{codeUndefined, "busy: too many transfers, try again"}
	errUnreadable = &wireError{codeUndefined, "file changed or became unreadable while it was sent"}
)

// packet is the ERROR packet that says e.
func (e *wireError) packet() []byte {
	b := make([]byte, headerLen, headerLen+len(e.text)+1)
	binary.BigEndian.PutUint16(b, opError)
	binary.BigEndian.PutUint16(b[2:], e.code)
	return append(append(b, e.text...), 0)
}

// parseError reads an ERROR packet. The text is made printable: it goes to events and logs.
func parseError(p []byte) *wireError {
	text, _, _ := strings.Cut(string(p[headerLen:]), "\x00")
	return &wireError{binary.BigEndian.Uint16(p[2:]), human.Printable(text)}
}
