package leasing

import (
	"fmt"
	"strings"
	"time"
)

// Join writes values one after the other.
func Join[T fmt.Stringer](list []T) string {
	text := make([]string, len(list))
	for i, v := range list {
		text[i] = v.String()
	}
	return strings.Join(text, ", ")
}

// Span is a time without what is zero at its end, such as 2h0m; empty: none.
func Span(d time.Duration) string {
	if d == 0 {
		return ""
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	return s
}
