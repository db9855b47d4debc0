package wire

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// message joins hex parts; spaces do not count.
func message(t testing.TB, parts ...string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(strings.Join(parts, ""), " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Parts of messages, in hex.
const (
	oneQuestion = "abcd 0100 0001 0000 0000 0000"
	withOPT     = "abcd 0100 0001 0000 0000 0001"
	apiA        = "03617069 046f637034 076578616d706c65 03636f6d 00 0001 0001"
	plainOPT    = "00 0029 04d0 00000000 0000"
)

func TestMalformed(t *testing.T) {
	tab := table(t)
	long := "3f" + strings.Repeat("61", 63)
	for _, c := range []struct {
		name  string
		msg   []byte
		next  Next
		rcode byte
	}{
		{"good", message(t, oneQuestion, apiA), Send, 0},
		{"good with EDNS", message(t, withOPT, apiA, plainOPT), Send, 0},
		{"empty", nil, Drop, 0},
		{"less than a header", message(t, "abcd 0100 0001"), Drop, 0},
		{"an answer", message(t, "abcd 8100 0001 0000 0000 0000", apiA), Drop, 0},
		{"header alone", message(t, oneQuestion), Send, 1},
		{"no question", message(t, "abcd 0100 0000 0000 0000 0000"), Send, 1},
		{"two questions", message(t, "abcd 0100 0002 0000 0000 0000", apiA, apiA), Send, 1},
		{"cut in the name", message(t, oneQuestion, "03617069 046f63"), Send, 1},
		{"cut before the class", message(t, oneQuestion, apiA)[:12+22], Send, 1},
		{"trailing byte", message(t, oneQuestion, apiA, "00"), Send, 1},
		{"pointer in the question", message(t, oneQuestion, "03617069 c00c 0001 0001"), Send, 1},
		{"label of 64 bytes", message(t, oneQuestion, "40"+strings.Repeat("61", 64)+"00 0001 0001"), Send, 1},
		{"name of 255 bytes", message(t, oneQuestion, long, long, long, "3d", strings.Repeat("61", 61), "00 0001 0001"), Send, 5},
		{"name of 256 bytes", message(t, oneQuestion, long, long, long, "3e", strings.Repeat("61", 62), "00 0001 0001"), Send, 1},
		{"127 labels", message(t, oneQuestion, strings.Repeat("0161", 127), "00 0001 0001"), Send, 5},
		{"128 labels", message(t, oneQuestion, strings.Repeat("0161", 128), "00 0001 0001"), Send, 1},
		{"two OPT", message(t, "abcd 0100 0001 0000 0000 0002", apiA, plainOPT, plainOPT), Send, 1},
		{"OPT with an owner", message(t, withOPT, apiA, "0161", plainOPT), Send, 1},
		{"OPT missing", message(t, withOPT, apiA), Send, 1},
		{"OPT cut", message(t, withOPT, apiA, "00 0029 04d0 00000000 0004 000a"), Send, 1},
		{"option longer than OPT", message(t, withOPT, apiA, "00 0029 04d0 00000000 0005 0003 0002 61"), Send, 1},
		{"option without a length", message(t, withOPT, apiA, "00 0029 04d0 00000000 0003 0003 00"), Send, 1},
		{"cookie of 7 bytes", message(t, withOPT, apiA, "00 0029 04d0 00000000 000b 000a 0007 00000000000000"), Send, 1},
		{"record in the answer section", message(t, "abcd 0100 0001 0001 0000 0000", apiA, "c00c 0001 0001 00000000 0004 01020304"), Send, 1},
		{"record whose name points forward", message(t, withOPT, apiA, "c0ff 0001 0001 00000000 0000"), Send, 1},
		{"class CHAOS", message(t, oneQuestion, "07 76657273696f6e 04 62696e64 00 0010 0003"), Send, 5},
		{"class HESIOD", message(t, oneQuestion, "03617069 046f637034 076578616d706c65 03636f6d 00 0001 0004"), Send, 5},
		{"opcode 15", message(t, "abcd 7900 0001 0000 0000 0000", apiA), Send, 4},
		{"opcode STATUS", message(t, "abcd 1100 0001 0000 0000 0000", apiA), Send, 4},
		{"NOTIFY", message(t, "abcd 2000 0001 0000 0000 0000", "046f637034 076578616d706c65 03636f6d 00 0006 0001"), Send, 5},
		{"UPDATE", message(t, "abcd 2800 0001 0000 0000 0000", "046f637034 076578616d706c65 03636f6d 00 0006 0001"), Send, 5},
		{"IXFR", message(t, oneQuestion, "046f637034 076578616d706c65 03636f6d 00 00fb 0001"), Send, 5},
		{"TKEY", message(t, oneQuestion, "046f637034 076578616d706c65 03636f6d 00 00f9 0001"), Send, 4},
		{"type OPT", message(t, oneQuestion, "046f637034 076578616d706c65 03636f6d 00 0029 0001"), Send, 1},
		{"reserved bits are ignored", message(t, "abcd 07ff 0001 0000 0000 0000", apiA), Send, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var q Query
			out := make([]byte, MaxUDP)
			n, next, _ := Answer(tab, Client{}, &q, c.msg, out)
			if next != c.next || next == Send && out[3]&15 != c.rcode {
				t.Fatalf("next %d, rcode %d; want %d, %d", next, out[3]&15, c.next, c.rcode)
			}
			if next == Drop {
				if n != 0 {
					t.Fatalf("a reply of %d bytes to be dropped", n)
				}
				return
			}
			var m dns.Msg
			if err := m.Unpack(out[:n]); err != nil || !m.Response || m.Id != 0xabcd || m.Opcode != int(c.msg[2]>>3&15) {
				t.Errorf("reply %v, %v", m.MsgHdr, err)
			}
			if m.Zero {
				t.Error("the reserved bit is set")
			}
		})
	}
}

func TestUnknownKey(t *testing.T) {
	tab := table(t)
	m := new(dns.Msg).SetQuestion("api.ocp4.example.com.", dns.TypeA)
	m.SetTsig("some.key.", dns.HmacSHA256, 300, 1700000000)
	b, _, err := dns.TsigGenerate(m, "c2VjcmV0", "", false)
	if err != nil {
		t.Fatal(err)
	}
	var q Query
	out := make([]byte, MaxUDP)
	n, _, _ := Answer(tab, Client{}, &q, b, out)
	var reply dns.Msg
	if err := reply.Unpack(out[:n]); err != nil {
		t.Fatal(err)
	}
	sig := reply.IsTsig()
	if reply.Rcode != dns.RcodeNotAuth || sig == nil || sig.Error != dns.RcodeBadKey || sig.MACSize != 0 || sig.Hdr.Name != "some.key." || sig.OrigId != m.Id {
		t.Errorf("reply %v", &reply)
	}
}

// FuzzAnswer compares the parser with the library's: nothing panics, every
// reply parses and repeats what identifies the query, and what the library
// cannot read is never answered from the table.
func FuzzAnswer(f *testing.F) {
	tab := table(f)
	for _, seed := range [][]byte{
		message(f, oneQuestion, apiA), message(f, withOPT, apiA, plainOPT), message(f, oneQuestion),
		message(f, oneQuestion, "03617069 c00c 0001 0001"),
		message(f, withOPT, apiA, "00 0029 04d0 00000000 000c 000a 0008 0000000000000000"),
		message(f, "abcd 2800 0001 0000 0001 0000", apiA, "c00c 00ff 00ff 00000000 0000"),
	} {
		f.Add(seed)
	}
	for _, name := range []string{"x.apps.ocp4.example.com.", "far.ocp4.example.com.", "registry.lab.test.", "3.67.168.192.in-addr.arpa.", "nobody.sno.lab.test."} {
		m := new(dns.Msg).SetQuestion(name, dns.TypeA)
		m.SetEdns0(1400, true)
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		if len(msg) > 65535 {
			return
		}
		for _, c := range []Client{{}, {Recurse: true}, {Stream: true}} {
			var q Query
			out := make([]byte, c.MaxReply())
			n, next, _ := Answer(tab, c, &q, msg, out)
			var theirs dns.Msg
			readable := theirs.Unpack(msg) == nil
			if next == Ask || next == Chase || next == Send && q.Parsed() && out[3]&15 == 0 {
				if !readable && !odd(msg) {
					t.Fatalf("the library cannot read what is answered: %x", msg)
				}
				if readable && (len(theirs.Question) != 1 || theirs.Question[0].Qtype != q.Type || dns.CanonicalName(theirs.Question[0].Name) != q.String()) {
					t.Fatalf("question %v is read as %s %d", theirs.Question, &q, q.Type)
				}
			}
			if n == 0 {
				continue
			}
			var reply dns.Msg
			if err := reply.Unpack(out[:n]); err != nil {
				t.Fatalf("reply %x to %x does not parse: %v", out[:n], msg, err)
			}
			if !reply.Response || reply.Id != uint16(msg[0])<<8|uint16(msg[1]) || !c.Stream && n > q.Limit() && q.Parsed() && out[3]&15 != 9 {
				t.Fatalf("reply %v of %d bytes to %x", reply.MsgHdr, n, msg)
			}
		}
	})
}

// odd reports whether msg has records besides the question and OPT, whose data only the library reads.
func odd(msg []byte) bool {
	additional := int(msg[10])<<8 | int(msg[11])
	return additional > 0
}
