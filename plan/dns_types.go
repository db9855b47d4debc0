package plan

import (
	"net/netip"
	"strconv"
)

// DNS is what the name server serves.
type DNS struct {
	Enabled bool
	Listen  []netip.AddrPort
	Zones   []Zone // cluster zones: authority for everything below them
	// Names are single names and PTRs outside the zones: answered with
	// authority for just that name; their neighbours are asked at the forwarders.
	Names      []Record
	Forwarders []netip.AddrPort
	Allow      []netip.Prefix // who may ask for what is not ours
	// Reverse are the networks whose unknown addresses get NXDOMAIN when there are no forwarders.
	Reverse []netip.Prefix
}

// Zone is one zone of authority. Records include SOA and NS.
type Zone struct {
	Name    string // lower case, with a trailing dot
	Records []Record
}

// Record is one record in presentation form.
type Record struct {
	Name string // lower case, with a trailing dot
	Type string // A, AAAA, PTR, ...
	TTL  uint32 // seconds
	Data string // as in a zone file; names are absolute
}

// String is the record as a line of a zone file.
func (r Record) String() string {
	return r.Name + " " + strconv.FormatUint(uint64(r.TTL), 10) + " IN " + r.Type + " " + r.Data
}
