package auth

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// KeyPair is a certificate and its key in two files, read anew when they change.
type KeyPair struct {
	cert, key string
	log       *slog.Logger
	now       func() time.Time

	mu     sync.Mutex
	looked time.Time
	seen   [2]os.FileInfo
	pair   *tls.Certificate
}

// NewKeyPair reads both files, which have to fit.
func NewKeyPair(cert, key string, now func() time.Time, log *slog.Logger) (*KeyPair, error) {
	k := &KeyPair{cert: cert, key: key, log: log, now: now}
	return k, k.load()
}

// Get is for a tls.Config. While the files do not fit, as between the writes of the
// one and the other, the last that did is served.
func (k *KeyPair) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := k.now(); now.Sub(k.looked) >= lookEvery {
		k.looked = now
		if err := k.load(); err != nil {
			k.log.Error("the certificate that was read before is served on", "err", err)
		}
	}
	return k.pair, nil
}

func (k *KeyPair) load() error {
	var is [2]os.FileInfo
	for i, path := range []string{k.cert, k.key} {
		var err error
		if is[i], err = os.Stat(path); err != nil {
			return fmt.Errorf("reading a certificate: %w", err)
		}
	}
	if !changed(k.seen[0], is[0]) && !changed(k.seen[1], is[1]) {
		return nil
	}
	k.seen = is // what does not fit is said once
	pair, err := tls.LoadX509KeyPair(k.cert, k.key)
	if err != nil {
		return fmt.Errorf("reading a certificate: %w", err)
	}
	k.pair = &pair
	return nil
}
