package ipmi

import (
	"strings"
	"testing"

	"github.com/bougou/go-ipmi/pkg/types"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

func TestAccounts(t *testing.T) {
	_, addr := goServer(t)
	m, err := open(t, addr, admin)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	list := func() (out []string) {
		t.Helper()
		all, err := m.Accounts(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range all {
			s := a.ID + " " + a.Username + " " + a.Role
			if !a.Enabled {
				s += " off"
			}
			out = append(out, s)
		}
		return out
	}
	before := []string{"2 admin Administrator", "3 reader ReadOnly"}
	if diff := cmp.Diff(before, list()); diff != "" {
		t.Fatalf("accounts (-want +got):\n%s", diff)
	}
	made, err := m.CreateAccount(ctx, bmc.Account{Username: "ops", Role: "Operator", Enabled: true}, "12345678901234567890")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(append(before, "4 ops Operator"), list()); diff != "" || made.ID != "4" {
		t.Errorf("made %+v, accounts (-want +got):\n%s", made, diff)
	}
	_, err = m.CreateAccount(ctx, bmc.Account{Username: "ops", Role: "Operator"}, "x")
	wantError(t, err, bmc.BadRequest, "", "account of this name")
	_, err = m.CreateAccount(ctx, bmc.Account{Username: "god", Role: "God"}, "x")
	wantError(t, err, bmc.BadRequest, "", "Administrator")
	_, err = m.CreateAccount(ctx, bmc.Account{Username: "seventeen-letters", Role: "Operator"}, "x")
	wantError(t, err, bmc.BadRequest, "", "16 bytes of user name")
	addr.PrivilegeLevel = "OPERATOR"
	if _, err := open(t, addr, bmc.Credentials{Username: "ops", Password: "12345678901234567890"}); err != nil {
		t.Errorf("log in as the new account: %v", err)
	}
	if err := m.DeleteAccount(ctx, made.ID); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, list()); diff != "" {
		t.Errorf("accounts after deletion (-want +got):\n%s", diff)
	}
	wantError(t, m.DeleteAccount(ctx, "64"), bmc.BadRequest, "", "no such account")
}

func TestSetPassword(t *testing.T) {
	b, addr := goServer(t)
	m, err := open(t, addr, admin)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	wantError(t, m.SetPassword(ctx, "admin", strings.Repeat("x", 21)), bmc.BadRequest, "", "20 of password")
	wantError(t, m.SetPassword(ctx, "nobody", "x"), bmc.BadRequest, "", "no account")
	for _, password := range []string{"short", "seventeen-letters", "12345678901234567890"} {
		if err := m.SetPassword(ctx, "admin", password); err != nil {
			t.Fatal(err)
		}
		// Later sessions of this machine use it.
		if err := m.use(ctx, "", func(*session) error { return errSilence }); err == nil {
			t.Fatal("the session was kept")
		}
		if _, err := m.PowerState(ctx); err != nil {
			t.Errorf("with the new password: %v", err)
		}
	}
	if err := m.SetPassword(ctx, "reader", "another"); err != nil { // an account of another level
		t.Error(err)
	}
	b.intercept(func(netFn, cmd byte, _ []byte) ([]byte, types.CompletionCode, bool) {
		return nil, 0, netFn == netFnApp && cmd == 0x47 // takes it and does nothing
	})
	err = m.SetPassword(ctx, "admin", "ignored")
	wantError(t, err, bmc.Protocol, "", "a login with it failed")
	if strings.Contains(err.Error(), "ignored") {
		t.Errorf("%v tells the password", err)
	}
}

func TestIndicator(t *testing.T) {
	b, addr := goServer(t)
	m, err := open(t, addr, admin)
	if err != nil {
		t.Fatal(err)
	}
	var lit byte
	supported, force := byte(0x40), true
	b.intercept(func(netFn, cmd byte, data []byte) ([]byte, types.CompletionCode, bool) {
		switch {
		case netFn == netFnChassis && cmd == 0x01:
			return []byte{0x61, 0, supported | lit, 0}, 0, true
		case netFn == netFnChassis && cmd == 0x04:
			if len(data) > 1 && !force {
				return nil, 0xc7, true
			}
			lit = 0
			if len(data) > 1 && data[1]&1 != 0 {
				lit = 0x20
			}
			return nil, 0, true
		}
		return nil, 0, false
	})
	for _, want := range []bool{true, false, true} {
		if err := m.SetIndicator(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		if got, err := m.Indicator(t.Context()); err != nil || got != want {
			t.Errorf("lit %v, %v; want %v", got, err, want)
		}
	}
	b.look(func() { force = false })
	wantError(t, m.SetIndicator(t.Context(), true), bmc.Unsupported, "", "for seconds only")
	b.look(func() { supported = 0 })
	_, err = m.Indicator(t.Context())
	wantError(t, err, bmc.Unsupported, "", "does not say")
	if err := m.SetIndicator(t.Context(), false); err != nil {
		t.Errorf("a BMC that does not tell: %v", err)
	}
}

func TestPowerNMI(t *testing.T) {
	b, addr := goServer(t)
	m, err := open(t, addr, admin)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.SetPower(t.Context(), bmc.ActionOn); err != nil {
		t.Fatal(err)
	}
	var control []byte
	b.intercept(func(netFn, cmd byte, data []byte) ([]byte, types.CompletionCode, bool) {
		if netFn == netFnChassis && cmd == 0x02 {
			control = append(control, data...)
			return nil, 0, true
		}
		return nil, 0, false
	})
	for _, a := range []bmc.PowerAction{bmc.ActionNMI, bmc.ActionSoftOff, bmc.ActionCycle, bmc.ActionReset, bmc.ActionForceOff} {
		if err := m.SetPower(t.Context(), a); err != nil {
			t.Error(err)
		}
	}
	b.look(func() {
		if diff := cmp.Diff([]byte{4, 5, 2, 3, 0}, control); diff != "" { // chapter 28.3
			t.Errorf("chassis control (-want +got):\n%s", diff)
		}
	})
}
