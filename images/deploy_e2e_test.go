//go:build e2e

package images_test

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ingot-metal/ingot/api/agent"
)

// method is a deploy method that needs nothing of the ramdisk but itself.
const method = `package main

import (
	"fmt"
	"os"
	"strings"
)

func main() {
	data, err := os.ReadFile("user_data")
	fmt.Println("environment:", strings.Join(os.Environ(), " "))
	if err != nil || string(data) == "fail" {
		fmt.Println("no recipe")
		os.Exit(3)
	}
	f, err := os.OpenFile(os.Getenv("INGOT_DISK"), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString("installed by " + os.Getenv("INGOT_METHOD") + " from " + os.Getenv("INGOT_IMAGE_URL") + ": " + string(data))
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
`

// TestDeployMethod adds a method to the ramdisk as docs/howto/custom-deploy.md says,
// boots it in QEMU, and reads from outside what the method wrote.
func TestDeployMethod(t *testing.T) {
	tree, out := t.TempDir(), t.TempDir()
	at := filepath.Join(tree, "usr/lib/ingot/deploy.d")
	ok(t, os.MkdirAll(at, 0o755))
	source := filepath.Join(t.TempDir(), "main.go")
	ok(t, os.WriteFile(source, []byte(method), 0o600))
	run := func(name string, args ...string) {
		t.Helper()
		c := exec.Command(name, args...)
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, text)
		}
	}
	run("go", "build", "-o", filepath.Join(at, "install_test"), source)
	run("go", "run", "./build", "-out", out, "-flavours", "vm", "-fast", "-add", tree, "ramdisk")
	ok(t, os.WriteFile(filepath.Join(out, "demo.raw"), make([]byte, 1<<20), 0o600)) // not used

	j := begin(t, out)
	// On a busy machine the kernel's test of its timer fails under TCG.
	cmdline := fmt.Sprintf("console=ttyS0 quiet no_timer_check %s=https://10.0.2.2:%d %s=%s %s=boot-1 %s=%s", agent.ArgURL, j.port, agent.ArgCA, j.ca.Pin(), agent.ArgBoot, agent.ArgMAC, mac)
	vm := j.qemu(t, "-m", "512", "-device", "virtio-net-pci,netdev=n0,romfile=,mac="+mac,
		"-kernel", filepath.Join(out, "vmlinuz-vm"), "-initrd", filepath.Join(out, "initrd-vm.img"), "-append", cmdline)
	r := j.step(t, vm, agent.Step{ID: "s1", Epoch: 7, Kind: agent.StepInspect}, nil)
	if m := r.Inventory.Methods; len(m) != 1 || m[0] != "install_test" {
		t.Errorf("methods %v", m)
	}
	d := r.Inventory.Disks[0]
	step := func(id, method, userData string) agent.Result {
		t.Helper()
		files, err := json.Marshal(agent.DeployFiles{"user_data": []byte(userData)})
		ok(t, err)
		return j.run(t, vm, agent.Step{ID: id, Epoch: 7, Kind: agent.StepDeploy, Deploy: &agent.DeployStep{
			Method: method, Disk: agent.DiskRef{Name: d.Name, Serial: d.Serial, WWN: d.WWN, Size: d.Size},
			Image: &agent.DeployImage{URL: "http://images/tree"}, Files: hexSum(files), FilesSize: int64(len(files)), Seconds: 60,
		}}, map[string][]byte{hexSum(files): files})
	}
	if r := step("s2", "../../../init", "x"); r.Error == nil || r.Error.Code != "step-refused" {
		t.Errorf("a path: %+v", r.Error)
	}
	if r := step("s3", "install_test", "fail"); r.Error == nil || r.Error.Code != "deploy-failed" || !strings.Contains(r.Error.Message, "exit status 3") || !strings.Contains(r.Error.Message, "no recipe") {
		t.Errorf("a failure: %+v", r.Error)
	}
	if r := step("s4", "install_test", "a recipe"); r.Error != nil || r.Deploy == nil || r.Deploy.Disk.Serial != "NVME1" {
		t.Fatalf("%+v", r)
	}
	vm.wait(t, "deploy says") // the method's words are on the console
	j.step(t, vm, agent.Step{ID: "s5", Epoch: 7, Kind: agent.StepPowerOff}, nil)
	vm.wait(t, "")

	f, err := os.Open(filepath.Join(j.dir, "disk.raw"))
	ok(t, err)
	defer f.Close()
	want := "installed by install_test from http://images/tree: a recipe"
	got := make([]byte, len(want))
	_, err = io.ReadFull(f, got)
	ok(t, err)
	if string(got) != want {
		t.Errorf("the disk begins with %q, want %q", got, want)
	}
}
