package nodes

import "encoding/json"

// save notes, under mu, that s is to be stored; flush does it.
func (r *Registry) save(s *State) { r.dirty[s.Node] = s }

// flush stores what save noted, and returns when it is on the disk: also what
// others noted meanwhile, so that two hundred machines that ask at once wait for
// two commits and not for two hundred. It runs without mu. A failure is logged and
// not fatal: the node goes on, and what is known of it is stored with what comes
// next; only a restart before that forgets it.
func (r *Registry) flush() {
	r.storing.Lock()
	defer r.storing.Unlock()
	stored := r.noted()
	if len(stored) == 0 {
		return // with what another one stored
	}
	err := r.store.PutNodes(stored)
	if err == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for node := range stored {
		r.log.Error("state of a node not stored; a restart forgets it", "node", node, "err", err)
		if s := r.nodes[node]; s != nil {
			r.save(s)
		}
	}
}

// noted gives what is to be stored as it is now.
func (r *Registry) noted() map[string][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string][]byte{}
	for node, s := range r.dirty {
		b, err := json.Marshal(s)
		if err != nil {
			r.log.Error("state of a node not stored; a restart forgets it", "node", node, "err", err)
			continue
		}
		out[node] = b
	}
	clear(r.dirty)
	return out
}
