package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/bmctest"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

// bmcReport is what a check found out, fit to be attached to a bug.
type bmcReport struct {
	Ingot        string             `json:"ingot"`
	Time         string             `json:"time"`
	Address      string             `json:"address"`
	Protocol     string             `json:"protocol"`
	Manufacturer string             `json:"manufacturer,omitempty"`
	Model        string             `json:"model,omitempty"`
	Firmware     string             `json:"firmware,omitempty"`
	Serial       string             `json:"serial,omitempty"`
	UUID         string             `json:"uuid,omitempty"`
	System       string             `json:"system,omitempty"`
	MACs         []string           `json:"macs,omitempty"`
	Quirks       []string           `json:"quirks"` // null: the driver does not say
	Capabilities []reportCapability `json:"capabilities"`
	Checks       []reportCheck      `json:"checks"`
}

// reportCapability says of a capability what driver and BMC make of it.
type reportCapability struct {
	Name   string `json:"name"`
	Answer string `json:"answer"`
}

// What a capability comes to.
const (
	answerNoDriver = "not in the driver"
	answerHas      = "yes"
	answerLacks    = "the BMC cannot"
	answerFails    = "fails"
	answerUnasked  = "not checked"
)

type reportCheck struct {
	Capability string          `json:"capability"`
	Check      string          `json:"check"`
	Outcome    bmctest.Outcome `json:"outcome"`
	Class      string          `json:"class,omitempty"`
	Detail     string          `json:"detail,omitempty"`
	Took       string          `json:"took"`
}

func newBMCReport(conn bmc.Conn, addr bmc.Address, now time.Time) *bmcReport {
	r := &bmcReport{Ingot: Version(), Time: now.UTC().Format(time.RFC3339), Address: addr.String(), Protocol: addr.Protocol}
	if q, ok := conn.(interface{ Quirks() []quirk.Name }); ok {
		r.Quirks = []string{}
		for _, name := range q.Quirks() {
			r.Quirks = append(r.Quirks, string(name))
		}
		slices.Sort(r.Quirks)
	}
	for _, c := range bmctest.Capabilities(conn) {
		answer := answerUnasked
		if !c.Driver {
			answer = answerNoDriver
		}
		r.Capabilities = append(r.Capabilities, reportCapability{Name: c.Name, Answer: answer})
	}
	return r
}

// identify reads who the machine is; what the BMC does not say stays empty.
func (r *bmcReport) identify(ctx context.Context, conn bmc.Conn, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	id, err := conn.Identify(ctx)
	if err != nil {
		return
	}
	if d, ok := conn.(bmc.Details); ok {
		if more, err := d.Details(ctx, id); err == nil {
			id = more
		}
	}
	r.Protocol, r.Manufacturer, r.Model, r.Firmware = id.Protocol, id.Manufacturer, id.Model, id.BMCVersion
	r.Serial, r.UUID, r.System = id.Serial, id.SystemUUID, id.SystemID
	for _, m := range id.MACs {
		r.MACs = append(r.MACs, m.String())
	}
}

// add takes the results in. One reading that succeeds shows the capability.
func (r *bmcReport) add(results []bmctest.Result) {
	for _, res := range results {
		r.Checks = append(r.Checks, reportCheck{
			Capability: res.Capability, Check: res.Check, Outcome: res.Outcome, Class: string(res.Class), Detail: res.Detail,
			Took: res.Took.Round(time.Millisecond).String(),
		})
		i := slices.IndexFunc(r.Capabilities, func(c reportCapability) bool { return c.Name == res.Capability })
		if i < 0 {
			continue
		}
		answer := &r.Capabilities[i].Answer
		switch {
		case res.Outcome == bmctest.Passed && *answer == answerUnasked:
			*answer = answerHas
		case res.Outcome == bmctest.Unsupported && *answer == answerUnasked:
			*answer = answerLacks
		case res.Outcome == bmctest.Failed:
			*answer = answerFails
		}
	}
}

func (r *bmcReport) count(o bmctest.Outcome) int {
	n := 0
	for _, c := range r.Checks {
		if c.Outcome == o {
			n++
		}
	}
	return n
}

