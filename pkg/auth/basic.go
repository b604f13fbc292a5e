package auth

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"
)

// Why a request of HTTP Basic is not let in, beside Malformed and Refused.
var (
	ErrTooMany    = errors.New("too many failed attempts: try again later")
	ErrNoPassword = errors.New("the password file cannot be read")
)

// Malformed is a header that is none of the scheme's: 400, not 401.
type Malformed string

func (m Malformed) Error() string { return string(m) }

// Refused is a credential that does not count, or none.
type Refused string

func (r Refused) Error() string { return string(r) }

// How long what was found out holds, and how much is let through.
const (
	basicFor      = 10 * time.Minute // a right password, while its hash stays in the file
	lookEvery     = time.Second      // at a file's stamp
	freeFailures  = 10               // of an address, before it has to wait
	failureEvery  = time.Second      // that it waits for one more try
	checksAtOnce  = 2                // bcrypt is made to be slow: it gets no more cores than these
	checkWait     = 5 * time.Second
	maxAddresses  = 4096
	maxCredential = 1024 // bytes of a user's name, or of a password
)

// Basic lets in who a file of bcrypt hashes knows. It reads the file anew when it
// changes.
type Basic struct {
	path string
	log  *slog.Logger
	now  func() time.Time

	known *recall[struct{}]
	slots chan struct{}

	mu       sync.Mutex
	looked   time.Time
	seen     os.FileInfo
	users    map[string][]byte
	nobody   []byte // what strangers are compared with, so that they take as long
	failures map[string]*bucket
}

// bucket counts failures, which are forgiven with time.
type bucket struct {
	n    float64
	last time.Time
}

// NewBasic reads the file, of which at first every line has to be right.
func NewBasic(path string, now func() time.Time, log *slog.Logger) (*Basic, error) {
	b := &Basic{
		path: path, log: log, now: now, known: newRecall[struct{}](1024, now), slots: make(chan struct{}, checksAtOnce),
		failures: map[string]*bucket{},
	}
	text, err := readSmall(path, maxHtpasswd)
	if err == nil {
		_, err = parseHtpasswd(text)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the password file %s: %w", path, err)
	}
	b.load()
	return b, nil
}

// load looks at the file, at most once a second. Who is not in it any more is out at
// once; from a file that cannot be read nobody is let in. b.mu is held, or b is new.
func (b *Basic) load() {
	now := b.now()
	if now.Sub(b.looked) < lookEvery {
		return
	}
	b.looked = now
	is, err := os.Stat(b.path)
	if err == nil && b.users != nil && !changed(b.seen, is) {
		return
	}
	var text []byte
	if err == nil {
		text, err = readSmall(b.path, maxHtpasswd)
	}
	if err != nil {
		if b.users != nil || b.nobody == nil {
			b.log.Error("nobody is let in: the password file cannot be read", "err", err)
		}
		b.users = nil
		return
	}
	users, err := parseHtpasswd(text)
	if err != nil {
		b.log.Error("some of the password file is left out", "file", b.path, "err", err)
	}
	cost := bcrypt.MinCost
	for _, hash := range users {
		if c, err := bcrypt.Cost(hash); err == nil {
			cost = max(cost, c)
		}
	}
	if c, err := bcrypt.Cost(b.nobody); err != nil || c != cost {
		password := make([]byte, 32)
		_, _ = rand.Read(password) // never fails (crypto/rand)
		if hash, err := bcrypt.GenerateFromPassword(password, cost); err == nil {
			b.nobody = hash
		}
	}
	b.users, b.seen = users, is
	b.log.Info("password file read", "file", b.path, "users", len(users))
}

// User names who asks, or says why not: Malformed, Refused, ErrTooMany, ErrNoPassword.
func (b *Basic) User(r *http.Request) (string, error) {
	user, password, err := parseBasic(r.Header.Get("Authorization"))
	if err != nil {
		return "", err
	}
	b.mu.Lock()
	b.load()
	ready, nobody := b.users != nil, b.nobody
	hash, known := b.users[user]
	b.mu.Unlock()
	if !ready {
		return "", ErrNoPassword
	}
	id := b.known.id(user, password, string(hash))
	if _, ok := b.known.get(id); ok && known {
		return user, nil
	}
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		from = r.RemoteAddr
	}
	if !b.mayTry(from) {
		return "", ErrTooMany
	}
	if !known {
		hash = nobody
	}
	right, err := b.compare(r.Context(), hash, password)
	if err != nil {
		return "", err
	}
	if !right || !known {
		b.failed(from)
		return "", Refused("Incorrect username or password")
	}
	b.known.put(id, struct{}{}, b.now().Add(basicFor))
	return user, nil
}

func (b *Basic) compare(ctx context.Context, hash []byte, password string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, checkWait)
	defer cancel()
	select {
	case b.slots <- struct{}{}:
	case <-ctx.Done():
		return false, ErrTooMany
	}
	defer func() { <-b.slots }()
	return bcrypt.CompareHashAndPassword(hash, []byte(password)) == nil, nil
}

func (b *Basic) mayTry(from string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.failures[from]
	return f == nil || f.at(b.now()) < freeFailures
}

func (b *Basic) failed(from string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	f := b.failures[from]
	if f == nil {
		if len(b.failures) >= maxAddresses {
			for k, old := range b.failures {
				if old.at(now) == 0 {
					delete(b.failures, k)
				}
			}
		}
		if len(b.failures) >= maxAddresses {
			clear(b.failures) // that many addresses at once are no person's
		}
		f = &bucket{}
		b.failures[from] = f
	}
	f.n, f.last = f.at(now)+1, now
}

// at is what is left of the failures.
func (f *bucket) at(now time.Time) float64 {
	return max(0, f.n-now.Sub(f.last).Seconds()/failureEvery.Seconds())
}

// parseBasic takes an Authorization header apart (RFC 7617), with Ironic's texts.
func parseBasic(header string) (user, password string, err error) {
	if header == "" {
		return "", "", Refused("Authorization required")
	}
	fields := strings.Fields(header)
	if len(fields) != 2 {
		return "", "", Malformed("Could not parse Authorization header")
	}
	if !strings.EqualFold(fields[0], "basic") {
		return "", "", Malformed(fmt.Sprintf("Unsupported authorization type %q", fields[0][:min(len(fields[0]), 32)]))
	}
	pair, err := base64.StdEncoding.DecodeString(fields[1])
	if err != nil {
		return "", "", Malformed("Could not decode authorization token")
	}
	user, password, found := strings.Cut(string(pair), ":")
	if !found || user == "" || !utf8.ValidString(user) || len(user) > maxCredential || len(password) > maxCredential {
		return "", "", Malformed("Could not decode authorization token")
	}
	return user, password, nil
}
