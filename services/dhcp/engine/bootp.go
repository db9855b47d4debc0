package engine

import "helperd/timeline"

// bootp answers a client that knows no leases (RFC 951, 1534). It keeps its
// address for ever, so it gets one only by a reservation.
func (e *Engine) bootp(q *request) {
	if q.reservation == nil {
		e.refused(q)
		return
	}
	e.discovered(q)
	if e.occupied(q) {
		return
	}
	addr := q.reservation.Address
	file := e.write(q, 0, addr, 0)
	q.answer.Acked = addr
	e.tell(q, timeline.DHCPAck, addr, file)
	e.unbootable(q, addr, file)
}
