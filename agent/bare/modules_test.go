package bare

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

// Aliases of e1000e and virtio_net as Debian's kernel 6.1 has them.
func TestWants(t *testing.T) {
	for _, tc := range []struct {
		name    string
		pattern string
		alias   string
		want    bool
	}{
		{"pci device", "pci:v00008086d000010D3sv*sd*bc*sc*i*", "pci:v00008086d000010D3sv00008086sd00000000bc02sc00i00", true},
		{"other device", "pci:v00008086d000010D3sv*sd*bc*sc*i*", "pci:v00008086d00001521sv00008086sd00000000bc02sc00i00", false},
		{"class", "pci:v*d*sv*sd*bc01sc08i02*", "pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02", true},
		{"virtio", "virtio:d00000001v*", "virtio:d00000001v00001AF4", true},
		{"set", "usb:v*p*d*dc*dsc*dp*ic08isc0[6]ip50in*", "usb:v1p1d1dc0dsc0dp0ic08isc06ip50in0", true},
		{"malformed", "pci:[", "pci:v1", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := wants([]string{tc.pattern}, []string{tc.alias}); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// A device is asked about once.
func TestFreshAliases(t *testing.T) {
	sys := t.TempDir()
	dir := filepath.Join(sys, "bus/pci/devices/0000:00:01.0")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "modalias"), []byte("pci:v1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	if got := freshAliases(sys, seen); len(got) != 1 || got[0] != "pci:v1" {
		t.Errorf("got %q", got)
	}
	if got := freshAliases(sys, seen); len(got) != 0 {
		t.Errorf("again: %q", got)
	}
}

func TestConsole(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(NewConsole("ingot-agent", &b)).With("host", "a")
	log.Debug("unseen")
	log.Warn("no link", "interface", "eth0", "err", "two\nlines")
	want := "ingot-agent: warn: no link host=a interface=eth0 err=\"two lines\"\r\n"
	if got := b.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
