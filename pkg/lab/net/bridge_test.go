package labnet_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	labnet "github.com/ingot-metal/ingot/pkg/lab/net"
)

func TestBridgeRefuses(t *testing.T) {
	addr := netip.MustParsePrefix("10.77.0.1/24")
	tests := []struct {
		name string
		cfg  labnet.BridgeConfig
	}{
		{name: "no namespace", cfg: labnet.BridgeConfig{Addr: addr}},
		{name: "an option for a name", cfg: labnet.BridgeConfig{Namespace: "-all", Addr: addr}},
		{name: "a path for a name", cfg: labnet.BridgeConfig{Namespace: "../x", Addr: addr}},
		{name: "a name the kernel cuts", cfg: labnet.BridgeConfig{Namespace: "lab0", Taps: []string{"abcdefghijklmnopq"}, Addr: addr}},
		{name: "no address", cfg: labnet.BridgeConfig{Namespace: "lab0"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := labnet.NewBridge(t.Context(), tt.cfg); err == nil || errors.Is(err, labnet.ErrRoot) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestBridge(t *testing.T) {
	ns := fmt.Sprintf("ingot-t%d", os.Getpid()%1000000)
	cfg := labnet.BridgeConfig{Namespace: ns, Addr: netip.MustParsePrefix("10.77.0.1/24"), Taps: []string{"tap0", "tap1"}}
	if os.Geteuid() != 0 {
		if _, err := labnet.NewBridge(t.Context(), cfg); !errors.Is(err, labnet.ErrRoot) {
			t.Errorf("without root: %v", err)
		}
		return
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("no ip(8) here")
	}
	b, err := labnet.NewBridge(t.Context(), cfg)
	if err != nil {
		if strings.Contains(err.Error(), "Operation not permitted") {
			t.Skipf("root without CAP_SYS_ADMIN: %v", err)
		}
		t.Fatal(err)
	}
	if _, err := labnet.NewBridge(t.Context(), cfg); err == nil {
		t.Error("a namespace in use was taken over")
	}
	argv := b.Command("ip", "-br", "link")
	out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	for _, want := range []string{"br0", "tap0", "tap1"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if out, _ := exec.CommandContext(t.Context(), "ip", "netns", "list").CombinedOutput(); strings.Contains(string(out), ns) {
		t.Errorf("namespace remains:\n%s", out)
	}
}
