package auth

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"
)

// Limits of a password file. A cost of 14 takes a second of one core.
const (
	maxHtpasswd = 1 << 20
	maxCost     = 14
)

// parseHtpasswd reads Apache's format, in which bcrypt alone is taken, as Ironic
// does. Lines that it cannot take are left out, and told of.
func parseHtpasswd(text []byte) (map[string][]byte, error) {
	users, errs := map[string][]byte{}, []error{}
	for i, line := range bytes.Split(text, []byte("\n")) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		user, hash, found := strings.Cut(string(line), ":")
		cost, err := bcrypt.Cost([]byte(hash))
		switch {
		case !found || user == "" || !utf8.ValidString(user):
			err = errors.New("want user:hash")
		case users[user] != nil:
			err = fmt.Errorf("%q is there twice", user)
		case err != nil || !strings.HasPrefix(hash, "$2y$") && !strings.HasPrefix(hash, "$2a$") && !strings.HasPrefix(hash, "$2b$"):
			err = fmt.Errorf("%q has no bcrypt hash (make it with htpasswd -B)", user)
		case cost > maxCost:
			err = fmt.Errorf("%q has a bcrypt cost of %d: at most %d is taken", user, cost, maxCost)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", i+1, err))
			continue
		}
		users[user] = []byte(hash)
	}
	return users, errors.Join(errs...)
}

// readSmall reads a file whose size is bounded.
func readSmall(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return text, err
}

// changed reports whether a file is another than was seen before, or a later version
// of it.
func changed(was, is os.FileInfo) bool {
	return was == nil || !os.SameFile(was, is) || was.Size() != is.Size() || !was.ModTime().Equal(is.ModTime())
}
