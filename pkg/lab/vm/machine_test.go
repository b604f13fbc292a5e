package vm

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

func offMachine(t *testing.T, change func(*Config)) *Machine {
	t.Helper()
	cfg := Config{
		Name: "m1", Dir: t.TempDir(), UUID: "6a8c5f9e-0000-4000-8000-000000000001", QEMU: "/bin/false",
		Disks: []Disk{{SizeBytes: 1 << 20}}, MaxMediaBytes: 1000,
	}
	if change != nil {
		change(&cfg)
	}
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// TestInfo finds in the facts of a machine the disks that it is started with.
func TestInfo(t *testing.T) {
	m := offMachine(t, func(c *Config) {
		c.CPUs, c.MemoryMiB = 2, 1024
		c.Disks = []Disk{
			{Kind: NVMe, SizeBytes: 2 << 20, Serial: "N1"},
			{Kind: Virtio, SizeBytes: 1 << 20, Serial: "V1"},
			{Kind: SCSI, SizeBytes: 3 << 20, Serial: "S1"},
		}
	})
	got := m.Info()
	want := []simbmc.Disk{
		{Model: "QEMU NVMe Ctrl", Serial: "N1", SizeBytes: 2 << 20, Protocol: "NVMe", Media: "SSD"},
		{Serial: "V1", SizeBytes: 1 << 20},
		{Vendor: "ingot", Model: "lab disk", Serial: "S1", SizeBytes: 3 << 20, Media: "SSD"},
	}
	if diff := cmp.Diff(want, got.Disks); diff != "" || got.CPUs != 2 || got.MemoryMiB != 1024 {
		t.Errorf("%+v, disks (-want +got):\n%s", got, diff)
	}
}

func TestMedia(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/good":
			_, _ = w.Write(make([]byte, 1000))
		case "/large":
			_, _ = w.Write(make([]byte, 1001))
		case "/short":
			w.Header().Set("Content-Length", "900")
			_, _ = w.Write(make([]byte, 10))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	m := offMachine(t, nil)
	ctx := t.Context()
	if err := m.InsertMedia(ctx, server.URL+"/good"); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, url string }{
		{name: "too large", url: server.URL + "/large"},
		{name: "cut short", url: server.URL + "/short"},
		{name: "not there", url: server.URL + "/secret-token"},
		{name: "no server", url: "http://127.0.0.1:1/secret-token"},
		{name: "no URL", url: "http://[::1/secret-token"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := m.InsertMedia(ctx, tt.url)
			if err == nil || strings.Contains(err.Error(), "secret-token") {
				t.Errorf("error %v", err)
			}
			// The disc that was in stays in, and no piece of the other remains.
			if url, in, _ := m.Media(ctx); !in || url != server.URL+"/good" {
				t.Errorf("media %q, %v", url, in)
			}
			if found, _ := filepath.Glob(filepath.Join(m.cfg.Dir, "*.new")); len(found) > 0 {
				t.Errorf("left behind %v", found)
			}
		})
	}
	for range 2 {
		if err := m.EjectMedia(ctx); err != nil {
			t.Error(err)
		}
	}
	if _, in, _ := m.Media(ctx); in {
		t.Error("still in")
	}
}

func TestPowerOff(t *testing.T) {
	m := offMachine(t, nil)
	ctx := t.Context()
	for _, a := range []simbmc.PowerAction{simbmc.ForceRestart, simbmc.PowerCycle, simbmc.GracefulShutdown, simbmc.GracefulRestart, simbmc.NMI} {
		if err := m.SetPower(ctx, a); !errors.Is(err, simbmc.ErrState) {
			t.Errorf("%s: %v", a, err)
		}
	}
	if err := m.SetPower(ctx, simbmc.ForceOff); err != nil {
		t.Error(err)
	}
	// A QEMU that ends at once is an error with a power state of off.
	override := simbmc.BootOverride{Target: simbmc.BootPXE, Enabled: simbmc.BootOnce}
	if err := m.SetBoot(ctx, override); err != nil {
		t.Fatal(err)
	}
	if err := m.SetPower(ctx, simbmc.PowerOn); err == nil {
		t.Error("no error from a QEMU that does not start")
	}
	if on, _ := m.Power(ctx); on {
		t.Error("on")
	}
	if o, _ := m.Boot(ctx); o.Enabled != simbmc.BootOnce {
		t.Errorf("an override that nothing followed became %+v", o)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.SetPower(ctx, simbmc.PowerOn); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// A caller that gives up while another action runs does not wait for it.
func TestAcquireIsBounded(t *testing.T) {
	m := offMachine(t, nil)
	if err := m.acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.SetPower(ctx, simbmc.PowerOn); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	m.release()
}

func TestFilesSurvive(t *testing.T) {
	dir := t.TempDir()
	in := func(c *Config) { c.Dir = dir }
	m := offMachine(t, in)
	want := simbmc.BootOverride{Target: simbmc.BootDisk, Enabled: simbmc.BootContinuous, Mode: simbmc.ModeUEFI}
	if err := m.SetBoot(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(diskFile(dir, 0), append([]byte("mine"), make([]byte, 1<<20-4)...), 0o600); err != nil {
		t.Fatal(err)
	}
	digest, err := m.DiskSHA256(0, 4)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	again := offMachine(t, in)
	if got, _ := again.Boot(t.Context()); got != want {
		t.Errorf("override %+v, want %+v", got, want)
	}
	if got, err := again.DiskSHA256(0, 4); err != nil || got != digest {
		t.Errorf("digest %s, %v, want %s", got, err, digest)
	}
	if _, err := again.DiskSHA256(0, 2<<20); err == nil {
		t.Error("digest of more than the disk")
	}
	if _, err := New(Config{Name: "m1", Dir: dir, UUID: again.cfg.UUID, QEMU: "/bin/false", Disks: []Disk{{SizeBytes: 2 << 20}}}); err == nil {
		t.Error("a disk of another size was taken over")
	}
}
