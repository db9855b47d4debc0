package ghost

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

// Opcodes of RFC 1350 and 2347.
const (
	opRead  = 1
	opData  = 3
	opAck   = 4
	opError = 5
	opOACK  = 6
)

// tftpOptions are the options that a client asks for.
type tftpOptions struct {
	blksize    int
	windowsize int  // 0: not asked for
	tsize      bool // asks for the size
}

// tftpFor gives the options that firmware and loaders send, as packet captures show them.
func tftpFor(f Firmware) tftpOptions {
	if f == UEFIPXE || f == UEFIHTTP {
		return tftpOptions{blksize: 1468, windowsize: 4}
	}
	return tftpOptions{blksize: 1456, tsize: true}
}

// A tftpError is an ERROR packet of the server.
type tftpError struct {
	code uint16
	text string
}

func (e *tftpError) Error() string { return fmt.Sprintf("TFTP error %d: %s", e.code, e.text) }

// tftpSize asks for the size of file and breaks off, as OVMF does before it reads.
func tftpSize(ctx context.Context, w wire, from netip.Prefix, server netip.Addr, file string) (int64, error) {
	t, err := tftpOpen(w, from, server)
	if err != nil {
		return 0, err
	}
	defer t.close()
	p, err := t.first(ctx, file, tftpOptions{blksize: 1468, windowsize: 4, tsize: true})
	if err != nil {
		return 0, err
	}
	if binary.BigEndian.Uint16(p) != opOACK {
		return 0, nil // a server without options; the size stays unknown
	}
	_, _ = t.conn.WriteToUDPAddrPort([]byte{0, opError, 0, 0, 'U', 's', 'e', 'r', ' ', 'a', 'b', 'o', 'r', 't', 0}, t.peer)
	return strconv.ParseInt(parseOptions(p[2:])["tsize"], 10, 64)
}

// tftpGet reads file whole into to, in octet mode, and gives its size in bytes.
func tftpGet(ctx context.Context, w wire, from netip.Prefix, server netip.Addr, file string, o tftpOptions, to io.Writer) (int64, error) {
	t, err := tftpOpen(w, from, server)
	if err != nil {
		return 0, err
	}
	defer t.close()
	p, err := t.first(ctx, file, o)
	if err != nil {
		return 0, err
	}
	return t.receive(ctx, p, to)
}

type transfer struct {
	conn            *net.UDPConn
	peer            netip.AddrPort // the server's port for this transfer, once known
	blksize, window int
	tsize           int64 // 0: unknown
	buf             []byte
}

func tftpOpen(w wire, from netip.Prefix, server netip.Addr) (*transfer, error) {
	conn, err := w.ListenPacket(netip.AddrPortFrom(from.Addr(), 0))
	if err != nil {
		return nil, err
	}
	t := &transfer{conn: conn, peer: netip.AddrPortFrom(server, 69), blksize: 512, window: 1, buf: make([]byte, 65536)}
	return t, nil
}

func (t *transfer) close() { _ = t.conn.Close() }

// first sends the read request and gives the first answer: OACK or the first block.
func (t *transfer) first(ctx context.Context, file string, o tftpOptions) ([]byte, error) {
	req := []byte{0, opRead}
	put := func(words ...string) {
		for _, w := range words {
			req = append(append(req, w...), 0)
		}
	}
	put(file, "octet")
	if o.tsize {
		put("tsize", "0")
	}
	put("blksize", strconv.Itoa(o.blksize))
	if o.windowsize > 0 {
		put("windowsize", strconv.Itoa(o.windowsize))
	}
	p, err := t.ask(ctx, req, func(p []byte) bool { return true })
	if err != nil {
		return nil, err
	}
	if binary.BigEndian.Uint16(p) != opOACK {
		return p, nil
	}
	granted := parseOptions(p[2:])
	if err := t.accept(granted, o); err != nil {
		return nil, err
	}
	return p, nil
}

