// Package ironic holds what OpenStack Ironic's REST API fixes: the names of states,
// verbs and fields, the microversions, the bodies. It is contracts only; pkg/rest
// serves them and pkg/node keeps them.
package ironic
