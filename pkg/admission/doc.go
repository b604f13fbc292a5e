// Package admission refuses an object that could never work, before it is stored:
// the rules of Metal3's webhooks and our own, each answer naming the field, its
// value and what to write instead, and no answer showing a password.
//
// [Create] and [Update] judge a BareMetalHost and are pure, as all rules are but
// that of networks that overlap. [Handler] serves the rules of every kind as
// AdmissionReview webhooks, [Install] tells an API server where they are and
// [Keep] goes on doing so; all are the same in a cluster and embedded. [Blockers]
// finds webhooks of others that would refuse every write.
//
// Two rules differ from Metal3's on purpose. A change is judged by what it makes
// worse, so that an object from before a rule can still be labelled or finished
// with; and an object that is being deleted is never refused, so that its
// finalizers can always go.
package admission
