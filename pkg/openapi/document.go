package openapi

import (
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ingot-metal/ingot/api/ironic"
)

// MinVersion is OpenStack's own extension for the microversion that brought something.
const MinVersion = "x-openstack-min-ver"

// Route is one method of one path.
type Route struct {
	Method string
	Path   string // with {names}
	Since  ironic.Version
	Action string // of the policy; empty: public
}

// Kind is a resource.
type Kind struct {
	Name   string // port
	Plural string // ports: the last word of its collections' paths, and the key of its lists
	Fields []Field
	// Filters are the parameters of its lists, beside those of all lists.
	Filters []Filter
	Go      reflect.Type // a struct with the fields' types; nil: Field.Types says them
}

// Filter is a parameter of a list.
type Filter struct {
	Name  string
	Since ironic.Version
}

// Field is one of a kind.
type Field struct {
	Name   string
	Since  ironic.Version
	Create bool     // it may be given to a new one
	Shown  bool     // it is only ever shown
	Types  []string // of JSON; none: any
}

// members is a JSON object of the document.
type members = map[string]any

// book is what a document is made of.
type book struct{ kinds []Kind }

// Document is the whole of it.
func Document(routes []Route, kinds []Kind) map[string]any {
	b := book{kinds}
	paths := members{}
	for _, r := range routes {
		item, ok := paths[r.Path].(members)
		if !ok {
			item = members{}
			for _, name := range parametersOf(r.Path) {
				item["parameters"] = append(list(item["parameters"]), members{
					"name": name, "in": "path", "required": true, "schema": text(),
				})
			}
			paths[r.Path] = item
		}
		item[strings.ToLower(r.Method)] = b.operation(r)
	}
	schemas := fixedSchemas()
	for _, k := range kinds {
		schemas[schemaName(k.Name)] = k.schema()
		schemas[schemaName(k.Name)+"Create"] = k.createSchema()
	}
	return members{
		"openapi": "3.1.0",
		"info": members{
			"title":       "ingot's Ironic-compatible REST API",
			"version":     ironic.MaxVersion.String(),
			"summary":     "Bare-metal hosts as nodes: the same that kubectl shows as BareMetalHosts.",
			"description": "Microversions " + ironic.MinVersion.String() + " to " + ironic.MaxVersion.String() + ". What is marked " + MinVersion + " came with that microversion: below it a field is neither shown nor taken, and an endpoint is not there. Paths without /v1 and with a slash at the end reach the same.",
			"license":     members{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"servers": []any{members{"url": "/"}},
		"paths":   paths,
		"components": members{
			"schemas":         schemas,
			"parameters":      members{"Version": versionParameter()},
			"responses":       members{"Fault": faultResponse()},
			"securitySchemes": securitySchemes(),
		},
		// Which of them holds is a matter of --rest-auth; the last is noauth.
		"security": []any{members{"keystone": []any{}}, members{"kubernetes": []any{}}, members{"basic": []any{}}, members{}},
	}
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

func parametersOf(path string) []string {
	var names []string
	for _, segment := range strings.Split(path, "/") {
		if name, ok := strings.CutPrefix(segment, "{"); ok {
			names = append(names, strings.TrimSuffix(name, "}"))
		}
	}
	return names
}

// about finds the kind that a path is about, and whether it is all of them.
func (b book) about(path string) (k *Kind, collection, detail bool) {
	segments := strings.Split(strings.Trim(path, "/"), "/")
	last := len(segments) - 1
	if last > 0 && segments[last] == "detail" {
		detail, last = true, last-1
	}
	collection = true
	if strings.HasPrefix(segments[last], "{") && last > 0 {
		collection, last = false, last-1
	}
	for i, k := range b.kinds {
		if k.Plural == segments[last] {
			return &b.kinds[i], collection, detail
		}
	}
	return nil, false, false
}

func (b book) operation(r Route) members {
	op := members{
		"operationId": operationID(r.Method, r.Path),
		"tags":        []any{tag(r.Path)},
		"responses":   members{"default": members{"$ref": "#/components/responses/Fault"}},
		"parameters":  []any{members{"$ref": "#/components/parameters/Version"}},
	}
	if r.Since > 0 {
		op[MinVersion] = r.Since.String()
	}
	if r.Action == "" {
		op["security"] = []any{}
	} else {
		op["x-ingot-policy"] = r.Action
	}
	is := b.bodyOf(r)
	if is.says != "" {
		op["summary"] = is.says
	}
	if is.takes != nil {
		op["requestBody"] = members{"required": !is.mayBeEmpty, "content": members{"application/json": members{"schema": is.takes}}}
	}
	for _, p := range b.queryOf(r) {
		op["parameters"] = append(list(op["parameters"]), p)
	}
	answer := members{"description": http.StatusText(is.status)}
	if is.answers != nil {
		answer["content"] = members{"application/json": members{"schema": is.answers}}
	}
	if is.status == http.StatusCreated {
		answer["headers"] = members{"Location": members{"schema": members{"type": "string", "format": "uri"}}}
	}
	status := "2XX"
	if is.status > 0 {
		status = strconv.Itoa(is.status)
	} else {
		answer["description"] = "200 with the method's answer, or 202 where it goes on by itself"
	}
	op["responses"].(members)[status] = answer
	return op
}

// operationID is the method and the path in one word.
func operationID(method, path string) string {
	id := strings.ToLower(method)
	for _, segment := range strings.FieldsFunc(path, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		id += upper(segment)
	}
	return id
}

func upper(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}

// schemaName is a kind's name in one word: volume connector is VolumeConnector.
func schemaName(name string) string {
	var b strings.Builder
	for _, word := range strings.FieldsFunc(name, func(r rune) bool { return r == ' ' || r == '_' }) {
		b.WriteString(upper(word))
	}
	return b.String()
}

func tag(path string) string {
	segments := strings.Split(strings.Trim(path, "/"), "/")
	if len(segments) < 2 {
		return "discovery"
	}
	return segments[1]
}

// schema is a kind as JSON Schema.
func (k Kind) schema() members {
	properties := members{"links": ref("Links")}
	for _, f := range k.Fields {
		p := f.schema(k)
		if f.Shown {
			p["readOnly"] = true
		}
		properties[f.Name] = p
	}
	return object(properties)
}

// createSchema is what a client may say of a new one.
func (k Kind) createSchema() members {
	properties := members{}
	for _, f := range k.Fields {
		if f.Create {
			properties[f.Name] = f.schema(k)
		}
	}
	s := object(properties)
	s["additionalProperties"] = false
	return s
}

func (f Field) schema(k Kind) members {
	s := members{}
	switch t, found := f.goType(k); {
	case found:
		s = schemaOf(t)
	case len(f.Types) == 1:
		s["type"] = f.Types[0]
	case len(f.Types) > 1:
		types := make([]any, len(f.Types))
		for i, t := range f.Types {
			types[i] = t
		}
		s["type"] = types
	}
	if strings.HasSuffix(f.Name, "_at") && f.Shown {
		s = members{"type": []any{"string", "null"}, "format": "date-time"}
	}
	if f.Since > 0 {
		s[MinVersion] = f.Since.String()
	}
	return s
}

func (f Field) goType(k Kind) (reflect.Type, bool) {
	if k.Go == nil {
		return nil, false
	}
	for i := range k.Go.NumField() {
		if name, _, _ := strings.Cut(k.Go.Field(i).Tag.Get("json"), ","); name == f.Name {
			return k.Go.Field(i).Type, true
		}
	}
	return nil, false
}

// schemaOf is a Go type as JSON Schema.
func schemaOf(t reflect.Type) members {
	switch t.Kind() {
	case reflect.Pointer:
		s := schemaOf(t.Elem())
		if name, ok := s["type"].(string); ok {
			s["type"] = []any{name, "null"}
		}
		return s
	case reflect.String:
		return members{"type": "string"}
	case reflect.Bool:
		return members{"type": "boolean"}
	case reflect.Slice:
		return members{"type": []any{"array", "null"}, "items": schemaOf(t.Elem())}
	case reflect.Map:
		return members{"type": []any{"object", "null"}}
	}
	return members{}
}
