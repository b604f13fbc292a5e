package rest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/pkg/auth"
	"github.com/ingot-metal/ingot/pkg/node"
)

// access is what of the decisions a call remembers.
type access struct {
	decided bool            // the rule of the route was asked with what it is about
	all     bool            // a list: all is seen
	listing bool            // the route is a list
	lists   map[string]bool // namespaces in which Kubernetes lets the caller list
	hidden  bool            // 404 was said of something that is there
	err     error           // that kept a decision from being made
}

// carryOut is the way to a route's handler: what the caller may not do is refused
// before it, and an answer that nobody decided about is not given.
func (c *call) carryOut() (*reply, error) {
	out, err := (*reply)(nil), c.authorize()
	if err == nil {
		out, err = c.route.do(c)
		switch {
		case c.access.err != nil:
			out, err = nil, c.access.err
		case err == nil && !c.access.decided && !c.caller.unlimited():
			// A mistake of ours: no answer is better than somebody else's.
			out, err = nil, refuse(http.StatusInternalServerError, "Nothing decided whether this is allowed: %s", c.route.action)
		}
	}
	c.audit(out, err)
	return out, err
}

// authorize decides whether the route may be carried out. Where that hangs on what
// the body names, or on an object of the path, everything is refused that the caller
// could do to nothing at all, and the handler asks for the rest (may, mayObject …).
func (c *call) authorize() error {
	action := c.route.action
	if action == "" {
		c.access.decided = true
		return nil
	}
	p, known := policies[action]
	if !known {
		return denied(action)
	}
	if strings.Contains(c.route.path, "{node}") {
		n, err := c.node() // as the handler finds it
		if err != nil {
			return err
		}
		if !c.sees(n) {
			return c.conceal(c.PathValue("node"), true)
		}
		switch p.by {
		case byItself, byFields:
			return nil
		}
		return c.may(action, n)
	}
	switch p.by {
	case byNobody:
		return c.may(action, nil)
	case byList:
		return c.mayList(action, p)
	}
	// Who asks Kubernetes is told with the namespace, which is not known yet.
	if mine := (target{c.caller.Project, c.caller.Project}); c.caller.Review == nil && !p.rule(&c.caller, mine) {
		return denied(action)
	}
	return nil
}

// mayList lets those who may not see all see what is theirs.
func (c *call) mayList(action string, p policy) error {
	c.access.decided, c.access.listing = true, true
	if c.caller.Review != nil {
		c.access.all = c.reviewed(auth.Access{Group: p.of.group(), Resource: p.of.name(), Verb: "list"})
		return c.access.err
	}
	if policies[p.all].rule(&c.caller, target{}) {
		c.access.all = true
		return nil
	}
	if other := c.URL.Query().Get("project"); c.caller.Project == "" || other != "" && other != c.caller.Project || !p.rule(&c.caller, target{}) {
		return denied(action)
	}
	return nil
}

// may answers nil if the caller may do action to n; a nil node: to what is nobody's.
// Whether the caller may know of n is not asked here.
func (c *call) may(action string, n *node.Node) error {
	var t target
	var ns, name string
	if n != nil {
		t, ns, name = targetOf(n), n.Key.Namespace, n.Key.Name
	}
	return c.mayTo(action, t, ns, name)
}

func (c *call) mayTo(action string, t target, namespace, name string) error {
	c.access.decided = true
	p, known := policies[action]
	switch {
	case !known:
		return denied(action)
	case c.caller.Review == nil:
		if !p.rule(&c.caller, t) {
			return denied(action)
		}
		return nil
	}
	if namespace == "" {
		namespace = c.s.Nodes.Namespace
	}
	if !c.reviewed(auth.Access{Group: p.of.group(), Resource: p.of.name(), Verb: p.verb, Namespace: namespace, Name: name}) {
		if c.access.err != nil {
			return c.access.err
		}
		return denied(action)
	}
	return nil
}

// can is may as a question about something beside what the route is about.
func (c *call) can(action string, n *node.Node) bool {
	was := c.access.decided
	err := c.may(action, n)
	c.access.decided = was
	return err == nil
}

