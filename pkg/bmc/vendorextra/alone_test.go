package vendorextra

import (
	"context"
	"testing"

	"github.com/bmc-toolbox/bmclib/v2/providers/intelamt"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// What bmclib v2.3.5's AMT provider does when it is let near AMT by itself. Each
// is a reason for the relay; when one fails after an upgrade, so much of the
// relay can go (docs/designs/0009).
func TestProviderAlone(t *testing.T) {
	alone := func(t *testing.T, f *fakeAMT) *intelamt.Conn {
		t.Helper()
		addr := addressOf(t, amtServer(t, f)) // its certificate is nobody's: not looked at
		return intelamt.New(addr.Host, admin.Username, admin.Password, intelamt.WithHostScheme("https"), intelamt.WithPort(uint32(addr.Port)))
	}
	t.Run("sends a wrong password again and again", func(t *testing.T) {
		f := &fakeAMT{power: 8, creds: bmc.Credentials{Username: "admin", Password: "another"}}
		_, err := alone(t, f).PowerSet(context.Background(), "on")
		f.look(func() {
			if err == nil || f.answered != 4 {
				t.Errorf("%d times, %v", f.answered, err)
			}
		})
	})
	t.Run("asks the system to stop where force is meant", func(t *testing.T) {
		f := &fakeAMT{power: 2}
		_, err := alone(t, f).PowerSet(context.Background(), "off")
		f.look(func() {
			if err != nil || numbers(f.ordered) != "12" {
				t.Errorf("ordered %v, %v", f.ordered, err)
			}
		})
	})
	t.Run("reports success where AMT refused", func(t *testing.T) {
		ok, err := alone(t, &fakeAMT{power: 2, returns: 2}).PowerSet(context.Background(), "off")
		if !ok || err != nil {
			t.Errorf("%t, %v", ok, err)
		}
	})
	t.Run("reports off as done where the state cannot be read", func(t *testing.T) {
		ok, err := alone(t, &fakeAMT{answer: func() string { return "" }}).PowerSet(context.Background(), "off")
		if !ok || err != nil {
			t.Errorf("%t, %v", ok, err)
		}
	})
	t.Run("takes a machine that sleeps for off", func(t *testing.T) {
		s, err := alone(t, &fakeAMT{power: 4}).PowerStateGet(context.Background())
		if s != "off" || err != nil {
			t.Errorf("%q, %v", s, err)
		}
	})
}
