package engine

// Stepped says that the clock was set by this many seconds. What runs here runs
// on: a client counts the time of its lease by itself. The records are those
// that must be written again; the disk has them in the time of before.
func (e *Engine) Stepped(by, now int64) (records []Record) {
	for _, b := range e.table.byAddr {
		b.expires += by
		b.stored = 0
		if b.promised > 0 {
			b.promised += by
		}
		if b.state != held && b.live(now) {
			records = append(records, b.record())
		}
	}
	for prefix, f := range e.foreign {
		f.heard += by
		e.foreign[prefix] = f
	}
	e.conflicts.stepped(by)
	for prefix, f := range e.rivals {
		f.heard += by
		e.rivals[prefix] = f
	}
	for _, s := range e.sites {
		s.step(by)
	}
	clear(e.probed)
	e.notes = notes{}
	return records
}
