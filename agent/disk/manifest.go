package disk

import (
	"encoding/hex"

	"github.com/ingot-metal/ingot/agent/fault"
	api "github.com/ingot-metal/ingot/api/agent"
)

// check refuses a manifest that cannot be written to the disk as a whole.
func check(m api.Manifest, d api.Disk) error {
	bad := func(format string, args ...any) error {
		return fault.New(fault.ImageFormat, "manifest: "+format, args...)
	}
	switch {
	case m.Size <= 0:
		return bad("the image is empty")
	case m.Size > d.Size:
		return fault.New(fault.DiskSmall, "the image has %d bytes, %s has %d", m.Size, d.Name, d.Size)
	case m.ChunkSize < Align || m.ChunkSize > api.MaxChunk || m.ChunkSize%Align != 0:
		return bad("chunks of %d bytes: want a multiple of %d up to %d", m.ChunkSize, Align, api.MaxChunk)
	case len(m.Chunks) > api.MaxChunks:
		return bad("%d chunks: want at most %d", len(m.Chunks), api.MaxChunks)
	}
	var end int64
	for i, c := range m.Chunks {
		if b, err := hex.DecodeString(c.Digest); err != nil || len(b) != 32 {
			return bad("chunk %d has no SHA-256 digest", i)
		}
		switch {
		case c.Offset < end || c.Offset%Align != 0:
			return bad("chunk %d at %d: want a multiple of %d from %d on", i, c.Offset, Align, end)
		case c.Length <= 0 || c.Length > m.ChunkSize || c.Offset > m.Size-c.Length:
			return bad("chunk %d of %d bytes at %d: too long", i, c.Length, c.Offset)
		case c.Stored <= 0 || c.Stored > maxStored(c.Length):
			return bad("chunk %d stored in %d bytes: want at most %d", i, c.Stored, maxStored(c.Length))
		}
		end = c.Offset + c.Length
	}
	return nil
}

// maxStored is the largest frame of n bytes that zstd makes of what it cannot
// compress (RFC 8878 3.1.1: three bytes a block of at most 128 KiB, and the
// frame's own head and checksum).
func maxStored(n int64) int64 { return n + n/(128<<10)*3 + 1024 }

// holes are the ranges of the image that no chunk covers.
func holes(m api.Manifest) (out []span) {
	var end int64
	for _, c := range m.Chunks {
		if c.Offset > end {
			out = append(out, span{end, c.Offset - end})
		}
		// The rest of a chunk's last sector is written with it.
		end = min(roundUp(c.Offset+c.Length), roundUp(m.Size))
	}
	if size := roundUp(m.Size); size > end {
		out = append(out, span{end, size - end})
	}
	return out
}

type span struct{ off, n int64 }

func roundUp(n int64) int64 { return (n + Align - 1) &^ (Align - 1) }
