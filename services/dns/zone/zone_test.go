package zone

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"helperd/plan"
)

func record(name, rtype, data string) plan.Record {
	return plan.Record{Name: name, Type: rtype, TTL: 300, Data: data}
}

var (
	soa = record("a.test.", "SOA", "ns.a.test. hostmaster.a.test. 1 3600 600 86400 60")
	ns  = record("ns.a.test.", "A", "192.0.2.1")
)

func TestCompileRefuses(t *testing.T) {
	many := []plan.Record{soa}
	for i := range maxSet + 1 {
		many = append(many, record("many.a.test.", "TXT", `"`+strings.Repeat("x", i+1)+`"`))
	}
	for _, c := range []struct {
		name    string
		records []plan.Record
		want    string
	}{
		{"no SOA", []plan.Record{ns}, "needs one SOA"},
		{"two SOA", []plan.Record{soa, record("a.test.", "SOA", "ns.a.test. other.a.test. 1 3600 600 86400 60")}, "needs one SOA"},
		{"data of another type", []plan.Record{soa, record("x.a.test.", "A", "fd00::1")}, "x.a.test."},
		{"unknown type", []plan.Record{soa, record("x.a.test.", "NONSENSE", "1")}, "NONSENSE"},
		{"CNAME and other data", []plan.Record{soa, record("x.a.test.", "CNAME", "ns.a.test."), record("x.a.test.", "A", "192.0.2.1")}, "stands alone"},
		{"two CNAMEs", []plan.Record{soa, record("x.a.test.", "CNAME", "ns.a.test."), record("x.a.test.", "CNAME", "y.a.test.")}, "stands alone"},
		{"delegation", []plan.Record{soa, record("sub.a.test.", "NS", "ns.sub.a.test.")}, "delegates"},
		{"too many records", many, "more than 100"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Compile([]plan.Zone{{Name: "a.test.", Records: c.records}}, nil, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
	if _, err := Compile(nil, []plan.Record{record("a..test.", "A", "192.0.2.1")}, nil); err == nil {
		t.Error("a name with an empty label is taken")
	}
}

func TestCompileReportsEveryMistake(t *testing.T) {
	_, err := Compile([]plan.Zone{{Name: "a.test.", Records: []plan.Record{record("x.a.test.", "A", "one"), record("y.a.test.", "A", "two")}}}, nil, nil)
	for _, want := range []string{"x.a.test.", "y.a.test.", "SOA"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not tell of %s", err, want)
		}
	}
}

// find looks a name up by its presentation form.
func find(t *testing.T, tab *Table, name string, qtype uint16) (*Tail, Kind) {
	t.Helper()
	wire := wireName(name)
	var labels []uint8
	for at := 0; wire[at] != 0; at += 1 + int(wire[at]) {
		labels = append(labels, uint8(at))
	}
	return tab.Find(wire, labels, qtype)
}

func TestZoneInAZone(t *testing.T) {
	tab, err := Compile([]plan.Zone{
		{Name: "a.test.", Records: []plan.Record{soa, ns, record("x.c.b.a.test.", "A", "192.0.2.2")}},
		{Name: "c.b.a.test.", Records: []plan.Record{record("c.b.a.test.", "SOA", "ns.a.test. hostmaster.a.test. 2 3600 600 86400 60")}},
	}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		rcode uint8
		apex  string
	}{
		{"b.a.test.", dns.RcodeSuccess, "a.test."}, // exists for the zone below it
		{"y.b.a.test.", dns.RcodeNameError, "a.test."},
		{"y.c.b.a.test.", dns.RcodeNameError, "c.b.a.test."},
		{"x.c.b.a.test.", dns.RcodeSuccess, "c.b.a.test."}, // belongs to the inner zone, whoever wrote it
	} {
		tail, kind := find(t, tab, c.name, dns.TypeAAAA)
		if kind != Ours || tail.Rcode != c.rcode || tail.Author != 1 || tail.apexLen != len(wireName(c.apex)) {
			t.Errorf("%s: kind %d, %+v", c.name, kind, tail)
		}
	}
}

// Dots in a label must not be taken for its end.
func TestEscapedDot(t *testing.T) {
	tab, err := Compile([]plan.Zone{{Name: "a.test.", Records: []plan.Record{soa, ns}}},
		[]plan.Record{record(`x\.a.test.`, "A", "192.0.2.3"), record("y.test.", "CNAME", `x\.a.test.`)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if tail, kind := find(t, tab, `x\.a.test.`, dns.TypeA); kind != Ours || tail.Answer != 1 {
		t.Errorf("kind %d, %+v", kind, tail)
	}
	if tail, kind := find(t, tab, `y\.a.test.`, dns.TypeA); kind != Foreign {
		t.Errorf("kind %d, %+v", kind, tail)
	}
	if tail, kind := find(t, tab, `y.test.`, dns.TypeA); kind != Ours || tail.Answer != 2 {
		t.Errorf("kind %d, %+v", kind, tail)
	}
}

// One TTL a set, the smallest; and no record twice.
func TestSets(t *testing.T) {
	a, b := record("x.a.test.", "A", "192.0.2.1"), record("x.a.test.", "A", "192.0.2.2")
	b.TTL = 60
	tab, err := Compile([]plan.Zone{{Name: "a.test.", Records: []plan.Record{soa, a, b, a}}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	tail, _ := find(t, tab, "x.a.test.", dns.TypeA)
	out := make([]byte, tail.Len())
	tail.Copy(out, len(wireName("x.a.test.")))
	if tail.Answer != 2 || out[9] != 60 || out[16+9] != 60 {
		t.Errorf("%d records, %x", tail.Answer, out)
	}
}

// Names of many labels are looked up as often as the deepest name is deep.
func TestDeepName(t *testing.T) {
	tab, err := Compile([]plan.Zone{{Name: "a.test.", Records: []plan.Record{soa, record("*.apps.a.test.", "A", "192.0.2.1")}}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if tail, kind := find(t, tab, strings.Repeat("x.", 110)+"apps.a.test.", dns.TypeA); kind != Ours || tail.Answer != 1 {
		t.Errorf("kind %d, %+v", kind, tail)
	}
	if tail, kind := find(t, tab, strings.Repeat("x.", 110)+"a.test.", dns.TypeA); kind != Ours || tail.Rcode != dns.RcodeNameError {
		t.Errorf("kind %d, %+v", kind, tail)
	}
}
