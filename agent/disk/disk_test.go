package disk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/ingot-metal/ingot/agent/fault"
	"github.com/ingot-metal/ingot/agent/transport"
	api "github.com/ingot-metal/ingot/api/agent"
)

// gptImage is an image with one partition and noise in it.
func gptImage(t testing.TB, size int64, sector int) []byte {
	t.Helper()
	b := make([]byte, size)
	r := rand.New(rand.NewPCG(1, 2))
	for i := size / 2; i < size*3/4; i++ {
		b[i] = byte(r.Uint32())
	}
	g := &GPT{sector: int64(sector), header: make([]byte, gptHeaderSize), entries: make([]byte, 128*128), size: 128, firstUsable: 2048}
	copy(g.header, gptSignature)
	le.PutUint32(g.header[8:], 0x10000)
	le.PutUint32(g.header[12:], gptHeaderSize)
	le.PutUint64(g.header[40:], 2048)
	le.PutUint64(g.header[72:], 2)
	le.PutUint32(g.header[80:], 128)
	le.PutUint32(g.header[84:], 128)
	copy(g.entries, typeESP[:])
	g.entries[16] = 7
	le.PutUint64(g.entries[32:], 2048)
	le.PutUint64(g.entries[40:], uint64(size/int64(sector)-300))
	if err := g.Resize(size); err != nil {
		t.Fatal(err)
	}
	if err := g.Primary(b); err != nil {
		t.Fatal(err)
	}
	backup, off := g.Backup()
	copy(b[off:], backup)
	return b
}

func mbrImage(size int64) []byte {
	b := make([]byte, size)
	b[510], b[511] = 0x55, 0xaa
	b[mbrEntries+4] = mbrLinux
	le.PutUint32(b[mbrEntries+8:], 2048)
	le.PutUint32(b[mbrEntries+12:], 2048)
	for i := size / 2; i < size; i++ {
		b[i] = byte(i)
	}
	return b
}

// source serves chunks from memory, with faults.
type source struct {
	blobs map[string][]byte
	fault func(n int) error
	calls int
}

func (s *source) Chunk(_ context.Context, _, digest string, buf []byte) error {
	s.calls++
	if s.fault != nil {
		if err := s.fault(s.calls); err != nil {
			return err
		}
	}
	copy(buf, s.blobs[digest])
	return nil
}

func (s *source) Secret(_ context.Context, digest string, _ int64) ([]byte, error) {
	return s.blobs[digest], nil
}

func hexSum(b []byte) string {
	d := sha256.Sum256(b)
	return hex.EncodeToString(d[:])
}

func manifest(t testing.TB, raw []byte, chunk int) (api.Manifest, *source) {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &source{blobs: map[string][]byte{}}
	m := api.Manifest{Size: int64(len(raw)), ChunkSize: int64(chunk)}
	for off := 0; off < len(raw); off += chunk {
		b := raw[off:min(off+chunk, len(raw))]
		if all(b, 0x00) {
			continue
		}
		f := enc.EncodeAll(b, nil)
		s.blobs[hexSum(f)] = f
		m.Chunks = append(m.Chunks, api.Chunk{Offset: int64(off), Length: int64(len(b)), Stored: int64(len(f)), Digest: hexSum(f)})
	}
	return m, s
}

const diskSize = 24 << 20

// old is a disk with a past everywhere.
func old(t testing.TB, size int64, sector int) (Finder, string) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "sda")
	if err := os.WriteFile(path, bytes.Repeat([]byte{0xaa}, int(size)), 0o600); err != nil {
		t.Fatal(err)
	}
	return Finder{Dev: dir, Lookup: func(name string) (api.Disk, bool) {
		return api.Disk{Name: "/dev/sda", Size: size, SectorSize: sector, Serial: "S", WWN: "0x5"}, name == "sda"
	}}, path
}

func step(m api.Manifest, conf []byte) api.WriteStep {
	s := api.WriteStep{Disk: api.DiskRef{Name: "/dev/sda", Serial: "S", Size: diskSize}, Manifest: m, ChunkBase: "http://x/"}
	if conf != nil {
		s.ConfigDrive, s.ConfigDriveSize = hexSum(conf), int64(len(conf))
	}
	return s
}

func noPause(context.Context, int) error { return nil }

