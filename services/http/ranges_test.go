package http

import (
	nethttp "net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// Whatever a client writes into Range, net/http understands what is left of it,
// and what goes out are parts of the file.
func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-3", "bytes=-5", "bytes=-0", "bytes=5-", "bytes=9-1", "bytes=0-1,,3-4", "lines=1", "bytes= 1 - 2 ", many(20), "bytes=0-99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Range"] = []string{header}
		tidyRange(r)
		if n := strings.Count(r.Header.Get("Range"), ",") + 1; n > maxRanges {
			t.Fatalf("%q became %d ranges", header, n)
		}
		tidy := r.Header.Get("Range")
		w := httptest.NewRecorder()
		nethttp.ServeContent(w, r, "", time.Time{}, strings.NewReader(ten))
		switch body := w.Body.String(); {
		case w.Code == 200 && body == ten:
		case w.Code == 416 && w.Header().Get("Content-Range") == "bytes */10":
		case w.Code == 206 && strings.HasPrefix(w.Header().Get("Content-Type"), "multipart/"):
		case w.Code == 206 && body != "" && strings.Contains(ten, body):
		default:
			t.Errorf("%q became %q: %d %v %q", header, tidy, w.Code, w.Header(), body)
		}
		// It is what it is: tidied again, nothing changes.
		if tidyRange(r); r.Header.Get("Range") != tidy {
			t.Errorf("%q, then %q", tidy, r.Header.Get("Range"))
		}
	})
}
