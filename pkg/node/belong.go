package node

import (
	"context"
	"errors"
)

// ObjectChanges is another number whenever an object of any kind came, changed or
// went. What is shown of objects may also change with their nodes.
func (s *Store) ObjectChanges() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.objectChanges
}

// DeleteObjectsOf removes all that belongs to a node, at once: the API's own garbage
// collection comes later, and knows nothing of what was given to the node after it
// was made.
func (s *Store) DeleteObjectsOf(ctx context.Context, id string) error {
	s.mu.RLock()
	var all []*Object
	for _, of := range s.objects {
		for _, o := range of {
			if o.Node == id {
				all = append(all, o)
			}
		}
	}
	s.mu.RUnlock()
	var errs []error
	for _, o := range all {
		errs = append(errs, s.DeleteObject(ctx, o))
	}
	return errors.Join(errs...)
}
