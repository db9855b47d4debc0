package engine

import "helperd/services/dhcp/packet"

// rapid reports whether a DISCOVER is answered by an ACK at once (RFC 4039).
// While another server answers on the network the client is to choose: an address
// that it does not take must not pass for one that it has.
func (e *Engine) rapid(q *request) bool {
	_, foreign := e.rival(q.subnet, q.now)
	return q.Rapid && q.Type == packet.Discover && !foreign
}
