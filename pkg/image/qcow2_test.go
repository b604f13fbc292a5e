package image

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
)

const testCluster = 64 << 10

// handmade writes a qcow2 file (version 3, clusters of 64 KiB) of which every
// third data cluster is compressed. Reference counts are left out: nobody who
// reads needs them.
func handmade(raw []byte) []byte {
	be := binary.BigEndian
	clusters := (len(raw) + testCluster - 1) / testCluster
	out := make([]byte, 3*testCluster) // header, L1, L2
	copy(out, qcow2Magic)
	be.PutUint32(out[4:], 3)
	be.PutUint32(out[20:], 16)
	be.PutUint64(out[24:], uint64(len(raw)))
	be.PutUint32(out[36:], 1)
	be.PutUint64(out[40:], testCluster)
	be.PutUint32(out[96:], 4)
	be.PutUint32(out[100:], 104)
	be.PutUint64(out[testCluster:], 2*testCluster|1<<63)
	l2 := 2 * testCluster
	for i := range clusters {
		c := make([]byte, testCluster)
		copy(c, raw[i*testCluster:])
		switch {
		case zero(c) && i%2 == 0:
			be.PutUint64(out[l2+8*i:], 1) // reads as zeros
		case zero(c): // not allocated
		case i%3 == 2:
			var b bytes.Buffer
			w, _ := flate.NewWriter(&b, 6)
			_, _ = w.Write(c)
			_ = w.Close()
			sectors := uint64(b.Len()+511)/512 - 1
			be.PutUint64(out[l2+8*i:], 1<<62|sectors<<(62-(16-8))|uint64(len(out)))
			out = append(out, b.Bytes()...)
			out = append(out, make([]byte, (testCluster-len(out)%testCluster)%testCluster)...)
		default:
			be.PutUint64(out[l2+8*i:], 1<<63|uint64(len(out)))
			out = append(out, c...)
		}
	}
	return out
}

func readQCOW2(b []byte) error {
	r, size, err := openQCOW2(bytes.NewReader(b), int64(len(b)), 16<<20)
	if err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, r)
	if err == nil && n != size {
		return errors.New("short")
	}
	return err
}

func TestCheckQCOW2(t *testing.T) {
	be := binary.BigEndian
	tests := []struct {
		name   string
		change func(b []byte)
		want   string
	}{
		{"good", func([]byte) {}, ""},
		{"version", func(b []byte) { b[7] = 9 }, "version 9"},
		{"backing file", func(b []byte) { b[15] = 1 }, "backing file"},
		{"encrypted", func(b []byte) { b[35] = 1 }, "encrypted"},
		{"dirty", func(b []byte) { b[79] = 1 }, "not closed cleanly"},
		{"data file", func(b []byte) { b[79] = 4 }, "another file"},
		{"extended L2", func(b []byte) { b[79] = 16 }, "extended L2"},
		{"unknown feature", func(b []byte) { b[72] = 1 }, "unknown features"},
		{"tiny clusters", func(b []byte) { b[23] = 8 }, "clusters of 2^8"},
		{"huge clusters", func(b []byte) { b[23] = 63 }, "clusters of 2^63"},
		{"empty disk", func(b []byte) { be.PutUint64(b[24:], 0) }, "empty disk"},
		{"huge disk", func(b []byte) { be.PutUint64(b[24:], 1<<63) }, "at most"},
		{"huge L1", func(b []byte) { be.PutUint32(b[36:], 1<<31) }, "L1 table"},
		{"L1 too short", func(b []byte) { be.PutUint32(b[36:], 0) }, "L1 table"},
		{"L1 behind the end", func(b []byte) { be.PutUint64(b[40:], 1<<40) }, "ends in the middle"},
		{"L1 wraps around", func(b []byte) { be.PutUint64(b[40:], 1<<64-8) }, "ends in the middle"},
		{"L2 behind the end", func(b []byte) { be.PutUint64(b[testCluster:], 1<<50) }, "ends in the middle"},
		{"data behind the end", func(b []byte) { be.PutUint64(b[2*testCluster:], 1<<50) }, "ends in the middle"},
		{"compressed data is noise", func(b []byte) { be.PutUint64(b[2*testCluster:], 1<<62|512) }, "qcow2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := handmade(disk())
			tt.change(b)
			err := readQCOW2(b)
			if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func FuzzQCOW2(f *testing.F) {
	f.Add(handmade(disk()[:100_000]))
	f.Add(handmade(make([]byte, 65536)))
	f.Add([]byte(qcow2Magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		var e *Error
		if err := readQCOW2(b); err != nil && !errors.As(err, &e) {
			t.Fatalf("untyped error %v", err)
		}
	})
}

func FuzzChecksumFile(f *testing.F) {
	f.Add([]byte(sha(nil)+"  disk.img\n"), "sha256")
	f.Add([]byte("SHA256 (disk.img) = "+sha(nil)+"\n"), "")
	f.Add([]byte("MD5 (a (b) = c) = d\n\x00 *"), "auto")
	f.Fuzz(func(t *testing.T, b []byte, kind string) {
		c, err := findChecksum(b, "f", "disk.img", kind)
		if err == nil && len(c.hex) != digestLen[c.kind] {
			t.Fatalf("found %+v", c)
		}
	})
}

func FuzzDecompress(f *testing.F) {
	f.Add(gz([]byte("hello")))
	f.Add(xzip(f, []byte("hello")))
	f.Add(zst(f, []byte("hello")))
	f.Fuzz(func(t *testing.T, b []byte) {
		kind, err := sniffCompression(b)
		if err != nil || kind == "" || kind == compressXZ && len(b) > 1<<10 {
			return
		}
		var e *Error
		d, err := decompress(kind, bytes.NewReader(b), 1<<20)
		if err == nil {
			_, err = io.Copy(io.Discard, d)
			_ = d.Close()
		}
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("untyped error %v", err)
		}
	})
}

func TestCheckAddr(t *testing.T) {
	tests := []struct {
		addr     string
		loopback bool
		ok       bool
	}{
		{"192.0.2.1", false, true},
		{"10.0.0.1", false, true},
		{"fd00::1", false, true},
		{"2001:db8::1", false, true},
		{"127.0.0.1", false, false},
		{"127.0.0.1", true, true},
		{"::1", false, false},
		{"::ffff:127.0.0.1", false, false},
		{"169.254.169.254", true, false},
		{"::ffff:169.254.169.254", true, false},
		{"64:ff9b::a9fe:a9fe", true, false},
		{"fe80::1", true, false},
		{"fe80::1%eth0", true, false},
		{"fd00:ec2::254", true, false},
		{"100.100.100.200", true, false},
		{"168.63.129.16", true, false},
		{"0.0.0.0", true, false},
		{"0.1.2.3", true, false},
		{"::", true, false},
		{"224.0.0.1", true, false},
		{"255.255.255.255", true, false},
	}
	for _, tt := range tests {
		if err := checkAddr(netip.MustParseAddr(tt.addr), tt.loopback); (err == nil) != tt.ok {
			t.Errorf("%s (loopback allowed: %t): %v", tt.addr, tt.loopback, err)
		}
	}
}
