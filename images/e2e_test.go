//go:build e2e

// Package images_test boots what images/build makes, in QEMU with real firmware,
// against the real agent door: hello, inspect, clean, write, reboot, and the
// written system reads its config drive.
//
//	go run ./images/build -out DIR ramdisk demo
//	INGOT_IMAGES=DIR go test -tags e2e ./images/
package images_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/agentapi"
	"github.com/ingot-metal/ingot/pkg/auth"
	"github.com/ingot-metal/ingot/pkg/userdata"
)

const (
	mac  = "52:54:00:12:34:56"
	uuid = "11111111-2222-4333-8444-555555555555"
	key  = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHpbIE1NShPvjMDq3u9bWVNPoU1oFvLPMBTfSdHYbeVl test"
)

type believer struct{ hellos atomic.Int32 }

func (b *believer) Redeem(context.Context, agentapi.Claim) (agentapi.Grant, error) {
	b.hellos.Add(1)
	return agentapi.Grant{Host: "default/node-1", Epoch: 7}, nil
}

func (b *believer) Redeemed(string, string) (agentapi.Grant, error) {
	return agentapi.Grant{Host: "default/node-1", Epoch: 7}, nil
}

func TestJourney(t *testing.T) {
	dir := os.Getenv("INGOT_IMAGES")
	if dir == "" {
		t.Skip("INGOT_IMAGES names no directory of images/build")
	}
	for _, tc := range []struct {
		name, flavour, mem, smp string
		uefi                    bool
		nic                     string
	}{
		{name: "bios-vm", flavour: "vm", mem: "512", smp: "1", nic: "virtio-net-pci"},
		{name: "uefi-vm", flavour: "vm", mem: "512", smp: "1", nic: "virtio-net-pci", uefi: true},
		{name: "bios-server-e1000e", flavour: "server", mem: "512", smp: "1", nic: "e1000e"},
		{name: "bios-vm-small", flavour: "vm", mem: "160", smp: "1", nic: "virtio-net-pci"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			j := begin(t, dir)
			args := []string{"-m", tc.mem, "-smp", tc.smp, "-device", tc.nic + ",netdev=n0,mac=" + mac + ",romfile="}
			if tc.uefi {
				vars := filepath.Join(t.TempDir(), "vars.fd")
				copyFile(t, "/usr/share/OVMF/OVMF_VARS_4M.fd", vars)
				args = append(args, "-drive", "if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd", "-drive", "if=pflash,format=raw,unit=1,file="+vars)
			}
			start := time.Now()
			cmdline := fmt.Sprintf("console=ttyS0 quiet %s=https://10.0.2.2:%d %s=%s %s=boot-1 %s=%s", agent.ArgURL, j.port, agent.ArgCA, j.ca.Pin(), agent.ArgBoot, agent.ArgMAC, mac)
			vm := j.qemu(t, append(args, "-kernel", filepath.Join(dir, "vmlinuz-"+tc.flavour), "-initrd", filepath.Join(dir, "initrd-"+tc.flavour+".img"), "-append", cmdline)...)
			r := j.step(t, vm, agent.Step{ID: "s1", Epoch: 7, Kind: agent.StepInspect}, nil)
			t.Logf("inspected after %.1f s", time.Since(start).Seconds())
			text, _ := json.Marshal(r.Inventory)
			t.Logf("inventory %s", text)
			d := r.Inventory.Disks[0]
			ref := agent.DiskRef{Name: d.Name, Serial: d.Serial, WWN: d.WWN, Size: d.Size}
			wrong := ref
			wrong.Serial = "other"
			if r := j.run(t, vm, agent.Step{ID: "s2", Epoch: 7, Kind: agent.StepClean, Clean: &agent.CleanStep{Disks: []agent.DiskRef{wrong}}}, nil); r.Error == nil || r.Error.Code != "disk-mismatch" {
				t.Errorf("clean of another disk: %+v, want disk-mismatch", r.Error)
			}
			at := time.Now()
			j.step(t, vm, agent.Step{ID: "s3", Epoch: 7, Kind: agent.StepClean, Clean: &agent.CleanStep{Disks: []agent.DiskRef{ref}}}, nil)
			t.Logf("cleaned in %.1f s", time.Since(at).Seconds())
			at = time.Now()
			r = j.step(t, vm, agent.Step{ID: "s4", Epoch: 7, Kind: agent.StepWrite, Write: &agent.WriteStep{
				Disk: ref, Manifest: j.manifest, ChunkBase: fmt.Sprintf("http://10.0.2.2:%d/images/sha256/", j.plain),
				ConfigDrive: hexSum(j.conf), ConfigDriveSize: int64(len(j.conf)), BootLabel: "ingot",
			}}, map[string][]byte{hexSum(j.conf): j.conf})
			t.Logf("written in %.1f s: %+v", time.Since(at).Seconds(), r.Write)
			if tc.uefi != (r.Write.BootEntry != "") {
				t.Errorf("boot entry %q, uefi %v", r.Write.BootEntry, tc.uefi)
			}
			j.step(t, vm, agent.Step{ID: "s5", Epoch: 7, Kind: agent.StepReboot}, nil)
			vm.wait(t, "")
			if n := j.boots.hellos.Load(); n != 1 {
				t.Errorf("%d hellos, want 1", n)
			}
			proveDisk(t, j, filepath.Join(j.dir, "disk.raw"))
			at = time.Now()
			// The disk has no boot index: on UEFI our own entry must do.
			vm = j.qemu(t, args...)
			want := "ingot-demo: hostname=node-1 uuid=" + uuid + " ssh-key=SHA256:"
			vm.wait(t, want)
			if start := `starting Boot0001 "ingot" from HD(`; tc.uefi && !strings.Contains(vm.text(), start) {
				t.Errorf("the firmware did not start our entry:\n%s", vm.text())
			}
			t.Logf("installed system up after %.1f s; in all %.1f s", time.Since(at).Seconds(), time.Since(start).Seconds())
			t.Logf("agent's console:\n%s", j.log.String())
		})
	}
}

