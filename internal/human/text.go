package human

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable keeps of s, which a stranger sent, what a terminal shows, at most 200 bytes of it.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s[:min(len(s), 200)])
}
