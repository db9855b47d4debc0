// Package limit counts who asks how often, in tables of a fixed size, without
// allocating and without a clock of its own. It is not safe for concurrent use.
package limit

import "hash/maphash"

// ways is the number of accounts that share a row of a table.
const ways = 4

// Rate is how much an account holds at most, and gets.
type Rate struct {
	Burst, PerSecond int32
	Most             int32 // calls of Spend in one second that can succeed; 0: any number
	Rows             int   // of the table, each of four accounts; a power of two
}

// Table has the accounts of one kind. Whoever is new takes the place of the one
// in its row that was heard longest ago, which is thereby forgiven.
type Table struct {
	Rate
	rows [][ways]Account // nil until the first is asked for
}

// Account is a token bucket. It is valid until the next Find.
type Account struct {
	key        uint64 // 0: not in use
	at         int64  // Unix seconds of the last Find
	since      int64  // of the first
	left, full int32
	seen       int32 // calls of Spend in that second
}

// Find gives the account of key at a Unix time, a full one if it is new. It
// holds factor times as much as the rate says.
func (t *Table) Find(key uint64, now int64, factor int32) *Account {
	if t.rows == nil {
		t.rows = make([][ways]Account, t.Rows)
	}
	row := &t.rows[key&uint64(len(t.rows)-1)]
	a := &row[0]
	for i := range row {
		if row[i].key == key {
			a = &row[i]
			break
		}
		if row[i].at < a.at {
			a = &row[i]
		}
	}
	full := t.Burst * factor
	if a.key != key {
		*a = Account{key: key, at: now, since: now, left: full}
	}
	if passed := now - a.at; passed != 0 {
		a.left = int32(min(int64(a.left)+max(passed, 0)*int64(t.PerSecond)*int64(factor), int64(full)))
		a.at, a.since, a.seen = now, min(a.since, now), 0
	}
	a.full = full
	return a
}

// New reports whether the account was first asked for in this very second.
func (a *Account) New() bool { return a.since == a.at }

// Spend takes a token and leaves at least so many; false when there are no more.
func (t *Table) Spend(a *Account, leave int32) bool {
	a.seen++
	if a.left <= leave || t.Most > 0 && a.seen > t.Most {
		return false
	}
	a.left--
	return true
}

// Repay gives n tokens back.
func (a *Account) Repay(n int32) { a.left = min(a.left+n, a.full) }

// Key gives the key of what is in b; others cannot foresee it.
func Key(seed maphash.Seed, b []byte) uint64 { return max(maphash.Bytes(seed, b), 1) }
