package boot

import (
	"strings"
	"testing"

	"helperd/plan"
)

// zNode is a machine with FCP disks and a long URL.
func zNode(t testing.TB) *plan.Node {
	n := master(t)
	n.Arch = "s390x"
	n.Boot.Args = []string{
		"coreos.live.rootfs_url=http://192.168.67.2:8080/artifacts/rhcos-z/rootfs", "coreos.inst.install_dev=/dev/mapper/mpatha",
		"coreos.inst.ignition_url=" + n.Boot.Ignition,
		"ip=192.168.67.11::192.168.67.1:255.255.255.0:master-0.ocp4.example.com:encbdf0:none", "nameserver=192.168.67.2", "rd.neednet=1",
		"console=ttysclp0 rd.znet=qeth,0.0.bdf0,0.0.bdf1,0.0.bdf2,layer2=1,portno=0", "zfcp.allow_lun_scan=0", "cio_ignore=all,!condev",
		"rd.multipath=default", "rd.zfcp=0.0.1987,0x50050763070bc5e3,0x4008400B00000000",
	}
	return n
}

// onReader is what z/VM's reader makes of a file: records of 80 columns,
// filled up with blanks, without line ends. The kernel takes runs of blanks for one.
func onReader(t *testing.T, parm []byte, columns int) string {
	t.Helper()
	var s strings.Builder
	for line := range strings.Lines(string(parm)) {
		line = strings.TrimSuffix(line, "\n")
		if len(line) > columns {
			t.Fatalf("a line has %d columns: %q", len(line), line)
		}
		s.WriteString(line + strings.Repeat(" ", columns-len(line)))
	}
	return strings.Join(strings.Fields(s.String()), " ")
}

func TestParm(t *testing.T) {
	n := zNode(t)
	want := strings.Join(withToken(n.Boot, "SECRET"), " ")
	for columns := 8; columns <= 200; columns++ {
		parm := Parm(n, Options{Token: "SECRET"}, columns)
		if got := onReader(t, parm, columns); got != want {
			t.Fatalf("%d columns: the kernel would see\n%s\nwant\n%s\nin\n%s", columns, got, want, parm)
		}
	}
	if got := string(Parm(n, Options{Token: "SECRET"}, 0)); got != want+"\n" {
		t.Errorf("one line: %q", got)
	}
	parm := Parm(n, Options{}, CardColumns)
	if size := ParmSize(parm, CardColumns); size < len(want)/2 || size > MaxParm {
		t.Errorf("%d bytes in memory for\n%s", size, parm)
	}
	n.Boot.Args = []string{strings.Repeat("a", 160), "b"} // fills two records
	if got, want := onReader(t, Parm(n, Options{}, 80), 80), strings.Repeat("a", 160)+" b"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	n.Boot.Args = []string{strings.Repeat("a", 160)}
	if got := string(Parm(n, Options{}, 80)); strings.Count(got, "\n") != 2 {
		t.Errorf("a record of blanks at the end: %q", got)
	}
}
