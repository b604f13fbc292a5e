package simbmc

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/bougou/go-ipmi/pkg/client"
	"github.com/bougou/go-ipmi/pkg/command/chassis"
	"github.com/bougou/go-ipmi/pkg/types"
	"github.com/google/go-cmp/cmp"
)

func dialIPMI(t *testing.T, addr *net.UDPAddr, password string) (*client.Client, error) {
	return dialIPMIFor(t, addr, password, 10*time.Second)
}

func dialIPMIFor(t *testing.T, addr *net.UDPAddr, password string, patience time.Duration) (*client.Client, error) {
	t.Helper()
	c, err := client.NewClient(addr.IP.String(), addr.Port, testUser, password)
	if err != nil {
		t.Fatal(err)
	}
	c = c.WithInterface(client.InterfaceLanplus).WithTimeout(time.Second)
	ctx, cancel := context.WithTimeout(testContext(t), patience)
	defer cancel()
	if err := c.Connect(ctx); err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = c.Close(ctx)
	})
	return c, nil
}

func TestIPMIPower(t *testing.T) {
	s := newBench(t, nil)
	c, err := dialIPMI(t, s.serveIPMI(t), testPassword)
	if err != nil {
		t.Fatal(err)
	}
	ctx := testContext(t)
	for _, tc := range []struct {
		name    string
		control chassis.ChassisControl
		fails   bool
		on      bool
	}{
		{name: "cycle while off", control: chassis.ChassisControlPowerCycle, fails: true},
		{name: "on", control: chassis.ChassisControlPowerUp, on: true},
		{name: "reset", control: chassis.ChassisControlHardReset, on: true},
		{name: "cycle", control: chassis.ChassisControlPowerCycle, on: true},
		{name: "nmi", control: chassis.ChassisControlDiagnosticInterrupt, on: true},
		{name: "reserved", control: 9, fails: true, on: true},
		{name: "soft", control: chassis.ChassisControlSoftShutdown},
		{name: "off when off", control: chassis.ChassisControlPowerDown},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := c.ChassisControl(ctx, tc.control)
			if (err != nil) != tc.fails {
				t.Errorf("got %v", err)
			}
			status, err := c.GetChassisStatus(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if status.PowerIsOn != tc.on {
				t.Errorf("on: %v", status.PowerIsOn)
			}
		})
	}
	if err := c.ColdReset(ctx); err != nil { // of the BMC: the machine does not notice
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"On", "ForceRestart", "PowerCycle", "Nmi", "GracefulShutdown"}, s.details(KindPower)); diff != "" {
		t.Errorf("journal (-want +got):\n%s", diff)
	}
}

func TestIPMIBootIsRedfishBoot(t *testing.T) {
	s := newBench(t, nil)
	c, err := dialIPMI(t, s.serveIPMI(t), testPassword)
	if err != nil {
		t.Fatal(err)
	}
	ctx := testContext(t)
	if err := c.SetBootDevice(ctx, types.BootDeviceSelectorForcePXE, types.BIOSBootTypeEFI, true); err != nil {
		t.Fatal(err)
	}
	got, _ := s.body.Boot(ctx)
	want := BootOverride{Target: BootPXE, Enabled: BootContinuous, Mode: ModeUEFI}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	if err := s.setBoot(ctx, BootOverride{Target: BootDisk, Enabled: BootOnce, Mode: ModeLegacy}); err != nil {
		t.Fatal(err)
	}
	read := func() types.BootOptionParam_BootFlags {
		t.Helper()
		var flags types.BootOptionParam_BootFlags
		if err := c.GetSystemBootOptionsParamFor(ctx, &flags); err != nil {
			t.Fatal(err)
		}
		return flags
	}
	if f := read(); !f.BootFlagsValid || f.Persist || f.BIOSBootType != types.BIOSBootTypeLegacy || f.BootDeviceSelector != types.BootDeviceSelectorForceHardDrive {
		t.Errorf("flags: %+v", f)
	}
	if err := s.power(ctx, PowerOn); err != nil {
		t.Fatal(err)
	}
	if f := read(); f.BootFlagsValid {
		t.Errorf("still valid after the start: %+v", f)
	}
}

func TestIPMIGuid(t *testing.T) {
	s := newBench(t, nil)
	c, err := dialIPMI(t, s.serveIPMI(t), testPassword)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.GetSystemGUID(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []byte{0x01, 0x11, 0xaa, 0x33} { // the end of the UUID comes first
		if res.GUID[i] != want {
			t.Fatalf("guid % x", res.GUID)
		}
	}
}

func TestIPMIFaults(t *testing.T) {
	s := newBench(t, nil)
	addr := s.serveIPMI(t)
	if _, err := dialIPMI(t, addr, "wrong"); err == nil {
		t.Error("a wrong password opened a session")
	}
	s.SetFaults(Faults{WrongPassword: true})
	if _, err := dialIPMI(t, addr, testPassword); err == nil {
		t.Error("wrong password: opened")
	}
	s.SetFaults(Faults{SessionsFull: true})
	if _, err := dialIPMI(t, addr, testPassword); err == nil {
		t.Error("sessions full: opened")
	}
	s.SetFaults(Faults{Refuse: true})
	if _, err := dialIPMIFor(t, addr, testPassword, 100*time.Millisecond); err == nil {
		t.Error("refuse: opened")
	}
	s.SetFaults(Faults{})
	c, err := dialIPMI(t, addr, testPassword)
	if err != nil {
		t.Fatal(err)
	}
	s.SetFaults(Faults{Busy: 1})
	if _, err := c.GetChassisStatus(testContext(t)); err == nil {
		t.Error("busy: answered")
	}
	if _, err := c.GetChassisStatus(testContext(t)); err != nil {
		t.Errorf("after busy: %v", err)
	}
}

func FuzzBootFlags(f *testing.F) {
	f.Add([]byte{0xe0, 0x04, 0, 0, 0})
	f.Add([]byte{0x80, 0x24, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, flags []byte) {
		if len(flags) != 5 {
			t.Skip()
		}
		o, ok := overrideOf(flags)
		if !ok {
			return
		}
		back := make([]byte, 5)
		putFlags(back, o)
		if again, ok := overrideOf(back); !ok || again != o {
			t.Errorf("% x: %+v, then %+v", flags, o, again)
		}
	})
}

func FuzzHandshake(f *testing.F) {
	f.Add([]byte{6, 0, 0xff, 7, 6, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{6, 0, 0xff, 7, 6})
	f.Fuzz(func(_ *testing.T, pkt []byte) { handshake(pkt) })
}
