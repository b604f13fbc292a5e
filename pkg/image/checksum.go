package image

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // Metal3's contract has it; callers warn
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"net/url"
	"path"
	"slices"
	"strings"
)

// maxChecksumFile bounds a checksum file: distributions list a whole release.
const maxChecksumFile = 4 << 20

func newHash(kind string) hash.Hash {
	switch kind {
	case ChecksumMD5:
		return md5.New() //nolint:gosec // see above
	case ChecksumSHA512:
		return sha512.New()
	default:
		return sha256.New()
	}
}

// checksum finds out which digest the image must have.
func (r *Resolver) checksum(ctx context.Context, s Source, image *url.URL) (checksum, error) {
	if !isURL(s.Checksum) {
		return parseChecksum(s.Checksum, s.ChecksumType)
	}
	u, err := parseURL(s.Checksum)
	if err != nil {
		return checksum{}, err
	}
	var b bytes.Buffer
	if err := r.fetch(ctx, u, &b, maxChecksumFile, func(int64, int64) {}); err != nil {
		return checksum{}, checksumFileError(err)
	}
	return findChecksum(b.Bytes(), show(u), path.Base(image.Path), s.ChecksumType)
}

// checksumFileError keeps what a fetch found out and says which file it was.
func checksumFileError(err error) error {
	if e, ok := err.(*Error); ok { //nolint:errorlint // fetch returns it bare
		c := *e
		c.Code, c.Message = CodeChecksumFile, "checksum file "+e.Message
		return &c
	}
	return err
}

// findChecksum looks up name in a checksum file: lines as sha256sum prints them
// ("HEX  name", "HEX *name"), BSD's ("SHA256 (name) = HEX"), or one digest and
// nothing else.
func findChecksum(b []byte, file, name, kind string) (checksum, error) {
	var found []checksum
	var alone []string
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		digest, entry := splitLine(line)
		if digest == "" {
			continue
		}
		if entry == "" {
			alone = append(alone, digest)
			continue
		}
		if path.Base(entry) != name {
			continue
		}
		// A file may list one name with several algorithms; those that are not
		// asked for are passed over.
		if c, err := parseChecksum(digest, kind); err == nil && !slices.Contains(found, c) {
			found = append(found, c)
		}
	}
	if len(found) == 0 && len(alone) == 1 {
		if c, err := parseChecksum(alone[0], kind); err == nil {
			found = append(found, c)
		}
	}
	want := kind
	if want == "" || want == ChecksumAuto {
		want = "md5, sha256 or sha512"
		found = strongest(found)
	}
	switch len(found) {
	case 0:
		return checksum{}, terminal(CodeChecksumFile, "%s has no line with a %s digest for %q", file, want, name)
	case 1:
		return found[0], nil
	default:
		return checksum{}, terminal(CodeChecksumFile, "%s has %d different %s digests for %q", file, len(found), want, name)
	}
}

// strongest keeps the digests of the longest kind.
func strongest(in []checksum) []checksum {
	longest := 0
	for _, c := range in {
		longest = max(longest, len(c.hex))
	}
	return slices.DeleteFunc(in, func(c checksum) bool { return len(c.hex) < longest })
}

// splitLine takes a line apart; both parts are empty where it is none of ours.
func splitLine(line string) (digest, name string) {
	if algorithm, rest, ok := strings.Cut(line, " ("); ok && !strings.Contains(algorithm, " ") {
		if i := strings.LastIndex(rest, ") = "); i >= 0 {
			return rest[i+len(") = "):], rest[:i]
		}
	}
	digest, name, _ = strings.Cut(line, " ")
	if !isDigest(digest) {
		return "", ""
	}
	return digest, strings.TrimPrefix(strings.TrimLeft(name, " "), "*")
}

func isDigest(s string) bool {
	_, err := parseChecksum(s, ChecksumAuto)
	return err == nil
}
