package rig

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"
)

// Picture is an image that hosts are told to run.
type Picture struct {
	URL    string
	Digest string // SHA-256, of the file and of the disk: it is raw
	Size   int64
}

// Images serves made-up images, slowly, from this process.
type Images struct {
	srv *httptest.Server
}

// imageBytes is more than one chunk.
const imageBytes = 9 << 20

// NewImages begins to serve on loopback.
func NewImages() *Images {
	return &Images{httptest.NewServer(http.HandlerFunc(serveImage))}
}

// Close ends it.
func (i *Images) Close() { i.srv.Close() }

// Host is what the server is to be allowed to fetch from.
func (i *Images) Host() string { return strings.TrimPrefix(i.srv.URL, "http://") }

// Image is the one that a number stands for.
func (i *Images) Image(seed uint64) Picture {
	sum := sha256.Sum256(content(seed))
	return Picture{URL: fmt.Sprintf("%s/%d.raw", i.srv.URL, seed), Digest: hex.EncodeToString(sum[:]), Size: imageBytes}
}

func content(seed uint64) []byte { return Noise(fmt.Sprint("image ", seed), imageBytes) }

// Noise is n bytes that do not compress, the same for the same name, of which the
// first 32 bytes count.
func Noise(name string, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	copy(key[:], name)
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b
}

func serveImage(w http.ResponseWriter, r *http.Request) {
	var seed uint64
	if _, err := fmt.Sscanf(r.URL.Path, "/%d.raw", &seed); err != nil {
		http.NotFound(w, r)
		return
	}
	b := content(seed)
	w.Header().Set("Content-Length", fmt.Sprint(len(b)))
	for len(b) > 0 && Pause(r.Context(), 30*time.Millisecond) == nil {
		n := min(len(b), 1<<20)
		if _, err := w.Write(b[:n]); err != nil {
			return // who fetched it was killed
		}
		b = b[n:]
	}
}
