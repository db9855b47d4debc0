package runtimeapi

import (
	"strconv"
	"strings"

	"helperd/services/lb/table"
)

// A checkStatus is how HAProxy names the outcome of a check.
type checkStatus struct {
	name   string
	number int // in "show servers state"
	text   string
}

// Outcomes of checks.
var (
	notChecked    = checkStatus{"UNK", 0, "Unknown"}
	initializing  = checkStatus{"INI", 1, "Initializing"}
	connected     = checkStatus{"L4OK", 6, "Layer4 check passed"}
	connectLate   = checkStatus{"L4TOUT", 7, "Layer4 timeout"}
	connectFailed = checkStatus{"L4CON", 8, "Layer4 connection problem"}
	tlsLate       = checkStatus{"L6TOUT", 10, "Layer6 timeout"}
	tlsFailed     = checkStatus{"L6RSP", 11, "Layer6 invalid response"}
	answerLate    = checkStatus{"L7TOUT", 12, "Layer7 timeout"}
	answerFailed  = checkStatus{"L7RSP", 13, "Layer7 invalid response"}
	answered      = checkStatus{"L7OK", 15, "Layer7 check passed"}
	wrongStatus   = checkStatus{"L7STS", 17, "Layer7 wrong status"}
)

// Beginnings of the texts of package check.
const (
	textConnected = "connected"
	textLate      = "no answer to a TCP connect"
	textNoAnswer  = "no answer within"
	textTLS       = "TLS: "
	textHTTP      = "HTTP: "
	textStatus    = "HTTP "
)

// statusOf names the outcome of a check, and gives the status of an HTTP answer, or 0.
func statusOf(r *table.Result) (checkStatus, int) {
	if r == nil {
		return initializing, 0
	}
	if rest, ok := strings.CutPrefix(r.Detail, textTLS); ok {
		if strings.HasPrefix(rest, textNoAnswer) {
			return tlsLate, 0
		}
		return tlsFailed, 0
	}
	if rest, ok := strings.CutPrefix(r.Detail, textHTTP); ok {
		if strings.HasPrefix(rest, textNoAnswer) {
			return answerLate, 0
		}
		return answerFailed, 0
	}
	if rest, ok := strings.CutPrefix(r.Detail, textStatus); ok {
		code, _ := strconv.Atoi(rest)
		if r.OK {
			return answered, code
		}
		return wrongStatus, code
	}
	switch {
	case r.OK:
		return connected, 0
	case strings.HasPrefix(r.Detail, textLate):
		return connectLate, 0
	}
	return connectFailed, 0
}

// A condition is what HAProxy would say of a server.
type condition struct {
	checked    bool
	up         bool // takes connections by its check
	maint      bool
	drain      bool
	retired    bool
	health     int // 0 to rise + fall - 1; rise and more is up
	rise, fall int
}

func conditionOf(g *table.Group, m *table.Member) condition {
	st, _ := m.State()
	c := condition{
		checked: g.Checked(m) && m.Watched(), up: st == table.Up, retired: st == table.Retired,
		maint: m.Admin() == table.Maint || st == table.Retired, drain: m.Admin() == table.Drain,
		rise: max(g.Config.Check.Rise, 1), fall: max(g.Config.Check.Fall, 1),
	}
	same := streak(m)
	switch {
	case c.maint:
	case !c.checked:
		c.health = c.rise + c.fall - 1
	case c.up:
		c.health = c.rise + c.fall - 1
		if same < 0 {
			c.health = max(c.health+same, c.rise)
		}
	case same > 0:
		c.health = min(same, c.rise-1)
	}
	return c
}

// streak is how many of the last checks went well, or, below 0, how many went wrong.
func streak(m *table.Member) int {
	n := 0
	history := m.History()
	for i := len(history) - 1; i >= 0; i-- {
		switch ok := history[i].OK; {
		case ok && n >= 0:
			n++
		case !ok && n <= 0:
			n--
		default:
			return n
		}
	}
	return n
}

// status is the word of the column of this name.
func (c condition) status() string {
	word := "UP"
	switch {
	case c.retired:
		return "MAINT (retired)"
	case c.maint:
		return "MAINT"
	case !c.up && c.health > 0:
		return "DOWN " + strconv.Itoa(c.health) + "/" + strconv.Itoa(c.rise)
	case !c.up:
		return "DOWN"
	case c.drain:
		word = "DRAIN"
	case !c.checked:
		return "no check"
	}
	if c.health < c.rise+c.fall-1 {
		word += " " + strconv.Itoa(c.health-c.rise+1) + "/" + strconv.Itoa(c.fall)
	}
	return word
}

// admin and operational are the states of "show servers state".
func (c condition) admin() int {
	n := 0
	if c.maint {
		n |= 0x01
	}
	if c.drain {
		n |= 0x08
	}
	return n
}

func (c condition) operational(slow bool) int {
	switch {
	case c.maint || !c.up:
		return 0
	case slow:
		return 1
	}
	return 2
}
