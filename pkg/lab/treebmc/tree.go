package treebmc

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Mockup opens one of the recorded trees, which lie outside of the repository:
// in the folder that INGOT_MOCKUPS names, or in shared/redfish-mockups beside a
// folder above. The error says so where there are none, for a test to skip with.
func Mockup(set string) (fs.FS, error) {
	root := os.Getenv("INGOT_MOCKUPS")
	if root == "" {
		dir, err := os.Getwd()
		if err != nil {
			return nil, err
		}
		for root == "" {
			if beside := filepath.Join(dir, "shared", "redfish-mockups"); isDir(beside) {
				root = beside
			} else if up := filepath.Dir(dir); up != dir {
				dir = up
			} else {
				return nil, errors.New("no recorded trees: set INGOT_MOCKUPS to the folder of redfish-mockups")
			}
		}
	}
	dir := filepath.Join(root, set)
	if !isDir(dir) {
		return nil, fmt.Errorf("no recorded tree %s", dir)
	}
	return os.DirFS(dir), nil
}

func isDir(p string) bool {
	info, err := os.Stat(p)
	return err == nil && info.IsDir()
}

const rootKey = "/redfish/v1"

// key of a URI: BMCs, HPE's above all, write their own links in several cases,
// with and without a slash at the end.
func key(uri string) string {
	uri, _, _ = strings.Cut(uri, "#")
	uri, _, _ = strings.Cut(uri, "?")
	return strings.ToLower(strings.TrimRight(uri, "/"))
}

// index finds the resources of a tree.
func index(tree fs.FS) (map[string]string, error) {
	prefix := "/"
	if _, err := fs.Stat(tree, "redfish/v1/index.json"); err != nil {
		if _, err := fs.Stat(tree, "index.json"); err != nil {
			return nil, errors.New("treebmc: the tree has no redfish/v1/index.json")
		}
		prefix = rootKey + "/"
	}
	files := map[string]string{}
	err := fs.WalkDir(tree, ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() == "index.json" {
			files[key(path.Clean(prefix+path.Dir(p)))] = p
		}
		return err
	})
	return files, err
}

// doc is the resource at a key, as it is now, or nil.
func (s *Server) doc(k string) obj {
	if doc, ok := s.docs[k]; ok {
		return doc
	}
	file, ok := s.files[k]
	if !ok {
		return nil
	}
	doc := s.recorded(file)
	if doc == nil {
		return nil
	}
	s.docs[k] = doc
	s.shape(k, doc)
	return doc
}

func (s *Server) recorded(file string) obj {
	data, err := fs.ReadFile(s.tree, file)
	if err != nil {
		return nil
	}
	var doc obj
	if json.Unmarshal(data, &doc) != nil {
		return nil
	}
	return doc
}

// at is the resource that a link leads to, with its key.
func (s *Server) at(link any) (string, obj) {
	k := key(ref(link))
	if k == "" {
		return "", nil
	}
	return k, s.doc(k)
}

// touch gives a resource that was changed a new ETag.
func (s *Server) touch(k string) {
	s.revision[k]++
	if doc := s.docs[k]; doc["@odata.etag"] != nil {
		doc["@odata.etag"] = s.etag(k)
	}
}

// etag is the recorded one until the resource is changed.
func (s *Server) etag(k string) string {
	doc := s.doc(k)
	if tag, ok := doc["@odata.etag"].(string); ok && s.revision[k] == 0 {
		return tag
	}
	h := fnv.New32a()
	_, _ = fmt.Fprintf(h, "%s %d", k, s.revision[k])
	return fmt.Sprintf(`W/"%08x"`, h.Sum32())
}

// add puts a resource into a collection, under a new id.
func (s *Server) add(collection string, doc obj) string {
	all := s.doc(collection)
	s.serial++
	id := fmt.Sprintf("ingot%d", s.serial)
	uri := strings.TrimRight(str(all["@odata.id"]), "/") + "/" + id
	doc["@odata.id"], doc["Id"] = uri, id
	s.docs[key(uri)] = doc
	members, _ := all["Members"].([]any)
	all["Members"] = append(members, obj{"@odata.id": uri})
	s.count(collection)
	return uri
}

// drop takes a resource out of its collection.
func (s *Server) drop(k string) {
	collection := path.Dir(k)
	all := s.doc(collection)
	var kept []any
	for _, m := range members(all) {
		if key(ref(m)) != k {
			kept = append(kept, m)
		}
	}
	all["Members"] = kept
	if kept == nil {
		all["Members"] = []any{}
	}
	s.count(collection)
	delete(s.docs, k)
	delete(s.files, k)
}

func (s *Server) count(collection string) {
	all := s.docs[collection]
	all["Members@odata.count"] = len(members(all))
	s.touch(collection)
}

func members(collection obj) []any {
	all, _ := collection["Members"].([]any)
	return all
}

// ref is the target of a link.
func ref(link any) string {
	if o, ok := link.(obj); ok {
		return str(o["@odata.id"])
	}
	return str(link)
}

func str(v any) string {
	s, _ := v.(string)
	return s
}

func sub(doc obj, name string) obj {
	o, _ := doc[name].(obj)
	return o
}

// words are the strings in a list.
func words(v any) []string {
	list, _ := v.([]any)
	var out []string
	for _, e := range list {
		if s, ok := e.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// kind reports whether a resource is of a schema: "#VirtualMedia.v1_3_0.…".
func kind(doc obj, schema string) bool {
	return strings.HasPrefix(str(doc["@odata.type"]), "#"+schema+".")
}

func clone(o obj) obj {
	if o == nil {
		return nil
	}
	out := make(obj, len(o))
	for k, v := range o {
		out[k] = copied(v)
	}
	return out
}

func copied(v any) any {
	switch v := v.(type) {
	case obj:
		return clone(v)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = copied(e)
		}
		return out
	}
	return v
}
