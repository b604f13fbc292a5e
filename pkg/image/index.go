package image

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/blob"
)

// The index remembers which manifest came of which file: one small file per
// entry, named by the digest of the checksum and the format. The URL is left
// out, so that a mirror's copy is known too, save for MD5: there somebody could
// publish another file with the same digest.
func indexKey(s Source, sum checksum) string {
	at := ""
	if sum.kind == ChecksumMD5 {
		at = s.URL
	}
	b, _ := json.Marshal([]string{sum.kind, sum.hex, s.Format, at}) // strings always marshal
	return string(blob.DigestOf(b))
}

func makeIndex(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("image index: %w", err)
	}
	return nil
}

// recall finds a conversion whose every part is still in the store, and makes
// the parts young, so that Sweep leaves them until somebody refers to them.
func (r *Resolver) recall(ctx context.Context, key string) (prepared, bool) {
	b, err := os.ReadFile(filepath.Join(r.opts.Index, key))
	if err != nil {
		return prepared{}, false
	}
	d, err := blob.ParseDigest(string(b))
	if err != nil {
		return prepared{}, false // written by a crash; replaced by the next remember
	}
	m, err := readManifest(ctx, r.opts.Store, d)
	if err != nil || !r.opts.Store.Touch(ctx, d) {
		return prepared{}, false
	}
	for _, c := range m.Chunks {
		if !r.opts.Store.Touch(ctx, blob.Digest(c.Digest)) {
			return prepared{}, false
		}
	}
	return prepared{m, d}, true
}

// remember stores the manifest and notes it in the index.
func (r *Resolver) remember(ctx context.Context, key string, m *agent.Manifest) (prepared, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return prepared{}, err
	}
	d, _, err := r.opts.Store.Put(ctx, bytes.NewReader(b))
	if err != nil {
		return prepared{}, storeError(err)
	}
	path := filepath.Join(r.opts.Index, key)
	tmp, err := os.CreateTemp(r.opts.Index, "new-")
	if err != nil {
		return prepared{}, fmt.Errorf("image index: %w", err)
	}
	_, err = tmp.WriteString(string(d))
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return prepared{}, fmt.Errorf("image index: %w", err)
	}
	return prepared{m, d}, nil
}
