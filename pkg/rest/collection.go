package rest

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/node"
)

// resource is a kind of object that the store keeps as clients sent it. What all of
// them have in common is here; what each has of its own is in its table of fields and
// in its hooks.
type resource struct {
	*kind
	of     string         // node.KindPort …
	noun   string         // in errors: Port
	arg    string         // in errors about bodies: port
	path   string         // under /v1: /ports
	policy string         // what its actions begin with: baremetal:port
	lists  string         // action of the list, where it is not …:get
	since  ironic.Version // below it there is no such endpoint
	late   int            // what changes are answered with below since; 0: there is no route
	hides  int            // the same of reads
	patch  ironic.Version // since when there is PATCH; 0: as since
	named  ironic.Version // since when its name finds it; 0: it has none
	// names is what its name has to be; nil: as a node's.
	names    func(c *call, name any) error
	required []string
	unset    map[string]string // what stands, as JSON, for a field that nobody set
	takes    []string          // what a body may have that is no field and not stored
	whole    bool              // its list shows all and has no ?detail=
	dress    func(*call, *node.Object, doc) doc

	// source is what there is of it; nil: what the store has.
	source func(*call) []*node.Object
	// find is how one is found; nil: in the store.
	find func(c *call, ident string) (*node.Object, bool)
	// pick returns the filter that a list's parameters ask for; it may be nil.
	pick func(*call) (func(*node.Object, doc) bool, error)
	// made and changed complete an object that is to be stored, or refuse it; was is
	// the object before.
	made    func(c *call, is *object) error
	changed func(c *call, was, is *object) error
	// shared reports whether everybody may look at an object.
	shared func(*node.Object) bool
	// removed refuses a deletion.
	removed func(c *call, was *object) error
	// create, update and remove store it; nil: as it is.
	create func(*call, *object) (*node.Object, error)
	update func(c *call, was *node.Object, is *object) (*node.Object, error)
	remove func(*call, *node.Object) error
}

// routes are those of the collection and of one of it.
func (r *resource) routes() []route {
	lists := r.lists
	if lists == "" {
		lists = r.policy + ":get"
	}
	one, patch := r.path+"/{ident}", max(r.since, r.patch)
	all := []route{
		{method: http.MethodGet, path: r.path, since: r.since, late: r.hides, action: lists, do: func(c *call) (*reply, error) { return r.list(c, false, nil) }},
		{method: http.MethodPost, path: r.path, since: r.since, late: r.late, action: r.policy + ":create", do: r.post},
		{method: http.MethodGet, path: one, since: r.since, late: r.hides, action: r.policy + ":get", do: r.show},
		{method: http.MethodDelete, path: one, since: r.since, late: r.late, action: r.policy + ":delete", do: r.delete},
		{method: http.MethodPatch, path: one, since: patch, late: r.late, action: r.policy + ":update", do: r.change},
	}
	return all
}

// detailRoute is the older form of ?detail=True.
func (r *resource) detailRoute() route {
	lists := r.lists
	if lists == "" {
		lists = r.policy + ":get"
	}
	return route{method: http.MethodGet, path: r.path + "/detail", since: r.since, late: r.hides, action: lists, do: func(c *call) (*reply, error) { return r.list(c, true, nil) }}
}

// within are the routes of a list that is part of something else, and the refusals of
// what is only done to the collection itself.
func (r *resource) within(path string, since ironic.Version, of func(c *call) (func(*node.Object) bool, error)) []route {
	lists := r.lists
	if lists == "" {
		lists = r.policy + ":get"
	}
	list := func(detail bool) func(*call) (*reply, error) {
		return func(c *call) (*reply, error) {
			in, err := of(c)
			if err != nil {
				return nil, err
			}
			return r.list(c, detail, in)
		}
	}
	not := func(*call) (*reply, error) { return nil, refuse(http.StatusForbidden, "Operation not permitted.") }
	return []route{
		{method: http.MethodGet, path: path, since: since, action: lists, do: list(false)},
		{method: http.MethodPost, path: path, since: since, action: r.policy + ":create", do: not},
		{method: http.MethodGet, path: path + "/detail", since: since, action: lists, do: list(true)},
		{method: http.MethodGet, path: path + "/{ident}", since: since, action: r.policy + ":get", do: not},
		{method: http.MethodPatch, path: path + "/{ident}", since: since, action: r.policy + ":update", do: not},
		{method: http.MethodDelete, path: path + "/{ident}", since: since, action: r.policy + ":delete", do: not},
	}
}

