package plan

import (
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

func exampleStream(t testing.TB) []byte {
	t.Helper()
	a, err := txtar.ParseFile("testdata/stream.txtar")
	if err != nil {
		t.Fatal(err)
	}
	return a.Files[1].Data
}

func TestParseStream(t *testing.T) {
	s, err := ParseStream(exampleStream(t))
	if err != nil {
		t.Fatal(err)
	}
	x86 := s.Arches["x86_64"]
	if s.Name != "rhcos-4.18" || len(s.Arches) != 2 || x86.Release != "418.94.202501221327-0" {
		t.Errorf("%+v", s)
	}
	want := Origin{URL: "https://mirror.example.com/418/x86_64/rootfs.img", SHA256: strings.Repeat("5", 64)}
	if x86.Rootfs != want || x86.ISO == (Origin{}) || x86.Metal == (Origin{}) {
		t.Errorf("%+v", x86)
	}
}

// An error says what a stream has, without passwords.
func TestBadLocationTellsNoPassword(t *testing.T) {
	bad := strings.Replace(string(exampleStream(t)), "https://mirror", "ftp://user:geheim@mirror", 1)
	if _, err := ParseStream([]byte(bad)); err == nil || strings.Contains(err.Error(), "geheim") || !strings.Contains(err.Error(), "ftp://mirror") {
		t.Error(err)
	}
}

// What comes from the network is whole, or an error.
func FuzzParseStream(f *testing.F) {
	f.Add(exampleStream(f))
	f.Add([]byte(`{"architectures":{"x86_64":{"artifacts":{"metal":{"formats":{"pxe":{"kernel":{}}}}}}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseStream(b)
		if (s == nil) == (err == nil) {
			t.Fatalf("%v, %v", s, err)
		}
		if err != nil {
			return
		}
		for arch, a := range s.Arches {
			for _, o := range []Origin{a.Kernel, a.Initramfs, a.Rootfs} {
				if o.URL == "" || len(o.SHA256) != 64 {
					t.Fatalf("%s: %+v", arch, o)
				}
			}
		}
	})
}
