package simbmc

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// python is Debian's own interpreter, the one that has Debian's packages.
const python = "/usr/bin/python3"

// TestSushy runs Ironic's Redfish library, as Debian ships it, against the face.
func TestSushy(t *testing.T) {
	if err := exec.Command(python, "-c", "import sushy").Run(); err != nil {
		t.Skip("no python3-sushy here (apt-get install python3-sushy)")
	}
	s := newBench(t, func(c *Config) { c.Events = true })
	cmd := exec.CommandContext(testContext(t), python, "testdata/sushy_journey.py", s.serveRedfish(t), testUser, testPassword, s.SystemPath())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := `connected 1.18.0
system 6b6c1f0e-52a1-4d0c-9a61-0f0c33aa1101 Ingot Lab m1
processors 8 x86
  1 x86-64 2 4 Pretend Processor 2C
  2 x86-64 2 4 Pretend Processor 2C
memory 16 OK
nics 52:54:00:00:00:01=Enabled 52:54:00:00:00:02=Enabled
storage [960000000000, 8000000000000] 8000000000000
  Disk 1 960000000000 NVMe SSD Ingot Pretend NVMe LAB0001-D0
  Disk 2 8000000000000 - - - - -
simple storage [960000000000, 8000000000000]
  Disk 1 Enabled OK
  Disk 2 Enabled OK
chassis RackMount LAB0001
manager BMC 1.0.0 of m1
media Cd CD DVD
power Off
boot None Disabled UEFI
not there: system.bios system.secure_boot storage.volumes root.update_service root.task_service
basic authentication sees the same
subscriptions 1
subscriptions 0
boot Pxe Once UEFI
power On
boot None Disabled
media True http://192.0.2.1/boot.iso
media False
power Off
refused
`
	if diff := cmp.Diff(want, string(out)); diff != "" {
		t.Errorf("sushy (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"On", "ForceOff"}, s.details(KindPower)); diff != "" {
		t.Errorf("journal (-want +got):\n%s", diff)
	}
}

// TestIPMItool runs Debian's ipmitool against the face, with both cipher suites.
func TestIPMItool(t *testing.T) {
	tool, err := exec.LookPath("ipmitool")
	if err != nil {
		t.Skip("no ipmitool here (apt-get install ipmitool)")
	}
	for _, suite := range []string{"3", "17"} {
		t.Run("suite "+suite, func(t *testing.T) {
			t.Parallel()
			s := newBench(t, nil)
			addr := s.serveIPMI(t)
			for _, tc := range []struct {
				command string
				want    []string // parts of the output
				fails   bool
			}{
				{command: "mc info", want: []string{"IPMI Version              : 2.0", "Manufacturer ID           : 7154"}},
				{command: "fru print 0", want: []string{"Product Manufacturer  : Ingot Lab", "Product Name          : Memory", "Product Serial        : LAB0001"}},
				{command: "mc guid", want: []string{"6b6c1f0e-52a1-4d0c-9a61-0f0c33aa1101"}},
				{command: "chassis status", want: []string{"System Power         : off"}},
				{command: "chassis bootdev pxe options=efiboot,persistent", want: []string{"Set Boot Device to pxe"}},
				{command: "chassis bootparam get 5", want: []string{"Boot Flag Valid", "Options apply to all future boots", "BIOS EFI boot", "Force PXE"}},
				{command: "chassis bootdev disk", want: []string{"Set Boot Device to disk"}},
				{command: "chassis bootparam get 5", want: []string{"Options apply to only next boot", "BIOS PC Compatible (legacy) boot", "Force Boot from default Hard-Drive"}},
				{command: "power cycle", fails: true, want: []string{"Command not supported in present state"}},
				{command: "power on", want: []string{"Up/On"}},
				{command: "chassis bootparam get 5", want: []string{"Boot Flag Invalid"}},
				{command: "power status", want: []string{"Chassis Power is on"}},
				{command: "power cycle", want: []string{"Cycle"}},
				{command: "power reset", want: []string{"Reset"}},
				{command: "mc reset cold", want: []string{"Sent cold reset"}},
				{command: "power soft", want: []string{"Soft"}},
				{command: "power off", want: []string{"Down/Off"}},
				{command: "user list 1", want: []string{testUser, "ADMINISTRATOR"}},
			} {
				args := append([]string{"-I", "lanplus", "-C", suite, "-H", addr.IP.String(), "-p", strconv.Itoa(addr.Port), "-U", testUser, "-E", "-N", "2", "-R", "1"}, strings.Fields(tc.command)...)
				cmd := exec.CommandContext(testContext(t), tool, args...)
				cmd.Env = []string{"IPMI_PASSWORD=" + testPassword}
				out, err := cmd.CombinedOutput()
				if (err != nil) != tc.fails {
					t.Errorf("%s: %v\n%s", tc.command, err, out)
				}
				for _, want := range tc.want {
					if !strings.Contains(string(out), want) {
						t.Errorf("%s: no %q in\n%s", tc.command, want, out)
					}
				}
			}
			if diff := cmp.Diff([]string{"On", "PowerCycle", "ForceRestart", "GracefulShutdown"}, s.details(KindPower)); diff != "" {
				t.Errorf("journal (-want +got):\n%s", diff)
			}
		})
	}
}
