// Package explain answers, for every host at every moment: what is it doing,
// since when, what does it wait for, what happens next and when, what went
// wrong, and what should a person do.
//
// It is data and text. A [Diagnosis] is one entry of the catalogue: a stable
// code with its cause and remedy. A [Problem] is one occurrence of it, with what
// was seen. [Explain] turns the plain facts about a host into a [Report], which
// the terminal, the conditions, REST's last_error and the web page all show.
// docs/errors is generated from the same catalogue:
//
//	go run ./pkg/explain/gen
//
// Whoever detects a problem owns its predicate; this package owns its words. It
// imports only the standard library, so that every room may use it.
package explain
