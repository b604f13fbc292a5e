// Package rest is the Ironic-compatible door: every client of Ironic works with it,
// unmodified. What it serves is kept by pkg/node; this package parses, decides by
// tables (routes, fields, microversions, policies), and answers in Ironic's forms.
//
// A resource is a file: its routes, its fields, its handlers. All that is common to
// resources stands in server.go (the way of a request), field.go (which fields a
// version shows, and who may write them), page.go (lists) and patch.go (RFC 6902 as
// Ironic has it).
package rest
