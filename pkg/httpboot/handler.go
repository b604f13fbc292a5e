package httpboot

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrUnknown is what [Scripts] and [Blobs] return, wrapped or not, for what they do not know.
var ErrUnknown = errors.New("unknown")

// Scripts makes the script of a machine.
type Scripts interface {
	Script(ctx context.Context, mac net.HardwareAddr, remote netip.Addr) ([]byte, error)
}

// Blobs opens public bytes by the lower-case hex SHA-256 that names them.
type Blobs interface {
	Open(ctx context.Context, hexDigest string) (io.ReadSeekCloser, int64, error)
}

// Config is what is served. What is nil or empty is answered with 404.
type Config struct {
	Scripts   Scripts
	Blobs     Blobs
	Loaders   map[string]string // name to path
	Artefacts string            // directory of kernels and ramdisks; they are opened at each request, so that a rebuilt one is served at once
	Flavours  []string          // that exist; default vm, server

	Transfers int              // at the same time, more are told to come again (503); default 512
	Stall     time.Duration    // default 30 seconds
	Observe   func(Event)      // called from several goroutines, must not block; may be nil
	Log       *slog.Logger     // default: discarded
	Now       func() time.Time // default time.Now
}

const (
	defaultTransfers = 512
	defaultStall     = 30 * time.Second
	maxScript        = 64 << 10
)

type handler struct {
	cfg   Config
	slots chan struct{}
}

// New returns the door as an http.Handler.
func New(cfg Config) http.Handler {
	if cfg.Flavours == nil {
		cfg.Flavours = []string{"vm", "server"}
	}
	if cfg.Transfers == 0 {
		cfg.Transfers = defaultTransfers
	}
	if cfg.Stall == 0 {
		cfg.Stall = defaultStall
	}
	if cfg.Observe == nil {
		cfg.Observe = func(Event) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &handler{cfg: cfg, slots: make(chan struct{}, cfg.Transfers)}
}

func (h *handler) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	e := Event{Begun: h.cfg.Now(), Remote: remoteOf(r), Agent: printable(r.UserAgent()), Head: r.Method == http.MethodHead}
	e.Kind, e.Name = route(r.URL.Path)
	w := &meter{ResponseWriter: rw, control: http.NewResponseController(rw), stall: h.cfg.Stall}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	defer func() {
		if w.size < 0 && w.err == nil {
			w.size = w.bytes
		}
		e.Ended, e.Status, e.Bytes, e.Size = h.cfg.Now(), w.status, w.bytes, w.size
		e.Done = w.err == nil && (e.Head || w.bytes == w.size)
		if w.err != nil {
			e.Detail = w.err.Error()
		}
		h.cfg.Observe(e)
	}()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		w.fail(http.StatusMethodNotAllowed)
		return
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		w.Header().Set("Retry-After", "5")
		w.fail(http.StatusServiceUnavailable)
		return
	}
	switch e.Kind {
	case KindScript:
		h.script(w, r, &e)
	case KindLoader:
		h.file(w, r, h.cfg.Loaders[e.Name])
	case KindKernel:
		h.artefact(w, r, "vmlinuz-", e.Name, "")
	case KindInitrd:
		h.artefact(w, r, "initrd-", e.Name, ".img")
	case KindUKI:
		h.artefact(w, r, "uki-", e.Name, ".efi")
	case KindBlob:
		h.blob(w, r, e.Name)
	default:
		w.fail(http.StatusNotFound)
	}
}

// route finds the table's line. The name is of a few characters only, so that it may stand in a log; every lookup is an exact match.
func route(path string) (Kind, string) {
	var parts []string
	for p := range strings.SplitSeq(path, "/") {
		if p != "" {
			parts = append(parts, p)
		}
	}
	switch {
	case len(parts) == 2 && parts[0] == "boot" && parts[1] == "ipxe":
		return KindScript, ""
	case len(parts) == 3 && parts[0] == "boot" && validName(parts[2]):
		switch parts[1] {
		case "file":
			return KindLoader, parts[2]
		case "kernel":
			return KindKernel, parts[2]
		case "initrd":
			return KindInitrd, parts[2]
		case "uki":
			return KindUKI, parts[2]
		}
	case len(parts) == 3 && parts[0] == "images" && parts[1] == "sha256" && len(parts[2]) == 64 && strings.Trim(parts[2], "0123456789abcdef") == "":
		return KindBlob, parts[2]
	}
	return KindOther, ""
}

func validName(s string) bool {
	return len(s) <= 64 && s[0] != '.' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == ""
}

func (h *handler) script(w *meter, r *http.Request, e *Event) {
	text := r.URL.Query().Get("mac")
	mac, err := net.ParseMAC(text)
	if err != nil || len(text) != 17 || len(mac) != 6 { // aa:bb:… or aa-bb-…
		w.fail(http.StatusBadRequest)
		return
	}
	e.MAC = mac
	if h.cfg.Scripts == nil {
		w.fail(http.StatusNotFound)
		return
	}
	script, err := h.cfg.Scripts.Script(r.Context(), mac, e.Remote)
	switch {
	case errors.Is(err, ErrUnknown):
		w.fail(http.StatusNotFound)
	case err != nil || len(script) > maxScript:
		h.cfg.Log.Error("boot script", "mac", mac, "bytes", len(script), "error", err)
		w.fail(http.StatusInternalServerError)
	default:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store") // the next boot may be another
		w.Header().Set("Content-Length", strconv.Itoa(len(script)))
		w.WriteHeader(http.StatusOK)
		if r.Method == http.MethodGet {
			_, _ = w.Write(script) // the meter keeps the error
		}
	}
}

func (h *handler) artefact(w *meter, r *http.Request, before, flavour, after string) {
	if h.cfg.Artefacts == "" || !slices.Contains(h.cfg.Flavours, flavour) {
		w.fail(http.StatusNotFound)
		return
	}
	h.file(w, r, filepath.Join(h.cfg.Artefacts, before+flavour+after))
}

// file serves a file of the table; "" is none.
func (h *handler) file(w *meter, r *http.Request, path string) {
	if path == "" {
		w.fail(http.StatusNotFound)
		return
	}
	f, err := os.Open(path)
	if err != nil {
		h.cfg.Log.Error("boot file", "path", path, "error", err)
		w.fail(http.StatusNotFound)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		h.cfg.Log.Error("boot file is no regular file", "path", path, "error", err)
		w.fail(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "no-cache") // may be kept, must be asked about
	w.Header().Set("ETag", `"`+strconv.FormatInt(info.ModTime().UnixNano(), 16)+"-"+strconv.FormatInt(info.Size(), 16)+`"`)
	http.ServeContent(w, r, "", info.ModTime(), f)
}

func (h *handler) blob(w *meter, r *http.Request, digest string) {
	if h.cfg.Blobs == nil {
		w.fail(http.StatusNotFound)
		return
	}
	f, _, err := h.cfg.Blobs.Open(r.Context(), digest)
	switch {
	case errors.Is(err, ErrUnknown), errors.Is(err, os.ErrNotExist):
		w.fail(http.StatusNotFound)
		return
	case err != nil:
		h.cfg.Log.Error("blob", "digest", digest, "error", err)
		w.fail(http.StatusInternalServerError)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Set("ETag", `"sha256-`+digest+`"`)
	http.ServeContent(w, r, "", time.Time{}, f)
}

func remoteOf(r *http.Request) netip.Addr {
	p, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr().Unmap()
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s[:min(len(s), 128)])
}
