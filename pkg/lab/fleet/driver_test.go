package fleet

import (
	"context"
	"testing"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/bmctest"
	"github.com/ingot-metal/ingot/pkg/bmc/open"
)

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
