package serve

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/controller"
)

// What an external builder made is named in the script, with our arguments after
// its own: the last of a repeated one counts.
func TestExternalRamdiskScript(t *testing.T) {
	mac := net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}
	script := func(r v1alpha1.Ramdisk) (string, error) {
		s := &scripts{
			hosts:    machines{mac.String(): {Host: types.NamespacedName{Namespace: "rack", Name: "w1"}, Known: true, ID: "boot-1", Ramdisk: &r}},
			networks: &controller.Networks{}, pin: "0123", flavour: "server", console: "ttyS0", httpPort: 6180, httpsPort: 6183,
		}
		ctx := context.WithValue(t.Context(), http.LocalAddrContextKey, net.Addr(net.TCPAddrFromAddrPort(netip.MustParseAddrPort("10.0.0.1:6180"))))
		b, err := s.Script(ctx, mac, netip.Addr{})
		return string(b), err
	}
	got, err := script(v1alpha1.Ramdisk{Kernel: "http://builder/k", Initrd: "http://builder/i", Params: " a=b  ingot.boot=other flag "})
	for _, want := range []string{
		"kernel http://builder/k ", "initrd --name initrd.magic http://builder/i ", " a=b ingot.boot=other flag ingot.url=https://10.0.0.1:6183 ", " ingot.boot=boot-1 ", "chain --replace --autofree http://10.0.0.1:6180/boot/ipxe",
	} {
		if err != nil || !strings.Contains(got, want) {
			t.Errorf("%q is not in it, %v:\n%s", want, err, got)
		}
	}
	if got, err = script(v1alpha1.Ramdisk{Initrd: "http://builder/i"}); err != nil || !strings.Contains(got, "kernel http://10.0.0.1:6180/boot/kernel/server ") {
		t.Errorf("without a kernel, ours: %v\n%s", err, got)
	}
	if got, err = script(v1alpha1.Ramdisk{ISO: "http://builder/a.iso"}); err != nil || strings.Contains(got, "kernel") {
		t.Errorf("a machine that is to boot from its virtual drive: %v\n%s", err, got)
	}
	// What our script cannot take was refused before; it is no script now either.
	for _, bad := range []string{"a=$(x)", "a=b;reboot", "a=${net0/mac}", "=x"} {
		if got, err := script(v1alpha1.Ramdisk{Initrd: "http://builder/i", Params: bad}); err == nil {
			t.Errorf("%q was taken:\n%s", bad, got)
		}
	}
}
