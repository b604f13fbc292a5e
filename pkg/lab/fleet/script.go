package fleet

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// maxScript bounds a boot script.
const maxScript = 64 << 10

// script is what an iPXE script comes down to for a machine that only pretends
// to be one.
type script struct {
	local   bool     // leave iPXE and go on with the next boot device
	kernel  string   // URL
	initrd  []string // URLs
	cmdline string   // of the kernel
}

// parseScript follows an iPXE script (https://ipxe.org/scripting) as far as boot
// scripts need it: set, ${variables}, kernel, initrd, boot, exit, sanboot, echo.
// Labels and conditions are not followed: every command is taken to succeed.
func parseScript(text, mac string) (script, error) {
	var s script
	if len(text) > maxScript {
		return s, fmt.Errorf("boot script is longer than %d bytes", maxScript)
	}
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	if !strings.HasPrefix(lines[0], "#!ipxe") {
		return s, errors.New("boot script does not begin with #!ipxe")
	}
	vars := map[string]string{
		"net0/mac": mac, "netX/mac": mac, "mac": mac,
		"mac:hexhyp": strings.ReplaceAll(mac, ":", "-"), "net0/mac:hexhyp": strings.ReplaceAll(mac, ":", "-"),
		"buildarch": "x86_64",
	}
	for n, line := range lines[1:] {
		command, _, _ := strings.Cut(expand(line, vars), "||")
		words := strings.Fields(command)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") || strings.HasPrefix(words[0], ":") {
			continue
		}
		verb, words := words[0], words[1:]
		switch verb {
		case "set":
			if len(words) > 0 {
				vars[words[0]] = strings.Join(words[1:], " ")
			}
		case "kernel", "initrd":
			target, rest := target(words)
			if err := absolute(target); err != nil {
				return s, fmt.Errorf("boot script line %d: %s: %w", n+2, verb, err)
			}
			if verb == "initrd" {
				s.initrd = append(s.initrd, target)
				continue
			}
			s.kernel, s.cmdline = target, strings.Join(rest, " ")
		case "boot":
			if s.kernel == "" {
				return s, fmt.Errorf("boot script line %d: boot without a kernel", n+2)
			}
			return s, nil
		case "exit", "sanboot":
			return script{local: true}, nil
		}
	}
	return s, errors.New("boot script ends without boot or exit")
}

// target skips the options of an image command and returns its URL and arguments.
func target(words []string) (string, []string) {
	for i := 0; i < len(words); i++ {
		switch {
		case words[i] == "--name" || words[i] == "-n" || words[i] == "--timeout" || words[i] == "-t":
			i++ // its value is the next word
		case !strings.HasPrefix(words[i], "-"):
			return words[i], words[i+1:]
		}
	}
	return "", nil
}

func absolute(text string) error {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return fmt.Errorf("%q is not an HTTP URL", text)
	}
	return nil
}

// expand replaces ${name} by its value; an unknown one is empty, as in iPXE.
func expand(line string, vars map[string]string) string {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(line, "${")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			return out.String()
		}
		out.WriteString(vars[name])
		if out.Len() > maxScript {
			return out.String()[:maxScript]
		}
		line = after
	}
}
