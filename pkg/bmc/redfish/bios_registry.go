package redfish

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

const (
	// maxAttributes bounds the attributes of a BIOS and of its registry. Dell's
	// have 455 and 682.
	maxAttributes = 8192
	// maxValues bounds the values of one enumeration.
	maxValues = 512
	// maxRegistries bounds what an Endpoint keeps: its systems share one, and an
	// update of the BIOS brings another.
	maxRegistries = 4
	// maxName bounds names and values of attributes; longer ones read as absent.
	maxName = 1024
)

// attributes are those of a Bios resource (DSP0268 Bios.Attributes): string,
// int64 and bool by name; nil for null, which is how passwords read.
type attributes map[string]any

// UnmarshalJSON keeps numbers exact: a float64 would spoil integers from 2⁵³ on,
// and what is no integer stays as it is written. Lists and objects are no
// values of attributes and read as absent.
func (a *attributes) UnmarshalJSON(b []byte) error {
	*a = attributes{}
	var raw map[string]json.RawMessage
	if json.Unmarshal(b, &raw) != nil {
		return nil // of a wrong type: absent
	}
	names := slices.Sorted(maps.Keys(raw))
	for _, name := range names[:min(len(names), maxAttributes)] {
		if v, ok := attributeValue(raw[name]); ok && len(name) <= maxName {
			(*a)[name] = v
		}
	}
	return nil
}

func attributeValue(b []byte) (any, bool) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil, false
	}
	switch v := v.(type) {
	case json.Number:
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return n, true
		}
		return v.String(), len(v) <= maxName
	case string:
		return v, len(v) <= maxName
	case bool, nil:
		return v, true
	}
	return nil, false
}

// registry is what is known of attributes by name.
type registry map[string]bmc.BIOSAttribute

// registryFile is a member of the Registries collection (DSP0268
// MessageRegistryFile); some BMCs put the registry itself there.
type registryFile struct {
	Location list[struct {
		Language text `json:"Language"`
		URI      text `json:"Uri"`
	}] `json:"Location"`
	registryDocument
}

// registryDocument is DSP0268 AttributeRegistry.
type registryDocument struct {
	Entries *struct {
		Attributes registryEntries `json:"Attributes"`
	} `json:"RegistryEntries"`
}

type registryEntry struct {
	Name   text `json:"AttributeName"`
	Type   text `json:"Type"`
	Values list[struct {
		Name text `json:"ValueName"`
	}] `json:"Value"`
	Lower     text `json:"LowerBound"`
	Upper     text `json:"UpperBound"`
	MinLength text `json:"MinLength"`
	MaxLength text `json:"MaxLength"`
	ReadOnly  text `json:"ReadOnly"`
	Immutable text `json:"Immutable"`
	Reset     text `json:"ResetRequired"`
	Hidden    text `json:"Hidden"`
	Display   text `json:"DisplayName"`
}

// registryEntries is like list, but longer.
type registryEntries []registryEntry

func (l *registryEntries) UnmarshalJSON(b []byte) error {
	*l = nil
	var raw []json.RawMessage
	if json.Unmarshal(b, &raw) != nil {
		return nil
	}
	for _, r := range raw[:min(len(raw), maxAttributes)] {
		var e registryEntry
		if lenient(json.Unmarshal(r, &e)) == nil && e.Name != "" && len(e.Name) <= maxName {
			*l = append(*l, e)
		}
	}
	return nil
}

// registry makes one of the document, nil if it is none. DSP0268 has no default
// for ResetRequired: an attribute that does not say waits for a reset.
func (d registryDocument) registry() registry {
	if d.Entries == nil {
		return nil
	}
	r := make(registry, len(d.Entries.Attributes))
	for _, e := range d.Entries.Attributes {
		a := bmc.BIOSAttribute{
			Type:       string(e.Type),
			LowerBound: whole(e.Lower), UpperBound: whole(e.Upper),
			MinLength: whole(e.MinLength), MaxLength: whole(e.MaxLength),
			ReadOnly:    e.ReadOnly == "true" || e.Immutable == "true",
			NeedsReset:  e.Reset != "false",
			Hidden:      e.Hidden == "true",
			DisplayName: clean(e.Display),
		}
		for _, v := range e.Values[:min(len(e.Values), maxValues)] {
			if v.Name != "" && len(v.Name) <= maxName {
				a.Values = append(a.Values, string(v.Name))
			}
		}
		r[string(e.Name)] = a
	}
	return r
}

// whole is an integer, nil if t is none.
func whole(t text) *int64 {
	n, err := strconv.ParseInt(string(t), 10, 64)
	if err != nil {
		return nil
	}
	return &n
}

