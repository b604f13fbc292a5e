package console

import "fmt"

// Mode says when a machine's console is recorded. A recording holds a session at
// the BMC, and keeps everybody else from a console that one may have.
type Mode string

// When consoles are recorded.
const (
	// Operations is while an operation runs that boots the machine.
	Operations Mode = "operations"
	Always     Mode = "always"
	Never      Mode = "never"
)

// AnnotationMode has the Mode of one host.
const AnnotationMode = "ingot.dev/console"

// ParseMode reads a Mode.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case Operations, Always, Never:
		return m, nil
	}
	return "", fmt.Errorf("may be %s, %s or %s", Operations, Always, Never)
}
