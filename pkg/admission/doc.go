// Package admission refuses a BareMetalHost that could never work, before it is
// stored: the rules of Metal3's webhook, each answer naming the field, its value
// and what to write instead.
//
// [Create] and [Update] are pure. [Handler] serves them as an AdmissionReview
// webhook and [Install] tells an API server where it is; both are the same in a
// cluster and embedded.
//
// Two rules differ from Metal3's on purpose. A change is judged by what it makes
// worse, so that an object from before a rule can still be labelled or finished
// with; and an object that is being deleted is never refused, so that its
// finalizers can always go.
package admission
