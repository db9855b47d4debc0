package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"helperd/internal/mmsg"
	"helperd/internal/socket"
	"helperd/services/dns/wire"
)

const (
	batchSize = 64   // larger ones leave the processor's cache
	maxQuery  = 2048 // bytes; longer queries over UDP are cut and get FORMERR
)

// udpReader serves one shard of a UDP socket.
type udpReader struct {
	*server
	conn    *net.UDPConn
	raw     syscall.RawConn
	count   *counters
	pending sync.WaitGroup // questions that wait for the forwarders
}

// serveUDP runs one reader a shard of sock until ctx ends.
func (r *server) serveUDP(ctx context.Context, sock *socket.Socket) error {
	conns, err := sock.PacketConns()
	if err != nil {
		return fmt.Errorf("dns: %w", err)
	}
	var shards []*udpReader
	var ended []<-chan struct{}
	defer func() {
		for _, u := range shards {
			_ = u.conn.SetReadDeadline(time.Now())
		}
		patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		for i, u := range shards {
			<-ended[i]
			u.close(patience)
		}
	}()
	// Readers outlive a panic of their own but not this function: it may panic too.
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for _, conn := range conns {
		u := &udpReader{server: r, conn: conn, count: r.tally.open()}
		if u.raw, err = conn.SyscallConn(); err != nil {
			return fmt.Errorf("dns: %s: %w", sock.Key, err)
		}
		shards = append(shards, u)
		ended = append(ended, r.loop(ctx, "dns reader "+sock.Key.String(), u.read))
	}
	<-ctx.Done()
	return nil
}

// close ends the reader after it has ended reading: questions under way are
// answered if the forwarders are quicker than the end of patience.
func (u *udpReader) close(patience context.Context) {
	answered := make(chan struct{})
	u.host.Guard.Go("dns drain", func() {
		defer close(answered)
		u.pending.Wait()
	})
	select {
	case <-answered:
	case <-patience.Done():
	}
	_ = u.conn.Close()
	u.tally.close(u.count)
}

// read answers batches until the connection's deadline.
func (u *udpReader) read(ctx context.Context) error {
	batch := mmsg.New(batchSize, maxQuery, wire.MaxUDP)
	var q wire.Query
	for {
		n, err := batch.Receive(u.raw)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("dns: receive: %w", err)
		}
		u.host.Fuse.Check()
		u.turn(batch, n, &q)
	}
}

// turn answers the n messages of a batch.
func (u *udpReader) turn(batch *mmsg.Batch, n int, q *wire.Query) {
	st := u.state.Load()
	var count turnCount
	for i := range n {
		peer := batch.Peer(i)
		client := st.client(peer.Addr(), false)
		out := batch.Reply() // never full: one reply a message
		size, next, target := wire.Answer(st.table, client, q, batch.Message(i), out)
		switch next {
		case wire.Drop:
			count.dropped++
			continue
		case wire.Send:
			count.answered(out)
			batch.Queue(i, size)
		case wire.Ask, wire.Chase:
			u.askLater(batch.Message(i), out[:size], target, client, peer, q, &count)
		}
		u.arrived(st, peer.Addr(), q)
	}
	failed, err := batch.Send(u.raw)
	count.failed += uint64(failed)
	u.count.add(&count)
	if err != nil && !errors.Is(err, net.ErrClosed) {
		u.host.Log.Warn("replies were not sent", "err", err)
	}
}

// askLater answers a question by the forwarders, or drops it when too many wait.
func (u *udpReader) askLater(msg, base []byte, target string, c wire.Client, peer netip.AddrPort, q *wire.Query, count *turnCount) {
	ask := newQuestion(msg, base, target, c, net.UDPAddrFromAddrPort(peer), q.Limit())
	u.pending.Add(1)
	if u.later(u.questions, ask, u.pending.Done, func(reply []byte) {
		if _, err := u.conn.WriteToUDPAddrPort(reply, peer); err != nil {
			u.count.failed.Add(1)
		}
	}, u.count) {
		return
	}
	u.pending.Done()
	count.dropped++
}
