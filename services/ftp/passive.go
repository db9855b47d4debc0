package ftp

import (
	"context"
	"errors"
	"net"
	"sync"
)

// maxPending is the most passive ports that wait for one client: half of the
// default range, so that no machine keeps the others from theirs.
const maxPending = 5

var errPorts = errors.New("too many data connections of yours are waiting; use them, or wait half a minute")

// passive is a port on which the session's client is awaited. It is free for
// others as soon as that one has come.
type passive struct {
	*net.TCPListener
	session *session
	giveUp  func()
}

// drop gives the port back. There may be none.
func (p *passive) drop() {
	if p != nil {
		p.giveUp()
	}
}

// WrapPassiveListener implements ftpserver.MainDriverExtensionPassiveWrapper.
// The library closes what it made itself, and when this fails not even that.
func (x *session) WrapPassiveListener(l net.Listener) (net.Listener, error) {
	p, err := guarded(x, func() (*passive, error) { return x.await(l.(*net.TCPListener)) })
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	return p, nil
}

func (x *session) await(l *net.TCPListener) (*passive, error) {
	x.passive.Load().drop()
	if x.pending.Enter(x.addr, false) != nil {
		return nil, errPorts
	}
	p := &passive{TCPListener: l, session: x}
	over, cancel := context.WithCancel(context.Background())
	p.giveUp = sync.OnceFunc(func() {
		cancel()
		_ = l.Close()
		x.pending.Leave(x.addr)
	})
	x.host.Guard.After(over, x.claim, "ftp passive port", p.drop)
	x.passive.Store(p)
	return p, nil
}

// Accept implements net.Listener. The library has set a deadline.
func (p *passive) Accept() (net.Conn, error) {
	defer p.drop()
	for {
		conn, err := p.AcceptTCP()
		if err != nil {
			return nil, errors.New("you did not connect to the data port; is a packet filter between us?")
		}
		if address(conn.RemoteAddr()) == p.session.addr && address(conn.LocalAddr()) == p.session.local {
			return &data{Conn: conn, tcp: conn, session: p.session}, nil
		}
		p.session.count.refused.Add(1)
		_ = conn.Close()
	}
}

// Close implements net.Listener.
func (p *passive) Close() error {
	p.drop()
	return nil
}
