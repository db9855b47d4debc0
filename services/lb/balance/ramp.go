package balance

import "time"

// scale is what a server's whole weight counts after Ramp, so that a ramp has steps.
const scale = 100

// Ramp is the weight of a server that became ready age ago and reaches its
// whole weight after slow, in hundredths of its weight. It is never below one
// hundredth: a server that gets nothing cannot warm up.
func Ramp(weight int, age, slow time.Duration) int {
	if slow <= 0 || age >= slow {
		return weight * scale
	}
	part := int(max(age, 0) * scale / slow)
	return weight * max(part, 1)
}
