package engine

import (
	"errors"
	"fmt"
	"time"

	"helperd/services/tftp/packet"
)

// Story hears how a transfer goes, from one goroutine at a time.
type Story interface {
	// Started says that the client has answered.
	Started()
	// Progress comes whenever the client has more than before.
	Progress(t *Transfer, now time.Time)
	// Ended says how it came out, once; nil: the client has everything.
	Ended(t *Transfer, err error)
}

// Started reports whether the client has answered.
func (t *Transfer) Started() bool { return t.started.Load() }

// Size of the content in bytes; 0: it is not known.
func (t *Transfer) Size() int64 { return max(t.src.Size(), 0) }

// Resent counts packets or windows that were sent again.
func (t *Transfer) Resent() int64 { return t.resent }

// Bytes that the client has.
func (t *Transfer) Bytes() int64 {
	n := t.acked * int64(t.Block)
	if t.last >= 0 {
		n = min(n, t.end)
	}
	return n
}

// Failure is what people read when t ended with err: what, and what to do. It
// is empty when nothing went wrong: UEFI firmware asks for a file, reads its size
// from the OACK and stops with an ERROR before it asks again for the bytes, and a
// client that asks for something else has given up on its own.
func (t *Transfer) Failure(err error) string {
	var said *packet.Error
	switch {
	case err == nil:
		return ""
	case errors.Is(err, packet.ErrUnreadable):
		return err.Error()
	case errors.As(err, &said):
		if t.acked == 0 {
			return ""
		}
		return fmt.Sprintf("the client stopped the transfer: %v", said)
	case errors.Is(err, errStopped), errors.Is(err, errGone) && !t.started.Load():
		return ""
	case errors.Is(err, errSilent) && !t.started.Load():
		return "the client does not react to the answer, which comes from a port of its own (RFC 1350 section 4); look for a packet filter between the helper and the node"
	case errors.Is(err, errSilent):
		return fmt.Sprintf("%v after %d packets sent again; look at the node's console and at the network", err, tries)
	}
	return err.Error()
}
