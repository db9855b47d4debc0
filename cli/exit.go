package cli

import (
	"errors"
	"fmt"
	"io"

	"helperd/api"
)

// Exit codes that scripts rely on.
const (
	exitError       = 1
	exitUsage       = 2
	exitInvalid     = 3 // configuration invalid
	exitUnreachable = 4 // daemon not reachable
	exitRefused     = 5
	exitDegraded    = 6
	exitPreflight   = 8
)

// ExitError ends the program with Code. A nil Err prints nothing: all is said.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

func (e *ExitError) Unwrap() error { return e.Err }

// usageError is a mistake in what was typed.
func usageError(format string, args ...any) error {
	return &ExitError{exitUsage, fmt.Errorf(format, args...)}
}

// exitCode says on stderr what went wrong, if that is not said yet.
func exitCode(err error, stderr io.Writer) int {
	if err == nil {
		return 0
	}
	if text := err.Error(); text != "" {
		_, _ = fmt.Fprintln(stderr, text)
	}
	var exit *ExitError
	switch {
	case errors.As(err, &exit):
		return exit.Code
	case errors.Is(err, api.ErrUnreachable):
		return exitUnreachable
	case errors.Is(err, api.ErrRefused):
		return exitRefused
	}
	return exitError
}
