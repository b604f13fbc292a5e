//go:build e2e

package vm_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/ingot-metal/ingot/pkg/dhcp"
	"github.com/ingot-metal/ingot/pkg/httpboot"
	"github.com/ingot-metal/ingot/pkg/ipxe"
	labnet "github.com/ingot-metal/ingot/pkg/lab/net"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
	"github.com/ingot-metal/ingot/pkg/lab/vm"
	"github.com/ingot-metal/ingot/pkg/tftp"
	"github.com/ingot-metal/ingot/pkg/usernet"
)

const (
	patience = 4 * time.Minute
	flavour  = "vm"
)

// lab is a switch with ingot's own boot servers on it.
type lab struct {
	t       *testing.T
	sw      *labnet.Switch
	journal *simbmc.Journal
	client  *usernet.Stack // the BMCs' way to the wire
	web     *usernet.Stack // a web server on the wire

	mu    sync.Mutex
	guest map[string]string // MAC to what its guest does
	asked []httpboot.Event
}

var serverAddr = netip.MustParsePrefix("10.77.0.1/24")

func newLab(t *testing.T) *lab {
	t.Helper()
	dir := t.TempDir()
	sw, err := labnet.Listen(filepath.Join(dir, "sw"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sw.Close() })
	l := &lab{t: t, sw: sw, journal: simbmc.NewJournal(nil, nil), guest: map[string]string{}}

	attach := func(last byte) *usernet.Stack {
		s, err := usernet.Attach(t.Context(), sw.Path(), usernet.Config{
			MAC:  net.HardwareAddr{0x52, 0x54, 0, 0, 0, last},
			Addr: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 77, 0, last}), 24),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	stack := attach(1)
	l.client, l.web = attach(2), attach(3)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); _ = stack.Close(); wg.Wait() })
	log := slog.New(slog.NewTextHandler(t.Output(), nil))

	ip := serverAddr.Addr()
	ds, err := dhcp.New(dhcp.Config{
		ServerIP: ip, Subnet: serverAddr,
		RangeStart: netip.MustParseAddr("10.77.0.100"), RangeEnd: netip.MustParseAddr("10.77.0.200"),
		ScriptURL: func(mac net.HardwareAddr) string { return fmt.Sprintf("http://%s:6180/boot/ipxe?mac=%s", ip, mac) },
		HTTPBase:  fmt.Sprintf("http://%s:6180", ip), Log: log,
	}, l)
	if err != nil {
		t.Fatal(err)
	}
	dconn, err := stack.ListenUDP(netip.Addr{}, 67)
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() { _ = ds.Serve(ctx, dconn) })

	loaders, err := ipxe.FindLoaders("")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]tftp.File{}
	for name, path := range loaders.Files() {
		files[name] = func() (io.ReadCloser, int64, error) {
			f, err := os.Open(path)
			if err != nil {
				return nil, 0, err
			}
			fi, err := f.Stat()
			return f, fi.Size(), err
		}
	}
	tconn, err := stack.ListenUDP(ip, 69)
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() { _ = tftp.New(tftp.Config{Files: files, Log: log}).Serve(ctx, tconn) })

	ln, err := stack.ListenTCP(6180)
	if err != nil {
		t.Fatal(err)
	}
	hs := httpboot.NewServer(httpboot.New(httpboot.Config{
		Scripts: l, Loaders: loaders.Files(), Artefacts: artefacts(t), Log: log,
		Observe: func(e httpboot.Event) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.asked = append(l.asked, e)
		},
	}), log)
	wg.Go(func() { _ = hs.Serve(ln) })
	t.Cleanup(func() { _ = hs.Close() })
	return l
}

// Lookup implements dhcp.Hosts.
func (l *lab) Lookup(_ context.Context, mac net.HardwareAddr) (dhcp.Reservation, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.guest[mac.String()]
	return dhcp.Reservation{}, ok
}

// Script implements httpboot.Scripts.
func (l *lab) Script(_ context.Context, mac net.HardwareAddr, _ netip.Addr) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	do, ok := l.guest[mac.String()]
	if !ok {
		return nil, httpboot.ErrUnknown
	}
	var args ipxe.Args
	for k, v := range map[string]string{"console": "ttyS0", "guest": do, "panic": "0"} {
		if err := args.Set(k, v); err != nil {
			return nil, err
		}
	}
	base := fmt.Sprintf("http://%s:6180/boot/", serverAddr.Addr())
	return ipxe.Boot{Kernel: base + "kernel/" + flavour, Initrd: base + "initrd/" + flavour, Args: args, Script: base + "ipxe?mac=" + mac.String()}.Render()
}

func (l *lab) fetched(k httpboot.Kind, name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.asked {
		if e.Kind == k && (name == "" || e.Name == name) {
			return true
		}
	}
	return false
}

