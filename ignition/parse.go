package ignition

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/coreos/ignition/v2/config"
	shared "github.com/coreos/ignition/v2/config/shared/errors"
	"github.com/coreos/vcontext/report"
)

// Config is what helperd reads of an ignition file.
type Config struct {
	Version string    // of the specification, such as "3.2.0"
	Ends    time.Time // when the first of its certificates ends; zero: it has none
}

// Parse checks an ignition file. The error says what is wrong and in which line,
// and repeats nothing of the file's content, which is secret.
func Parse(b []byte) (Config, error) {
	var d document
	if err := json.Unmarshal(b, &d); err != nil {
		return Config{}, notJSON(b, err)
	}
	c := Config{Version: d.Ignition.Version}
	if c.Version == "" {
		return Config{}, errors.New("ignition.version is missing")
	}
	if !spec2(c.Version) {
		_, found, err := config.Parse(b)
		if err != nil {
			return Config{}, invalid(c.Version, found, err)
		}
	}
	c.Ends = d.ends()
	return c, nil
}

// spec2 reports whether a version is one of OpenShift 4.5 and earlier.
func spec2(version string) bool { return strings.HasPrefix(version, "2.") }

// notJSON says in which line b ends to be JSON.
func notJSON(b []byte, err error) error {
	offset := int64(-1)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &kind):
		offset = kind.Offset
	}
	if offset < 0 || offset > int64(len(b)) {
		return errors.New(redacted(err.Error()))
	}
	read := string(b[:offset])
	line := 1 + strings.Count(read, "\n")
	return fmt.Errorf("line %d, column %d: %s", line, len(read)-strings.LastIndex(read, "\n")-1, redacted(err.Error()))
}

// invalid is the first mistake that Ignition's own library found.
func invalid(version string, found report.Report, err error) error {
	if errors.Is(err, shared.ErrUnknownVersion) || errors.Is(err, shared.ErrInvalidVersion) {
		return fmt.Errorf("specification %s is none that helperd knows; it knows 2.x and 3.0 to 3.5", redacted(version))
	}
	for _, e := range found.Entries {
		if e.Kind != report.Error {
			continue
		}
		where := e.Context.String()
		if p := e.Marker.StartP; p != nil {
			where = fmt.Sprintf("line %d, column %d, %s", p.Line, p.Column, where)
		}
		return fmt.Errorf("%s: %s", where, redacted(e.Message))
	}
	return errors.New(redacted(err.Error()))
}

var inQuotes = regexp.MustCompile(`"[^"]*"?`)

// redacted is a message without what it quotes, which may be a key, and not longer than a line.
func redacted(message string) string {
	s := inQuotes.ReplaceAllString(message, `"..."`)
	return strings.ToValidUTF8(s[:min(len(s), 200)], "?")
}
