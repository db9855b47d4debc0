package ftp

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	ftpserver "github.com/fclairamb/ftpserverlib"
)

var (
	errAnonymous = errors.New("this server is for anonymous users; log in as anonymous, with any password")
	errNoTLS     = errors.New("there is no TLS here")
	errInternal  = errors.New("internal error; helperd has logged it")
)

// session is one client's connection. To the library it is a whole server
// with one connection, and the driver of it.
type session struct {
	*Service
	control *control
	addr    netip.Addr // of the client
	local   netip.Addr // where it connected to
	ended   chan struct{}
	context ftpserver.ClientContext // of the goroutine that reads commands

	loggedIn atomic.Bool
	download atomic.Pointer[download] // that is under way; nil: none
	passive  atomic.Pointer[passive]  // that waits for its client; nil: none
}

func newSession(s *Service, conn *net.TCPConn) *session {
	x := &session{Service: s, addr: address(conn.RemoteAddr()), local: address(conn.LocalAddr()), ended: make(chan struct{})}
	x.control = newControl(x, conn)
	return x
}

// serve returns when the client is gone.
func (x *session) serve() {
	if !x.enter(x) {
		return
	}
	defer x.leave(x)
	x.count.sessions.Add(1)
	if err := ftpserver.NewFtpServer(x).ListenAndServe(); err != nil {
		x.host.Log.Error("FTP session not begun", "ip", x.addr, "err", err)
		return
	}
	<-x.ended
	x.passive.Load().drop()
}

// busy reports whether a download is under way.
func (x *session) busy() bool { return x.download.Load() != nil }

// close cuts the session; the library closes its data connection.
func (x *session) close() { _ = x.control.Close() }

// GetSettings implements ftpserver.MainDriver.
func (x *session) GetSettings() (*ftpserver.Settings, error) {
	f := &x.state.Load().plan.FTP
	return &ftpserver.Settings{
		Listener:                 &oneConn{conn: x.control},
		PassiveTransferPortRange: &ftpserver.PortRange{Start: int(f.PassivePorts.First), End: int(f.PassivePorts.Last)},
		IdleTimeout:              int(x.idle / time.Second),
		ConnectionTimeout:        int(x.claim / time.Second),
		Banner:                   "helperd",
		// RFC 959 section 5.1 says text; what clients forget to ask for here is binary.
		DefaultTransferType: ftpserver.TransferTypeBinary,
		DisableMLSD:         !f.Listing,
		DisableActiveMode:   true, DisableSite: true, DisableMFMT: true,
	}, nil
}

// ClientConnected implements ftpserver.MainDriver.
func (x *session) ClientConnected(c ftpserver.ClientContext) (string, error) {
	x.context = c
	return "helperd: boot files, read-only; log in as anonymous", nil
}

// ClientDisconnected implements ftpserver.MainDriver.
func (x *session) ClientDisconnected(ftpserver.ClientContext) { close(x.ended) }

// AuthUser implements ftpserver.MainDriver.
func (x *session) AuthUser(_ ftpserver.ClientContext, user, _ string) (ftpserver.ClientDriver, error) {
	if user = strings.ToLower(user); user != "anonymous" && user != "ftp" {
		return nil, errAnonymous
	}
	x.loggedIn.Store(true)
	return &tree{session: x}, nil
}

// GetTLSConfig implements ftpserver.MainDriver.
func (x *session) GetTLSConfig() (*tls.Config, error) { return nil, errNoTLS }

// guarded calls fn for the library, which would keep a panic for itself.
func guarded[T any](x *session, fn func() (T, error)) (v T, err error) {
	if p := x.host.Guard.Run("ftp command", func() { v, err = fn() }); p != nil {
		return v, errInternal
	}
	return v, err
}

// oneConn is a listener that accepts one connection.
type oneConn struct{ conn net.Conn }

// Accept implements net.Listener.
func (l *oneConn) Accept() (net.Conn, error) {
	if c := l.conn; c != nil {
		l.conn = nil
		return c, nil
	}
	return nil, &net.OpError{Op: "accept", Net: "tcp", Err: net.ErrClosed}
}

// Close implements net.Listener.
func (l *oneConn) Close() error { return nil }

// Addr implements net.Listener.
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }
