// Package table makes the reference page of the quirks from their data and from
// the tests that name them.
package table

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// Constants reads the names of the constants: "MediaPatch" → "vmedia-patch".
func Constants(source string) (map[string]quirk.Name, error) {
	file, err := parser.ParseFile(token.NewFileSet(), source, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	out := map[string]quirk.Name{}
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		for _, spec := range group.Specs {
			value, ok := spec.(*ast.ValueSpec)
			if !ok || len(value.Values) != 1 {
				continue
			}
			if kind, ok := value.Type.(*ast.Ident); !ok || kind.Name != "Name" {
				continue
			}
			literal, ok := value.Values[0].(*ast.BasicLit)
			if !ok {
				return nil, fmt.Errorf("%s: %s is no literal", source, value.Names[0].Name)
			}
			name, err := strconv.Unquote(literal.Value)
			if err != nil {
				return nil, err
			}
			out[value.Names[0].Name] = quirk.Name(name)
		}
	}
	return out, nil
}

// mention is a quirk named in a test, in code or in a comment.
var mention = regexp.MustCompile(`\bquirk\.([A-Z]\w*)`)

// Tests finds the tests below pkg that name a quirk: "redfish.TestQuirkMedia".
// The tests of the simulator's own halves (pkg/lab/treebmc) prove nothing of the
// driver and are left out.
func Tests(pkg string, constants map[string]quirk.Name) (map[quirk.Name][]string, error) {
	found := map[quirk.Name]map[string]bool{}
	for _, root := range []string{"bmc", "lab"} {
		err := filepath.WalkDir(filepath.Join(pkg, root), func(p string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && (d.Name() == "treebmc" || d.Name() == "testdata"):
				return fs.SkipDir
			case d.IsDir() || !strings.HasSuffix(p, "_test.go"):
				return nil
			}
			return scan(p, constants, found)
		})
		if err != nil {
			return nil, err
		}
	}
	out := map[quirk.Name][]string{}
	for name, tests := range found {
		out[name] = slices.Sorted(maps.Keys(tests))
	}
	return out, nil
}

func scan(file string, constants map[string]quirk.Name, found map[quirk.Name]map[string]bool) error {
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	room := path.Base(filepath.ToSlash(filepath.Dir(file)))
	add := func(text, test string) {
		for _, m := range mention.FindAllStringSubmatch(text, -1) {
			name, ok := constants[m[1]]
			if !ok {
				continue
			}
			if found[name] == nil {
				found[name] = map[string]bool{}
			}
			found[name][room+"."+test] = true
		}
	}
	for _, decl := range parsed.Decls {
		test, ok := decl.(*ast.FuncDecl)
		if !ok || !strings.HasPrefix(test.Name.Name, "Test") {
			continue
		}
		ast.Inspect(test, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok {
					add(x.Name+"."+s.Sel.Name, test.Name.Name)
				}
			}
			return true
		})
		for _, group := range parsed.Comments {
			if group == test.Doc || group.Pos() >= test.Pos() && group.End() <= test.End() {
				add(group.Text(), test.Name.Name)
			}
		}
	}
	return nil
}
