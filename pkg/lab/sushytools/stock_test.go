package sushytools

import (
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// python is Debian's own interpreter, the one that has Debian's packages.
const python = "/usr/bin/python3"

// TestSushy runs the library that sushy-tools was made to test, as Debian ships
// it, against the contract.
func TestSushy(t *testing.T) {
	if err := exec.Command(python, "-c", "import sushy").Run(); err != nil {
		t.Skip("no python3-sushy here (apt-get install python3-sushy)")
	}
	l := newLab(t, simbmc.ModeUEFI, Options{Username: admin.Username, Password: admin.Password})
	cmd := exec.CommandContext(testContext(t), python, "testdata/sushy_journey.py", l.url, admin.Username, admin.Password, sys1, l.images+"/boot.iso")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := `connected 1.5.0
system 6b6c1f0e-52a1-4d0c-9a61-0f0c33aa1101 Sushy Emulator vbmc-node
memory 4 processors 2
nics 
power Off
allowed Cd Hdd Pxe UefiHttp
boot Pxe Continuous UEFI
media True boot.iso
boot Cd Continuous UEFI
power On
media False
boot Hdd Continuous UEFI
bios 10
bios 12
bios 10
secure boot False
secure boot True
light Blinking
chassis ['Chassis']
power Off
`
	if diff := cmp.Diff(want, string(out)); diff != "" {
		t.Errorf("sushy (-want +got):\n%s", diff)
	}
}
