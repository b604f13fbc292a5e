//go:build e2e

package qemu

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/ingot-metal/ingot/pkg/lab"
	labnet "github.com/ingot-metal/ingot/pkg/lab/net"
)

// inside marks the copy of this test that runs in the namespace.
const inside = "INGOT_E2E_INSIDE"

// TestNamespace is the same life on real sockets: a bridge with a TAP device in a
// network namespace of its own, the kernel's ports 67 and 69. It needs root.
func TestNamespace(t *testing.T) {
	image := bootFile(t, "demo.raw")
	if os.Getenv(inside) != "" {
		r := start(t, lab.Config{Network: "tap"}, biosIPMI, "--http-address", ":0", "--https-address", ":0")
		r.network("br0")
		r.enrol()
		life(t, r, image)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Minute)
	defer cancel()
	br, err := labnet.NewBridge(ctx, labnet.BridgeConfig{
		Namespace: "ingot-e2e", Addr: netip.MustParsePrefix(lab.ServerAddress), Taps: []string{"tap0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := br.Close(); err != nil {
			t.Error(err)
		}
	}()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	argv := br.Command(self, "-test.run", "^TestNamespace$", "-test.v")
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("inside the namespace: %v\n%s", err, out)
	}
}
