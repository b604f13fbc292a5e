//go:build e2e

package qemu

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/lab"
	"github.com/ingot-metal/ingot/pkg/lab/vm"
)

// sshPublicKey is given to installed systems; nobody has its private part.
const sshPublicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGm0dIBGYrIFqTBJRwv1UZt8UWcOYtZG1Yl2b4M5sCgr journey\n"

// patience bounds a way that is one boot: dozens of seconds under TCG, if the
// machine has nothing else to do.
const patience = 8 * time.Minute

// TestDemoImage takes one machine of each kind through its whole life on the
// userspace network, which needs no root.
func TestDemoImage(t *testing.T) {
	kinds := []lab.Kind{uefiRedfish, biosIPMI}
	if os.Getenv("INGOT_E2E") == "all" {
		kinds = append(kinds, biosE1000e, uefiE1000e)
	}
	for _, k := range kinds {
		t.Run(k.Name, func(t *testing.T) { wholeLife(t, k) })
	}
}

func wholeLife(t *testing.T, k lab.Kind) {
	image := bootFile(t, "demo.raw")
	r := start(t, lab.Config{}, k)
	r.enrol()
	life(t, r, image)
}

// life is the journey itself: available, provisioned, up, deprovisioned, gone.
func life(t *testing.T, r *site, image string) {
	const name = "lab-1"
	m := r.lab.VMs[name]
	b := r.awaitState(name, metal3.StateAvailable, patience)
	checkHardware(t, b)
	// Cleaning touches the disk's ends and the places of file systems' mirrors.
	ranges, err := m.WriteLog(0)
	if _, n := vm.WriteTotals(ranges); err != nil || n == 0 || n > 16<<20 {
		t.Errorf("cleaning wrote %d bytes: %v %v", n, ranges, err)
	}

	key := filepath.Join(r.dir, "key.pub")
	if err := os.WriteFile(key, []byte(sshPublicKey), 0o600); err != nil {
		t.Fatal(err)
	}
	r.ingot("provision", name, "--image", image, "--ssh-key", key, "--hostname", "web-1", "--wait", "--timeout", "15m")
	ctx := t.Context()
	r.console(name, "ingot-demo: hostname=web-1 uuid="+string(b.UID)+" ssh-key=SHA256:", patience)
	hr := &v1alpha1.HostRecord{}
	r.await(name, "reported", patience, func(b *metal3.BareMetalHost) bool {
		return r.client.Get(ctx, client.ObjectKeyFromObject(b), hr) == nil && hr.Status.FirstBoot != nil
	})
	if got := hr.Status.FirstBoot; got.Hostname != "web-1" || len(got.SSHKeys) != 1 {
		t.Errorf("first boot reported %+v", got)
	}
	runs := m.Run()

	r.ingot("power", "off", name, "--wait")
	if err := sameImage(filepath.Join(filepath.Dir(m.SerialPath()), "disk0.raw"), image); err != nil {
		t.Error(err)
	}
	checkWrites(t, m, image, runs)
	noSecrets(t, r)

	r.ingot("deprovision", name, "--yes", "--wait", "--timeout", "15m")
	r.awaitState(name, metal3.StateAvailable, patience)
	if head := firstBytes(t, filepath.Join(filepath.Dir(m.SerialPath()), "disk0.raw"), 1<<20); !bytes.Equal(head, make([]byte, len(head))) {
		t.Error("the partition table is still there after cleaning")
	}
	if err := r.client.Delete(ctx, b); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		if err := r.client.Get(ctx, client.ObjectKeyFromObject(b), b); client.IgnoreNotFound(err) == nil && err != nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the host was not deleted")
		}
	}
	if on, err := m.Power(ctx); err != nil || on {
		t.Errorf("the deleted host's machine is on: %v %v", on, err)
	}
}

