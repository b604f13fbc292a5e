package disk

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"github.com/ingot-metal/ingot/agent/fault"
	"github.com/ingot-metal/ingot/agent/transport"
	api "github.com/ingot-metal/ingot/api/agent"
)

// Source hands out verified bytes; see agent.Source.
type Source interface {
	Chunk(ctx context.Context, base, digest string, buf []byte) error
	Secret(ctx context.Context, digest string, size int64) ([]byte, error)
}

// Writer writes images.
type Writer struct {
	Finder
	Workers int       // that fetch, verify, decode and write; see Workers
	Rand    io.Reader // for the partition's GUID; nil: crypto/rand
	// Pause is the wait before a failed fetch is tried again; nil: real time.
	Pause func(ctx context.Context, try int) error
}

// Progress is agent.Progress.
type Progress = func(done, total int64, unit, detail string)

// Written is the outcome of a write, with the disk still open.
type Written struct {
	Disk   *Disk
	Result api.WriteResult
	Table  *GPT // nil: the image has none
}

// fetchTries bound how long one thing is asked for: two and a half minutes, since
// a server may restart more than once, and a step that fails for it has to be
// done again from the start. Bytes that are wrong are fetched again less often.
const (
	fetchTries = 40
	wrongTries = 8
)

// edge is what is wiped at both ends before anything else: an old partition
// table must not outlive an interrupted write.
const edge = 1 << 20

// Workers is how many of them a machine bears: each holds a frame and a chunk,
// and they get at most half of the memory that is free.
func Workers(cores int, available int64) int {
	const each = 2*api.MaxChunk + (8 << 20)
	n := min(max(cores, 2), 4)
	if available > 0 {
		n = min(n, int(available/2/each))
	}
	return max(n, 1)
}

// Write carries out a write step. On success the caller closes Written.Disk.
func (w Writer) Write(ctx context.Context, s api.WriteStep, src Source, progress Progress) (*Written, error) {
	d, err := w.Open(s.Disk)
	if err != nil {
		return nil, err
	}
	out, err := w.write(ctx, d, s, src, progress)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return out, nil
}

func (w Writer) write(ctx context.Context, d *Disk, s api.WriteStep, src Source, progress Progress) (*Written, error) {
	if err := check(s.Manifest, d.Info); err != nil {
		return nil, err
	}
	if w.Pause == nil {
		w.Pause = pause
	}
	j := &job{Writer: w, d: d, step: s, src: src, progress: progress}
	conf, err := j.configDrive(ctx)
	if err != nil {
		return nil, err
	}
	// The first chunk holds the partition table. It is fetched before anything
	// is written, and written after everything else.
	head, rest, err := j.head(ctx)
	if err != nil {
		return nil, err
	}
	lay, err := plan(head, d.Info, s.Manifest.Size, int64(len(conf)), w.rand())
	if err != nil {
		return nil, err
	}

	progress(0, s.Manifest.Size, "bytes", "clearing the old partition table")
	if err := j.clearEdges(ctx); err != nil {
		return nil, err
	}
	if err := j.body(ctx, rest); err != nil {
		return nil, err
	}
	if conf != nil {
		if err := j.padded(ctx, conf, lay.confOffset, lay.confSize); err != nil {
			return nil, err
		}
	}
	if lay.backup != nil {
		if err := d.WriteAt(lay.backup, lay.backupOffset); err != nil {
			return nil, err
		}
	}
	progress(j.done.Load(), s.Manifest.Size, "bytes", "flushing the disk")
	if err := d.Sync(); err != nil {
		return nil, err
	}
	if head != nil {
		if err := d.WriteAt(head[:min(int64(len(head)), d.Info.Size)], 0); err != nil {
			return nil, err
		}
		if err := d.Sync(); err != nil {
			return nil, err
		}
	}
	if err := d.Reread(); err != nil {
		return nil, err
	}
	progress(s.Manifest.Size, s.Manifest.Size, "bytes", "written")
	return &Written{
		Disk: d, Table: lay.gpt,
		Result: api.WriteResult{Disk: d.Ref(), Written: s.Manifest.Size + int64(len(conf)), Fetched: j.fetched.Load()},
	}, nil
}

func (w Writer) rand() io.Reader {
	if w.Rand != nil {
		return w.Rand
	}
	return rand.Reader
}

// job is one write.
type job struct {
	Writer
	d        *Disk
	step     api.WriteStep
	src      Source
	progress Progress
	done     atomic.Int64
	fetched  atomic.Int64
}