func TestWrite(t *testing.T) {
	conf := bytes.Repeat([]byte("config"), 1000)
	for _, tc := range []struct {
		name   string
		raw    []byte
		sector int
		conf   []byte
		fault  func(int) error
	}{
		{name: "gpt", raw: gptImage(t, 8<<20, 512), sector: 512},
		{name: "gpt and config drive", raw: gptImage(t, 8<<20, 512), sector: 512, conf: conf},
		{name: "4Kn", raw: gptImage(t, 16<<20, 4096), sector: 4096, conf: conf},
		{name: "mbr and config drive", raw: mbrImage(4 << 20), sector: 512, conf: conf},
		{name: "odd size", raw: mbrImage(4<<20 + 512), sector: 512},
		{name: "no table", raw: bytes.Repeat([]byte{1}, 3<<20), sector: 512},
		{name: "fetches that fail", raw: gptImage(t, 8<<20, 512), sector: 512, fault: func(n int) error {
			if n%2 == 1 {
				return errors.New("connection refused")
			}
			return nil
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, path := old(t, diskSize, tc.sector)
			m, src := manifest(t, tc.raw, 1<<20)
			src.fault = tc.fault
			if tc.conf != nil {
				src.blobs[hexSum(tc.conf)] = tc.conf
			}
			w := Writer{Finder: f, Workers: 1, Pause: noPause}
			out, err := w.Write(t.Context(), step(m, tc.conf), src, func(int64, int64, string, string) {})
			if err != nil {
				t.Fatal(err)
			}
			if err := out.Disk.Close(); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			// All but the tables is the image's, holes included.
			if !bytes.Equal(got[64<<10:len(tc.raw)-64<<10], tc.raw[64<<10:len(tc.raw)-64<<10]) {
				t.Error("the disk differs from the image")
			}
			if tc.conf != nil {
				at := bytes.Index(got[len(tc.raw):], conf[:512])
				if at < 0 || (len(tc.raw)+at)%MiB != 0 || !bytes.Equal(got[len(tc.raw)+at:][:len(conf)], conf) {
					t.Errorf("the config drive is not there: %d", at)
				}
			}
			if out.Table == nil {
				return
			}
			g, err := ReadGPT(got, tc.sector)
			if err != nil {
				t.Fatal(err)
			}
			backup := got[diskSize-tc.sector:]
			sum := le.Uint32(backup[16:])
			h := bytes.Clone(backup[:gptHeaderSize])
			le.PutUint32(h[16:], 0)
			if crc32.ChecksumIEEE(h) != sum || le.Uint64(h[24:]) != uint64(diskSize/tc.sector-1) {
				t.Error("the backup header is wrong")
			}
			if want := 1 + len(tc.conf)/max(1, len(tc.conf)); len(g.Partitions()) != want {
				t.Errorf("%d partitions, want %d", len(g.Partitions()), want)
			}
		})
	}
}

