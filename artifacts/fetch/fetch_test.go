package fetch

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What an answer to a question for the rest means, with 100 bytes on the disk.
func TestRest(t *testing.T) {
	tests := []struct {
		name   string
		status int
		length int64
		ranges string
		total  int64
		whole  bool
		fails  bool
	}{
		{"the rest", 206, 50, "bytes 100-149/150", 150, false, false},
		{"the rest of an unknown whole", 206, 50, "bytes 100-149/*", 0, false, false},
		{"another part", 206, 50, "bytes 0-49/150", 0, false, true},
		{"a part of nothing", 206, 50, "", 0, false, true},
		{"several parts", 206, 50, "multipart", 0, false, true},
		{"the whole", 200, 150, "", 150, true, false},
		{"a whole of unknown length", 200, -1, "", 0, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := &partial{sum: sha256.New(), size: 100}
			resp := &http.Response{StatusCode: tt.status, ContentLength: tt.length, Header: http.Header{"Content-Range": {tt.ranges}}}
			total, whole, err := p.rest(resp)
			if total != tt.total || whole != tt.whole || (err != nil) != tt.fails {
				t.Errorf("total %d, whole %v, %v", total, whole, err)
			}
		})
	}
}

// The rest is asked for on the condition that the server names the same file.
func TestConditions(t *testing.T) {
	const here = "https://example.com/a"
	tests := []struct {
		name string
		size int64
		from Validators
		want string // Range and If-Range
	}{
		{"nothing is there", 0, Validators{}, "|"},
		{"strong tag", 7, Validators{here, `"x"`, "Mon"}, `bytes=7-|"x"`},
		{"weak tag", 7, Validators{here, `W/"x"`, "Mon"}, "bytes=7-|Mon"},
		{"no names", 7, Validators{here, "", ""}, "bytes=7-|"},
		{"another server's names", 7, Validators{"https://example.org/a", `"x"`, "Mon"}, "bytes=7-|"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := (&partial{size: tt.size, from: tt.from}).conditions(here)
			if got := h.Get("Range") + "|" + h.Get("If-Range"); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestRefusal(t *testing.T) {
	for status, want := range map[int]struct {
		kind  Kind
		slow  bool
		after time.Duration
	}{
		http.StatusNotFound: {Standing, true, 0}, http.StatusGone: {Standing, true, 0}, http.StatusForbidden: {Standing, true, 0},
		http.StatusProxyAuthRequired: {Standing, true, 0}, http.StatusServiceUnavailable: {Passing, false, 7 * time.Second},
		http.StatusTooManyRequests: {Passing, false, 7 * time.Second}, http.StatusInternalServerError: {Passing, false, 0},
	} {
		h := http.Header{}
		if want.after > 0 {
			h.Set("Retry-After", "7")
		}
		f := refusal(&http.Response{StatusCode: status, Header: h})
		if f.Kind != want.kind || f.Slow != want.slow || f.After != want.after {
			t.Errorf("%d: %+v", status, f)
		}
	}
}

func TestDiskInWords(t *testing.T) {
	for err, want := range map[error]string{
		syscall.ENOSPC: "disk is full", syscall.EDQUOT: "disk is full", syscall.EROFS: "read-only", syscall.EACCES: "may not write", syscall.EIO: "input/output error",
	} {
		if f := Disk(err); !strings.Contains(f.Text, want) || (f.Kind == DiskFull) != strings.Contains(want, "full") {
			t.Errorf("%v: %+v", err, f)
		}
	}
}

// The same failure again is no news: its text must be the same.
func TestErrorsAreTheSameAgain(t *testing.T) {
	c := NewClient("test", time.Second, time.Second)
	err := c.Broken(t.Context(), errors.New("dial tcp: lookup mirror.example.com on 192.168.7.1:53: read udp 192.168.7.2:43110->192.168.7.1:53: i/o timeout"))
	if want := "dial tcp: lookup mirror.example.com on 192.168.7.1:53: read udp 192.168.7.1:53: i/o timeout"; err.Error() != want {
		t.Error(err)
	}
}

// An error about a proxy has its address, and that may have a password.
func TestErrorsTellNoPassword(t *testing.T) {
	c := NewClient("test", time.Second, time.Second)
	for text, want := range map[string]string{
		`proxyconnect "http://user:geheim@proxy:3128"`:                                                                     "proxy:3128",
		`proxyconnect "http://user:ge@heim@proxy:3128"`:                                                                    "proxy:3128",
		`failed to parse Location header "http://user:geheim/heim@host/x"`:                                                 "host/x",
		`invalid proxy address "http://user:ge%heim@proxy": parse "http://user:ge%heim@proxy": invalid URL escape "%heim"`: "HTTPS_PROXY",
	} {
		err := c.Broken(t.Context(), errors.New(text))
		if strings.Contains(err.Error(), "heim") || !strings.Contains(err.Error(), want) {
			t.Error(err)
		}
	}
}
