// Package ignition reads the files that configure a node at its first boot,
// and says which of them are fit to be served: a node that takes a broken or an
// expired file is written to its disk and never joins its cluster.
//
// Files of specification 3 are parsed by the library of Ignition itself; those of
// specification 2 (OpenShift 4.5 and earlier) are checked as JSON only. A file
// ends with the first certificate in it, whatever its own age. What is read is
// kept by the identity of the file, so that a rack that asks at once costs
// one parse.
//
// It leaves out what only the node can say: content behind https and tang.
package ignition
