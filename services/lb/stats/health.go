package stats

import (
	"strconv"
	"strings"

	"helperd/services/lb/table"
)

// A CheckStatus is how HAProxy names the outcome of a check.
type CheckStatus struct {
	Name   string
	Number int // in "show servers state"
	Text   string
}

// NotChecked and the rest are the outcomes of checks.
var (
	NotChecked    = CheckStatus{"UNK", 0, "Unknown"}
	initializing  = CheckStatus{"INI", 1, "Initializing"}
	connected     = CheckStatus{"L4OK", 6, "Layer4 check passed"}
	connectLate   = CheckStatus{"L4TOUT", 7, "Layer4 timeout"}
	connectFailed = CheckStatus{"L4CON", 8, "Layer4 connection problem"}
	tlsLate       = CheckStatus{"L6TOUT", 10, "Layer6 timeout"}
	tlsFailed     = CheckStatus{"L6RSP", 11, "Layer6 invalid response"}
	answerLate    = CheckStatus{"L7TOUT", 12, "Layer7 timeout"}
	answerFailed  = CheckStatus{"L7RSP", 13, "Layer7 invalid response"}
	answered      = CheckStatus{"L7OK", 15, "Layer7 check passed"}
	wrongStatus   = CheckStatus{"L7STS", 17, "Layer7 wrong status"}
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

// StatusOf names the outcome of a check, and gives the status of an HTTP answer, or 0.
func StatusOf(r *table.Result) (CheckStatus, int) {
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

// A Condition is what HAProxy would say of a server.
type Condition struct {
	Checked    bool
	up         bool // takes connections by its check
	Maint      bool
	drain      bool
	retired    bool
	Health     int // 0 to rise + fall - 1; rise and more is up
	rise, fall int
}

// ConditionOf gives that of a server as it is now.
func ConditionOf(g *table.Group, m *table.Member) Condition {
	st, _ := m.State()
	c := Condition{
		Checked: g.Checked(m) && m.Watched(), up: st == table.Up, retired: st == table.Retired,
		Maint: m.Admin() == table.Maint || st == table.Retired, drain: m.Admin() == table.Drain,
		rise: max(g.Config.Check.Rise, 1), fall: max(g.Config.Check.Fall, 1),
	}
	same := streak(m)
	switch {
	case c.Maint:
	case !c.Checked:
		c.Health = c.rise + c.fall - 1
	case c.up:
		c.Health = c.rise + c.fall - 1
		if same < 0 {
			c.Health = max(c.Health+same, c.rise)
		}
	case same > 0:
		c.Health = min(same, c.rise-1)
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
func (c Condition) status() string {
	word := "UP"
	switch {
	case c.retired:
		return "MAINT (retired)"
	case c.Maint:
		return "MAINT"
	case !c.up && c.Health > 0:
		return "DOWN " + strconv.Itoa(c.Health) + "/" + strconv.Itoa(c.rise)
	case !c.up:
		return "DOWN"
	case c.drain:
		word = "DRAIN"
	case !c.Checked:
		return "no check"
	}
	if c.Health < c.rise+c.fall-1 {
		word += " " + strconv.Itoa(c.Health-c.rise+1) + "/" + strconv.Itoa(c.fall)
	}
	return word
}

// Admin is the administrative state of "show servers state".
func (c Condition) Admin() int {
	n := 0
	if c.Maint {
		n |= 0x01
	}
	if c.drain {
		n |= 0x08
	}
	return n
}

// Operational is the operational state of "show servers state"; slow is a server in its slow start.
func (c Condition) Operational(slow bool) int {
	switch {
	case c.Maint || !c.up:
		return 0
	case slow:
		return 1
	}
	return 2
}
