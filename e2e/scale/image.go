package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/http"
	"time"

	"github.com/ingot-metal/ingot/e2e/rig"
)

// imageBytes is the size of the image that is deployed: small, since it is not
// the disks of this machine that are measured.
const imageBytes = 1 << 20

// image is served from this process, as from a web server of somebody's.
type image struct {
	Addr     string
	URL      string
	Checksum string
	srv      *http.Server
}

// serveImage makes bytes that do not compress, the same each time.
func serveImage() (*image, error) {
	raw := rig.Noise("ingot scale image", imageBytes)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	i := &image{Addr: l.Addr().String(), URL: "http://" + l.Addr().String() + "/scale.raw", Checksum: hex.EncodeToString(sum[:])}
	i.srv = &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "scale.raw", time.Time{}, bytes.NewReader(raw))
		}),
	}
	go func() { _ = i.srv.Serve(l) }() // ends with Close
	return i, nil
}

// Close ends the server.
func (i *image) Close() { _ = i.srv.Close() }
