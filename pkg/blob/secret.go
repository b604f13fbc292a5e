package blob

import (
	"context"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// MaxSecret is the largest secret blob: it is sealed in one piece, in memory.
const MaxSecret = 64 << 20

// ErrNoKey is returned where a secret is asked of a store that has no key.
var ErrNoKey = errors.New("blob store has no key for secrets")

// A sealed file is the sealed digest of the content, so that Sweep can tell
// what a file is without reading all of it, and the sealed content:
//
//	nonce(24) seal(digest 32)+16 | nonce(24) seal(content)+16
const (
	nonceSize  = chacha20poly1305.NonceSizeX
	headerSize = nonceSize + sha256.Size + chacha20poly1305.Overhead
)

type sealer struct {
	aead    cipher.AEAD
	nameKey []byte
	rand    io.Reader
}

func newSealer(key []byte, random io.Reader) (*sealer, error) {
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, fmt.Errorf("key of the blob store: %w", err)
	}
	m := hmac.New(sha256.New, key)
	m.Write([]byte("ingot blob name"))
	return &sealer{aead: aead, nameKey: m.Sum(nil), rand: random}, nil
}

// name is the file name of a secret: keyed, since a plain digest would let who
// reads the disk test guesses about the content.
func (s *sealer) name(d Digest) string {
	m := hmac.New(sha256.New, s.nameKey)
	m.Write([]byte(d))
	return hex.EncodeToString(m.Sum(nil))
}

func (s *sealer) seal(dst, plain []byte, purpose string) ([]byte, error) {
	nonce := make([]byte, nonceSize)
	if _, err := io.ReadFull(s.rand, nonce); err != nil {
		return nil, fmt.Errorf("read random bytes: %w", err)
	}
	return s.aead.Seal(append(dst, nonce...), nonce, plain, []byte(purpose)), nil
}

func (s *sealer) open(sealed []byte, purpose string) ([]byte, error) {
	if len(sealed) < nonceSize {
		return nil, errors.New("sealed blob is cut short")
	}
	plain, err := s.aead.Open(nil, sealed[:nonceSize], sealed[nonceSize:], []byte(purpose))
	if err != nil {
		return nil, errors.New("sealed blob was changed or sealed with another key")
	}
	return plain, nil
}

// The purposes keep one part of a file from being taken for another; the
// content's names its digest, so that two files cannot be swapped.
const purposeHeader = "ingot blob header"

func purposeBody(d Digest) string { return "ingot blob body " + string(d) }

// PutSecret seals content and keeps it. The digest is the content's own.
func (s *Store) PutSecret(_ context.Context, content []byte) (Digest, error) {
	if s.seal == nil {
		return "", ErrNoKey
	}
	if len(content) > MaxSecret {
		return "", fmt.Errorf("secret blob of %d bytes, at most %d are kept", len(content), MaxSecret)
	}
	sum := sha256.Sum256(content)
	d := Digest(hex.EncodeToString(sum[:]))
	sealed, err := s.seal.seal(nil, sum[:], purposeHeader)
	if err != nil {
		return "", err
	}
	if sealed, err = s.seal.seal(sealed, content, purposeBody(d)); err != nil {
		return "", err
	}
	spool, err := s.NewSpool()
	if err != nil {
		return "", err
	}
	defer spool.Close()
	if _, err := spool.Write(sealed); err != nil {
		return "", fmt.Errorf("put secret blob: %w", err)
	}
	if err := spool.commit(s.path(secretDir, s.seal.name(d))); err != nil {
		return "", fmt.Errorf("put secret blob: %w", err)
	}
	return d, nil
}

// OpenSecret returns the content of the secret blob d.
func (s *Store) OpenSecret(_ context.Context, d Digest) ([]byte, error) {
	path, err := s.secretPath(d)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, notExist(d, err)
	}
	defer f.Close()
	const limit = headerSize + nonceSize + MaxSecret + chacha20poly1305.Overhead
	sealed, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("secret blob %s: %w", d, err)
	}
	if len(sealed) < headerSize || len(sealed) > limit {
		return nil, fmt.Errorf("secret blob %s: size %d is not one that was written", d, len(sealed))
	}
	plain, err := s.seal.open(sealed[headerSize:], purposeBody(d))
	if err != nil {
		return nil, fmt.Errorf("secret blob %s: %w", d, err)
	}
	return plain, nil
}

// DeleteSecret removes the secret blob; one that is not there is no error.
func (s *Store) DeleteSecret(_ context.Context, d Digest) error {
	path, err := s.secretPath(d)
	if err != nil {
		return err
	}
	s.names.Lock()
	defer s.names.Unlock()
	return s.remove(path)
}

func (s *Store) secretPath(d Digest) (string, error) {
	if s.seal == nil {
		return "", ErrNoKey
	}
	if _, err := ParseDigest(string(d)); err != nil {
		return "", err
	}
	return s.path(secretDir, s.seal.name(d)), nil
}

// secretDigest reads what a sealed file holds from its header.
func (s *Store) secretDigest(path string) (Digest, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	header := make([]byte, headerSize)
	if _, err := io.ReadFull(f, header); err != nil {
		return "", fmt.Errorf("sealed blob is cut short: %w", err)
	}
	sum, err := s.seal.open(header, purposeHeader)
	if err != nil {
		return "", err
	}
	d := Digest(hex.EncodeToString(sum))
	if !strings.HasSuffix(path, s.seal.name(d)) {
		return "", errors.New("sealed blob lies under another blob's name")
	}
	return d, nil
}
