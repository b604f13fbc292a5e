//go:build e2e

package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/e2e/rig"
	"github.com/ingot-metal/ingot/pkg/lab"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
	"github.com/ingot-metal/ingot/pkg/lab/vm"
)

var ingot string // the shipped binary

func TestMain(m *testing.M) {
	os.Exit(build(m))
}

func build(m *testing.M) int {
	if bootFiles() == "" {
		fmt.Fprintln(os.Stderr, "INGOT_BOOT_FILES names no directory with kernels and images: run make e2e")
		return 1
	}
	dir, err := os.MkdirTemp("", "ingot-bin")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if ingot, err = rig.Binary(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func bootFiles() string { return os.Getenv("INGOT_BOOT_FILES") }

// bootFile is one of the files that images/build makes.
func bootFile(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(bootFiles(), name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%v: make e2e builds it as root", err)
	}
	return path
}

// site is a control plane and a lab beside it.
type site struct {
	t      *testing.T
	dir    string
	server *rig.Server
	lab    *lab.Lab
	client client.Client
}

// start runs the shipped binary and a lab. Both end with the test.
func start(t *testing.T, cfg lab.Config, kind lab.Kind, flags ...string) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "ing") // short: Unix sockets lie below
	if err != nil {
		t.Fatal(err)
	}
	r := &site{t: t, dir: dir}
	t.Cleanup(func() {
		if t.Failed() {
			r.tails()
		}
		os.RemoveAll(dir)
	})
	cfg.Dir, cfg.Count, cfg.Kinds = filepath.Join(dir, "lab"), 1, []lab.Kind{kind}
	if r.lab, err = lab.Up(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.lab.Close(); err != nil {
			t.Error(err)
		}
	})
	r.server, err = rig.NewServer(ingot, dir, rig.Ports{}, append([]string{"--boot-files", bootFiles(), "--log-level", "info"}, flags...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.server.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := r.server.Start(); err != nil {
		t.Fatal(err)
	}
	if err := r.server.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r.client, err = r.server.Client(); err != nil {
		t.Fatal(err)
	}
	return r
}

// ingot runs a verb as a person would and returns what it printed.
func (r *site) ingot(args ...string) string {
	r.t.Helper()
	out, err := r.try(args...)
	if err != nil {
		r.t.Fatalf("ingot %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (r *site) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, ingot, append(args, "--kubeconfig", r.server.Kubeconfig)...)
	var both bytes.Buffer
	cmd.Stdout, cmd.Stderr = &both, &both
	err := cmd.Run()
	return both.String(), err
}

// enrol writes what a person would write for the lab's machines, and applies it.
func (r *site) enrol() {
	r.t.Helper()
	var b strings.Builder
	if r.lab.Socket != "" {
		r.network("unix:" + r.lab.Socket)
	}
	for _, m := range r.lab.Machines {
		mode := "UEFI"
		if m.Legacy {
			mode = "legacy"
		}
		fmt.Fprintf(&b, `---
apiVersion: v1
kind: Secret
metadata: {name: %[1]s-bmc}
stringData: {username: %[2]s, password: %[3]s}
---
apiVersion: metal3.io/v1alpha1
kind: BareMetalHost
metadata: {name: %[1]s}
spec:
  online: true
  bootMode: %[4]s
  bootMACAddress: %[5]s
  bmc: {address: "%[6]s", credentialsName: %[1]s-bmc}
`, m.Name, m.Username, m.Password, mode, m.MAC, m.Address)
	}
	path := filepath.Join(r.dir, "rack.yaml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.ingot("enroll", path, "--yes")
}

func (r *site) network(iface string) {
	r.t.Helper()
	if err := r.client.Create(context.Background(), rig.Network(iface)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *site) host(name string) *metal3.BareMetalHost {
	r.t.Helper()
	b := &metal3.BareMetalHost{}
	if err := r.client.Get(context.Background(), client.ObjectKey{Namespace: "default", Name: name}, b); err != nil {
		r.t.Fatal(err)
	}
	return b
}

// await waits until a host is as wanted, and says so if that takes long.
func (r *site) await(name, what string, limit time.Duration, ok func(*metal3.BareMetalHost) bool) *metal3.BareMetalHost {
	r.t.Helper()
	began := time.Now()
	for said := began; ; time.Sleep(100 * time.Millisecond) {
		b := r.host(name)
		if ok(b) {
			r.t.Logf("%s is %s after %s", name, what, time.Since(began).Round(time.Second))
			return b
		}
		if time.Since(said) > 30*time.Second {
			said = time.Now()
			r.t.Logf("waiting for %s to be %s for %s; it is %s", name, what, time.Since(began).Round(time.Second), b.Status.Provisioning.State)
		}
		if time.Since(began) > limit {
			out, _ := r.try("explain", name)
			r.t.Fatalf("%s is not %s after %s:\n%s", name, what, limit, out)
		}
	}
}

func (r *site) awaitState(name string, s metal3.ProvisioningState, limit time.Duration) *metal3.BareMetalHost {
	r.t.Helper()
	return r.await(name, string(s), limit, func(b *metal3.BareMetalHost) bool { return b.Status.Provisioning.State == s })
}

// console waits until a machine's console shows a text.
func (r *site) console(name, text string, limit time.Duration) {
	r.t.Helper()
	r.t.Logf("waiting for %s to say %q", name, text)
	ctx, cancel := context.WithTimeout(r.t.Context(), limit)
	defer cancel()
	if err := r.lab.VMs[name].WaitSerial(ctx, text); err != nil {
		r.t.Fatal(err)
	}
}

// tails shows the ends of the logs of a failed journey.
func (r *site) tails() {
	files := []string{filepath.Join(r.dir, "serve.log"), filepath.Join(r.dir, "lab", "journal.jsonl")}
	for _, m := range r.lab.Machines {
		files = append(files, m.Serial)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		r.t.Logf("the end of %s:\n%s", f, b[max(0, len(b)-4000):])
	}
}

// sameImage compares a disk with the image that should be on it: all but the
// partition table, which is fitted to the disk (its backup moves to the end, a
// partition for the config drive is added).
func sameImage(disk, image string) error {
	const head, tail = 1 << 20, 34 * 512
	want, err := os.Open(image)
	if err != nil {
		return err
	}
	defer want.Close()
	info, err := want.Stat()
	if err != nil {
		return err
	}
	got, err := os.Open(disk)
	if err != nil {
		return err
	}
	defer got.Close()
	a, b := make([]byte, 1<<20), make([]byte, 1<<20)
	for off := int64(head); off < info.Size()-tail; off += int64(len(a)) {
		n := min(int64(len(a)), info.Size()-tail-off)
		_, err1 := want.ReadAt(a[:n], off)
		_, err2 := got.ReadAt(b[:n], off)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if !bytes.Equal(a[:n], b[:n]) {
			return fmt.Errorf("%s differs from %s within the MiB at %d", disk, image, off)
		}
	}
	return nil
}

var (
	uefiRedfish = lab.Kind{Name: "uefi-redfish", Mode: simbmc.ModeUEFI, NIC: vm.VirtioNet, Native: true}
	biosIPMI    = lab.Kind{Name: "bios-ipmi", Mode: simbmc.ModeLegacy, NIC: vm.VirtioNet, IPMI: true}
	biosE1000e  = lab.Kind{Name: "bios-redfish-e1000e", Mode: simbmc.ModeLegacy, NIC: vm.E1000e}
	uefiE1000e  = lab.Kind{Name: "uefi-redfish-e1000e", Mode: simbmc.ModeUEFI, NIC: vm.E1000e}
)
