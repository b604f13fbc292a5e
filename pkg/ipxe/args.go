package ipxe

import (
	"fmt"
	"strings"
)

const (
	maxKey   = 64
	maxValue = 512
	// maxLine is COMMAND_LINE_SIZE of Linux on x86 (arch/x86/include/asm/setup.h) less the closing zero: what is longer is cut without a word there.
	maxLine = 2047

	keyChars   = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	valueChars = keyChars + ":/@%+,=~[]?&"
)

// Args are a kernel's arguments in the order they were added.
type Args struct{ list []string }

// Set adds key=value.
func (a *Args) Set(key, value string) error {
	if value == "" {
		return fmt.Errorf("kernel argument %q has no value", key)
	}
	if len(value) > maxValue {
		return fmt.Errorf("kernel argument %q: value of %d characters, at most %d are allowed", key, len(value), maxValue)
	}
	if i := strings.IndexFunc(value, func(r rune) bool { return !strings.ContainsRune(valueChars, r) }); i >= 0 {
		return fmt.Errorf("kernel argument %q: character %q of its value is not allowed", key, []rune(value[i:])[0])
	}
	return a.add(key, key+"="+value)
}

// Flag adds a key without a value.
func (a *Args) Flag(key string) error { return a.add(key, key) }

func (a *Args) add(key, arg string) error {
	if key == "" || len(key) > maxKey || strings.Trim(key, keyChars) != "" || key[0] == '-' {
		return fmt.Errorf("kernel argument %q: want a name of at most %d letters, digits, dots, dashes and underscores", key, maxKey)
	}
	if n := len(a.String()) + 1 + len(arg); n > maxLine {
		return fmt.Errorf("kernel arguments would be %d characters long, at most %d are allowed", n, maxLine)
	}
	a.list = append(a.list, arg)
	return nil
}

// String is the command line.
func (a *Args) String() string { return strings.Join(a.list, " ") }
