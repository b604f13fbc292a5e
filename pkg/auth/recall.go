package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
)

// recall remembers for a while what was found out about a secret, and not the secret:
// the key is an HMAC under a key of this process alone.
type recall[T any] struct {
	max int
	now func() time.Time
	key [32]byte

	mu  sync.Mutex
	all map[[32]byte]remembered[T]
}

type remembered[T any] struct {
	value T
	until time.Time
}

func newRecall[T any](size int, now func() time.Time) *recall[T] {
	r := &recall[T]{max: size, now: now, all: map[[32]byte]remembered[T]{}}
	_, _ = rand.Read(r.key[:]) // never fails (crypto/rand)
	return r
}

// id stands for the parts, each with its length, so that no two lists of them are
// one.
func (r *recall[T]) id(parts ...string) (id [32]byte) {
	mac := hmac.New(sha256.New, r.key[:])
	for _, p := range parts {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		mac.Write(n[:])
		mac.Write([]byte(p))
	}
	mac.Sum(id[:0])
	return id
}

func (r *recall[T]) get(id [32]byte) (value T, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.all[id]
	if !ok || !r.now().Before(e.until) {
		delete(r.all, id)
		return value, false
	}
	return e.value, true
}

// put remembers value until then. Where there is no room, what is over goes first,
// then whatever comes: it is asked for again.
func (r *recall[T]) put(id [32]byte, value T, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.all[id]; !known && len(r.all) >= r.max {
		now := r.now()
		for k, e := range r.all {
			if !now.Before(e.until) {
				delete(r.all, k)
			}
		}
		for k := range r.all {
			if len(r.all) < r.max {
				break
			}
			delete(r.all, k)
		}
	}
	r.all[id] = remembered[T]{value, until}
}
