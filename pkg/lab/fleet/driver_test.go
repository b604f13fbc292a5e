package fleet

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/bmctest"
	"github.com/ingot-metal/ingot/pkg/bmc/open"
)

// TestBMCTellsTheHardware finds the machine that the agent finds through its BMC.
func TestBMCTellsTheHardware(t *testing.T) {
	f := newFleet(t, Config{Count: 6, Seed: 3, BootURL: "http://192.0.2.1:6180"})
	kinds := map[int]bool{}
	for _, m := range f.Machines() {
		ctx := testContext(t)
		conn, err := open.Open(ctx, m.Address, bmc.Credentials{Username: m.Username, Password: m.Password}, open.Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := conn.(bmc.Inspector).Inspect(ctx)
		conn.Close(context.WithoutCancel(ctx))
		if err != nil {
			t.Fatalf("%s: %v", m.Name, err)
		}
		want := agent.CPU{Arch: m.hw.cpu.Arch, Model: m.hw.cpu.Model, Sockets: m.hw.cpu.Sockets, Cores: m.hw.cpu.Cores, Threads: m.hw.cpu.Threads}
		if diff := cmp.Diff(want, got.CPU); diff != "" || got.Memory.Physical != m.hw.memory.Physical {
			t.Errorf("%s: memory %d, CPU (-want +got):\n%s", m.Name, got.Memory.Physical, diff)
		}
		var disks []agent.Disk
		for i, d := range m.hw.disks {
			disks = append(disks, agent.Disk{
				Name: strconv.Itoa(i + 1), Type: d.Type, Size: d.Size, Rotational: d.Rotational,
				Vendor: d.Vendor, Model: d.Model, Serial: d.Serial, Bus: d.Bus,
			})
		}
		if diff := cmp.Diff(disks, got.Disks); diff != "" {
			t.Errorf("%s: disks (-want +got):\n%s", m.Name, diff)
		}
		kinds[len(disks)] = true
	}
	if len(kinds) < len(models()) {
		t.Errorf("only machines with %v disks", kinds)
	}
}

// TestOurDriversSwitchTheFleet runs the product's own drivers through every face.
func TestOurDriversSwitchTheFleet(t *testing.T) {
	f := newFleet(t, Config{
		Count: 3, Seed: 3, BootURL: newDoor(t, "#!ipxe\nexit 0\n").URL, Latency: 5 * time.Millisecond,
		Protocols: []Protocol{RedfishHTTP, RedfishTLS, IPMI},
	})
	for _, m := range f.Machines() {
		t.Run(string(m.Protocol), func(t *testing.T) {
			ctx := testContext(t)
			conn, err := open.Open(ctx, m.Address, bmc.Credentials{Username: m.Username, Password: m.Password}, open.Options{Insecure: m.Insecure})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(context.WithoutCancel(ctx))
			id := bmctest.Read(ctx, t, conn)
			if id.Manufacturer != m.hw.info.Manufacturer || id.Serial != m.hw.info.Serial || id.SystemUUID != m.hw.info.UUID {
				t.Errorf("identity %+v of %+v", id, m.hw.info)
			}
			bmctest.Switch(ctx, t, conn)
			if m.On() {
				t.Error("it is on")
			}
		})
	}
}
