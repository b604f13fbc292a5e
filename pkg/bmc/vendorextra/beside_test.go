package vendorextra

import (
	"context"
	"net"
	"testing"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/bmctest"
	"github.com/ingot-metal/ingot/pkg/bmc/ipmi"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// At an ipmi address IPMI does all that it can, and the web API adds the
// inventory and the POST code. It is logged into when it is asked.
func TestBesideIPMI(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan struct{})
	machine := simbmc.NewMemory(simbmc.Info{UUID: "6b6c1f0e-52a1-4d0c-9a61-0f0c33aa1101", Name: "m"}, simbmc.ModeUEFI, nil, nil)
	go func() {
		defer close(served)
		_ = simbmc.New(machine, simbmc.Config{Username: admin.Username, Password: admin.Password}).ServeIPMI(ctx, pc)
	}()
	t.Cleanup(func() { stop(); pc.Close(); <-served })

	addr, err := bmc.ParseAddress("ipmi://" + pc.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	m, err := ipmi.Open(t.Context(), addr, admin, ipmi.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeBoard{power: 1}
	conn := &beside{Machine: m, web: dialBoard(t, f)}
	if id, err := conn.Identify(t.Context()); err != nil || id.Protocol != bmc.ProtocolIPMI {
		t.Errorf("%+v, %v", id, err)
	}
	if err := bmc.Power(conn).SetPower(t.Context(), bmc.ActionOn); err != nil {
		t.Error(err)
	}
	if err := bmc.Boot(conn).SetBootOverride(t.Context(), bmc.BootOverride{Target: bmc.BootPXE}); err != nil {
		t.Error(err)
	}
	f.look(func() {
		if len(f.requests) != 0 {
			t.Errorf("the web API was asked for what IPMI does: %v", f.requests)
		}
	})
	for _, c := range bmctest.Capabilities(conn) {
		if (c.Name == "inspect" || c.Name == "console" || c.Name == "log") && !c.Driver {
			t.Errorf("no %s", c.Name)
		}
	}
	if inv, err := bmc.Inspector(conn).Inspect(t.Context()); err != nil || inv.Vendor.Product != "c3.small.x86" {
		t.Errorf("%+v, %v", inv.Vendor, err)
	}
	h, err := conn.Health(t.Context())
	if err != nil || len(h.Sensors) == 0 || h.Sensors[len(h.Sensors)-1].Name != "POST code" {
		t.Errorf("%+v, %v", h, err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Error(err)
	}
	f.look(func() {
		if len(f.sessions) != 0 {
			t.Error("a session is left")
		}
	})
}
