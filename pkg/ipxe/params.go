package ipxe

import "strings"

// Parse adds the arguments of a kernel command line that somebody else wrote: each
// word a key, or key=value, of the same characters as ours. Where an argument is
// repeated, the last counts for the kernel, so ours are added after.
func (a *Args) Parse(line string) error {
	for word := range strings.FieldsSeq(line) {
		key, value, valued := strings.Cut(word, "=")
		var err error
		if valued {
			err = a.Set(key, value)
		} else {
			err = a.Flag(key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
