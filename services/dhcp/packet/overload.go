package packet

// spare is the room in a field of the header, from next to stop.
type spare struct {
	next, stop int
	flag       byte // in the value of option 52
}

// Overload lets options that find no room elsewhere into the fields of the
// header that are free (RFC 2131 section 4.1). It comes after File. Firmware that
// wants to boot is better off without: some looks for a boot file there.
func (w *Reply) Overload() {
	if w.buf[fileStart] == 0 {
		w.fields[0] = spare{fileStart, headerSize, overloadFile}
	}
	w.fields[1] = spare{serverStart, fileStart, overloadServer}
}

// spill writes an option into a free field, and reports whether there was room
// for it. What must be there, such as what relays look for, never goes here.
func (w *Reply) spill(o *option, reserved int) bool {
	if o.must || len(o.val) > 255 {
		return false
	}
	for i := range w.fields {
		f := &w.fields[i]
		if f.next+size(o.val)+1 > f.stop {
			continue
		}
		if w.overlay == 0 {
			if len(w.buf)+3+reserved > w.limit {
				return false
			}
			w.overlay = len(w.buf) + 2
			w.buf = append(w.buf, Overload, 1, 0)
		}
		w.buf[w.overlay] |= f.flag
		w.buf[f.next], w.buf[f.next+1] = o.code, byte(len(o.val))
		copy(w.buf[f.next+2:], o.val)
		f.next += size(o.val)
		w.buf[f.next] = end
		return true
	}
	return false
}
