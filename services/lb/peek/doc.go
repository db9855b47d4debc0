// Package peek reads the first bytes of a connection: the name that a TLS
// ClientHello asks for (RFC 8446, RFC 6066), the Host of an HTTP/1 request (RFC
// 9112), and the PROXY protocol's header, versions 1 and 2 (haproxy.org,
// proxy-protocol.txt).
//
// All are functions of the bytes that have come so far. They keep no state of their own and
// decide as early as they can: once they say anything but More, further bytes do
// not change it. What they return lies in the bytes or in a buffer of the caller.
//
// Nothing is decrypted: of an encrypted ClientHello the outer name counts.
package peek

// Max bounds a head in bytes: of what is longer nothing more is looked at.
const Max = 16 << 10

// Outcome is what the bytes so far amount to.
type Outcome uint8

// The outcomes.
const (
	More    Outcome = iota // not decided: more bytes are needed
	Found                  // complete, and it says what was looked for
	Absent                 // complete, and it does not
	Garbage                // not what was expected
)

func (o Outcome) String() string { return [...]string{"incomplete", "found", "absent", "garbage"}[o] }
