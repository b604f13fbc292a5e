package fleet

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/ipxe"
)

func TestParseScript(t *testing.T) {
	const mac = "02:69:00:00:00:01"
	for _, tc := range []struct {
		name, text string
		want       script
		fails      string // part of the error
	}{
		{
			name: "agent",
			text: "#!ipxe\nset base http://192.0.2.1:6180\n# comment\nkernel ${base}/boot/kernel/vm ingot.url=https://192.0.2.1:6183 ingot.boot=abc ingot.mac=${net0/mac} quiet || goto retry\ninitrd --name initrd ${base}/boot/initrd/vm\nboot || goto retry\n:retry\nsleep 5\n",
			want: script{
				kernel:  "http://192.0.2.1:6180/boot/kernel/vm",
				initrd:  []string{"http://192.0.2.1:6180/boot/initrd/vm"},
				cmdline: "ingot.url=https://192.0.2.1:6183 ingot.boot=abc ingot.mac=" + mac + " quiet",
			},
		},
		{name: "local", text: "#!ipxe\necho local\nexit 0\n", want: script{local: true}},
		{name: "carriage returns", text: "#!ipxe\r\nexit\r\n", want: script{local: true}},
		{name: "sanboot", text: "#!ipxe\nsanboot --no-describe --drive 0x80\n", want: script{local: true}},
		{name: "page of another server", text: "<html>", fails: "#!ipxe"},
		{name: "empty", text: "", fails: "#!ipxe"},
		{name: "no end", text: "#!ipxe\nkernel http://x/k\n", fails: "without boot or exit"},
		{name: "boot of nothing", text: "#!ipxe\nboot\n", fails: "line 2: boot without a kernel"},
		{name: "relative kernel", text: "#!ipxe\nkernel /k\nboot\n", fails: "line 2: kernel"},
		{name: "no kernel URL", text: "#!ipxe\nkernel --name k\nboot\n", fails: "line 2: kernel"},
		{name: "too long", text: "#!ipxe\n" + strings.Repeat("#", maxScript), fails: "longer"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := parseScript(tc.text, mac)
			if tc.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tc.fails) {
					t.Errorf("got error %v, want %q", err, tc.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(script{})); diff != "" {
				t.Errorf("script (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzParseScript(f *testing.F) {
	f.Add("#!ipxe\nkernel http://x/k a=b\nboot\n")
	f.Add("#!ipxe\nset a ${a}${a}\nset a ${a}${a}\nexit")
	f.Add("#!ipxe\nkernel ${")
	f.Add("#!ipxe\nset")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseScript(text, "02:00:00:00:00:01")
		if err == nil && !s.local && s.kernel == "" {
			t.Errorf("%q: neither local nor a kernel", text)
		}
	})
}

// TestScriptsOfTheBootDoor reads what the product itself renders.
func TestScriptsOfTheBootDoor(t *testing.T) {
	var args ipxe.Args
	if err := args.Set(agent.ArgBoot, "b1"); err != nil {
		t.Fatal(err)
	}
	boot, err := ipxe.Boot{
		Kernel: "http://192.0.2.1:6180/boot/kernel/vm", Initrd: "http://192.0.2.1:6180/boot/initrd/vm",
		Args: args, Script: "http://192.0.2.1:6180/boot/ipxe?mac=02:69:00:00:00:01",
	}.Render()
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseScript(string(boot), "02:69:00:00:00:01")
	if err != nil || got.kernel != "http://192.0.2.1:6180/boot/kernel/vm" || len(got.initrd) != 1 || !strings.Contains(got.cmdline, "ingot.boot=b1") {
		t.Errorf("boot script: %+v, %v", got, err)
	}
	if got, err := parseScript(string(ipxe.Exit()), ""); err != nil || !got.local {
		t.Errorf("exit script: %+v, %v", got, err)
	}
}
