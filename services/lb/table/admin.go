package table

import (
	"fmt"
	"time"
)

// Admin is what a person wants of a server, whatever its checks say.
type Admin int32

// What a person may want.
const (
	Ready Admin = iota // the checks decide
	Drain              // no new connections, open ones live on
	Maint              // no new connections and no checks
)

func (a Admin) String() string { return [...]string{"ready", "drain", "maint"}[a] }

// ParseAdmin reads ready, drain or maint.
func ParseAdmin(s string) (Admin, error) {
	for _, a := range []Admin{Ready, Drain, Maint} {
		if s == a.String() {
			return a, nil
		}
	}
	return 0, fmt.Errorf("%q is not ready, drain or maint", s)
}

// MarshalText gives ready, drain or maint.
func (a Admin) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads ready, drain or maint.
func (a *Admin) UnmarshalText(b []byte) (err error) {
	*a, err = ParseAdmin(string(b))
	return err
}

// Admin is what a person wants of the server.
func (s *Server) Admin() Admin { return Admin(s.admin.Load()) }

// SetAdmin notes what a person wants of the server; true when that is news. The
// backend has to be updated.
func (s *Server) SetAdmin(a Admin) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	news := s.admin.Swap(int32(a)) != int32(a)
	s.account(time.Now())
	return news
}

// Override gives the server another weight than that of the file, 0 to 256; -1: that
// of the file again. The backend has to be updated.
func (s *Server) Override(weight int) { s.weight.Store(int32(weight + 1)) }

// Weight is the weight of m in force.
func (m *Member) Weight() int {
	if w := m.weight.Load(); w != 0 {
		return int(w - 1)
	}
	return m.Config.Weight
}

// Takes reports whether m takes connections by its own right: it is up and no
// person wants otherwise.
func (m *Member) Takes() bool {
	st, _ := m.State()
	return st == Up && m.wanted()
}

// wanted reports whether no person keeps m from connections.
func (m *Member) wanted() bool { return m.Admin() == Ready && m.Weight() > 0 }
