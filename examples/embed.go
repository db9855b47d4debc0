// Package examples holds example configurations, for people to copy and for
// the demonstration to boot.
package examples

import _ "embed"

//go:embed ocp4.yaml
var ocp4 []byte

// OCP4 is a standard OpenShift cluster: bootstrap, three masters, two workers.
func OCP4() []byte { return append([]byte(nil), ocp4...) }
