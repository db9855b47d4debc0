package packet

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What does not fit behind the header goes into file, then sname; a whole option each (RFC 2131 section 4.1).
func TestOverload(t *testing.T) {
	fill := bytes.Repeat([]byte("x"), 240)
	for _, c := range []struct {
		name     string
		file     string
		info     []byte // option 82 of the request
		sizes    map[byte]int
		overload []byte
		dropped  []byte
	}{
		{"all fit", "", nil, map[byte]int{DomainName: 100}, nil, nil},
		{"file", "", nil, map[byte]int{DomainName: 125}, []byte{overloadFile}, nil},
		{"file and sname", "", nil, map[byte]int{DomainName: 125, DomainSearch: 61}, []byte{overloadFile | overloadServer}, nil},
		{"a boot file stays", "pxelinux.0", nil, map[byte]int{DomainName: 61}, []byte{overloadServer}, nil},
		{"more than there is", "", nil, map[byte]int{DomainName: 126}, nil, []byte{DomainName}},
		{"what relays look for stays behind the header", "", fill[:200], map[byte]int{DomainName: 125}, []byte{overloadFile}, nil},
	} {
		in := append([]byte{53, 1, 1}, byte(RelayInfo), byte(len(c.info)))
		req := parsed(t, message(nil, append(append(in, c.info...), 255)...))
		var w Reply
		w.Start(make([]byte, Buffer), req, Offer)
		w.File(c.file)
		w.Overload()
		w.AddMust(ServerID, []byte{10, 0, 0, 1})
		params := []byte{NameServers, DomainName, DomainSearch}
		first := 240
		if c.overload == nil && c.dropped == nil {
			first = 100
		}
		w.Add(NameServers, fill[:first])
		for _, code := range params[1:] {
			if n := c.sizes[code]; n > 0 {
				w.Add(code, bytes.Repeat([]byte{code}, n))
			}
		}
		if len(c.info) > 0 {
			w.AddMust(RelayInfo, req.RelayInfo)
		}
		b := w.Finish(params)
		if want := 548 + len(c.info) + 2; len(b) > want {
			t.Errorf("%s: %d bytes for %d", c.name, len(b), want)
		}
		var got Request
		if err := got.ParseReply(b); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.overload, bytes.Clone(got.option(Overload))); diff != "" && len(c.overload)+len(got.option(Overload)) > 0 {
			t.Errorf("%s: option 52: %s", c.name, diff)
		}
		for code, n := range c.sizes {
			want := bytes.Repeat([]byte{code}, n)
			if bytes.IndexByte(c.dropped, code) >= 0 {
				want = nil
			}
			if !bytes.Equal(got.option(code), want) {
				t.Errorf("%s: option %d has %d bytes, want %d", c.name, code, len(got.option(code)), len(want))
			}
		}
		if len(c.info) > 0 {
			if list := codes(b); list[len(list)-1] != RelayInfo {
				t.Errorf("%s: option 82 is not the last one: %v", c.name, list)
			}
		}
		if c.file != "" && string(b[fileStart:fileStart+len(c.file)]) != c.file {
			t.Errorf("%s: the boot file is overwritten", c.name)
		}
	}
}

// A relay does not look into the fields for what it must take out again.
func TestMustNeverOverloads(t *testing.T) {
	var w Reply
	w.Start(make([]byte, Buffer), parsed(t, message(nil, 53, 1, 1, 255)), Offer)
	w.Overload()
	w.AddMust(ClientID, make([]byte, 250))
	w.AddMust(RelayInfo, make([]byte, 60)) // does not fit any more
	if diff := cmp.Diff([]byte{53, 61}, codes(w.Finish(nil))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
