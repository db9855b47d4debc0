package dhcp6

import "helperd/timeline"

// halt stops all that needs the disk, or lets it go on.
func (s *Service) halt(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.engine.SetWritable(!yes)
}

// tell says that the disk fails, or takes leases again.
func (s *Service) tell(why error) {
	if why == nil {
		s.host.Events.Emit(timeline.Event{Kind: timeline.DHCPStored, Detail: "pool leases of IPv6 are stored and given again"})
		s.host.Log.Info("pool leases of IPv6 stored again")
		return
	}
	s.host.Events.Emit(timeline.Event{Kind: timeline.DHCPFailed, Detail: unstorable(why)})
	s.host.Log.Error("pool leases of IPv6 not stored", "err", why)
}

func unstorable(why error) string {
	return "pool leases of IPv6 cannot be stored, so no new ones are given, and those on disk are not prolonged: " + why.Error() +
		". Machines in helper.yaml are served. helperd goes on by itself when the disk takes writes again"
}

// catchUp tries a disk that failed, and queues what it missed.
func (s *Service) catchUp() {
	if !s.disk.Retry(s.host.Leases) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.engine != nil { // else nothing is served yet
		now := s.unix()
		s.write(s.engine.Unstored(), now)
	}
}
