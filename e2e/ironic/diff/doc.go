// Package diff sends the same requests to a real Ironic and to ingot, and says
// where the answers differ.
//
// The requests are scripts (testdata/script), one request a line. What a real
// Ironic answered is recorded once (testdata/reference), so that the comparison
// needs no Ironic: hack/ironic-reference.sh starts one, and
//
//	go test ./e2e/ironic/diff -update -reference http://127.0.0.1:16386
//
// records anew. An answer is compared after what has to differ is made alike
// (normal.go): UUIDs, times, addresses, the conductor's name. Of an error the
// status and the form count and not the words, which say more here. Differences
// that are meant are in a table with the reason (known.go); any other fails.
package diff
