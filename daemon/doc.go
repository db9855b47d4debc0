// Package daemon puts the helper node together: it reads the file, compiles
// the plan, and takes every service from one generation of it to the next. It
// is the only package that knows every service.
//
//	/etc/helper.yaml -> config.Load -> plan.Compile -> every service Prepare -> all Commit -> Check -> last good
//
// Prepare changes nothing that is served, so that an error anywhere leaves the
// old generation untouched. Commit swaps pointers. A service that answered
// before and does not afterwards takes everybody back to the generation before.
package daemon