// clean takes out what must not leave the house: credentials always, and what
// names the machine if asked for. Details may quote it, as an error that holds a
// URI does.
func (r *bmcReport) clean(creds bmc.Credentials, addr bmc.Address, redact bool) {
	hidden := []string{creds.Password}
	if redact {
		hidden = append(hidden, addr.HostPort(), addr.Host, r.Serial, r.UUID, strings.ReplaceAll(r.UUID, "-", ""))
		hidden = append(hidden, r.MACs...)
		for _, m := range r.MACs {
			hidden = append(hidden, strings.ReplaceAll(m, ":", ""))
		}
		// The last part of a system's URI is often its serial number.
		if last := r.System[strings.LastIndexByte(r.System, '/')+1:]; len(last) > 4 {
			hidden = append(hidden, last)
		}
	}
	slices.SortFunc(hidden, func(a, b string) int { return len(b) - len(a) })
	strip := func(s *string) {
		for _, h := range hidden {
			if len(h) > 2 {
				*s = replaceFold(*s, h, "(redacted)")
			}
		}
		*s = oneLine(*s)
	}
	for _, s := range []*string{&r.Address, &r.Manufacturer, &r.Model, &r.Firmware, &r.Serial, &r.UUID, &r.System} {
		strip(s)
	}
	for i := range r.MACs {
		strip(&r.MACs[i])
	}
	for i := range r.Checks {
		strip(&r.Checks[i].Detail)
	}
	if redact {
		r.MACs = slices.Compact(r.MACs)
	}
}

// replaceFold is strings.ReplaceAll without regard to case.
func replaceFold(s, old, with string) string {
	lower, find := strings.ToLower(s), strings.ToLower(old)
	if len(lower) != len(s) { // a letter whose lower case has another length
		return strings.ReplaceAll(s, old, with)
	}
	var b strings.Builder
	for {
		i := strings.Index(lower, find)
		if i < 0 {
			return b.String() + s
		}
		b.WriteString(s[:i] + with)
		s, lower = s[i+len(find):], lower[i+len(find):]
	}
}

func (r *bmcReport) print(w io.Writer, format string) error {
	switch format {
	case "json":
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(r)
	case "markdown":
		return r.markdown(w)
	}
	for _, f := range r.facts() {
		if _, err := fmt.Fprintf(w, "%-13s %s\n", f[0], f[1]); err != nil {
			return err
		}
	}
	for _, rows := range [][][]string{r.capabilityRows(), r.checkRows()} {
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
		if err := table(w, rows); err != nil {
			return err
		}
	}
	return nil
}

// facts are the lines before the tables.
func (r *bmcReport) facts() [][2]string {
	quirks := "none"
	switch {
	case r.Quirks == nil:
		quirks = "the driver does not say"
	case len(r.Quirks) > 0:
		quirks = strings.Join(r.Quirks, ", ")
	}
	var out [][2]string
	for _, f := range [][2]string{
		{"address", r.Address},
		{"machine", strings.Join(strings.Fields(r.Manufacturer+" "+r.Model), " ")},
		{"serial", r.Serial},
		{"uuid", r.UUID},
		{"system", r.System},
		{"macs", strings.Join(r.MACs, ", ")},
		{"BMC firmware", r.Firmware},
		{"quirks", quirks},
		{"checked", r.Time + " by " + r.Ingot},
	} {
		if f[1] != "" {
			out = append(out, f)
		}
	}
	return out
}

func (r *bmcReport) capabilityRows() [][]string {
	rows := [][]string{{"CAPABILITY", "ANSWER"}}
	for _, c := range r.Capabilities {
		rows = append(rows, []string{c.Name, c.Answer})
	}
	return rows
}

func (r *bmcReport) checkRows() [][]string {
	rows := [][]string{{"CHECK", "OUTCOME", "TOOK", "DETAIL"}}
	for _, c := range r.Checks {
		detail := c.Detail
		if c.Class != "" {
			detail = c.Class + ": " + detail
		}
		rows = append(rows, []string{c.Capability + ": " + c.Check, string(c.Outcome), c.Took, detail})
	}
	return rows
}

// markdown is for a bug report.
func (r *bmcReport) markdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("### ingot bmc check\n\n")
	escape := strings.NewReplacer("|", `\|`, "<", "&lt;", "`", "'")
	for _, f := range r.facts() {
		fmt.Fprintf(&b, "- %s: %s\n", f[0], escape.Replace(f[1]))
	}
	for _, rows := range [][][]string{r.capabilityRows(), r.checkRows()} {
		b.WriteString("\n")
		for i, row := range rows {
			cells := make([]string, len(row))
			for j, c := range row {
				cells[j] = escape.Replace(c)
			}
			fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
			if i == 0 {
				b.WriteString(strings.Repeat("|---", len(row)) + "|\n")
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