type journey struct {
	dir         string
	ca          *auth.CA
	srv         *agentapi.Server
	boots       *believer
	port, plain int
	manifest    agent.Manifest
	raw         []byte
	conf        []byte
	log         bytes.Buffer
}

func begin(t *testing.T, images string) *journey {
	t.Helper()
	j := &journey{dir: t.TempDir(), boots: &believer{}}
	var err error
	j.ca, err = auth.NewCA(time.Now)
	ok(t, err)
	cert, err := j.ca.Server([]net.IP{net.IPv4(10, 0, 2, 2)}, nil)
	ok(t, err)
	j.srv = agentapi.New(j.ca, j.boots, time.Now, slog.New(slog.NewTextHandler(io.Discard, nil)))
	mux := http.NewServeMux()
	j.srv.Register(mux)
	pool := x509.NewCertPool()
	pool.AddCert(j.ca.Certificate())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	s := &http.Server{Handler: mux, TLSConfig: &tls.Config{Certificates: []tls.Certificate{*cert}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool}}
	go s.ServeTLS(l, "", "")
	t.Cleanup(func() { s.Close() })
	j.port = l.Addr().(*net.TCPAddr).Port

	j.raw, err = os.ReadFile(filepath.Join(images, "demo.raw"))
	ok(t, err)
	chunks := map[string][]byte{}
	enc, err := zstd.NewWriter(nil)
	ok(t, err)
	j.manifest = agent.Manifest{Size: int64(len(j.raw)), SHA256: hexSum(j.raw), ChunkSize: agent.MaxChunk}
	for off := 0; off < len(j.raw); off += agent.MaxChunk {
		b := j.raw[off:min(off+agent.MaxChunk, len(j.raw))]
		if len(bytes.Trim(b, "\x00")) == 0 {
			continue
		}
		f := enc.EncodeAll(b, nil)
		chunks[hexSum(f)] = f
		j.manifest.Chunks = append(j.manifest.Chunks, agent.Chunk{Offset: int64(off), Length: int64(len(b)), Stored: int64(len(f)), Digest: hexSum(f)})
	}
	pl, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	ps := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write(chunks[filepath.Base(r.URL.Path)])
	})}
	go ps.Serve(pl)
	t.Cleanup(func() { ps.Close() })
	j.plain = pl.Addr().(*net.TCPAddr).Port

	meta, err := json.Marshal(map[string]any{"public_keys": map[string]string{"k": key}})
	ok(t, err)
	j.conf, err = userdata.ConfigDrive(userdata.Input{UUID: uuid, Name: "node-1", Namespace: "default", MetaData: meta})
	ok(t, err)

	// A disk with a past: noise where metadata lies.
	f, err := os.Create(filepath.Join(j.dir, "disk.raw"))
	ok(t, err)
	ok(t, f.Truncate(2<<30))
	noise := bytes.Repeat([]byte("old tenant "), 1<<18)
	for _, at := range []int64{0, 64 << 20, 2<<30 - int64(len(noise))} {
		_, err = f.WriteAt(noise, at)
		ok(t, err)
	}
	ok(t, f.Close())
	return j
}

