// Package openapi writes the REST door down as an OpenAPI 3.1 document: every route,
// every field with the microversion that brought it, the form of errors, and the ways
// to log in. It is made of what serves (the routes and the fields of the kinds), so
// that it cannot say otherwise; what neither of them says, the bodies of actions, is
// in bodies.go.
//
// Maps are written in the order of their keys: the same routes give the same bytes.
package openapi
