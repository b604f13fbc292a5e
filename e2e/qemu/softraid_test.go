//go:build e2e

package qemu

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/pkg/lab"
)

// TestSoftwareRAID makes a mirror of two disks, writes an image to it and boots
// it; the array is found again by another boot, and is gone after cleaning.
func TestSoftwareRAID(t *testing.T) {
	const name = "lab-1"
	image := bootFile(t, "demo.raw")
	r := start(t, lab.Config{Disks: 2, DiskBytes: 256 << 20}, uefiRedfish)
	r.enrol()
	declare := func(raid *metal3.RAIDConfig) {
		old := r.host(name)
		b := old.DeepCopy()
		b.Spec.RAID = raid
		if err := r.client.Patch(t.Context(), b, client.MergeFrom(old)); err != nil {
			t.Fatal(err)
		}
	}
	declare(&metal3.RAIDConfig{SoftwareRAIDVolumes: []metal3.SoftwareRAIDVolume{{
		Level: "1", PhysicalDisks: []metal3.RootDeviceHints{{SerialNumber: "LABNVME1"}, {SerialNumber: "LABNVME1-2"}},
	}}})
	shown := func(b *metal3.BareMetalHost) int {
		if b.Status.Provisioning.RAID == nil {
			return 0
		}
		return len(b.Status.Provisioning.RAID.SoftwareRAIDVolumes)
	}
	b := r.awaitState(name, metal3.StateAvailable, patience)
	if shown(b) != 1 {
		t.Fatalf("the status shows %+v", b.Status.Provisioning.RAID)
	}
	// The agent is started anew, and has to find the array by itself.
	r.ingot("power", "off", name, "--wait")
	r.ingot("provision", name, "--image", image, "--hostname", "web-1", "--wait", "--timeout", "15m")
	r.console(name, "array assembled", patience)
	r.console(name, "ingot-demo: hostname=web-1 uuid="+string(b.UID), patience)
	r.ingot("power", "off", name, "--wait")
	dir := filepath.Dir(r.lab.VMs[name].SerialPath())
	for _, file := range []string{"disk0.raw", "disk1.raw"} {
		disk := filepath.Join(dir, file)
		if err := sameImage(disk, image); err != nil {
			t.Error(err)
		}
		if mdadm, err := exec.LookPath("/usr/sbin/mdadm"); err == nil {
			out, err := exec.Command(mdadm, "--examine", disk).CombinedOutput()
			if text := strings.Join(strings.Fields(string(out)), " "); err != nil || !strings.Contains(text, "Array State : AA") || !strings.Contains(text, "- correct") {
				t.Errorf("%s: %v\n%s", file, err, out)
			}
			t.Logf("%s", out)
		}
	}
	if os.Getenv("INGOT_E2E") == "all" {
		// Another disk in the place of the first: the second has all it takes.
		for _, size := range []int64{0, 256 << 20} {
			if err := os.Truncate(filepath.Join(dir, "disk0.raw"), size); err != nil {
				t.Fatal(err)
			}
		}
		r.ingot("power", "on", name, "--wait")
		r.consoleTwice(name, "ingot-demo: hostname=web-1", patience)
	}
	declare(nil)
	r.ingot("deprovision", name, "--yes", "--wait", "--timeout", "15m")
	if b = r.awaitState(name, metal3.StateAvailable, patience); shown(b) != 0 {
		t.Errorf("the status still shows %+v", b.Status.Provisioning.RAID)
	}
	for _, file := range []string{"disk0.raw", "disk1.raw"} {
		// The superblock lies within the last 64 KiB.
		if tail := bytesAt(t, filepath.Join(dir, file), 256<<20-64<<10, 64<<10); !bytes.Equal(tail, make([]byte, len(tail))) {
			t.Errorf("%s still has a superblock", file)
		}
	}
}

// consoleTwice waits until a text stands on the console for the second time.
func (r *site) consoleTwice(name, text string, limit time.Duration) {
	r.t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		log, err := os.ReadFile(r.lab.VMs[name].SerialPath())
		if err != nil {
			r.t.Fatal(err)
		}
		if bytes.Count(log, []byte(text)) > 1 {
			return
		}
	}
	r.t.Fatalf("%s did not say %q again", name, text)
}

func bytesAt(t *testing.T, path string, off int64, n int) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, n)
	if _, err := f.ReadAt(b, off); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSoftwareRAIDLevels lets a real kernel take arrays of every level, of disks
// and of partitions, and take them again after a start.
func TestSoftwareRAIDLevels(t *testing.T) {
	const name = "lab-1"
	if os.Getenv("INGOT_E2E") != "all" {
		t.Skip("INGOT_E2E=all runs it")
	}
	r := start(t, lab.Config{Disks: 5, DiskBytes: 2 << 30}, biosIPMI)
	r.enrol()
	serials := func(ns ...int) (hints []metal3.RootDeviceHints) {
		for _, n := range ns {
			hints = append(hints, metal3.RootDeviceHints{SerialNumber: fmt.Sprintf("LABNVME1-%d", n)})
		}
		return hints
	}
	change := func(f func(*metal3.BareMetalHost)) {
		old := r.host(name)
		b := old.DeepCopy()
		f(b)
		if err := r.client.Patch(t.Context(), b, client.MergeFrom(old)); err != nil {
			t.Fatal(err)
		}
	}
	one := 1
	for _, volumes := range [][]metal3.SoftwareRAIDVolume{
		{{Level: "1", SizeGibibytes: &one, PhysicalDisks: serials(2, 3)}, {Level: "1+0", PhysicalDisks: serials(2, 3, 4, 5)}},
		{{Level: "0", PhysicalDisks: serials(2, 3, 4, 5)}},
	} {
		change(func(b *metal3.BareMetalHost) {
			b.Spec.RootDeviceHints = &metal3.RootDeviceHints{SerialNumber: "LABNVME1"}
			b.Spec.RAID = &metal3.RAIDConfig{SoftwareRAIDVolumes: volumes}
		})
		r.await(name, "made", patience, func(b *metal3.BareMetalHost) bool {
			got := b.Status.Provisioning.RAID
			return got != nil && cmp.Equal(got.SoftwareRAIDVolumes, volumes) && b.Status.Provisioning.State == metal3.StateAvailable
		})
		r.ingot("power", "off", name, "--wait")
		change(func(b *metal3.BareMetalHost) { b.Annotations = map[string]string{metal3.InspectAnnotationPrefix: ""} })
		b := r.await(name, "inspected", patience, func(b *metal3.BareMetalHost) bool {
			n := 0
			if b.Status.HardwareDetails != nil {
				for _, s := range b.Status.HardwareDetails.Storage {
					if strings.HasPrefix(s.Name, "/dev/md") {
						n++
					}
				}
			}
			return n == len(volumes)
		})
		for _, s := range b.Status.HardwareDetails.Storage {
			t.Logf("%s: %d MiB", s.Name, s.SizeBytes>>20)
		}
		r.awaitState(name, metal3.StateAvailable, patience)
	}
}
