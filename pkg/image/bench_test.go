package image

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/blob"
)

// BenchmarkConvert measures verified file to stored chunks in MB of raw image a
// second, fsync included. The image compresses about three to one.
func BenchmarkConvert(b *testing.B) {
	raw := make([]byte, 128<<20)
	rng := rand.New(rand.NewPCG(1, 2))
	words := make([][]byte, 4096)
	for i := range words {
		words[i] = fmt.Appendf(nil, "%x", rng.Uint64())
	}
	for i := 0; i < len(raw)*7/8; {
		i += copy(raw[i:], words[rng.IntN(len(words))])
	}
	for _, bm := range []struct {
		name string
		file []byte
	}{{"raw", raw}, {"qcow2", handmade(raw)}, {"zstd", zst(b, raw)}} {
		b.Run(bm.name, func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			var stored int64
			for b.Loop() {
				store, err := blob.Open(b.TempDir(), blob.Options{})
				if err != nil {
					b.Fatal(err)
				}
				r := newRig(b, func(o *Options) { o.Store = store })
				r.chunkSize = agent.MaxChunk
				src := source{bytes.NewReader(bm.file), io.NopCloser(nil), int64(len(bm.file))}
				if _, err := r.convert(b.Context(), src, "", func(int64, int64) {}); err != nil {
					b.Fatal(err)
				}
				stored = store.Used()
			}
			b.ReportMetric(float64(len(raw))/float64(stored), "ratio")
		})
	}
}
