package packet

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What does not fit is refused once: a client that asks for it again and again
// must not make room for others that way, past its own limit or the buffer.
func TestRefusedOptionMakesNoRoom(t *testing.T) {
	var w Reply
	w.Start(make([]byte, Buffer), parsed(t, message(nil, 53, 1, 1, 255)), Offer)
	w.AddMust(ServerID, []byte{10, 0, 0, 1})
	w.AddMust(ClientID, make([]byte, 400))
	w.Add(DomainSearch, make([]byte, 1200))
	b := w.Finish(append(bytes.Repeat([]byte{ClientID}, 8), DomainSearch))
	if len(b) > 548 {
		t.Errorf("%d bytes for a client that takes 548", len(b))
	}
}

// A route list that does not fit must not take the router with it: the client would have no way out.
func TestRouterStandsInForRoutes(t *testing.T) {
	for _, params := range [][]byte{{1, 3, 121}, {121, 3, 1}} {
		var w Reply
		w.Start(make([]byte, Buffer), parsed(t, message(nil, 53, 1, 1, 255)), Offer)
		w.AddMust(SubnetMask, []byte{255, 0, 0, 0})
		w.Add(Router, []byte{10, 0, 0, 1})
		w.Add(ClasslessRoutes, make([]byte, 320))
		if diff := cmp.Diff([]byte{53, 1, 3}, codes(w.Finish(params))); diff != "" {
			t.Errorf("%v: -want +got:\n%s", params, diff)
		}
	}
}

// The relay takes its information out again, so the client's limit is not for it (RFC 3046 section 2.1).
func TestRelayInformationTakesNoRoom(t *testing.T) {
	info := make([]byte, 100)
	req := parsed(t, message(func(b []byte) { copy(b[24:], []byte{10, 9, 9, 9}) }, append(append([]byte{53, 1, 1, 82, 100}, info...), 255)...))
	var w Reply
	w.Start(make([]byte, Buffer), req, Offer)
	w.Add(DomainSearch, make([]byte, 250))
	w.AddMust(RelayInfo, req.RelayInfo)
	if diff := cmp.Diff([]byte{53, 119, 82}, codes(w.Finish([]byte{DomainSearch}))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
