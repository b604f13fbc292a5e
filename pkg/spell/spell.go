// Package spell finds the word that a person may have meant: of the words that
// exist, those that are the fewest slips of the pen away.
package spell

import (
	"cmp"
	"slices"
	"strings"
)

const (
	// maxWord bytes of a word are looked at.
	maxWord = 64
	// minPart bytes of a word are enough to know it by.
	minPart = 3
)

// Any, for most, takes words however far they are.
const Any = 2 * maxWord

// Nearest lists the known words that are at most so many letters from word, the
// nearest first; of those that are equally near, in their order. Case does not
// count, and a word that is a part of the known one is one letter away.
func Nearest(word string, known []string, most int) []string {
	word = fold(word)
	type near struct {
		word     string
		distance int
	}
	var found []near
	for _, k := range known {
		d := distance(word, fold(k))
		if d > 1 && len(word) >= minPart && strings.Contains(fold(k), word) {
			d = 1
		}
		if d <= most {
			found = append(found, near{k, d})
		}
	}
	slices.SortStableFunc(found, func(a, b near) int { return cmp.Compare(a.distance, b.distance) })
	out := make([]string, 0, len(found))
	for _, n := range found {
		out = append(out, n.word)
	}
	return out
}

func fold(s string) string { return strings.ToLower(s[:min(len(s), maxWord)]) }

// distance is how many bytes must be put in, taken out or changed to make b of a
// (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
