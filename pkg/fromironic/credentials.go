package fromironic

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// maxCredentials bounds the file of credentials.
const maxCredentials = 16 << 20

// Credential is a BMC's.
type Credential struct{ Username, Password string }

// Credentials by the name or the UUID of a node.
type Credentials map[string]Credential

// ReadCredentials reads CSV with the columns name, username and password, in any
// order. A name is a node's name or UUID. Errors never show a password.
func ReadCredentials(r io.Reader) (Credentials, error) {
	text := &io.LimitedReader{R: r, N: maxCredentials + 1}
	in := csv.NewReader(text)
	header, err := in.Read()
	if err != nil {
		return nil, fmt.Errorf("the first line has to name the columns name,username,password: %w", lineOf(err))
	}
	at := map[string]int{}
	for i, column := range header {
		column = strings.ToLower(strings.TrimSpace(column))
		if !slices.Contains([]string{"name", "username", "password"}, column) {
			return nil, errors.New("line 1: the columns are name, username and password")
		}
		at[column] = i
	}
	if len(at) != 3 || len(header) != 3 {
		return nil, errors.New("line 1: the columns are name, username and password, each once")
	}
	all := Credentials{}
	for {
		fields, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, lineOf(err)
		}
		line, _ := in.FieldPos(0)
		name := strings.TrimSpace(fields[at["name"]])
		c := Credential{Username: strings.TrimSpace(fields[at["username"]]), Password: fields[at["password"]]}
		if name == "" || c.Username == "" || c.Password == "" {
			return nil, fmt.Errorf("line %d: name, username and password are all needed", line)
		}
		if isUUID(strings.ToLower(name)) {
			name = strings.ToLower(name)
		}
		if _, twice := all[name]; twice {
			return nil, fmt.Errorf("line %d: %s is there twice", line, clip(name))
		}
		all[name] = c
	}
	if text.N <= 0 {
		return nil, fmt.Errorf("the file is larger than %d MiB", maxCredentials>>20)
	}
	return all, nil
}

// lineOf keeps of an error what shows nothing of the line.
func lineOf(err error) error {
	var bad *csv.ParseError
	if errors.As(err, &bad) {
		return fmt.Errorf("line %d: %w", bad.Line, bad.Err)
	}
	return err
}

// of finds the credentials of a node.
func (c Credentials) of(n *Node) (Credential, bool) {
	if found, ok := c[n.UUID]; ok {
		return found, true
	}
	if n.Name != nil {
		found, ok := c[*n.Name]
		return found, ok
	}
	return Credential{}, false
}
