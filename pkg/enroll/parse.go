package enroll

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Limits of a list.
const (
	MaxBytes = 16 << 20
	MaxLines = 100_000
	// maxProblems bounds what is reported: a file of another kind is all problems.
	maxProblems = 1000
)

// Options of Parse.
type Options struct {
	// Namespace of what has none.
	Namespace string
	// Address checks a BMC address and returns its full form, by which two hosts
	// with one BMC are found.
	Address func(string) (string, error)
}

// Object is one object of the list: a BareMetalHost, a Secret, or what goes with a
// host, with the fields that the list gives and no others.
type Object struct {
	*unstructured.Unstructured
	Line int // where it begins in the file
	// Manager owns the fields; empty: FieldManager.
	Manager string
	// Once: it is made if it is not there, and otherwise left as it is.
	Once bool
	// Host is the BareMetalHost of the same namespace that it goes with, for what is
	// made Once; empty: none.
	Host string
}

// Set is what a list holds: the objects that are good, Secrets first, and what is
// wrong with the others.
type Set struct {
	Objects  []Object
	Problems Problems
}

// Hosts counts the BareMetalHosts.
func (s Set) Hosts() int {
	n := 0
	for _, o := range s.Objects {
		if o.GetKind() == kindHost {
			n++
		}
	}
	return n
}

// Parse reads a list. The name's ending says what it is: .csv, .yaml, .yml or
// .json. The error is for a file that cannot be read at all.
func Parse(name string, r io.Reader, o Options) (Set, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return Set{}, fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > MaxBytes {
		return Set{}, fmt.Errorf("%s is larger than %d MiB: split it", name, MaxBytes>>20)
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // a spreadsheet's byte order mark
	if n := bytes.Count(data, []byte("\n")); n > MaxLines {
		return Set{}, fmt.Errorf("%s has %d lines, more than %d: split it", name, n, MaxLines)
	}
	b := newBuilder(o)
	switch ext := strings.ToLower(filepath.Ext(name)); ext {
	case ".csv":
		b.readCSV(data)
	case ".yaml", ".yml", ".json":
		b.readYAML(data)
	default:
		return Set{}, fmt.Errorf("%s: the name must end in .csv, .yaml, .yml or .json", name)
	}
	set := b.finish()
	if len(set.Objects) == 0 && len(set.Problems) == 0 {
		return set, errors.New(name + " lists no host")
	}
	return set, nil
}
