// Package fromironic reads a running Ironic and says what it would be here: which
// hosts, with which identity, and what cannot be taken over and why. It changes
// nothing in Ironic, and a node in use is declared as it is, so that nothing is
// written to its BMC.
//
// [Client.Read] asks Ironic; [Convert] makes objects of the answer, without a
// network; pkg/enroll shows what they would change, and writes them. What is here
// already is left as it is: a second run adds what is missing.
//
// Answers are hostile until parsed: they are bounded in size, number and form, and
// their links are never followed.
package fromironic
