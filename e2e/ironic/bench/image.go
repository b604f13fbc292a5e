package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/ingot-metal/ingot/e2e/rig"
)

// image is what is deployed, and a kernel and a ramdisk that nobody starts. It is
// small: what is measured is the control plane.
type image struct {
	srv    *httptest.Server
	digest string
}

const imageBytes = 1 << 20

func serveImage() *image {
	raw := rig.Noise("ingot bench image", imageBytes)
	sum := sha256.Sum256(raw)
	// Ironic fetches what has no date (or that of the epoch, which is not sent) again
	// for every node.
	published := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return &image{digest: hex.EncodeToString(sum[:]), srv: httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content := raw
		if r.URL.Path != "/bench.raw" {
			content = []byte("pretended\n")
		}
		http.ServeContent(w, r, "bench.raw", published, bytes.NewReader(content))
	}))}
}

func (i *image) host() string { return strings.TrimPrefix(i.srv.URL, "http://") }

func (i *image) Close() { i.srv.Close() }
