package clients_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"helperd/test/rig"
)

// asker sends a name to a server exactly as it is and gives all that comes
// back: status lines, headers, sizes, content. No client library cleans it up before.
type asker struct {
	name string
	ask  func(t *testing.T, m *rig.Machine, path string) string
}

var askers = []asker{
	{"HTTP GET", func(t *testing.T, m *rig.Machine, path string) string { return askHTTP(t, m, "GET", path) }},
	{"HTTP HEAD", func(t *testing.T, m *rig.Machine, path string) string { return askHTTP(t, m, "HEAD", path) }},
	{"TFTP octet", func(t *testing.T, m *rig.Machine, path string) string { return askTFTP(t, m, "octet", path) }},
	{"TFTP netascii", func(t *testing.T, m *rig.Machine, path string) string { return askTFTP(t, m, "netascii", path) }},
	{"FTP", askFTP},
}

// patience is how long an answer may take: what blocks the server is found, too.
const patience = 10 * time.Second

// dial connects from inside the machine's namespace.
func dial(t *testing.T, m *rig.Machine, address string) net.Conn {
	t.Helper()
	var c net.Conn
	m.Do(t, func() {
		var err error
		if c, err = net.DialTimeout("tcp4", address, patience); err != nil {
			t.Fatal(err)
		}
	})
	must(t, c.SetDeadline(time.Now().Add(patience)))
	return c
}

func askHTTP(t *testing.T, m *rig.Machine, method, path string) string {
	t.Helper()
	if !strings.HasPrefix(path, "/") && !strings.Contains(path, "://") {
		path = "/" + path
	}
	path = strings.NewReplacer(" ", "%20", "\n", "%0a", "\r", "%0d", "\x00", "%00").Replace(path) // else it is no request line
	c := dial(t, m, rig.HelperIP+":8080")
	defer c.Close()
	_, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: %s:8080\r\nConnection: close\r\n\r\n", method, path, rig.HelperIP)
	must(t, err)
	b, err := io.ReadAll(c)
	if err != nil && !errors.Is(err, net.ErrClosed) && len(b) == 0 {
		t.Errorf("%s %.80q: %v", method, path, err)
	}
	return string(b)
}

// askTFTP reads in blocks of 1024 bytes and asks for the size.
func askTFTP(t *testing.T, m *rig.Machine, mode, path string) string {
	t.Helper()
	var c net.PacketConn
	m.Do(t, func() {
		var err error
		if c, err = net.ListenPacket("udp4", m.Node.IP+":0"); err != nil {
			t.Fatal(err)
		}
	})
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(patience)))
	send := func(p []byte, to net.Addr) {
		_, err := c.WriteTo(p, to)
		must(t, err)
	}
	request := "\x00\x01" + path + "\x00" + mode + "\x00tsize\x000\x00blksize\x001024\x00"
	if len(request) > 1400 {
		request = "\x00\x01" + path[:1400] + "\x00" + mode + "\x00"
	}
	send([]byte(request), &net.UDPAddr{IP: net.ParseIP(rig.HelperIP), Port: 69})
	var got strings.Builder
	b := make([]byte, 2048)
	for last := uint16(0); ; {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			t.Errorf("TFTP %.80q: %v", path, err)
			return got.String()
		}
		op, number := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		switch op {
		case 6: // OACK
			got.Write(b[2:n])
			send([]byte{0, 4, 0, 0}, from)
		case 3: // DATA
			if number != last+1 {
				continue
			}
			last = number
			got.Write(b[4:n])
			send([]byte{0, 4, b[2], b[3]}, from)
			if n < 4+1024 {
				return got.String()
			}
		default:
			fmt.Fprintf(&got, "error %d: %s", number, b[4:n])
			return got.String()
		}
	}
}

// ftpSession is a control connection after the login.
type ftpSession struct {
	net.Conn
	m   *rig.Machine
	in  *bufio.Reader
	all strings.Builder // what the server said and sent
}

func openFTP(t *testing.T, m *rig.Machine) *ftpSession {
	t.Helper()
	c := dial(t, m, rig.HelperIP+":21")
	f := &ftpSession{Conn: c, m: m, in: bufio.NewReader(c)}
	f.answer(t)
	f.do(t, "USER anonymous")
	f.do(t, "PASS x")
	f.do(t, "TYPE I")
	f.all.Reset()
	return f
}

func (f *ftpSession) answer(t *testing.T) string {
	t.Helper()
	for whole := ""; ; {
		line, err := f.in.ReadString('\n')
		whole += line
		if err != nil {
			return "000 " + err.Error() // a line that is too long ends the session
		}
		if len(line) > 3 && line[3] == ' ' && line[0] >= '1' && line[0] <= '5' {
			f.all.WriteString(whole)
			return whole
		}
	}
}

func (f *ftpSession) do(t *testing.T, command string) string {
	t.Helper()
	must(t, f.SetDeadline(time.Now().Add(patience)))
	if _, err := io.WriteString(f, command+"\r\n"); err != nil {
		return "000 " + err.Error()
	}
	return f.answer(t)
}

// fetch does a command that sends by a data connection.
func (f *ftpSession) fetch(t *testing.T, command string) {
	t.Helper()
	var port int
	passive := f.do(t, "EPSV")
	if _, err := fmt.Sscanf(passive[max(strings.IndexByte(passive, '('), 0):], "(|||%d|)", &port); err != nil {
		t.Errorf("EPSV before %.80q: %q", command, passive)
		return
	}
	d := dial(t, f.m, fmt.Sprintf("%s:%d", rig.HelperIP, port))
	defer d.Close()
	if !strings.HasPrefix(f.do(t, command), "150") {
		return
	}
	b, err := io.ReadAll(d)
	must(t, err)
	f.all.Write(b)
	f.answer(t)
}

// askFTP asks all that can be asked about a name.
func askFTP(t *testing.T, m *rig.Machine, path string) string {
	t.Helper()
	f := openFTP(t, m)
	defer f.Close()
	path = strings.NewReplacer("\n", "", "\r", "").Replace(path) // else it is two commands
	if len(path) > 4000 {
		path = path[:4000] // a line has 4096 bytes
	}
	for _, command := range []string{"SIZE ", "MDTM ", "MLST ", "STAT "} {
		f.do(t, command+path)
	}
	for _, command := range []string{"RETR ", "NLST ", "LIST -la ", "MLSD "} {
		f.fetch(t, command+path)
	}
	f.do(t, "CWD "+path)
	f.fetch(t, "NLST")
	f.fetch(t, "RETR secret.txt")
	return strings.ReplaceAll(f.all.String(), "Extended Passive Mode", "")
}