func checkHardware(t *testing.T, b *metal3.BareMetalHost) {
	t.Helper()
	hw := b.Status.HardwareDetails
	if hw == nil {
		t.Fatal("no hardware details")
	}
	disk := slices.ContainsFunc(hw.Storage, func(s metal3.Storage) bool {
		return s.SerialNumber == "LABNVME1" && s.Type == metal3.NVME && s.SizeBytes == 8<<30 && !s.Rotational
	})
	nic := slices.ContainsFunc(hw.NIC, func(n metal3.NIC) bool { return strings.EqualFold(n.MAC, "52:54:00:77:00:01") && n.PXE })
	if !disk || !nic || hw.RAMMebibytes < 700 || hw.CPU.Arch != "x86_64" || hw.CPU.Count != 1 || hw.SystemVendor.SerialNumber != "LAB1" {
		raw, _ := json.MarshalIndent(hw, "", " ")
		t.Errorf("hardware details are not the machine's: %s", raw)
	}
}

// checkWrites holds that the image's area was written once, by one start of the
// machine, and that the installed system wrote nothing.
func checkWrites(t *testing.T, m *vm.Machine, image string, lastRun int) {
	t.Helper()
	info, err := os.Stat(image)
	if err != nil {
		t.Fatal(err)
	}
	ranges, err := m.WriteLog(0)
	if err != nil {
		t.Fatal(err)
	}
	bytesByRun := map[int]int64{}
	for _, w := range ranges {
		if w.Op == vm.OpWrite {
			bytesByRun[w.Run] += w.Length
		}
	}
	writers := 0
	for _, n := range bytesByRun {
		// Cleaning writes a few MiB; the image is dozens, part of them zero.
		if n > info.Size()/3 {
			writers++
		}
		if n > info.Size()*5/4 {
			t.Errorf("one start wrote %d bytes for an image of %d", n, info.Size())
		}
	}
	if writers != 1 {
		t.Errorf("%d starts of the machine wrote an image, want 1: %v", writers, bytesByRun)
	}
	if n := bytesByRun[lastRun]; n != 0 {
		t.Errorf("the installed demo system wrote %d bytes; it writes none", n)
	}
}

// noSecrets holds that nothing we write shows a BMC's password.
func noSecrets(t *testing.T, r *site) {
	t.Helper()
	ctx := context.Background()
	for _, list := range []client.ObjectList{&metal3.BareMetalHostList{}, &metal3.HardwareDataList{}, &v1alpha1.HostRecordList{}, &v1alpha1.HostTimelineList{}} {
		if err := r.client.List(ctx, list); err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(raw, []byte(r.lab.Machines[0].Password)) {
			t.Errorf("%T shows the BMC's password", list)
		}
	}
	log, err := os.ReadFile(filepath.Join(r.dir, "serve.log"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(log, []byte(r.lab.Machines[0].Password)) {
		t.Error("the log shows the BMC's password")
	}
}

func firstBytes(t *testing.T, path string, n int) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, n)
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestDebian installs a real Debian, which reads the same config drive with
// cloud-init.
func TestDebian(t *testing.T) {
	image := bootFile(t, "debian.raw")
	r := start(t, lab.Config{MemoryMiB: 1024}, biosIPMI)
	r.enrol()
	b := r.awaitState("lab-1", metal3.StateAvailable, patience)
	userData := filepath.Join(r.dir, "user-data.yaml")
	text := "#cloud-config\nssh_authorized_keys:\n  - " + sshPublicKey + `runcmd:
  - [sh, -c, 'echo "ingot-e2e host=$(hostname) instance=$(cat /var/lib/cloud/data/instance-id)" > /dev/ttyS0']
  - [sh, -c, 'echo "ingot-e2e keys=$(grep -c journey /home/debian/.ssh/authorized_keys)" > /dev/ttyS0']
`
	if err := os.WriteFile(userData, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r.ingot("provision", "lab-1", "--image", image, "--user-data", userData, "--hostname", "deb-1", "--wait", "--timeout", "15m")
	// One key for the default user, and the host's UID as cloud-init's instance:
	// CAPM3 finds its Node by it.
	for _, want := range []string{"ingot-e2e host=deb-1 instance=" + string(b.UID), "ingot-e2e keys=1"} {
		r.console("lab-1", want, 2*patience)
	}
}
