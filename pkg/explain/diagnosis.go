package explain

import (
	"regexp"
	"slices"
	"strings"
)

// Class says what ingot does about a problem by itself.
type Class string

// The classes. A person can always make the next try happen at once by changing
// the host.
const (
	Retry    Class = "retry"    // tried again by itself, at a time that is shown
	Wait     Class = "wait"     // goes on by itself as soon as what it waits for is there
	Terminal Class = "terminal" // nothing more is tried until a person changes something
)

// Diagnosis is one entry of the catalogue.
type Diagnosis struct {
	Code     string   `json:"code"`     // stable, for scripts and searches
	Title    string   `json:"title"`    // what a person would call it
	Cause    string   `json:"cause"`    // the conclusion, one clause: "so …"
	Evidence string   `json:"evidence"` // what it is told apart by
	Remedy   []string `json:"remedy"`   // templates over named facts, see Facts
	Class    Class    `json:"class"`
}

// Docs is the path of the page about this diagnosis, below the repository.
func (d Diagnosis) Docs() string { return "docs/errors/" + d.Code + ".md" }

// Facts lists the names that the remedy speaks of, sorted. A line of a remedy may
// have alternatives, "stop DHCP on {server} || stop the other server": the first
// whose facts are all known is shown, or none. Something is always shown.
func (d Diagnosis) Facts() []string {
	var names []string
	for _, line := range d.Remedy {
		for _, m := range placeholder().FindAllStringSubmatch(line, -1) {
			names = append(names, m[1])
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Catalogue returns every diagnosis, in the order of a host's journey.
func Catalogue() []Diagnosis {
	return slices.Concat(bmcDiagnoses(), bootDiagnoses(), inspectDiagnoses(),
		firmwareDiagnoses(), diskDiagnoses(), imageDiagnoses(), mediaDiagnoses(), policyDiagnoses())
}

// Lookup finds a diagnosis by its code.
func Lookup(code string) (Diagnosis, bool) {
	for _, d := range Catalogue() {
		if d.Code == code {
			return d, true
		}
	}
	return Diagnosis{}, false
}

// placeholder is compiled anew: remedies are rendered when somebody reads them,
// which is rare, and the package keeps no state.
func placeholder() *regexp.Regexp { return regexp.MustCompile(`\{([a-zA-Z]+)\}`) }

// alternatives of a line of a remedy.
func alternatives(line string) []string { return strings.Split(line, " || ") }

// fill renders each line's first alternative whose facts are all known.
func fill(lines []string, facts map[string]string) []string {
	var out []string
	re := placeholder()
	for _, line := range lines {
		for _, alternative := range alternatives(line) {
			known := true
			text := re.ReplaceAllStringFunc(alternative, func(m string) string {
				v := clean(facts[strings.Trim(m, "{}")])
				known = known && v != ""
				return v
			})
			if known {
				out = append(out, text)
				break
			}
		}
	}
	return out
}

// maxText bounds one line of evidence, which may come from a network.
const maxText = 300

// clean makes s fit for one line of a terminal: facts and evidence may come from
// a BMC, a DHCP packet or an agent.
func clean(s string) string {
	s = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))), " ")
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText-len("…")], "") + "…"
}
