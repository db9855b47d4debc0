package plan

// Facts are what Compile must know and the file does not say.
type Facts struct {
	// Serial of the zones. It rises with every generation, also after the state was lost (clock-based).
	Serial uint32
	// MissingLoaders are the loaders that this machine does not have, so that
	// the plan offers the next best. Nil: assume that all are there.
	MissingLoaders []Loader
}
