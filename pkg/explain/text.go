package explain

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// codeColumn is where the code stands in the first line.
const codeColumn = 54

// Text renders the report for a terminal, with a newline at its end:
//
//	worker-7   inspecting for 9m02s                       boot-other-dhcp
//	  seen     offer from 10.0.0.9 (52:54:00:ab:00:09) 0.4 s before ours, three times
//	  so       the machine booted somebody else's loader
//	  do       stop DHCP on 10.0.0.9, or set mode: proxy on ProvisioningNetwork rack-4
//	  next     power cycle at 14:32:10, try 2 of 5
//	  before   registering 1.2s
func (r Report) Text() string {
	var b strings.Builder
	head := fmt.Sprintf("%-10s %s", r.Host, r.State)
	if r.For != "" {
		head += " for " + r.For
	}
	if r.Code != "" {
		pad := max(codeColumn-utf8.RuneCountInString(head), 2)
		head += strings.Repeat(" ", pad) + r.Code
	}
	b.WriteString(head + "\n")
	line := func(label string, texts ...string) {
		for _, t := range texts {
			if t == "" {
				continue
			}
			fmt.Fprintf(&b, "  %-8s %s\n", label, t)
			label = ""
		}
	}
	// A host in trouble is told about by its trouble.
	if r.Code == "" || r.Doing != idle {
		line("doing", r.Doing)
	}
	if r.Code == "" || r.WaitsFor != r.Class.waits() {
		line("waits", r.WaitsFor)
	}
	line("last", r.Last)
	line("seen", r.Seen...)
	line("console", r.console()...)
	line("so", r.So)
	line("do", r.Do...)
	line("next", r.Next)
	line("before", before(r.Before))
	return b.String()
}

// consoleShown are the lines of a console that fit between evidence and remedy.
const consoleShown = 20

func (r Report) console() []string {
	if len(r.Console) == 0 {
		if r.NoConsole != "" {
			return []string{"none: " + clean(r.NoConsole)}
		}
		return nil
	}
	var out []string
	for _, s := range r.Console {
		if s = clean(s); s != "" {
			out = append(out, "│ "+s)
		}
	}
	out = out[max(0, len(out)-consoleShown):]
	if len(r.Console) > consoleShown {
		out = append(out, fmt.Sprintf("(the last %d of %d lines; all: ingot console %s --last)", consoleShown, len(r.Console), r.Host))
	} else {
		out = append(out, fmt.Sprintf("(live: ingot console %s; this again: ingot console %s --last)", r.Host, r.Host))
	}
	return out
}

func before(phases []Phase) string {
	var parts []string
	for i, p := range phases {
		text := p.Name + " " + Duration(p.Took)
		if p.Failed != "" {
			if i+1 < len(phases) && phases[i+1].Name == p.Name && phases[i+1].Failed != "" {
				continue // the last of several tries stands for them
			}
			text += " (" + clean(p.Failed) + ")"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// Duration is a length of time for people: 0.3s, 1.2s, 42s, 9m02s, 3h07m, 5d02h.
func Duration(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Truncate(100*time.Millisecond).Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
	}
}

// Bytes is a size for people, in powers of 1024.
func Bytes(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}

// clock shows a time of day, with the date when it is not within a day.
func clock(t, now time.Time) string {
	t = t.In(now.Location())
	if d := t.Sub(now); d > 20*time.Hour || d < -20*time.Hour {
		return t.Format("2006-01-02 15:04:05")
	}
	return t.Format("15:04:05")
}
