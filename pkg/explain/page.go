package explain

import (
	"fmt"
	"strings"
)

// classText says in the docs what ingot does by itself.
func classText(c Class) string {
	switch c {
	case Retry:
		return "**retry**: tried again by itself, with growing pauses; `ingot explain` shows when. A change of the host makes the next try happen at once."
	case Wait:
		return "**wait**: nothing is tried until what it waits for is there; then it goes on by itself."
	default:
		return "**terminal**: nothing more is tried until a person changes something."
	}
}

// Page is docs/errors/CODE.md.
func Page(d Diagnosis) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s: %s\n\n", d.Code, d.Title)
	fmt.Fprintf(&b, "**Cause**: %s.\n\n", d.Cause)
	fmt.Fprintf(&b, "**Shown with it** (`seen` in `ingot explain`): %s\n\n", d.Evidence)
	b.WriteString("**What to do**, the best first:\n\n")
	for _, line := range d.Remedy {
		fmt.Fprintf(&b, "- %s\n", markup(strings.Join(alternatives(line), "\n  - or: ")))
	}
	fmt.Fprintf(&b, "\n**What ingot does**: %s\n", classText(d.Class))
	if names := d.Facts(); len(names) > 0 {
		fmt.Fprintf(&b, "\nWords in *italics* stand for what was found; of alternatives the first whose facts are known is shown.\n")
	}
	return []byte(b.String())
}

// Index is docs/errors/README.md.
func Index() []byte {
	var b strings.Builder
	b.WriteString("# Errors\n\n" +
		"What can keep a host from moving on. `ingot explain HOST` shows the code of the one that does, with its evidence and remedy; " +
		"the same text is the BareMetalHost's `errorMessage`.\n\n" +
		"These pages are written by `go run ./pkg/explain/gen` from the catalogue in `pkg/explain`; do not edit them.\n\n" +
		"| code | what it is | class |\n|---|---|---|\n")
	for _, d := range Catalogue() {
		fmt.Fprintf(&b, "| [%s](%s.md) | %s | %s |\n", d.Code, d.Code, d.Title, d.Class)
	}
	return []byte(b.String())
}

// markup escapes what Markdown would swallow and shows facts in italics.
func markup(s string) string {
	s = strings.NewReplacer("<", "&lt;", "*", `\*`).Replace(s)
	return placeholder().ReplaceAllString(s, "*$1*")
}
