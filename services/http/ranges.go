package http

import (
	"math"
	nethttp "net/http"
	"strconv"
	"strings"
)

// maxRanges is the most that one request may ask for. A GET of 16 KiB could
// name thousands, and each is looked up, sent and described.
const maxRanges = 16

// byteRange is one of a Range header: from first to last, both counted; or, with
// first -1, the last bytes, last in number.
type byteRange struct{ first, last int64 }

// tidyRange rewrites r's Range header so that net/http reads what RFC 9110
// section 14.2 says. What is not for us to understand is taken away, and the file
// goes out whole: another unit than bytes, another method than GET, a header that
// is there twice or does not parse. Too many ranges become one that is not there: 416.
func tidyRange(r *nethttp.Request) {
	values := r.Header["Range"]
	if len(values) == 0 {
		return
	}
	ranges, ok := parseRanges(values[0])
	switch {
	case r.Method != nethttp.MethodGet || len(values) > 1 || !ok:
		delete(r.Header, "Range")
	case len(ranges) > maxRanges:
		r.Header["Range"] = []string{"bytes=" + strconv.FormatInt(math.MaxInt64, 10) + "-"}
	default:
		r.Header["Range"] = []string{rangeHeader(ranges)}
	}
}

// parseRanges reads the ranges of a Range header in bytes. It stops after more
// than maxRanges. Numbers too large for any file are the largest there is.
func parseRanges(s string) (out []byteRange, ok bool) {
	unit, set, found := strings.Cut(s, "=")
	if !found || !strings.EqualFold(strings.TrimSpace(unit), "bytes") {
		return nil, false
	}
	for part := range strings.SplitSeq(set, ",") {
		part = strings.Trim(part, " \t")
		if part == "" {
			continue // RFC 9110 section 5.6.1: empty elements do not count
		}
		first, last, dash := strings.Cut(part, "-")
		a, okA := number(strings.TrimRight(first, " \t"), -1)
		b, okB := number(strings.TrimLeft(last, " \t"), math.MaxInt64)
		if !dash || !okA || !okB || first == "" && last == "" || a > b {
			return nil, false
		}
		if a < 0 && b == 0 { // the last no bytes: in no file
			a, b = math.MaxInt64, math.MaxInt64
		}
		if out = append(out, byteRange{a, b}); len(out) > maxRanges {
			break
		}
	}
	return out, len(out) > 0
}

// number reads decimal digits; none are empty.
func number(s string, empty int64) (int64, bool) {
	if s == "" {
		return empty, true
	}
	if strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil { // it has digits only: it is too large
		n = math.MaxInt64
	}
	return n, true
}

func rangeHeader(ranges []byteRange) string {
	b := []byte("bytes=")
	for i, r := range ranges {
		if i > 0 {
			b = append(b, ',')
		}
		if r.first >= 0 {
			b = strconv.AppendInt(b, r.first, 10)
		}
		b = append(b, '-')
		if r.first < 0 || r.last < math.MaxInt64 {
			b = strconv.AppendInt(b, r.last, 10)
		}
	}
	return string(b)
}
