package table

import "fmt"

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

// Admin is what a person wants of the server.
func (s *Server) Admin() Admin { return Admin(s.admin.Load()) }

// SetAdmin notes what a person wants of the server; true when that is news. The
// backend has to be updated.
func (s *Server) SetAdmin(a Admin) bool { return s.admin.Swap(int32(a)) != int32(a) }

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
