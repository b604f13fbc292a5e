package fleet

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/ingot-metal/ingot/agent"
	"github.com/ingot-metal/ingot/agent/fault"
	"github.com/ingot-metal/ingot/agent/transport"
	api "github.com/ingot-metal/ingot/api/agent"
)

// How long bytes are asked for, as in agent/disk: a server may restart more than
// once, and a step that fails for it has to be done again from the start.
const (
	fetchTries      = 40
	fetchBackoff    = 250 * time.Millisecond // doubled at every try
	longestFetching = 4 * time.Second        // two and a half minutes in all
)

// maxFrame bounds a frame: zstd adds some bytes a block to what it cannot
// compress (RFC 8878 §3.1.1).
const maxFrame = api.MaxChunk + 1<<16

// worker is what one chunk on its way needs. There are as many as processors, so
// that a thousand writing machines do not take a thousand pairs of buffers.
type worker struct{ frame, raw []byte }

// workers lends them out.
type workers struct {
	free    chan *worker
	decoder *zstd.Decoder // of whole frames, for all at once
}

func newWorkers() (*workers, error) {
	n := max(2, runtime.GOMAXPROCS(0))
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(n), zstd.WithDecoderMaxMemory(api.MaxChunk))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	w := &workers{free: make(chan *worker, n), decoder: decoder}
	for range n {
		w.free <- &worker{}
	}
	return w, nil
}

// writeChunk fetches one chunk, decodes it and writes it to the disk.
func (d *devices) writeChunk(ctx context.Context, content *disk, c api.Chunk, base string, src agent.Source) error {
	if c.Stored < 0 || c.Stored > maxFrame || c.Length < 0 || c.Length > api.MaxChunk || c.Offset < 0 || c.Offset > content.size-c.Length {
		return fault.New(fault.ImageFormat, "chunk of %d bytes, %d stored, at %d", c.Length, c.Stored, c.Offset)
	}
	pool := d.m.fleet.workers
	var w *worker
	select {
	case <-ctx.Done():
		return ctx.Err()
	case w = <-pool.free:
	}
	defer func() { pool.free <- w }()
	if int64(cap(w.frame)) < c.Stored {
		w.frame = make([]byte, c.Stored)
	}
	frame := w.frame[:c.Stored]
	if err := insist(ctx, func() error { return src.Chunk(ctx, base, c.Digest, frame) }); err != nil {
		return err
	}
	raw, err := pool.decoder.DecodeAll(frame, w.raw[:0])
	if err != nil {
		return fault.New(fault.ImageChunk, "chunk at %d: %w", c.Offset, err)
	}
	w.raw = raw
	if int64(len(raw)) != c.Length {
		return fault.New(fault.ImageChunk, "chunk at %d is %d bytes, want %d", c.Offset, len(raw), c.Length)
	}
	_, err = content.writeAt(ctx, raw, c.Offset)
	return err
}

// insist fetches as the agent's disk package does: again while a server may be
// restarting, and not again when it has refused or sent something else (here
// there is no proxy on the way that could have).
func insist(ctx context.Context, fetch func() error) error {
	delay := fetchBackoff
	for try := 1; ; try++ {
		err := fetch()
		if err == nil {
			return nil
		}
		if _, wrong := errors.AsType[*transport.DigestError](err); wrong {
			return fault.New(fault.ImageChunk, "%w", err)
		}
		_, refused := errors.AsType[*transport.Refusal](err)
		if refused || try == fetchTries || !pause(ctx, delay) {
			return fault.New(fault.ImageUnreachable, "%w", err)
		}
		delay = min(delay*2, longestFetching)
	}
}
