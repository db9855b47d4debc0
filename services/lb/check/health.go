package check

import "helperd/services/lb/table"

// A Verdict is what one probe says.
type Verdict int

// The verdicts.
const (
	OK      Verdict = iota
	Red             // the server answers, and not as it should
	Refused         // TCP is refused or times out
	Unknown         // the probe could not be made on this machine: says nothing of the server
)

// verdicts are those of the outcomes that are not Red.
var verdicts = map[table.Outcome]Verdict{
	table.Unmade: Unknown, table.Connected: OK, table.Answered: OK, table.ConnectLate: Refused, table.ConnectFailed: Refused,
}

// verdictOf says what an outcome means for the server. When our own network is gone,
// perhaps for a moment, open connections may well live on: that is Red.
func verdictOf(o table.Outcome) Verdict {
	if v, ok := verdicts[o]; ok {
		return v
	}
	return Red
}

// health counts verdicts in a row and decides on the state of a server.
type health struct {
	state           table.State
	ok, bad, refuse int
}

// add counts a verdict. The very first one decides at once; later ones after
// fall failures or rise successes in a row. A server is dead only after fall
// refusals in a row: a listener that restarts must not cost open connections.
func (h *health) add(v Verdict, fall, rise int) table.State {
	if v == Unknown {
		return h.state
	}
	if h.state == table.Starting {
		fall, rise = 1, 1
	}
	if v == OK {
		h.ok++
		h.bad, h.refuse = 0, 0
		if h.ok >= rise {
			h.state = table.Up
		} else if h.state == table.Dead {
			h.state = table.Unready
		}
		return h.state
	}
	h.ok = 0
	h.bad++
	h.refuse++
	if v == Red {
		h.refuse = 0
		if h.state == table.Dead {
			h.state = table.Unready
		}
	}
	switch {
	case h.refuse >= fall:
		h.state = table.Dead
	case h.bad >= fall && h.state != table.Dead:
		h.state = table.Unready
	}
	return h.state
}

// turning reports whether the last verdict speaks against the state and was not
// yet repeated often enough: an up server that failed, or another that answered well.
func (h *health) turning() bool {
	if h.state == table.Up {
		return h.bad > 0
	}
	return h.ok > 0
}