// registryKeep is how long registries are kept: through a change of settings and
// its second look. Kept for good, those of 10,000 BMCs would take 1.6 GB.
const registryKeep = 2 * time.Minute

// registryCache keeps the registries of a BMC for a while: the systems behind it
// share them, and one is most of a megabyte to fetch. The zero value is empty.
type registryCache struct {
	mu   sync.Mutex
	kept map[string]registry
}

func (c *registryCache) load(key string) (registry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.kept[key]
	return r, ok
}

func (c *registryCache) store(key string, r registry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.kept) >= maxRegistries {
		c.kept = nil
	}
	if c.kept == nil {
		c.kept = map[string]registry{}
		time.AfterFunc(registryKeep, c.drop)
	}
	c.kept[key] = r
}

func (c *registryCache) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept = nil
}

// registry reads the attribute registry that a Bios resource names, or finds it
// by its name where the resource names none (NVIDIA's OpenBMC). nil without an
// error: the BMC has none. version is the BIOS's: Dell keeps the id when the
// content changes.
func (e *Endpoint) registry(ctx context.Context, id, version string) (registry, error) {
	key := id + " " + version
	if r, ok := e.bios.load(key); ok {
		return r, nil
	}
	r, err := e.fetchRegistry(ctx, id)
	if err != nil {
		switch bmc.ClassOf(err) {
		case bmc.Unsupported, bmc.Protocol, bmc.Forbidden, bmc.BadRequest:
			e.log.WarnContext(ctx, "no attribute registry", "op", "read BIOS", "registry", clip(id), "error", err)
			r = nil
		default:
			return nil, err
		}
	}
	e.bios.store(key, r)
	return r, nil
}

func (e *Endpoint) fetchRegistry(ctx context.Context, id string) (registry, error) {
	const op = "read attribute registry"
	uri := id
	if !strings.HasPrefix(id, "/") {
		var err error
		if uri, err = e.findRegistry(ctx, op, id); err != nil || uri == "" {
			return nil, err
		}
	}
	var file registryFile
	if err := e.getRegistry(ctx, op, uri, &file); err != nil {
		return nil, err
	}
	if r := file.registry(); r != nil {
		return r, nil
	}
	at := ""
	for _, l := range file.Location {
		english := strings.HasPrefix(strings.ToLower(string(l.Language)), "en")
		if l.URI != "" && (at == "" || english) {
			at = string(l.URI)
			if english {
				break
			}
		}
	}
	if at == "" {
		return nil, nil
	}
	var doc registryDocument
	if err := e.getRegistry(ctx, op, at, &doc); err != nil {
		return nil, err
	}
	return doc.registry(), nil
}

// findRegistry names the member of the Registries collection that is meant by
// id: the one of that name, else of the same name in another version, else, for
// no id, the first for a BIOS.
func (e *Endpoint) findRegistry(ctx context.Context, op, id string) (string, error) {
	root, err := e.serviceRoot(ctx)
	if err != nil {
		return "", err
	}
	var all collection
	if _, err := e.get(ctx, op, cmp.Or(string(root.Registries), rootURI+"Registries"), &all); err != nil {
		return "", err
	}
	similar := ""
	for _, m := range all.Members {
		name := path.Base(strings.TrimRight(string(m), "/"))
		switch {
		case id != "" && strings.EqualFold(name, id):
			return string(m), nil
		case similar != "":
		case id == "" && strings.HasPrefix(strings.ToLower(name), "biosattributeregistry"),
			id != "" && strings.EqualFold(unversioned(name), unversioned(id)):
			similar = string(m)
		}
	}
	return similar, nil
}

// unversioned cuts the version off: BiosAttributeRegistry.v1_0_3.
func unversioned(id string) string {
	name, _, _ := strings.Cut(id, ".")
	return name
}

// getRegistry reads a document that may come compressed: HPE's store keeps them
// so, whatever was asked for.
func (e *Endpoint) getRegistry(ctx context.Context, op, uri string, out any) error {
	a, err := e.do(ctx, call{op: op, method: "GET", uri: uri})
	if err != nil {
		return err
	}
	body, err := gunzip(a.body)
	if err != nil {
		return &bmc.Error{Class: bmc.Protocol, Op: op, Detail: "the registry does not decompress", Err: err}
	}
	return decode(op, body, out)
}

// gunzip decompresses what is compressed, up to maxBody.
func gunzip(b []byte) ([]byte, error) {
	if !bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
		return b, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(z, maxBody+1))
	if err == nil && len(out) > maxBody {
		err = errors.New("it is longer than 16 MiB")
	}
	return out, err
}
