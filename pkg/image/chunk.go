package image

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/blob"
)

const workers = 2 // that compress; a third goroutine reads and hashes

// cut stores a raw image as chunks of chunkSize and returns its manifest. size is
// the image's, or -1 where it shows only at the end. Chunks that are all zero are
// left out. Peak memory is about (workers+2) chunks and their frames.
func cut(ctx context.Context, store *blob.Store, raw io.Reader, chunkSize int, size int64, progress func(done, total int64)) (*agent.Manifest, error) {
	g, ctx := errgroup.WithContext(ctx)
	full := make(chan piece)
	free := make(chan []byte, workers+2)
	for range cap(free) {
		free <- nil // made when first needed: small images stay small
	}
	m := &agent.Manifest{ChunkSize: int64(chunkSize), Chunks: []agent.Chunk{}}
	var mu sync.Mutex // of m.Chunks
	for range workers {
		g.Go(func() error {
			enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault),
				zstd.WithEncoderCRC(false)) // the digest is the check
			if err != nil {
				return err
			}
			var frame []byte
			for p := range full {
				frame = enc.EncodeAll(p.data, frame[:0])
				d, n, err := store.Put(ctx, bytes.NewReader(frame))
				if err != nil {
					return storeError(err)
				}
				mu.Lock()
				m.Chunks = append(m.Chunks, agent.Chunk{Offset: p.offset, Length: int64(len(p.data)), Stored: n, Digest: string(d)})
				mu.Unlock()
				free <- p.data
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(full)
		h := sha256.New()
		for {
			var buf []byte
			select {
			case buf = <-free:
			case <-ctx.Done():
				return ctx.Err()
			}
			if buf == nil {
				buf = make([]byte, chunkSize)
			}
			n, err := io.ReadFull(raw, buf[:chunkSize])
			buf = buf[:n]
			h.Write(buf)
			if n > 0 && !zero(buf) {
				select {
				case full <- piece{m.Size, buf}:
				case <-ctx.Done():
					return ctx.Err()
				}
			} else {
				free <- buf
			}
			m.Size += int64(n)
			progress(m.Size, size)
			switch {
			case err == nil && m.Size < agent.MaxChunks*int64(chunkSize):
			case err == nil:
				return terminal(CodeTooLarge, "the image has more than %d bytes", m.Size)
			case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
				m.SHA256 = hex.EncodeToString(h.Sum(nil))
				return nil
			default:
				return err
			}
		}
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	slices.SortFunc(m.Chunks, func(a, b agent.Chunk) int { return cmp.Compare(a.Offset, b.Offset) })
	if len(m.Chunks) == 0 {
		return nil, terminal(CodeFormat, "the image is empty: %d bytes, all zero", m.Size)
	}
	return m, nil
}

// piece is a part of the raw image on its way to a worker.
type piece struct {
	offset int64
	data   []byte
}

// zero compares the bytes with themselves, one further, at memcmp's speed.
func zero(b []byte) bool {
	return b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1])
}
