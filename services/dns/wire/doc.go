// Package wire reads DNS queries and writes replies as bytes (RFC 1035), with
// EDNS(0) (RFC 6891). Nothing is allocated.
//
// Every byte of a query is walked before anything is answered: lengths must
// add up, there is one question and at most one OPT record, and nothing trails.
// What fails gets FORMERR, NOTIMP, BADVERS or REFUSED here, so that the code
// behind, a library, sees well-formed questions only.
//
// It leaves out cookies (RFC 7873: not echoed, as if unknown), transaction
// signatures (RFC 8945: every key is unknown), zone transfers, NOTIFY and
// UPDATE (refused), and the class CHAOS (refused).
package wire