// sees reports whether the caller may know of n: a list leaves out what is not seen,
// and what is not seen is answered with 404.
func (c *call) sees(n *node.Node) bool {
	switch {
	case c.access.listing && c.access.all:
		return true
	case c.caller.Review == nil:
		return policies["baremetal:node:get"].rule(&c.caller, targetOf(n))
	case c.listsIn(n.Key.Namespace):
		return true
	case c.access.listing:
		return false // RBAC has no list of single names
	}
	return c.reviewed(auth.Access{Group: hosts.group(), Resource: hosts.name(), Verb: "get", Namespace: n.Key.Namespace, Name: n.Key.Name})
}

// listsIn asks once a call and namespace.
func (c *call) listsIn(namespace string) bool {
	can, asked := c.access.lists[namespace]
	if !asked {
		can = c.reviewed(auth.Access{Group: hosts.group(), Resource: hosts.name(), Verb: "list", Namespace: namespace})
		if c.access.lists == nil {
			c.access.lists = map[string]bool{}
		}
		c.access.lists[namespace] = can
	}
	return can
}

func (c *call) reviewed(a auth.Access) bool {
	if c.access.err != nil {
		return false
	}
	can, err := c.caller.Review(c.Context(), a)
	if err != nil {
		c.s.Log.Warn("whether a caller may do something is not known", "user", c.caller.User, "err", err)
		c.access.err = refuse(http.StatusServiceUnavailable, "The Kubernetes API does not say whether this is allowed. Try again later.")
	}
	return err == nil && can
}

// visible are the nodes that the caller may know of, in the order of their creation.
func (c *call) visible() []*node.Node {
	list := c.s.Nodes.List()
	if c.access.listing && c.access.all {
		return list
	}
	return slices.Collect(func(yield func(*node.Node) bool) {
		for _, n := range list {
			if c.sees(n) && !yield(n) {
				return
			}
		}
	})
}

// nodeOf finds a node that the caller may know of.
func (c *call) nodeOf(ident string) (*node.Node, error) {
	n, found := c.s.Nodes.Get(ident)
	if !found || !c.sees(n) {
		return nil, c.conceal(ident, found)
	}
	return n, nil
}

// mayNode is may for a node that a handler found by itself, as ident: 404 if the
// caller may not know of it.
func (c *call) mayNode(action, ident string, n *node.Node) error {
	if !c.sees(n) {
		c.access.decided = true
		return c.conceal(ident, true)
	}
	return c.may(action, n)
}

// conceal is the answer to who asks for a node that is not there, or not for it.
func (c *call) conceal(ident string, there bool) error {
	if c.access.err != nil {
		return c.access.err
	}
	c.access.hidden = there
	return notFound("Node %s could not be found.", ident)
}

// nodeFor finds the node that a body names, for an action on it: 403 says nothing of
// whether there is one.
func (c *call) nodeFor(action, ident string) (*node.Node, error) {
	n, found := c.s.Nodes.Get(ident)
	if !found {
		if err := c.may(action, nil); err != nil {
			return nil, err
		}
		return nil, badRequest("Node %s could not be found.", ident)
	}
	return n, c.may(action, n)
}

// mayObject answers nil if the caller may do action to o: 404 if it may not know of
// it, else 403.
func (c *call) mayObject(action string, o *node.Object) error {
	if !c.seesObject(o) {
		c.access.decided, c.access.hidden = true, true
		if c.access.err != nil {
			return c.access.err
		}
		return notFound("%s %s could not be found.", titles[o.Kind], o.UUID)
	}
	t, n := c.targetOfObject(o)
	if n != nil && policies[action].by != byItself {
		return c.may(action, n)
	}
	return c.mayTo(action, t, c.s.Nodes.Namespace, o.UUID)
}

// seesObject reports whether the caller may know of o: as its node is known of, or as
// its own owner says.
func (c *call) seesObject(o *node.Object) bool {
	if c.access.listing && c.access.all {
		return true
	}
	get, owned := itsOwn[o.Kind]
	t, n := c.targetOfObject(o)
	switch {
	case !owned && n != nil:
		return c.sees(n)
	case !owned && o.Node != "":
		get = "baremetal:node:get" // its node is gone: nobody's
	case !owned:
		return true // belongs to nobody: its action has a rule of its own
	}
	if o.Kind == node.KindRunbook && publicRunbook(o) && c.caller.Review == nil {
		return true
	}
	p := policies[get]
	if c.caller.Review == nil {
		return p.rule(&c.caller, t)
	}
	return c.reviewed(auth.Access{Group: p.of.group(), Resource: p.of.name(), Verb: "get", Namespace: c.s.Nodes.Namespace, Name: o.UUID})
}

