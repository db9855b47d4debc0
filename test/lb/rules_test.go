package lb

var ruleCases = []testCase{
	{name: "allow: others are closed and reach no server", lb: `
frontends: [{name: f, listen: "127.0.0.1:7000", backend: b, allow: [127.0.0.0/24, "2001:db8::/32"]}]
backends:
  - {name: b, check: {type: none}, servers: [{name: one, address: "127.0.0.11:7000"}]}`, proof: func(x *trial) {
		s := x.serve(one, named("one"))
		for range 3 {
			x.dialFrom(outsider, front).closed()
		}
		if n := s.total.Load(); n != 0 {
			x.Errorf("the server got %d connections", n)
		}
		x.dial(front).expect("one\n")
	}},
	{name: "allow: one address of many", lb: `
frontends: [{name: f, listen: "127.0.0.1:7000", backend: b, allow: [127.0.0.100/32, 127.0.0.103/32]}]
backends:
  - {name: b, check: {type: none}, servers: [{name: one, address: "127.0.0.11:7000"}]}`, proof: func(x *trial) {
		x.serve(one, named("one"))
		for i, from := range clients(6) {
			want := ""
			if i == 0 || i == 3 {
				want = "one"
			}
			if who := x.whoFrom(from, front); who != want {
				x.Errorf("%s is served by %q, want %q", from, who, want)
			}
		}
	}},
	{name: "allow is that of one frontend", lb: `
frontends:
  - {name: f, listen: "127.0.0.1:7000", backend: b, allow: [127.0.0.0/24]}
  - {name: g, listen: "127.0.0.1:7001", backend: b}
backends:
  - {name: b, check: {type: none}, servers: [{name: one, address: "127.0.0.11:7000"}]}`, proof: func(x *trial) {
		x.serve(one, named("one"))
		x.dialFrom(outsider, front).closed()
		x.dialFrom(outsider, "127.0.0.1:7001").expect("one\n")
	}},
	{name: "allow: IPv6", lb: `
frontends: [{name: f, listen: ["127.0.0.1:7000", "[::1]:7000"], backend: b, allow: ["::1/128"]}]
backends:
  - {name: b, check: {type: none}, servers: [{name: one, address: "127.0.0.11:7000"}]}`, proof: func(x *trial) {
		x.serve(one, named("one"))
		x.dial(front).closed()
		x.dial("[::1]:7000").expect("one\n")
	}},
	{name: "rate of a frontend goes before that of all", lb: `
rate: {connections: 2, per: 1m}
frontends:
  - {name: f, listen: "127.0.0.1:7000", backend: b}
  - {name: g, listen: "127.0.0.1:7001", backend: b, rate: {connections: 6, per: 1m}}
backends:
  - {name: b, check: {type: none}, servers: [{name: one, address: "127.0.0.11:7000"}]}`, proof: func(x *trial) {
		x.serve(one, named("one"))
		if got := x.share(front, 10)["one"]; !near(got, 2) {
			x.Errorf("%d of 10 served, want 2", got)
		}
		if got := x.share("127.0.0.1:7001", 10)["one"]; !near(got, 6) {
			x.Errorf("%d of 10 served, want 6", got)
		}
	}},
}
