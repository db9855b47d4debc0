// Package ca is the helper's own certificate authority. It signs what helperd
// itself serves over TLS and nothing else: whoever trusts it trusts this one machine.
//
// The authority is made once and lives ten years in the state folder, key and
// certificate in one file (so that there is never one without the other), readable for helperd
// alone. Server certificates (RFC 5280, at most 398 days, which browsers demand) live in memory:
// they are made with each configuration, and anew after two thirds of their life.
package ca
