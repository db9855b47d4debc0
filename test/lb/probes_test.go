package lb

import (
	"crypto/tls"
	"sync"
	"time"
)

// selfSigned is a certificate that nobody trusts.
var selfSigned = sync.OnceValue(func() *tls.Certificate {
	c := certificate("api-int.ocp4.example.com", nil)
	return &c
})

// probeCases are what a check asks, and when.
var probeCases = []testCase{
	{name: "path and host", lb: checked("type: http, port: 7100, path: /readyz, host: api-int.ocp4.example.com, " + often), proof: func(x *trial) {
		a, _ := x.health(health1, nil), x.health(health2, nil)
		a.awaitQuestions(3)
		for _, q := range a.questions() {
			if q.path != "/readyz" || q.host != "api-int.ocp4.example.com" {
				x.Errorf("a check asks %q for %q", q.host, q.path)
			}
		}
	}},
	{name: "https: path, host and SNI; any certificate", lb: checked("type: https, port: 7100, path: /readyz, host: api-int.ocp4.example.com, " + often), proof: func(x *trial) {
		x.serve(one, named("one"))
		x.serve(two, named("two"))
		a := x.health(health1, selfSigned())
		x.health(health2, nil) // speaks no TLS
		x.awaitOnly(front, "one")
		a.awaitQuestions(3)
		for _, q := range a.questions() {
			if q.path != "/readyz" || q.host != "api-int.ocp4.example.com" || q.name != "api-int.ocp4.example.com" {
				x.Errorf("a check asks %q (SNI %q) for %q", q.host, q.name, q.path)
			}
		}
		a.answer(500)
		x.await("nobody is up", func() bool { return x.who(front) == "" })
	}},
	{name: "https: the certificate is verified", lb: `
retries: 0
frontends: [{name: f, listen: "127.0.0.1:7000", backend: b}]
backends:
  - name: b
    check: {type: https, verify: true, host: api-int.ocp4.example.com, port: 7100, ` + often + `}
    servers: [{name: one, address: "127.0.0.11:7000"}, {name: two, address: "127.0.0.12:7000"}, {name: three, address: "127.0.0.13:7000"}]`, proof: func(x *trial) {
		x.trio()
		ca := authority()
		good, other := certificate("api-int.ocp4.example.com", &ca), certificate("api-int.elsewhere.example.com", &ca)
		x.health(health1, selfSigned())
		x.health(health2, &good)
		x.health("127.0.0.13:7100", &other)
		x.awaitOnly(front, "two")
	}},
	{name: "own port: data may be dead", lb: checked("type: http, port: 7100, " + often), proof: func(x *trial) {
		x.serve(two, named("two"))
		x.health(health1, nil)
		x.health(health2, nil)
		x.await("the server that answers checks alone is used", func() bool {
			got := x.share(front, 10)
			return got["two"] == 5 && got[""] == 5
		})
	}},
	{name: "fall: so many failures in a row", lb: checked("type: http, port: 7100, interval: 200ms, timeout: 500ms, fall: 4, rise: 2"), proof: fall},
	{name: "rise: so many successes in a row", lb: checked("type: http, port: 7100, interval: 200ms, timeout: 500ms, fall: 2, rise: 4"), proof: rise},
	{name: "interval, and a shorter one while a server turns", lb: checked("type: http, port: 7100, interval: 2s, fast_interval: 200ms, timeout: 500ms, fall: 3, rise: 3"), proof: intervals},
}

// fall lets a server fail three times in a row, again and again, and then four times.
func fall(x *trial) {
	h, _ := x.checkedPair()
	h.follow(func(n int) int {
		if n%4 == 3 {
			return 200
		}
		return 503
	})
	for range 12 {
		h.awaitQuestions(1)
		if got := x.share(front, 4); got["one"] != 2 {
			x.Fatalf("4 connections: %v, want 2 to one: it never failed 4 times in a row", got)
		}
	}
	h.answer(503)
	x.awaitOnly(front, "two")
	if row := inRow(h.questions(), 503); row < 4 {
		x.Errorf("down after %d failures in a row, want 4", row)
	}
}

// rise lets a server that was down succeed three times in a row, and then for good.
func rise(x *trial) {
	h, _ := x.checkedPair()
	h.answer(503)
	x.awaitOnly(front, "two")
	h.follow(func(n int) int {
		if n%4 == 3 {
			return 503
		}
		return 200
	})
	for range 12 {
		h.awaitQuestions(1)
		if got := x.share(front, 4); got["one"] != 0 {
			x.Fatalf("4 connections: %v, want none to one: it never succeeded 4 times in a row", got)
		}
	}
	h.answer(200)
	x.await("one is back", func() bool { return x.who(front) == "one" })
	if row := inRow(h.questions(), 200); row < 4 {
		x.Errorf("up after %d successes in a row, want 4", row)
	}
}

// inRow counts the answers of a status at the end.
func inRow(asked []question, status int) int {
	n := 0
	for n < len(asked) && asked[len(asked)-1-n].status == status {
		n++
	}
	return n
}

// intervals looks at the times between checks.
func intervals(x *trial) {
	h, _ := x.health(health1, nil), x.health(health2, nil)
	h.awaitQuestions(4)
	calm := h.questions()
	calm = calm[len(calm)-2:]
	if d := calm[1].at.Sub(calm[0].at); d < 1700*time.Millisecond {
		x.Errorf("an up server is checked after %v, want 2 s", d)
	}
	h.answer(503)
	h.awaitQuestions(3) // of which the first comes at leisure, and the others quickly
	turning := h.questions()
	turning = turning[len(turning)-3:]
	if d := turning[2].at.Sub(turning[0].at); d > 1700*time.Millisecond {
		x.Errorf("a server that fails is checked twice more after %v, want 0.4 s", d)
	}
	h.awaitQuestions(2)
	down := h.questions()
	down = down[len(down)-2:]
	if d := down[1].at.Sub(down[0].at); d < 1700*time.Millisecond {
		x.Errorf("a down server is checked after %v, want 2 s", d)
	}
}
