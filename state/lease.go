package state

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"go.etcd.io/bbolt"

	"helperd/plan"
)

// LeaseState says what an address is to its client.
type LeaseState uint8

// The states.
const (
	Bound    LeaseState = 1 // leased until Expires
	Declined LeaseState = 2 // in use by somebody else: nobody gets it until Expires
)

func (s LeaseState) String() string {
	if s == Declined {
		return "declined"
	}
	return "bound"
}

// MarshalText writes the name of the state.
func (s LeaseState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the name of a state.
func (s *LeaseState) UnmarshalText(b []byte) error {
	for _, known := range []LeaseState{Bound, Declined} {
		if known.String() == string(b) {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("%q is no state of a lease", b)
}

// Lease is one pool address in use. Reservations are configuration and are not stored.
type Lease struct {
	Address  netip.Addr `json:"address"`
	MAC      plan.MAC   `json:"mac"`
	ClientID []byte     `json:"client_id,omitempty"` // option 61; empty: the client sends none
	Hostname string     `json:"hostname,omitempty"`  // option 12 as the client sent it
	Expires  time.Time  `json:"expires,omitzero"`
	State    LeaseState `json:"state"`
}

// A LeaseStore keeps leases over restarts. Store does, on this machine.
type LeaseStore interface {
	// Leases gives all that are kept.
	Leases() ([]Lease, error)
	// CommitLeases writes put and removes drop, all of it or nothing, and returns nil once that lasts.
	CommitLeases(put []Lease, drop []netip.Addr) error
	// Try says whether leases can be written again, after a failure.
	Try() error
}

var _ LeaseStore = (*Store)(nil)

// Leases gives all stored leases, ordered by address.
func (s *Store) Leases() ([]Lease, error) {
	var out []Lease
	err := s.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketLeases).ForEach(func(k, v []byte) error {
			l, err := decodeLease(k, v)
			if err != nil {
				return err
			}
			out = append(out, l)
			return nil
		})
	})
	return out, err
}

// CommitLeases writes put and removes drop in one transaction. All of it is
// on disk when the call returns without an error. After an error none of it
// counts, though the disk may have it.
func (s *Store) CommitLeases(put []Lease, drop []netip.Addr) error {
	return s.update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketLeases)
		b.FillPercent = 0.9 // addresses of a pool come in order: half as many pages as by the default
		for i := range put {
			if err := b.Put(put[i].Address.AsSlice(), put[i].encode()); err != nil {
				return err
			}
		}
		for _, a := range drop {
			if err := b.Delete(a.AsSlice()); err != nil {
				return err
			}
		}
		return nil
	})
}

// The stored form: state, MAC, expiry in Unix seconds, then client id and host
// name, each after its length in one byte.
func (l *Lease) encode() []byte {
	b := make([]byte, 0, 17+len(l.ClientID)+len(l.Hostname))
	b = append(b, byte(l.State))
	b = append(b, l.MAC[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(l.Expires.Unix()))
	b = append(b, byte(min(len(l.ClientID), 255)))
	b = append(b, l.ClientID[:min(len(l.ClientID), 255)]...)
	b = append(b, byte(min(len(l.Hostname), 255)))
	return append(b, l.Hostname[:min(len(l.Hostname), 255)]...)
}

func decodeLease(k, v []byte) (l Lease, err error) {
	addr, ok := netip.AddrFromSlice(k)
	damaged := fmt.Errorf("lease of %s in the state file is damaged; move helperd.db away to start without it: it forgets pool leases and which nodes are installed", addr)
	if !ok || len(v) < 17 {
		return l, damaged
	}
	l.Address, l.State, l.MAC = addr, LeaseState(v[0]), plan.MAC(v[1:7])
	l.Expires = time.Unix(int64(binary.BigEndian.Uint64(v[7:])), 0)
	id, rest := int(v[15]), v[16:]
	if len(rest) < id+1 || len(rest) != id+1+int(rest[id]) {
		return l, damaged
	}
	if id > 0 {
		l.ClientID = append([]byte(nil), rest[:id]...)
	}
	l.Hostname = string(rest[id+1:])
	return l, nil
}
