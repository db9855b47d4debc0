package http

import "testing"

// Whatever path comes, what is looked up stays inside and is not hidden.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"/", "//a//b/", "/../x", "/a/./b", "/.git", "\\..\\x", "/a\x00", "a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, p string) {
		if !safe(p) {
			return
		}
		c := clean(p)
		if c[0] != '/' || !safe(c) || clean(c) != c {
			t.Fatalf("%q leads to %q", p, c)
		}
	})
}
