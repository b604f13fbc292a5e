package quirk

import (
	"cmp"
	"strings"
)

// anyGlob reports whether one of the facts that are known fits one of patterns.
func anyGlob(patterns []string, facts ...string) bool {
	for _, p := range patterns {
		for _, fact := range facts {
			if fact != "" && glob(p, fact) {
				return true
			}
		}
	}
	return false
}

// glob matches s, in lower case, against a pattern in which * stands for any
// text, ? for one byte, # for a digit and @ for a letter. It takes at most len(pattern)×len(s)
// steps, whatever is in them (path.Match knows \ and /, which models contain).
func glob(pattern, s string) bool {
	p, i := 0, 0
	star, mark := -1, 0 // the last * and where its text ends
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && fits(pattern[p], s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

func fits(p, c byte) bool {
	return p == '?' || p == '#' && c >= '0' && c <= '9' || p == '@' && c >= 'a' && c <= 'z' || p == c
}

// has reports whether version lies in r. One that is not known, or is none, lies
// in no Range but the open one.
func (r Range) has(version string) bool {
	if r == (Range{}) {
		return true
	}
	v, ok := parseVersion(version)
	if !ok {
		return false
	}
	if from, ok := parseVersion(r.From); ok && v.compare(from) < 0 {
		return false
	}
	below, ok := parseVersion(r.Below)
	return !ok || v.compare(below) < 0
}

// version is the numbers of a dotted version; what is missing counts as 0.
type version [4]int

// parseVersion finds the first dotted number: BMCs write "6.00.30.00",
// "1.14.00 May 28 2025" and "TGBT20E 1.40 2021-05-17".
func parseVersion(s string) (version, bool) {
	for _, word := range strings.FieldsFunc(s, func(r rune) bool { return r != '.' && (r < '0' || r > '9') }) {
		var v version
		parts := strings.Split(word, ".")
		if len(parts) < 2 || parts[0] == "" || parts[1] == "" {
			continue
		}
		for i, p := range parts[:min(len(parts), len(v))] {
			for _, digit := range p {
				v[i] = min(v[i]*10+int(digit-'0'), 1<<20)
			}
		}
		return v, true
	}
	return version{}, false
}

func (v version) compare(o version) int {
	for i := range v {
		if c := cmp.Compare(v[i], o[i]); c != 0 {
			return c
		}
	}
	return 0
}
