package mmsg

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestStampsAndDestinations(t *testing.T) {
	for _, tt := range []struct{ listen, asked string }{
		{"0.0.0.0:0", "127.0.0.7"}, // no client takes an answer from another address
		{"127.0.0.7:0", "127.0.0.7"},
		{"[::]:0", "::1"},
	} {
		t.Run(tt.listen, func(t *testing.T) {
			at := netip.MustParseAddrPort(tt.listen)
			network := "udp6"
			if at.Addr().Is4() {
				network = "udp4"
			}
			server, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(at))
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			raw, _ := server.SyscallConn()
			b := New(4, 64, 64)
			if _, ok := b.Stamp(0); ok {
				t.Error("a stamp that nobody wanted")
			}
			if err := b.WantStamps(raw); err != nil {
				t.Fatal(err)
			}
			to := netip.AddrPortFrom(netip.MustParseAddr(tt.asked), uint16(server.LocalAddr().(*net.UDPAddr).Port))
			client, err := net.DialUDP(network, nil, net.UDPAddrFromAddrPort(to)) // hears to alone
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			// The kernel begins to stamp a little after it was told to, and until then says
			// when a message was read. The second time is in buffers that were used.
			deadline := time.Now().Add(10 * time.Second)
			for good := 0; good < 2; {
				before := time.Now()
				if _, err := client.Write([]byte("when?")); err != nil {
					t.Fatal(err)
				}
				time.Sleep(20 * time.Millisecond) // it waits in the socket, and its stamp is older than that
				if n, err := b.Receive(raw); n != 1 || err != nil {
					t.Fatalf("%d messages, %v", n, err)
				}
				read := time.Now()
				got, ok := b.Stamp(0)
				if late := read.Sub(got); ok && got.After(before.Add(-time.Second)) && late > 10*time.Millisecond {
					good++
				} else if time.Now().After(deadline) {
					t.Fatalf("stamp %v, %v; sent at %v, read at %v", got, ok, before, read)
				}
				b.Queue(0, copy(b.Reply(), "now"))
				if failed, err := b.Send(raw); failed != 0 || err != nil {
					t.Fatalf("%d failed, %v", failed, err)
				}
				_ = client.SetReadDeadline(time.Now().Add(5 * time.Second))
				buf := make([]byte, 8)
				if n, err := client.Read(buf); err != nil || string(buf[:n]) != "now" {
					t.Fatalf("got %q, %v", buf[:n], err)
				}
			}
		})
	}
}

func TestStampsAllocateNothing(t *testing.T) {
	server, client := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	rawServer, _ := server.SyscallConn()
	rawClient, _ := client.SyscallConn()
	b, c := New(4, 64, 64), New(4, 64, 64)
	if err := b.WantStamps(rawServer); err != nil {
		t.Fatal(err)
	}
	to := server.LocalAddr().(*net.UDPAddr).AddrPort()
	allocs := testing.AllocsPerRun(100, func() {
		c.QueueTo(to, copy(c.Reply(), "ping"))
		_, _ = c.Send(rawClient)
		n, err := b.Receive(rawServer)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if _, ok := b.Stamp(i); !ok {
				t.Fatal("no stamp")
			}
			b.Queue(i, copy(b.Reply(), b.Message(i)))
		}
		_, _ = b.Send(rawServer)
	})
	if allocs != 0 {
		t.Errorf("%v allocations a turn", allocs)
	}
}
