package blob

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Digest is the lower-case hex SHA-256 of a blob's content.
type Digest string

// ParseDigest accepts 64 lower-case hex digits and nothing else, so that a
// Digest is always a safe file name.
func ParseDigest(s string) (Digest, error) {
	if len(s) != 2*sha256.Size {
		return "", fmt.Errorf("digest of %d characters, want %d", len(s), 2*sha256.Size)
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return "", fmt.Errorf("digest has %q at %d, want lower-case hex", c, i)
		}
	}
	return Digest(s), nil
}

// DigestOf is the digest of b.
func DigestOf(b []byte) Digest {
	sum := sha256.Sum256(b)
	return Digest(hex.EncodeToString(sum[:]))
}
