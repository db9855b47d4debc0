package human

import (
	"strings"
	"testing"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                                "",
		"/boot/Grün.efi":                  "/boot/Grün.efi",
		"a\x1b[31m\r\n\x00b":              "a?[31m???b",
		"\xff\xfe":                        "??",
		strings.Repeat("x", 199) + "ü...": strings.Repeat("x", 199) + "?", // cut within the letter
		strings.Repeat("y", 300):          strings.Repeat("y", 200),
	} {
		if got := Printable(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}