func (j *job) configDrive(ctx context.Context) ([]byte, error) {
	if j.step.ConfigDrive == "" {
		return nil, nil
	}
	if n := j.step.ConfigDriveSize; n <= 0 || n > api.MaxConfDrive {
		return nil, fault.New(fault.ImageFormat, "config drive of %d bytes: want at most %d", n, api.MaxConfDrive)
	}
	var conf []byte
	err := j.retry(ctx, func() (err error) {
		conf, err = j.src.Secret(ctx, j.step.ConfigDrive, j.step.ConfigDriveSize)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("fetching the config drive: %w", err)
	}
	j.fetched.Add(int64(len(conf)))
	return conf, nil
}

// head is the decoded first chunk, padded to whole sectors; nil if the image
// begins with a hole.
func (j *job) head(ctx context.Context) (head []byte, rest []api.Chunk, err error) {
	chunks := j.step.Manifest.Chunks
	if len(chunks) == 0 || chunks[0].Offset != 0 {
		return nil, chunks, nil
	}
	k, err := newWorker(j, j.step.Manifest.ChunkSize)
	if err != nil {
		return nil, nil, err
	}
	defer k.dec.Close()
	head, err = k.fetch(ctx, chunks[0])
	return head, chunks[1:], err
}

func (j *job) clearEdges(ctx context.Context) error {
	n := min(int64(edge), j.d.Info.Size)
	if err := j.d.Zero(ctx, 0, n); err != nil {
		return err
	}
	if err := j.d.Zero(ctx, j.d.Info.Size-n, n); err != nil {
		return err
	}
	return j.d.Sync()
}

// body writes all but the first chunk.
func (j *job) body(ctx context.Context, chunks []api.Chunk) error {
	for _, h := range holes(j.step.Manifest) {
		h.n = min(h.n, j.d.Info.Size-h.off)
		if err := j.d.Zero(ctx, h.off, h.n); err != nil {
			return err
		}
		j.advance(h.n)
	}
	g, ctx := errgroup.WithContext(ctx)
	var at atomic.Int64
	for range max(1, min(j.Workers, len(chunks))) {
		g.Go(func() error {
			k, err := newWorker(j, j.step.Manifest.ChunkSize)
			if err != nil {
				return err
			}
			defer k.dec.Close()
			for {
				i := at.Add(1) - 1
				if i >= int64(len(chunks)) {
					return nil
				}
				c := chunks[i]
				b, err := k.fetch(ctx, c)
				if err != nil {
					return err
				}
				if err := j.d.WriteAt(b[:min(int64(len(b)), j.d.Info.Size-c.Offset)], c.Offset); err != nil {
					return err
				}
				j.advance(c.Length)
			}
		})
	}
	return g.Wait()
}

func (j *job) advance(n int64) {
	j.progress(min(j.done.Add(n), j.step.Manifest.Size), j.step.Manifest.Size, "bytes", "writing the image")
}

// padded writes data and zeroes the rest of its room.
func (j *job) padded(ctx context.Context, data []byte, off, size int64) error {
	b := Buffer(1 << 20)
	for done := int64(0); done < size; done += int64(len(b)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		clear(b)
		if done < int64(len(data)) {
			copy(b, data[done:])
		}
		if err := j.d.WriteAt(b[:min(int64(len(b)), size-done)], off+done); err != nil {
			return err
		}
	}
	return nil
}

func (j *job) retry(ctx context.Context, do func() error) error {
	var last error
	for try := range fetchTries {
		err := do()
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		last = err
		if _, refused := errors.AsType[*transport.Refusal](err); refused {
			break
		}
		if _, wrong := errors.AsType[*transport.DigestError](err); wrong && try+1 >= wrongTries {
			break
		}
		if try+1 < fetchTries {
			if err := j.Pause(ctx, try); err != nil {
				return err
			}
		}
	}
	if _, ok := errors.AsType[*transport.DigestError](last); ok {
		return fault.New(fault.ImageChunk, "%w", last)
	}
	return fault.New(fault.ImageUnreachable, "%w", last)
}

func pause(ctx context.Context, try int) error {
	t := time.NewTimer(250 * time.Millisecond << min(try, 4))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// worker owns the buffers for one chunk at a time.
type worker struct {
	j     *job
	frame []byte
	data  []byte
	dec   *zstd.Decoder
}

func newWorker(j *job, chunk int64) (*worker, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(2*api.MaxChunk), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, err
	}
	return &worker{j: j, frame: make([]byte, maxStored(chunk)), data: Buffer(int(chunk)), dec: dec}, nil
}

// fetch gets, verifies and decodes a chunk. What it returns is aligned, padded
// with zeros to whole sectors, and good until the next call.
func (k *worker) fetch(ctx context.Context, c api.Chunk) ([]byte, error) {
	frame := k.frame[:c.Stored]
	err := k.j.retry(ctx, func() error { return k.j.src.Chunk(ctx, k.j.step.ChunkBase, c.Digest, frame) })
	if err != nil {
		return nil, fmt.Errorf("the chunk at %d: %w", c.Offset, err)
	}
	k.j.fetched.Add(c.Stored)
	out, err := k.dec.DecodeAll(frame, k.data[:0:c.Length])
	if err == nil && int64(len(out)) != c.Length {
		err = fmt.Errorf("it has %d bytes, the manifest says %d", len(out), c.Length)
	}
	if err != nil {
		return nil, fault.New(fault.ImageChunk, "the chunk at %d: %w", c.Offset, err)
	}
	whole := k.data[:roundUp(c.Length)]
	clear(whole[c.Length:])
	return whole, nil
}
