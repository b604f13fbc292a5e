package auth

import (
	"bytes"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

func hashOf(t testing.TB, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(string(hash), "$2a$", "$2y$", 1) // as Apache's htpasswd writes it
}

type basicTest struct {
	*testing.T
	b     *Basic
	clock *clock
	path  string
	log   *bytes.Buffer
}

func newBasicTest(t *testing.T, lines ...string) *basicTest {
	t.Helper()
	s := &basicTest{T: t, clock: newClock(), path: filepath.Join(t.TempDir(), "htpasswd"), log: &bytes.Buffer{}}
	s.write(lines...)
	var err error
	if s.b, err = NewBasic(s.path, s.clock.now, slog.New(slog.NewTextHandler(s.log, nil))); err != nil {
		t.Fatal(err)
	}
	return s
}

// write replaces the file, as editors and Kubernetes do.
func (s *basicTest) write(lines ...string) {
	s.Helper()
	if err := os.WriteFile(s.path+".new", []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		s.Fatal(err)
	}
	if err := os.Rename(s.path+".new", s.path); err != nil {
		s.Fatal(err)
	}
}

func (s *basicTest) try(user, password, from string) error {
	r := &http.Request{Header: http.Header{}, RemoteAddr: from + ":1"}
	r.SetBasicAuth(user, password)
	got, err := s.b.User(r)
	if err == nil && got != user {
		s.Errorf("%s is taken for %s", user, got)
	}
	return err
}

func (s *basicTest) is(user, password string, want error) {
	s.Helper()
	if err := s.try(user, password, "10.0.0.1"); !errors.Is(err, want) {
		s.Errorf("%s with %s: %v, want %v", user, password, err, want)
	}
}

const wrong = Refused("Incorrect username or password")

func TestBasic(t *testing.T) {
	s := newBasicTest(t, "# people", "ada:"+hashOf(t, "p:w"), "", "bob:"+hashOf(t, "secret"))
	s.is("ada", "p:w", nil)
	s.is("ada", "p:w", nil)
	s.is("bob", "secret", nil)
	s.is("ada", "secret", wrong)
	s.is("ad", "p:w", wrong)
	s.is("", "", Malformed("Could not decode authorization token"))
	if text := s.log.String(); strings.Contains(text, "p:w") || strings.Contains(text, "$2") {
		t.Errorf("a secret is in the log: %s", text)
	}
}

func TestBasicFileChanges(t *testing.T) {
	s := newBasicTest(t, "ada:"+hashOf(t, "one"), "bob:"+hashOf(t, "b"))
	s.is("ada", "one", nil)
	s.is("bob", "b", nil)
	s.write("ada:" + hashOf(t, "two"))
	s.clock.pass(lookEvery)
	s.is("ada", "one", wrong) // although it was right a moment ago
	s.is("ada", "two", nil)
	s.is("bob", "b", wrong)
	// A line that cannot be taken takes none of the others with it.
	s.write("ada:"+hashOf(t, "two"), "eve:plain")
	s.clock.pass(lookEvery)
	s.is("ada", "two", nil)
	s.is("eve", "plain", wrong)
	if err := os.Remove(s.path); err != nil {
		t.Fatal(err)
	}
	s.clock.pass(lookEvery)
	s.is("ada", "two", ErrNoPassword)
	s.write("ada:" + hashOf(t, "three"))
	s.clock.pass(lookEvery)
	s.is("ada", "three", nil)
}

func TestBasicBoundsAttempts(t *testing.T) {
	s := newBasicTest(t, "ada:"+hashOf(t, "right"), "bob:"+hashOf(t, "b"))
	s.is("ada", "right", nil)
	for range freeFailures {
		s.is("ada", "guess", wrong)
	}
	s.is("ada", "guess", ErrTooMany)
	s.is("bob", "b", ErrTooMany) // not even the right one, from there
	s.is("ada", "right", nil)    // but what was right before
	if err := s.try("bob", "b", "10.0.0.2"); err != nil {
		t.Errorf("another address: %v", err)
	}
	s.clock.pass(failureEvery)
	s.is("ada", "guess", wrong)
	s.is("ada", "guess", ErrTooMany)
	s.clock.pass(time.Minute)
	for i := range 2 * maxAddresses {
		s.b.failed(string(rune(i)))
	}
	if n := len(s.b.failures); n > maxAddresses {
		t.Errorf("%d addresses are remembered", n)
	}
}

func TestBasicStrangersTakeAsLong(t *testing.T) {
	s := newBasicTest(t, "ada:"+hashOf(t, "x"))
	cost, err := bcrypt.Cost(s.b.nobody)
	if err != nil || cost != bcrypt.MinCost {
		t.Errorf("strangers are compared at cost %d, %v", cost, err)
	}
}

func TestHtpasswdThatIsRefused(t *testing.T) {
	for name, line := range map[string]string{
		"MD5":       "ada:$apr1$x$y",
		"plain":     "ada:secret",
		"no hash":   "ada",
		"no user":   ":" + hashOf(t, "x"),
		"twice":     "ada:" + hashOf(t, "x") + "\nada:" + hashOf(t, "y"),
		"expensive": "ada:$2y$20$" + strings.Repeat("a", 53),
	} {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := NewBasic(path, time.Now, slog.New(slog.DiscardHandler)); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewBasic(filepath.Join(t.TempDir(), "none"), time.Now, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a file that is not there was read")
	}
}

func TestRecallIsBounded(t *testing.T) {
	c := newClock()
	r := newRecall[int](10, c.now)
	for i := range 100 {
		r.put(r.id(string(rune(i))), i, c.now().Add(time.Minute))
	}
	if len(r.all) != 10 {
		t.Errorf("%d are remembered", len(r.all))
	}
	if _, ok := r.get(r.id(string(rune(99)))); !ok {
		t.Error("the last is forgotten")
	}
	if r.id("ab", "c") == r.id("a", "bc") {
		t.Error("two lists are one")
	}
	c.pass(time.Minute)
	if _, ok := r.get(r.id(string(rune(99)))); ok {
		t.Error("what is over is remembered")
	}
}

func FuzzBasicHeader(f *testing.F) {
	for _, s := range []string{"", "Basic", "Basic YTpi", "basic  YTpi ", "Bearer x", "Basic !!", "Basic " + base64.StdEncoding.EncodeToString([]byte("\xff:x")), "Basic YQ=="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		user, password, err := parseBasic(header)
		var malformed Malformed
		var refused Refused
		switch {
		case err == nil && (user == "" || len(user) > maxCredential || len(password) > maxCredential || strings.Contains(user, ":")):
			t.Errorf("%q %q", user, password)
		case err != nil && !errors.As(err, &malformed) && !errors.As(err, &refused):
			t.Error(err)
		}
	})
}

func FuzzHtpasswd(f *testing.F) {
	f.Add([]byte("ada:" + hashOf(f, "x") + "\n#\n\nbob:$apr1$\n"))
	f.Add([]byte("a:$2y$31$"))
	f.Fuzz(func(t *testing.T, text []byte) {
		users, _ := parseHtpasswd(text)
		for user, hash := range users {
			if cost, err := bcrypt.Cost(hash); user == "" || err != nil || cost > maxCost {
				t.Errorf("%q %q", user, hash)
			}
		}
	})
}
