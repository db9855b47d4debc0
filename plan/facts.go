package plan

// Facts are what Compile must know and the file does not say.
type Facts struct {
	// Serial of the zones. It rises with every generation, also after the state was lost (clock-based).
	Serial uint32
	// MissingLoaders are the loaders that this machine does not have, so that
	// the plan offers the next best. Nil: assume that all are there.
	MissingLoaders []Loader
	// StateDir is where the daemon keeps its state; empty: no daemon asks.
	StateDir string
	// Streams are the stream JSONs by where the file says that they are.
	Streams map[Origin]StreamFact
	// Present has the checksums (SHA-256, hex) of the fetched files that are on this machine.
	Present map[string]bool
	// Kept are versions of artifacts that earlier plans booted and that are still
	// whole on this machine, the latest first.
	Kept []*Set
}