// proveDisk reads the disk from outside: all but the partition table is the
// image's, and the holes read as zero.
func proveDisk(t *testing.T, j *journey, path string) {
	t.Helper()
	got := make([]byte, len(j.raw))
	f, err := os.Open(path)
	ok(t, err)
	defer f.Close()
	_, err = io.ReadFull(f, got)
	ok(t, err)
	const table = 1 << 20
	if !bytes.Equal(got[table:], j.raw[table:]) {
		t.Error("the disk differs from the image")
	}
	out, err := exec.Command("/usr/sbin/sfdisk", "--verify", path).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "No errors") {
		t.Errorf("sfdisk --verify: %v\n%s", err, out)
	}
	out, _ = exec.Command("/usr/sbin/sfdisk", "-d", path).CombinedOutput()
	t.Logf("table:\n%s", out)
}

type vm struct {
	cmd    *exec.Cmd
	serial string
	done   chan struct{}
	j      *journey
}

func (j *journey) qemu(t *testing.T, args ...string) *vm {
	t.Helper()
	v := &vm{serial: filepath.Join(t.TempDir(), "serial.log"), done: make(chan struct{}), j: j}
	v.cmd = exec.Command("qemu-system-x86_64", append([]string{
		"-accel", "tcg,thread=multi", "-cpu", "max", "-M", "q35", "-nodefaults", "-nographic", "-action", "reboot=shutdown",
		"-chardev", "file,id=s0,path=" + v.serial, "-serial", "chardev:s0", "-netdev", "user,id=n0",
		"-smbios", "type=1,manufacturer=Ingot,product=Lab,serial=SN1,sku=K1,family=F1,uuid=" + uuid, "-smbios", "type=2,serial=B1", "-smbios", "type=3,asset=A1",
		"-drive", "if=none,id=d0,format=raw,cache=unsafe,discard=unmap,file=" + filepath.Join(j.dir, "disk.raw"), "-device", "nvme,id=nv0,serial=NVME1,drive=d0",
	}, args...)...)
	var stderr bytes.Buffer
	v.cmd.Stderr = &stderr
	ok(t, v.cmd.Start())
	go func() { v.cmd.Wait(); close(v.done) }()
	t.Cleanup(func() {
		v.cmd.Process.Kill()
		<-v.done
		if t.Failed() {
			t.Logf("stderr %s\nserial:\n%s", stderr.String(), v.text())
		}
	})
	return v
}

func (v *vm) text() string {
	b, _ := os.ReadFile(v.serial)
	return string(b)
}

// wait for text on the serial console, or for the end where text is empty.
func (v *vm) wait(t *testing.T, text string) {
	t.Helper()
	limit := time.After(2 * time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-v.done:
			if text == "" {
				v.j.log.WriteString(v.text())
				return
			}
			t.Fatalf("QEMU ended before %q", text)
		case <-limit:
			t.Fatalf("no %q in time", text)
		case <-tick.C:
			if text != "" && strings.Contains(v.text(), text) {
				return
			}
		}
	}
}

func (j *journey) run(t *testing.T, v *vm, s agent.Step, secrets map[string][]byte) agent.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	go func() {
		select {
		case <-v.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	r, err := j.srv.Run(ctx, "boot-1", "default/node-1", s, secrets)
	if err != nil {
		t.Fatalf("step %s: %v", s.Kind, err)
	}
	return r
}

func (j *journey) step(t *testing.T, v *vm, s agent.Step, secrets map[string][]byte) agent.Result {
	t.Helper()
	r := j.run(t, v, s, secrets)
	if r.Error != nil {
		t.Fatalf("step %s: %+v", s.Kind, r.Error)
	}
	return r
}

func hexSum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	ok(t, err)
	ok(t, os.WriteFile(to, b, 0o644))
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