// Whatever is wrong before the write leaves the disk as it was.
func TestRefuse(t *testing.T) {
	good := gptImage(t, 8<<20, 512)
	for _, tc := range []struct {
		name string
		edit func(*api.WriteStep, *source)
		raw  []byte
		conf []byte
		want string
	}{
		{name: "serial", edit: func(s *api.WriteStep, _ *source) { s.Disk.Serial = "T" }, want: fault.DiskMismatch},
		{name: "wwn", edit: func(s *api.WriteStep, _ *source) { s.Disk.WWN = "0x6" }, want: fault.DiskMismatch},
		{name: "size", edit: func(s *api.WriteStep, _ *source) { s.Disk.Size-- }, want: fault.DiskMismatch},
		{name: "name", edit: func(s *api.WriteStep, _ *source) { s.Disk.Name = "/dev/../etc/passwd" }, want: fault.DiskMismatch},
		{name: "gone", edit: func(s *api.WriteStep, _ *source) { s.Disk.Name = "/dev/sdb" }, want: fault.DiskMismatch},
		{name: "too large", edit: func(s *api.WriteStep, _ *source) { s.Manifest.Size = diskSize + 1 }, want: fault.DiskSmall},
		{name: "4K table", raw: gptImage(t, 16<<20, 4096), want: fault.Disk4K},
		{name: "no room for the config drive", raw: mbrImage(diskSize - 512<<10), conf: []byte("c"), want: fault.DiskSmall},
		{name: "nowhere for the config drive", raw: bytes.Repeat([]byte{1}, 1<<20), conf: []byte("c"), want: fault.ImageFormat},
		{name: "overlap", edit: func(s *api.WriteStep, _ *source) { s.Manifest.Chunks[1].Offset = 0 }, want: fault.ImageFormat},
		{name: "huge frame", edit: func(s *api.WriteStep, _ *source) { s.Manifest.Chunks[1].Stored = 1 << 40 }, want: fault.ImageFormat},
		{name: "unreachable", edit: func(_ *api.WriteStep, s *source) { s.fault = func(int) error { return errors.New("no route") } }, want: fault.ImageUnreachable},
		{name: "digest", edit: func(_ *api.WriteStep, s *source) {
			s.fault = func(int) error { return fmt.Errorf("GET: %w", &transport.DigestError{}) }
		}, want: fault.ImageChunk},
		{name: "not zstd", edit: func(_ *api.WriteStep, s *source) {
			for _, b := range s.blobs {
				clear(b)
			}
		}, want: fault.ImageChunk},
		{name: "broken table", raw: func() []byte { b := bytes.Clone(good); b[512+40]++; return b }(), want: fault.ImageFormat},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.raw == nil {
				tc.raw = good
			}
			f, path := old(t, diskSize, 512)
			m, src := manifest(t, tc.raw, 1<<20)
			s := step(m, tc.conf)
			src.blobs[hexSum(tc.conf)] = tc.conf
			if tc.edit != nil {
				tc.edit(&s, src)
			}
			_, err := Writer{Finder: f, Workers: 1, Pause: noPause}.Write(t.Context(), s, src, func(int64, int64, string, string) {})
			if got := fault.Code(err, "none"); got != tc.want {
				t.Errorf("code %s (%v), want %s", got, err, tc.want)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !all(b, 0xaa) {
				t.Error("the disk was touched")
			}
		})
	}
}

// A write that breaks off leaves a disk that does not boot.
func TestBreakOff(t *testing.T) {
	raw := gptImage(t, 8<<20, 512)
	f, path := old(t, diskSize, 512)
	m, src := manifest(t, raw, 1<<20)
	src.fault = func(n int) error {
		if n > 2 {
			return errors.New("gone")
		}
		return nil
	}
	_, err := Writer{Finder: f, Workers: 1, Pause: noPause}.Write(t.Context(), step(m, nil), src, func(int64, int64, string, string) {})
	if fault.Code(err, "") != fault.ImageUnreachable {
		t.Errorf("got %v", err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !all(b[:1<<20], 0x00) || !all(b[diskSize-1<<20:], 0x00) {
		t.Error("a partition table is left")
	}
}

func TestWorkers(t *testing.T) {
	for _, tc := range []struct {
		name      string
		cores     int
		available int64
		want      int
	}{
		{"one core", 1, 8 << 30, 2}, {"many cores", 64, 8 << 30, 4}, {"small", 4, 120 << 20, 2}, {"tiny", 4, 30 << 20, 1}, {"unknown", 4, 0, 4},
	} {
		if diff := cmp.Diff(tc.want, Workers(tc.cores, tc.available)); diff != "" {
			t.Error(tc.name, diff)
		}
	}
}

func FuzzReadGPT(f *testing.F) {
	f.Add(gptImage(f, 2<<20, 512)[:34*512], 512)
	f.Add([]byte("EFI PART"), 512)
	f.Fuzz(func(t *testing.T, b []byte, sector int) {
		if sector != 512 && sector != 4096 {
			return
		}
		// The checksum is made good, so that the fuzzer gets past it.
		b = bytes.Clone(b)
		if len(b) >= sector+gptHeaderSize {
			if n := int64(le.Uint32(b[sector+12:])); n >= gptHeaderSize && int64(sector)+n <= int64(len(b)) {
				le.PutUint32(b[sector+16:], 0)
				le.PutUint32(b[sector+16:], crc32.ChecksumIEEE(b[sector:int64(sector)+n]))
			}
		}
		g, err := ReadGPT(b, sector)
		if err != nil {
			return
		}
		if g.Resize(64<<20) != nil {
			return
		}
		if _, err := g.Append("config-2", MiB, bytes.NewReader(make([]byte, 16))); err != nil {
			return
		}
		if err := g.Primary(b); err != nil {
			return
		}
		g.Backup()
	})
}

// all tells whether b is made of c alone.
func all(b []byte, c byte) bool { return bytes.Count(b, []byte{c}) == len(b) }
