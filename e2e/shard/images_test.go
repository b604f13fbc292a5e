//go:build e2e

package shard

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// picture is an image that hosts are told to run.
type picture struct {
	url    string
	digest string // SHA-256, of the file and of the disk: it is raw
	size   int64
}

// images serves made-up images, slowly, from the test's process.
type images struct {
	srv *httptest.Server
}

// imageBytes is more than one chunk.
const imageBytes = 9 << 20

func newImages(t *testing.T) *images {
	t.Helper()
	i := &images{}
	i.srv = httptest.NewServer(http.HandlerFunc(i.serve))
	t.Cleanup(i.srv.Close)
	return i
}

// host is what the server is allowed to fetch from.
func (i *images) host() string { return strings.TrimPrefix(i.srv.URL, "http://") }

func (i *images) image(seed uint64) picture {
	sum := sha256.Sum256(content(seed))
	return picture{url: fmt.Sprintf("%s/%d.raw", i.srv.URL, seed), digest: hex.EncodeToString(sum[:]), size: imageBytes}
}

func content(seed uint64) []byte {
	b := make([]byte, imageBytes)
	var key [32]byte
	copy(key[:], fmt.Sprint("image ", seed))
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b
}

func (i *images) serve(w http.ResponseWriter, r *http.Request) {
	var seed uint64
	if _, err := fmt.Sscanf(r.URL.Path, "/%d.raw", &seed); err != nil {
		http.NotFound(w, r)
		return
	}
	b := content(seed)
	w.Header().Set("Content-Length", fmt.Sprint(len(b)))
	for len(b) > 0 && r.Context().Err() == nil {
		n := min(len(b), 1<<20)
		if _, err := w.Write(b[:n]); err != nil {
			return // the manager was killed
		}
		b = b[n:]
		pause(r.Context(), 30*time.Millisecond)
	}
}
