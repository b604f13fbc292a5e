package rest

import (
	"errors"
	"net/http"

	"github.com/ingot-metal/ingot/pkg/node"
)

// Answer is what another replica's door said.
type Answer struct {
	Status int
	Header http.Header // of what the client is told; its body's type is JSON
	Body   []byte      // nil: none
}

// Relay has the replica that speaks to a node's machine answer a request, whose body
// is bounded and whose path has no /v1. No answer and no error: it is ours to answer.
// Why there is none from where there should be is a *Refusal.
type Relay func(r *http.Request, n *node.Node) (*Answer, error)

// atOwner is ofMachine for what is asked of a BMC, which one replica speaks to, or lies
// on that one's disk: that one answers, as Ironic's API has a node's conductor do. Where
// that is not we, nothing is done here but to let the caller in, so that nothing is done
// twice.
func atOwner(do func(*call, *node.Node) (*reply, error)) func(*call) (*reply, error) {
	return ofMachine(func(c *call, n *node.Node) (*reply, error) {
		if c.s.Relay == nil || n.Driver == fakeHardware {
			return do(c, n)
		}
		a, err := c.s.Relay(c.Request, n)
		var r *Refusal
		switch {
		case errors.As(err, &r):
			return nil, refuse(r.Status, "%s", r.Text)
		case err != nil:
			return nil, err
		case a == nil:
			return do(c, n)
		}
		return &reply{status: a.Status, header: a.Header, raw: a.Body}, nil
	})
}