// ofNode picks what belongs to the node of the path.
func ofNode(c *call) (func(*node.Object) bool, error) {
	n, err := c.node()
	if err != nil {
		return nil, err
	}
	return func(o *node.Object) bool { return o.Node == n.UUID }, nil
}

// list answers a page of all that is in what in picks; nil: of all.
func (r *resource) list(c *call, detail bool, in func(*node.Object) bool) (*reply, error) {
	known := slices.Clone(pageQuery)
	for _, f := range r.filters {
		known = append(known, f.Name)
	}
	if r.whole {
		known, detail = append(known, "fields"), true
	} else if !detail {
		known = append(known, "fields", "detail")
		asked, given, err := flag(c.URL.Query(), "detail")
		switch {
		case err != nil:
			return nil, err
		case given && c.version < 43 && r.since < 32:
			return nil, badRequest("Invalid query parameter ?detail=%s received.", c.URL.Query().Get("detail"))
		case asked && c.URL.Query().Has("fields"):
			return nil, badRequest("Can not specify ?detail=True and fields in the same request.")
		}
		detail = asked
	}
	if err := c.knows(known...); err != nil {
		return nil, err
	}
	v, err := c.view(r.kind, detail)
	if err != nil {
		return nil, err
	}
	for _, f := range r.filters {
		if c.version < f.Since && c.URL.Query().Has(f.Name) {
			return nil, notAcceptable("The parameter "+f.Name+" came with %s.", f.Since)
		}
	}
	var picked func(*node.Object, doc) bool
	if r.pick != nil {
		if picked, err = r.pick(c); err != nil {
			return nil, err
		}
	}
	all := r.all(c)
	items := make([]item, 0, len(all))
	for _, o := range all {
		if in != nil && !in(o) || !c.seesObject(o) {
			continue
		}
		d, err := c.s.kept.doc(r, o)
		if err != nil {
			return nil, err
		}
		if picked != nil && !picked(o, d) {
			continue
		}
		if r.dress != nil {
			d = r.dress(c, o, slices.Clone(d))
		}
		items = append(items, item{id: o.UUID, at: o.Created, doc: d})
	}
	return c.list(r.kind, v, items, func(it item) []byte { return c.linkMembers("links", r.path[1:]+"/"+it.id) })
}

func (r *resource) all(c *call) []*node.Object {
	if r.source != nil {
		return r.source(c)
	}
	return c.s.Nodes.Objects(r.of)
}

// get finds the object that the path names, for an action.
func (r *resource) get(c *call, verb string) (*node.Object, error) {
	ident := c.PathValue("ident")
	id, isUUID := canonical(ident)
	switch {
	case isUUID:
		ident = id
	case r.named == 0 || c.version < r.named:
		return nil, badRequest("Expected UUID for %s_uuid: %s", r.arg, ident)
	case !isLogicalName(ident):
		return nil, badRequest("Expected UUID or name for %s_ident: %s", r.arg, ident)
	}
	var o *node.Object
	var ok bool
	if r.find != nil {
		o, ok = r.find(c, ident)
	} else {
		o, ok = c.s.Nodes.Object(r.of, ident)
	}
	if !ok || !c.seesObject(o) {
		return nil, r.none(c.PathValue("ident"))
	}
	err := c.mayObject(r.policy+":"+verb, o)
	if verb == "get" && r.shared != nil && r.shared(o) {
		err = nil
	}
	return o, err
}

func (r *resource) none(ident string) error {
	return notFound("%s %s could not be found.", r.noun, ident)
}

func (r *resource) show(c *call) (*reply, error) {
	if err := c.knows("fields"); err != nil {
		return nil, err
	}
	o, err := r.get(c, "get")
	if err != nil {
		return nil, err
	}
	return r.answer(c, http.StatusOK, o)
}

// answer shows one object.
func (r *resource) answer(c *call, status int, o *node.Object) (*reply, error) {
	v, err := c.view(r.kind, true)
	if err != nil {
		return nil, err
	}
	d, err := c.s.kept.doc(r, o)
	if err != nil {
		return nil, err
	}
	if r.dress != nil {
		d = r.dress(c, o, slices.Clone(d))
	}
	out := &reply{status: status, raw: v.append(nil, d, c.linkMembers("links", r.path[1:]+"/"+o.UUID)...)}
	if status == http.StatusCreated {
		out.location = r.path + "/" + o.UUID
	}
	return out, nil
}

