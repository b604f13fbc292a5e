package image

import (
	"encoding/hex"
	"net/url"
	"path"
	"strings"

	"github.com/ingot-metal/ingot/pkg/blob"
)

// Formats that can be asked for. The empty one means: look.
const (
	FormatRaw   = "raw"
	FormatQCOW2 = "qcow2"
)

// Checksum types. The empty one means the same as auto: by length.
const (
	ChecksumMD5    = "md5"
	ChecksumSHA256 = "sha256"
	ChecksumSHA512 = "sha512"
	ChecksumAuto   = "auto"
)

// Source is an image as a user names it (BareMetalHost's spec.image).
type Source struct {
	URL          string
	Checksum     string // hex digest of the file as it is served, or the URL of a checksum file
	ChecksumType string
	Format       string
}

// Weak reports whether the checksum is of a kind that an attacker can forge;
// callers warn about it. For a checksum file of type auto it is known only when
// the file was read, and false is returned.
func (s Source) Weak() bool {
	return s.ChecksumType == ChecksumMD5 || (!isURL(s.Checksum) && len(s.Checksum) == digestLen[ChecksumMD5])
}

// digestLen maps a checksum type to its number of hex digits.
var digestLen = map[string]int{ChecksumMD5: 32, ChecksumSHA256: 64, ChecksumSHA512: 128}

// checksum is a digest to hold against the file as it is served.
type checksum struct{ kind, hex string }

func isURL(s string) bool {
	return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://")
}

// parseChecksum checks a digest against the type that was declared.
func parseChecksum(value, kind string) (checksum, error) {
	value = strings.ToLower(strings.TrimSpace(value))
	if _, err := hex.DecodeString(value); err != nil || value == "" {
		return checksum{}, terminal(CodeChecksum, "the checksum is no hex digest and no http(s) URL")
	}
	if kind == "" || kind == ChecksumAuto {
		for k, n := range digestLen {
			if n == len(value) {
				return checksum{k, value}, nil
			}
		}
		return checksum{}, terminal(CodeChecksum, "the checksum has %d hex digits: md5 has 32, sha256 64, sha512 128", len(value))
	}
	if n := digestLen[kind]; n != len(value) {
		return checksum{}, terminal(CodeChecksum, "the checksum has %d hex digits, %s has %d", len(value), kind, n)
	}
	return checksum{kind, value}, nil
}

// validate checks all that needs no network.
func (s Source) validate() (*url.URL, error) {
	switch s.Format {
	case "", FormatRaw, FormatQCOW2:
	case "vdi", "vmdk":
		return nil, terminal(CodeFormat, "format %s is not served: convert the image once (qemu-img convert -O qcow2) and set format: qcow2", s.Format)
	case "live-iso":
		return nil, terminal(CodeFormat, "format live-iso is booted, not written to a disk: this host's image must be raw or qcow2")
	default:
		return nil, terminal(CodeFormat, "format %q is unknown: raw and qcow2 are served", s.Format)
	}
	switch s.ChecksumType {
	case "", ChecksumMD5, ChecksumSHA256, ChecksumSHA512, ChecksumAuto:
	default:
		return nil, terminal(CodeChecksum, "checksum type %q is unknown: sha256 and sha512 are served", s.ChecksumType)
	}
	u, err := parseURL(s.URL)
	if err != nil {
		return nil, err
	}
	if s.Checksum != "" && !isURL(s.Checksum) {
		_, err = parseChecksum(s.Checksum, s.ChecksumType)
	}
	return u, err
}

func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, terminal(CodeUnreachable, "the URL does not parse") // its error quotes it, with any password
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return nil, terminal(CodeUnreachable, "%s: only http and https URLs with a host are fetched", show(u))
	}
	return u, nil
}

// show is a URL without what may be secret: user, password, signed query.
func show(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// imagesPath is where the boot door serves public blobs.
const imagesPath = "/images/sha256/"

// ownBlob finds the digest in a URL of our own door, which is read without the
// network.
func (r *Resolver) ownBlob(u *url.URL) (blob.Digest, bool) {
	if !r.own[hostPort(u)] {
		return "", false
	}
	dir, name := path.Split(u.Path)
	d, err := blob.ParseDigest(name)
	return d, dir == imagesPath && err == nil
}

// hostPort is the address that the URL would be dialled at.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return joinHostPort(u.Hostname(), port)
}
