// Package state keeps what must survive a restart, in one bbolt file: leases,
// what is known of nodes, what people ordered of the balancer's servers, and the
// last good configuration. Every write is on
// disk when the call returns.
package state

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"
)

var (
	bucketLeases = []byte("leases")
	bucketNodes  = []byte("nodes")
	bucketOrders = []byte("orders")
	bucketMeta   = []byte("meta")

	buckets = [][]byte{bucketLeases, bucketNodes, bucketOrders, bucketMeta}

	keyConfig = []byte("config")
	keySerial = []byte("serial")
	keyTrial  = []byte("trial")
)

// Store is the state file of one daemon.
type Store struct {
	path     string
	info     os.FileInfo // of the file that was opened first
	pageSize int

	writer sync.Mutex // one writes at a time; it guards failed and closed
	failed error      // of the last write; the next one begins with reopen
	closed bool

	mu   sync.RWMutex // held for writing while db is replaced
	db   *bbolt.DB    // nil: it was let go
	file *os.File     // of db
}

// Open opens DIR/helperd.db and makes both when they are not there. A second
// daemon on the same folder is an error.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	s := &Store{path: filepath.Join(dir, "helperd.db")}
	if err := s.start(); err != nil {
		return nil, err
	}
	return s, nil
}

// Close closes the file.
func (s *Store) Close() error {
	s.writer.Lock()
	defer s.writer.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.drop()
}

// Try proves that the file can be written to, after a write that failed. It
// leaves room in the file for what comes next, so that a disk that is full but
// for one page does not pass for a good one.
func (s *Store) Try() error {
	room := make([]byte, 64<<10)
	if err := s.put(bucketMeta, keyTrial, room); err != nil {
		return err
	}
	return s.update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Delete(keyTrial) })
}

// LastGood gives the bytes of the configuration that was applied last, or nil.
func (s *Store) LastGood() ([]byte, error) { return s.get(bucketMeta, keyConfig) }

// SetLastGood stores the bytes of an applied configuration.
func (s *Store) SetLastGood(b []byte) error { return s.put(bucketMeta, keyConfig, b) }

// NextSerial gives a zone serial that is above all before, and about the
// clock's seconds, so that it rises even when the state was lost (RFC 1982
// arithmetic holds until 2106).
func (s *Store) NextSerial(now time.Time) (uint32, error) {
	serial := uint32(now.Unix())
	old, err := s.get(bucketMeta, keySerial)
	if err != nil {
		return 0, err
	}
	if len(old) == 4 {
		serial = max(serial, binary.BigEndian.Uint32(old)+1)
	}
	return serial, s.put(bucketMeta, keySerial, binary.BigEndian.AppendUint32(nil, serial))
}

// PutNodes stores what package nodes knows of nodes, under their FQDNs: all of it or nothing.
func (s *Store) PutNodes(all map[string][]byte) error {
	return s.update(func(tx *bbolt.Tx) error {
		for fqdn, b := range all {
			if err := tx.Bucket(bucketNodes).Put([]byte(fqdn), b); err != nil {
				return err
			}
		}
		return nil
	})
}

// Nodes gives everything that PutNodes stored.
func (s *Store) Nodes() (map[string][]byte, error) { return s.all(bucketNodes) }

// PutOrders stores what a person ordered of servers of the balancer, under
// BACKEND/SERVER; nil forgets it. All of it or nothing.
func (s *Store) PutOrders(all map[string][]byte) error {
	return s.update(func(tx *bbolt.Tx) error {
		for server, b := range all {
			var err error
			if b == nil {
				err = tx.Bucket(bucketOrders).Delete([]byte(server))
			} else {
				err = tx.Bucket(bucketOrders).Put([]byte(server), b)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Orders gives everything that PutOrders stored.
func (s *Store) Orders() (map[string][]byte, error) { return s.all(bucketOrders) }

func (s *Store) all(bucket []byte) (map[string][]byte, error) {
	out := map[string][]byte{}
	err := s.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucket).ForEach(func(k, v []byte) error {
			out[string(k)] = append([]byte(nil), v...)
			return nil
		})
	})
	return out, err
}

func (s *Store) get(bucket, key []byte) (out []byte, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		out = append(out, tx.Bucket(bucket).Get(key)...)
		return nil
	})
	return out, err
}

func (s *Store) put(bucket, key, value []byte) error {
	return s.update(func(tx *bbolt.Tx) error { return tx.Bucket(bucket).Put(key, value) })
}