// accept takes the options that the server granted. A server may lower, never raise.
func (t *transfer) accept(granted map[string]string, o tftpOptions) error {
	for name, value := range granted {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return fmt.Errorf("the server grants %s=%q", name, value)
		}
		switch {
		case name == "blksize" && n >= 8 && n <= int64(o.blksize):
			t.blksize = int(n)
		case name == "windowsize" && n >= 1 && n <= int64(o.windowsize):
			t.window = int(n)
		case name == "tsize" && o.tsize && n >= 0:
			t.tsize = n
		default:
			return fmt.Errorf("the server grants %s=%d, which was not asked for", name, n)
		}
	}
	return nil
}

// receive reads the blocks into to; p is the first answer.
func (t *transfer) receive(ctx context.Context, p []byte, to io.Writer) (total int64, err error) {
	last := uint16(0) // the last block received in order
	inWindow := 0
	if binary.BigEndian.Uint16(p) == opOACK {
		next, err := t.ask(ctx, ack(0), isData)
		if err != nil {
			return total, err
		}
		p = next
	}
	for {
		block := binary.BigEndian.Uint16(p[2:])
		answer := true
		if block == last+1 {
			last = block
			inWindow++
			n, err := to.Write(p[4:])
			if total += int64(n); err != nil {
				return total, err
			}
			if len(p)-4 < t.blksize {
				_, _ = t.conn.WriteToUDPAddrPort(ack(last), t.peer)
				break
			}
			answer = inWindow == t.window
		} // else a block is missing or came twice: say which one was last (RFC 7440 section 4)
		if answer {
			inWindow = 0
			p, err = t.ask(ctx, ack(last), isData)
		} else {
			p, err = t.next(ctx, time.Now().Add(time.Second), isData)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				inWindow = 0
				p, err = t.ask(ctx, ack(last), isData)
			}
		}
		if err != nil {
			return total, fmt.Errorf("after %d bytes: %w", total, err)
		}
	}
	if t.tsize > 0 && t.tsize != total {
		return total, fmt.Errorf("%d bytes came and tsize said %d", total, t.tsize)
	}
	return total, nil
}

func ack(block uint16) []byte { return []byte{0, opAck, byte(block >> 8), byte(block)} }

func isData(p []byte) bool { return binary.BigEndian.Uint16(p) == opData }

// ask sends p until an answer comes that want accepts, 6 times as firmware does.
func (t *transfer) ask(ctx context.Context, p []byte, want func([]byte) bool) ([]byte, error) {
	for try := range 6 {
		if _, err := t.conn.WriteToUDPAddrPort(p, t.peer); err != nil {
			return nil, err
		}
		answer, err := t.next(ctx, time.Now().Add(min(time.Second<<try, 8*time.Second)), want)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return answer, err
		}
	}
	return nil, fmt.Errorf("no answer from %s by TFTP after 6 tries", t.peer)
}

// next gives the next packet of the transfer that want accepts.
func (t *transfer) next(ctx context.Context, deadline time.Time, want func([]byte) bool) ([]byte, error) {
	for {
		var from netip.AddrPort
		p, err := receive(ctx, t.conn, deadline, func() (_ []byte, err error) {
			var n int
			n, from, err = t.conn.ReadFromUDPAddrPort(t.buf)
			return t.buf[:n], err
		})
		if err != nil {
			return nil, err
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if from.Addr() != t.peer.Addr() || len(p) < 4 || t.peer.Port() != 69 && from.Port() != t.peer.Port() {
			continue // not of this transfer (RFC 1350 section 4)
		}
		switch op := binary.BigEndian.Uint16(p); {
		case op == opError:
			return nil, &tftpError{binary.BigEndian.Uint16(p[2:]), strings.TrimRight(string(p[4:]), "\x00")}
		case (op == opData || op == opOACK) && want(p):
			t.peer = from
			return p, nil
		}
	}
}

// parseOptions reads pairs of zero-ended words.
func parseOptions(b []byte) map[string]string {
	words := strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
	options := map[string]string{}
	for i := 0; i+1 < len(words); i += 2 {
		options[strings.ToLower(words[i])] = words[i+1]
	}
	return options
}
