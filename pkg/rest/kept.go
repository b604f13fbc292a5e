package rest

import (
	"sync"

	"github.com/ingot-metal/ingot/pkg/node"
)

// kept is what is remembered of objects between requests. Everything in it can be
// made anew from the store.
type kept struct {
	// writing is held from the check that an address, a name … is free until it is
	// taken. Another replica's write of the same moment is not kept out.
	writing sync.Mutex

	mu    sync.Mutex
	docs  map[string]keptDoc
	ports portIndex
}

type keptDoc struct {
	of  *node.Object
	doc doc
}

// doc is an object's document. Objects never change, so neither does the document of
// one.
func (k *kept) doc(r *resource, o *node.Object) (doc, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.docHeld(r, o)
}

func (k *kept) docHeld(r *resource, o *node.Object) (doc, error) {
	if e, ok := k.docs[o.UUID]; ok && e.of == o {
		return e.doc, nil
	}
	d, err := r.render(o)
	if err != nil {
		return nil, err
	}
	if k.docs == nil || len(k.docs) > maxKept {
		k.docs = map[string]keptDoc{}
	}
	k.docs[o.UUID] = keptDoc{o, d}
	return d, nil
}

// maxKept bounds the documents that are remembered.
const maxKept = 100_000

func (k *kept) forget(id string) {
	k.mu.Lock()
	delete(k.docs, id)
	k.mu.Unlock()
}