// machine makes a machine on the switch whose network boot runs guest=do.
func (l *lab) machine(name, do string, change func(*vm.Config)) *vm.Machine {
	l.t.Helper()
	id := uuid.NewSHA1(uuid.NameSpaceDNS, []byte(name))
	mac := net.HardwareAddr{0x52, 0x54, id[0], id[1], id[2], id[3]}.String()
	l.mu.Lock()
	l.guest[mac] = do
	l.mu.Unlock()
	cfg := vm.Config{
		Name: name, Dir: filepath.Join(l.t.TempDir(), name), UUID: id.String(),
		NICs:    []vm.NIC{{MAC: mac, Socket: l.sw.Path()}},
		Disks:   []vm.Disk{{SizeBytes: 64 << 20}},
		Journal: l.journal,
		HTTP:    &http.Client{Transport: &http.Transport{DialContext: l.client.DialContext}},
	}
	if change != nil {
		change(&cfg)
	}
	m, err := vm.New(cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if err := m.Close(); err != nil {
			l.t.Error(err)
		}
		if l.t.Failed() {
			b, _ := os.ReadFile(m.SerialPath())
			l.t.Logf("console of %s:\n%s", name, b)
			l.t.Logf("journal: %v", l.journal.Entries(name))
		}
	})
	return m
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func once(target simbmc.BootTarget, mode simbmc.BootMode) simbmc.BootOverride {
	return simbmc.BootOverride{Target: target, Enabled: simbmc.BootOnce, Mode: mode}
}

// bootSector writes "DISK BOOT" to the first serial port and halts: real mode,
// loaded at 0:7c00 by the BIOS.
func bootSector() []byte {
	code := []byte{
		0x31, 0xc0, 0x8e, 0xd8, // xor ax,ax; mov ds,ax
		0xbe, 0x14, 0x7c, // mov si,text
		0xba, 0xf8, 0x03, // mov dx,0x3f8
		0xac,       // next: lodsb
		0x84, 0xc0, // test al,al
		0x74, 0x03, // jz halt
		0xee,       // out dx,al
		0xeb, 0xf8, // jmp next
		0xf4, 0xf4, // halt: hlt
	}
	sector := make([]byte, 512)
	copy(sector, code)
	copy(sector[0x14:], "DISK BOOT\r\n\x00")
	sector[510], sector[511] = 0x55, 0xaa
	return sector
}

// artefacts is a directory with Debian's cloud kernel and a ramdisk of the test
// guest, as httpboot serves them.
func artefacts(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root := kernelRoot(t)
	kernels, err := filepath.Glob(filepath.Join(root, "boot", "vmlinuz-*"))
	if err != nil || len(kernels) != 1 {
		t.Fatalf("kernels in %s: %v, %v", root, kernels, err)
	}
	must(t, os.Symlink(kernels[0], filepath.Join(dir, "vmlinuz-"+flavour)))
	init := filepath.Join(dir, "init")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", init, "./testdata/guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build guest: %v\n%s", err, out)
	}
	var cpio bytes.Buffer
	add := func(name string, mode uint32, major, minor int, data []byte) {
		fmt.Fprintf(&cpio, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
			0, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name)+1, 0, name)
		pad := func() { cpio.Write(make([]byte, -cpio.Len()&3)) }
		pad()
		cpio.Write(data)
		pad()
	}
	add("dev", 0o040755, 0, 0, nil)
	add("dev/console", 0o020600, 5, 1, nil)
	for name, path := range map[string]string{
		"init":      init,
		"button.ko": filepath.Join(root, "lib/modules/*/kernel/drivers/acpi/button.ko"),
		"evdev.ko":  filepath.Join(root, "lib/modules/*/kernel/drivers/input/evdev.ko"),
	} {
		found, err := filepath.Glob(path)
		if err != nil || len(found) != 1 {
			t.Fatalf("%s: %v, %v", path, found, err)
		}
		b, err := os.ReadFile(found[0])
		must(t, err)
		add(name, 0o100755, 0, 0, b)
	}
	add("sector", 0o100644, 0, 0, bootSector())
	add("TRAILER!!!", 0, 0, 0, nil)
	must(t, os.WriteFile(filepath.Join(dir, "initrd-"+flavour+".img"), cpio.Bytes(), 0o600))
	return dir
}

// kernelRoot is an unpacked linux-image-…-cloud-amd64: INGOT_E2E_KERNEL, or
// fetched once by apt into the user's cache.
func kernelRoot(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("INGOT_E2E_KERNEL"); dir != "" {
		return dir
	}
	cache, err := os.UserCacheDir()
	must(t, err)
	dir := filepath.Join(cache, "ingot", "e2e-kernel")
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	tmp, err := os.MkdirTemp(filepath.Dir(cache), "ingot-kernel")
	must(t, err)
	defer func() { _ = os.RemoveAll(tmp) }()
	run := func(name string, args ...string) string {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = tmp
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	_, after, _ := strings.Cut(run("apt-cache", "depends", "--important", "linux-image-cloud-amd64"), "Depends: ")
	name, _, _ := strings.Cut(after, "\n")
	run("apt-get", "download", strings.TrimSpace(name))
	debs, _ := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if len(debs) != 1 {
		t.Fatalf("downloaded %v", debs)
	}
	run("dpkg-deb", "-x", debs[0], "root")
	must(t, os.MkdirAll(filepath.Dir(dir), 0o755))
	must(t, os.Rename(filepath.Join(tmp, "root"), dir))
	return dir
}
