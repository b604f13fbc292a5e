package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/printers"
)

// output is the flag -o of verbs that print objects.
type output struct {
	format  string
	formats []string
}

func (o *output) check() error {
	if o.format == "" || slices.Contains(o.formats, o.format) {
		return nil
	}
	return Usage("-o %s: the formats are %s", o.format, strings.Join(o.formats, ", "))
}

// print writes objects as kubectl does, without managed fields. It answers false
// for the formats that are tables.
func (o *output) print(w io.Writer, obj runtime.Object) (bool, error) {
	var p printers.ResourcePrinter
	switch o.format {
	case "json":
		p = &printers.JSONPrinter{}
	case "yaml":
		p = &printers.YAMLPrinter{}
	case "name":
		p = &printers.NamePrinter{}
	default:
		return false, nil
	}
	p = &printers.OmitManagedFieldsPrinter{Delegate: p}
	return true, p.PrintObj(obj, w)
}

// list is a List as kubectl prints it.
func list(items []*unstructured.Unstructured) *unstructured.UnstructuredList {
	l := &unstructured.UnstructuredList{Object: map[string]any{
		"apiVersion": "v1", "kind": "List", "metadata": map[string]any{"resourceVersion": ""},
	}}
	for _, u := range items {
		l.Items = append(l.Items, *u)
	}
	return l
}

// table writes rows in columns as kubectl does.
func table(w io.Writer, rows [][]string) error {
	tw := printers.GetNewTabWriter(w)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, c := range row {
			if cells[i] = oneLine(c); cells[i] == "" {
				cells[i] = "-"
			}
		}
		if _, err := fmt.Fprintln(tw, strings.TrimRight(strings.Join(cells, "\t"), " ")); err != nil {
			return err
		}
	}
	return tw.Flush()
}

// oneLine keeps what comes from a machine from moving the cursor.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || (r >= 0x7f && r < 0xa0) {
			return ' '
		}
		return r
	}, s)
}
