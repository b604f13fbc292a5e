package enroll

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/ingot-metal/ingot/pkg/spell"
)

// readCSV reads RFC 4180: a header line that names the columns in any order, then
// a host a line. Quoted values may hold commas and line ends.
func (b *builder) readCSV(data []byte) {
	r := csv.NewReader(bytes.NewReader(data))
	r.FieldsPerRecord = -1 // counted here, so that the message says what is wrong
	r.TrimLeadingSpace = true
	var columns []string
	for {
		fields, err := r.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			var bad *csv.ParseError
			if !errors.As(err, &bad) {
				b.problem(Problem{What: "cannot be read: " + err.Error()})
				return
			}
			b.problem(Problem{
				Line: bad.Line, What: "cannot be read: " + bad.Err.Error(),
				Do: `put a value that holds a quote or a comma into quotes, and write a quote in it twice: "a ""b"" c"`,
			})
			if columns == nil {
				return
			}
			continue
		}
		line, _ := r.FieldPos(0)
		for i := range fields {
			fields[i] = strings.TrimSpace(fields[i])
		}
		if columns == nil {
			if columns = b.header(line, fields); columns == nil {
				return
			}
			continue
		}
		if !slices.ContainsFunc(fields, func(f string) bool { return f != "" }) {
			continue // a spreadsheet's empty line: ,,,,
		}
		if len(fields) != len(columns) {
			b.problem(Problem{
				Line: line, What: fmt.Sprintf("has %d values for %d columns", len(fields), len(columns)),
				Do: "leave a value empty rather than out, and quote one that holds a comma",
			})
			continue
		}
		values := make(map[string]string, len(columns))
		for i, c := range columns {
			values[c] = fields[i]
		}
		b.addRow(row{line: line, values: values})
	}
}

// header returns the columns in lower case, or nil if the lines below it cannot
// be read.
func (b *builder) header(line int, fields []string) []string {
	if len(fields) == 1 && strings.ContainsAny(fields[0], ";\t") {
		b.problem(Problem{Line: line, What: "has no commas", Do: "save the table as CSV with commas between the columns"})
		return nil
	}
	columns := make([]string, len(fields))
	good := true
	for i, f := range fields {
		c := f
		if isColumn := slices.Contains(Columns(), strings.ToLower(f)); isColumn {
			c = strings.ToLower(f)
		}
		switch {
		case c == "":
			b.problem(Problem{Line: line, What: fmt.Sprintf("column %d has no name", i+1), Do: "name it, or remove it"})
			good = false
		case slices.Contains(columns[:i], c):
			b.problem(Problem{Line: line, Column: c, What: "is there twice", Do: "remove one"})
			good = false
		case isLabel(c) && len(validation.IsQualifiedName(labelOf(c))) > 0:
			b.problem(Problem{Line: line, Column: shorten(c), What: "cannot be the name of a label", Do: "the columns are " + strings.Join(Columns(), ", ") + "; any other must be a valid label"})
			good = false
		}
		columns[i] = c
	}
	for _, must := range []string{"name", "address"} {
		if slices.Contains(columns, must) {
			continue
		}
		do := "the first line names the columns: " + strings.Join(Columns(), ",")
		if like := nearest(must, columns); like != "" {
			do = "is " + like + " meant?"
		}
		b.problem(Problem{Line: line, Column: must, What: "is missing", Do: do})
		good = false
	}
	if !good {
		return nil
	}
	return columns
}

// nearest is the column that looks like a slip of the pen.
func nearest(want string, columns []string) string {
	others := slices.DeleteFunc(slices.Clone(columns), func(c string) bool { return slices.Contains(Columns(), c) })
	if near := spell.Nearest(want, others, 2); len(near) > 0 {
		return near[0]
	}
	return ""
}
