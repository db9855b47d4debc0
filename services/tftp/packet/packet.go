package packet

import (
	"encoding/binary"
	"fmt"
	"strings"

	"helperd/internal/human"
)

// Opcodes (RFC 1350 section 5, RFC 2347).
const (
	OpRead  = 1
	OpWrite = 2
	OpData  = 3
	OpACK   = 4
	OpError = 5
	OpOACK  = 6
)

// Error codes (RFC 1350 appendix).
const (
	CodeUndefined = 0
	CodeNotFound  = 1
	CodeAccess    = 2
	CodeIllegal   = 4
)

// HeaderLen is the length in bytes of what stands before the data of a DATA
// packet and the text of an ERROR, and of a whole ACK.
const HeaderLen = 4

// Error is what the client is told. Its text never shows a path of this machine.
type Error struct {
	Code uint16
	Text string
}

func (e *Error) Error() string { return fmt.Sprintf("error %d: %s", e.Code, e.Text) }

var (
	errMalformed = &Error{Code: CodeIllegal, Text: "malformed request"}
	errMode      = &Error{Code: CodeIllegal, Text: "unknown mode: use octet or netascii"}
	errOperation = &Error{Code: CodeIllegal, Text: "illegal TFTP operation"}
	errReadOnly  = &Error{Code: CodeAccess, Text: "access violation: this server is read-only"}
)

// What clients are told of files and of the server.
var (
	ErrNotFound   = &Error{Code: CodeNotFound, Text: "file not found"}
	ErrAccess     = &Error{Code: CodeAccess, Text: "access violation"}
	ErrBusy       = &Error{Code: CodeUndefined, Text: "busy: too many transfers, try again"}
	ErrUnreadable = &Error{Code: CodeUndefined, Text: "file changed or became unreadable while it was sent"}
)

// Bytes is the ERROR packet that says e.
func (e *Error) Bytes() []byte {
	b := make([]byte, HeaderLen, HeaderLen+len(e.Text)+1)
	binary.BigEndian.PutUint16(b, OpError)
	binary.BigEndian.PutUint16(b[2:], e.Code)
	return append(append(b, e.Text...), 0)
}

// ParseError reads an ERROR packet. The text is made printable: it goes to events and logs.
func ParseError(p []byte) *Error {
	text, _, _ := strings.Cut(string(p[HeaderLen:]), "\x00")
	return &Error{Code: binary.BigEndian.Uint16(p[2:]), Text: human.Printable(text)}
}
