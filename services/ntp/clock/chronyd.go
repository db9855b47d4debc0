package clock

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"
)

// The command "tracking" of chronyd's protocol, version 6 (candm.h of chrony, from 2.0 on).
const (
	protocolVersion = 6
	typeRequest     = 1
	typeReply       = 2
	commandTracking = 33
	replyTracking   = 5
	replyHeader     = 28               // bytes
	trackingLen     = replyHeader + 76 // bytes of the reply; a request has to be as long
)

// patience is how long chronyd may take to answer.
const patience = 250 * time.Millisecond

// errAnswer is of a reply that is none to our request.
var errAnswer = errors.New("no report of chronyd")

// readChronyd asks the chronyd whose command port is at addr.
func readChronyd(ctx context.Context, addr netip.AddrPort, now time.Time) (State, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", addr.String())
	if err != nil {
		return State{}, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return State{}, err
	}
	sequence := rand.Uint32()
	if _, err := conn.Write(trackingRequest(sequence)); err != nil {
		return State{}, err
	}
	reply := make([]byte, 512)
	n, err := conn.Read(reply)
	if err != nil {
		return State{}, err
	}
	return parseTracking(reply[:n], sequence, now)
}

func trackingRequest(sequence uint32) []byte {
	p := make([]byte, trackingLen)
	p[0], p[1] = protocolVersion, typeRequest
	binary.BigEndian.PutUint16(p[4:], commandTracking)
	binary.BigEndian.PutUint32(p[8:], sequence)
	return p
}

// parseTracking reads the reply to the request with that sequence number.
func parseTracking(p []byte, sequence uint32, now time.Time) (State, error) {
	be := binary.BigEndian
	switch {
	case len(p) < replyHeader || p[0] != protocolVersion || p[1] != typeReply || be.Uint16(p[4:]) != commandTracking || be.Uint32(p[16:]) != sequence:
		return State{}, errAnswer
	case be.Uint16(p[8:]) != 0:
		return State{}, fmt.Errorf("%w: status %d", errAnswer, be.Uint16(p[8:]))
	case be.Uint16(p[6:]) != replyTracking || len(p) < trackingLen:
		return State{}, errAnswer
	}
	p = p[replyHeader:]
	stratum, leap := be.Uint16(p[24:]), be.Uint16(p[26:])
	id := [4]byte(p[:4])
	if leap > 2 || stratum == 0 || stratum > 15 {
		return local(Chronyd, now), nil
	}
	if id == localID { // chronyd's own local mode, with the stratum that its administrator chose
		s := local(Chronyd, now)
		s.Stratum = uint8(stratum)
		return s, nil
	}
	// The clock that we read lacks the correction that chronyd is still making:
	// chronyd would add it to what it serves, we own up to it.
	pending := seconds(be.Uint32(p[40:])).Abs()
	return State{
		By: Chronyd, Synchronised: true, Leap: uint8(leap & 3), Stratum: uint8(stratum), RefID: id,
		RefTime:    time.Unix(int64(be.Uint32(p[28:]))<<32|int64(be.Uint32(p[32:])), int64(be.Uint32(p[36:]))),
		Delay:      max(seconds(be.Uint32(p[64:])), 0),
		Dispersion: max(seconds(be.Uint32(p[68:])), 0) + pending,
	}, nil
}

// seconds reads chronyd's floating point number: 7 bits of exponent and 25 of coefficient, both signed.
func seconds(x uint32) time.Duration {
	exp, coef := int32(x)>>25, int32(x<<7)>>7
	s := math.Ldexp(float64(coef), int(exp)-25)
	return time.Duration(max(min(s, 1e6), -1e6) * float64(time.Second))
}
