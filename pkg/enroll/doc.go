// Package enroll turns the list of a rack into BareMetalHosts, and loses nothing
// on the way: every bad line is reported at once, with its number, what is wrong
// and what would be right, and what would change is shown before it does.
//
// A list is CSV, YAML or JSON with the columns of [Columns], or real BareMetalHost
// and Secret manifests. [Parse] reads it without a network; [Plan] compares it
// with the API by a server-side dry run, so that the API's own rules are heard
// before anything is written; [Diff.Apply] writes it by server-side apply as field
// manager [FieldManager], which takes no field from another manager.
//
// Passwords are never shown: not in problems, not in a diff.
package enroll