// itsOwn are the kinds that have an owner of their own, and the action by which they
// are known of.
var itsOwn = map[string]string{
	node.KindAllocation: "baremetal:allocation:get",
	node.KindRunbook:    "baremetal:runbook:get",
}

// titles are how Ironic names what it could not find.
var titles = map[string]string{
	node.KindPort: "Port", node.KindPortGroup: "Portgroup", node.KindChassis: "Chassis", node.KindAllocation: "Allocation",
	node.KindVolumeConnector: "Volume connector", node.KindVolumeTarget: "Volume target",
	node.KindDeployTemplate: "Deploy template", node.KindRunbook: "Runbook",
}

func targetOf(n *node.Node) (t target) {
	if n.Owner != nil {
		t.owner = *n.Owner
	}
	if n.Lessee != nil {
		t.lessee = *n.Lessee
	}
	return t
}

func (c *call) targetOfObject(o *node.Object) (target, *node.Node) {
	if _, owned := itsOwn[o.Kind]; owned {
		var body struct {
			Owner string `json:"owner"`
		}
		_ = json.Unmarshal(o.Body, &body) // what cannot be read is nobody's
		return target{owner: body.Owner}, nil
	}
	if n, found := c.s.Nodes.Get(o.Node); o.Node != "" && found {
		return targetOf(n), n
	}
	return target{}, nil
}

func publicRunbook(o *node.Object) bool {
	var body struct {
		Public bool `json:"public"`
	}
	return json.Unmarshal(o.Body, &body) == nil && body.Public
}

func denied(action string) error {
	return refuse(http.StatusForbidden, "Access was denied to the following resource: %s", action)
}

// audit says in one line who changed something, or was kept from it.
func (c *call) audit(out *reply, err error) {
	status := http.StatusNoContent
	if out != nil {
		status = out.status
	}
	if err != nil {
		status = faultOf(err).status
	}
	refused := status == http.StatusForbidden || status == http.StatusNotFound && c.access.hidden
	if c.route.action == "" || !refused && (c.Method == http.MethodGet || c.Method == http.MethodHead) {
		return
	}
	c.s.Log.Info("REST audit", "user", c.caller.User, "project", c.caller.Project, "from", c.RemoteAddr,
		"method", c.Method, "path", c.URL.Path[:min(len(c.URL.Path), 256)], "action", c.route.action, "status", status)
}

// Check says which routes nothing decides about.
func (s *Server) Check() error {
	var errs []error
	for path, methods := range s.routes {
		for method, r := range methods {
			if _, known := policies[r.action]; !known && (r.action != "" || !public(path)) {
				errs = append(errs, errors.New(method+" "+path+": no rule says who may: "+r.action))
			}
		}
	}
	return errors.Join(errs...)
}

// public are the places that need no login: what tells clients how to log in, and
// what a ramdisk calls, which proves itself otherwise.
func public(path string) bool {
	for _, p := range []string{"/{$}", "/v1", "/lookup", "/continue_inspection", "/healthcheck"} {
		if path == p {
			return true
		}
	}
	return strings.HasPrefix(path, "/heartbeat/")
}

// Review asks whether a caller whose rights are kept elsewhere may do something.
type Review func(context.Context, auth.Access) (bool, error)

func (t things) name() string {
	if t == hosts {
		return "baremetalhosts"
	}
	return "noderesources"
}

func (t things) group() string {
	if t == hosts {
		return "metal3.io"
	}
	return "ingot.dev"
}

// has reports whether the caller has a role.
func (c *Caller) has(role string) bool { return slices.Contains(c.Roles, role) }

// unlimited callers may do everything.
func (c *Caller) unlimited() bool { return c.System && c.Review == nil && c.has("admin") }

// Administrator may do everything: doors without roles let in nobody else.
func Administrator(user string) Caller {
	return Caller{User: user, Roles: []string{"admin", "manager", "member", "reader", "service"}, System: true}
}