func (r *resource) post(c *call) (*reply, error) {
	if err := c.knows(); err != nil {
		return nil, err
	}
	var raw map[string]json.RawMessage
	if err := c.read(&raw); err != nil {
		return nil, err
	}
	fields := decodeFields(raw)
	if err := r.accepts(c, fields); err != nil {
		return nil, err
	}
	is := &object{fields: fields}
	if text := is.text("uuid"); text != "" {
		is.id, _ = canonical(text)
	}
	c.s.kept.writing.Lock()
	defer c.s.kept.writing.Unlock()
	if err := r.complete(c, nil, is); err != nil {
		return nil, err
	}
	if r.made != nil {
		if err := r.made(c, is); err != nil {
			return nil, err
		}
	}
	if is.id != "" {
		if _, taken := c.s.Nodes.Object(r.of, is.id); taken {
			return nil, conflict("%s with UUID %s already exists.", r.one(), is.id)
		}
	}
	var o *node.Object
	var err error
	if r.create != nil {
		o, err = r.create(c, is)
	} else {
		o, err = r.store(c, is)
	}
	if errors.Is(err, node.ErrExists) {
		return nil, conflict("%s with UUID %s already exists.", r.one(), is.id)
	}
	if err != nil {
		return nil, err
	}
	return r.answer(c, http.StatusCreated, o)
}

// one is the noun with its article.
func (r *resource) one() string {
	if strings.ContainsRune("AEIOU", rune(r.noun[0])) {
		return "An " + strings.ToLower(r.noun)
	}
	return "A " + strings.ToLower(r.noun)
}

func (r *resource) store(c *call, is *object) (*node.Object, error) {
	o, err := is.toStore(r)
	if err != nil {
		return nil, err
	}
	return c.s.Nodes.CreateObject(c.Context(), o)
}

func (r *resource) change(c *call) (*reply, error) {
	if err := c.knows(); err != nil {
		return nil, err
	}
	changes, err := c.readPatch(r.kind)
	if err != nil {
		return nil, err
	}
	c.s.kept.writing.Lock()
	defer c.s.kept.writing.Unlock()
	stored, err := r.get(c, "update")
	if err != nil {
		return nil, err
	}
	was, err := r.open(c, stored)
	if err != nil {
		return nil, err
	}
	var raw map[string]json.RawMessage
	if err := r.patched(was.fields, changes, &raw); err != nil {
		return nil, err
	}
	is := &object{id: was.id, fields: decodeFields(raw)}
	for name, text := range r.unset {
		if is.fields[name] == nil {
			is.fields[name] = decodeField(json.RawMessage(text))
		}
	}
	if err := r.requires(is.fields, "patch"); err != nil {
		return nil, err
	}
	if err := r.complete(c, was, is); err != nil {
		return nil, err
	}
	if r.changed != nil {
		if err := r.changed(c, was, is); err != nil {
			return nil, err
		}
	}
	var o *node.Object
	if r.update != nil {
		o, err = r.update(c, stored, is)
	} else {
		o, err = r.restore(c, stored, is)
	}
	if err != nil {
		return nil, r.gone(err, stored)
	}
	return r.answer(c, http.StatusOK, o)
}

func (r *resource) restore(c *call, was *node.Object, is *object) (*node.Object, error) {
	o, err := is.toStore(r)
	if err != nil {
		return nil, err
	}
	return c.s.Nodes.UpdateObject(c.Context(), was, o)
}

func (r *resource) delete(c *call) (*reply, error) {
	if err := c.knows(); err != nil {
		return nil, err
	}
	c.s.kept.writing.Lock()
	defer c.s.kept.writing.Unlock()
	stored, err := r.get(c, "delete")
	if err != nil {
		return nil, err
	}
	if r.removed != nil {
		was, err := r.open(c, stored)
		if err != nil {
			return nil, err
		}
		if err := r.removed(c, was); err != nil {
			return nil, err
		}
	}
	if r.remove != nil {
		err = r.remove(c, stored)
	} else {
		err = c.s.Nodes.DeleteObject(c.Context(), stored)
	}
	c.s.kept.forget(stored.UUID)
	return nil, r.gone(err, stored)
}

// gone says of what is no more that it is not found.
func (r *resource) gone(err error, o *node.Object) error {
	if errors.Is(err, node.ErrNotFound) {
		return r.none(o.UUID)
	}
	return err
}
