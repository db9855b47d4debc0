package stats

import (
	"strconv"

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
	notMade       = CheckStatus{"SOCKERR", 5, "Socket error"}
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

// statuses are HAProxy's names for outcomes.
var statuses = map[table.Outcome]CheckStatus{
	table.Unmade: notMade, table.Unreachable: connectFailed, table.Connected: connected, table.ConnectLate: connectLate, table.ConnectFailed: connectFailed,
	table.TLSLate: tlsLate, table.TLSFailed: tlsFailed, table.AnswerLate: answerLate, table.AnswerFailed: answerFailed,
	table.Answered: answered, table.WrongStatus: wrongStatus,
}

// StatusOf names the outcome of a check; nil: there was none yet.
func StatusOf(r *table.Result) CheckStatus {
	if r == nil {
		return initializing
	}
	return statuses[r.Outcome]
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
