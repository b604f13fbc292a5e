package vendorextra

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// What cannot be meant says what would be, before anything is sent.
func TestOpenRefuses(t *testing.T) {
	for _, tt := range []struct{ name, address, say string }{
		{"ipmitool", "redfish://127.0.0.1", "there are amt and asrockrack"},
		{"amt,asrockrack", "redfish://127.0.0.1", "is not known"},
		{"supermicro", "redfish://127.0.0.1", "is not known"},
		{"amt", "ipmi://127.0.0.1", "port 16993"},
		{"amt", "redfish-virtualmedia://127.0.0.1", "no virtual media"},
		{"amt", "redfish://127.0.0.1/redfish/v1/Systems/1", "leave the path out"},
		{"asrockrack", "redfish+http://127.0.0.1", "speaks HTTPS alone"},
	} {
		addr, err := bmc.ParseAddress(tt.address)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := Open(t.Context(), tt.name, addr, admin, Options{})
		if conn != nil || bmc.ClassOf(err) != bmc.BadRequest || !strings.Contains(err.Error(), tt.say) {
			t.Errorf("%s at %s: %v, %v; want it to say %q", tt.name, tt.address, conn, err, tt.say)
		}
	}
}

func TestCertificates(t *testing.T) {
	for _, name := range []string{AMT, ASRockRack} {
		f, g := &fakeAMT{power: 2}, &fakeBoard{power: 1}
		s := amtServer(t, f)
		if name == ASRockRack {
			s = boardServer(t, g)
		}
		sent := func() int {
			n := 0
			f.look(func() { n += f.asked })
			g.look(func() { n += len(g.requests) })
			return n
		}
		pool := x509.NewCertPool()
		pool.AddCert(s.Certificate())
		pin := sha256.Sum256(s.Certificate().RawSubjectPublicKeyInfo)
		for _, tt := range []struct {
			say   string
			o     Options
			class bmc.Class
		}{
			{"nothing known", Options{}, bmc.TLSIdentity},
			{"another key pinned", Options{PinSPKI: make([]byte, 32)}, bmc.TLSIdentity},
			{"another key pinned, and insecure", Options{PinSPKI: make([]byte, 32), Insecure: true}, bmc.TLSIdentity},
			{"its authority", Options{RootCAs: pool}, ""},
			{"its key", Options{PinSPKI: pin[:]}, ""},
			{"insecure", Options{Insecure: true}, ""},
		} {
			before := sent()
			conn, err := Open(t.Context(), name, addressOf(t, s), admin, tt.o)
			if (err == nil) != (tt.class == "") || err != nil && bmc.ClassOf(err) != tt.class {
				t.Errorf("%s, %s: %v, want class %q", name, tt.say, err, tt.class)
			}
			if err != nil && sent() != before {
				t.Errorf("%s, %s: something was sent", name, tt.say)
			}
			if err == nil {
				_ = conn.Close(t.Context())
			}
		}
	}
}

func TestUnreachable(t *testing.T) {
	for _, name := range []string{AMT, ASRockRack} {
		for address, code := range map[string]string{"redfish://127.0.0.1:1": bmc.CodeRefused, "redfish://no.such.host.invalid": bmc.CodeNameUnresolved} {
			addr, err := bmc.ParseAddress(address)
			if err != nil {
				t.Fatal(err)
			}
			var e *bmc.Error
			if _, err = Open(t.Context(), name, addr, admin, Options{}); !errors.As(err, &e) || e.Class != bmc.Unreachable || e.Code != code {
				t.Errorf("%s at %s: %v", name, address, err)
			}
		}
	}
}

// A caller whose time is over is let go at once, its requests are cut, and
// nothing is left behind.
func TestCancel(t *testing.T) {
	for _, name := range []string{AMT, ASRockRack} {
		t.Run(name, func(t *testing.T) {
			silent := make(chan struct{})
			f, g := &fakeAMT{power: 2, silent: silent}, &fakeBoard{power: 1, silent: silent}
			s := amtServer(t, f)
			if name == ASRockRack {
				s = boardServer(t, g)
			}
			conn := bmc.Conn(newAMT(addressOf(t, s), admin, quick()))
			if name == ASRockRack {
				conn = newBoard(addressOf(t, s), admin, quick())
			}
			before := runtime.NumGoroutine()
			for _, tt := range []struct {
				class  bmc.Class
				within func() (context.Context, context.CancelFunc)
			}{
				{bmc.Unreachable, func() (context.Context, context.CancelFunc) {
					return context.WithTimeout(t.Context(), 50*time.Millisecond)
				}},
				{bmc.Transient, func() (context.Context, context.CancelFunc) {
					ctx, cancel := context.WithCancel(t.Context())
					time.AfterFunc(50*time.Millisecond, cancel)
					return ctx, cancel
				}},
			} {
				// On a machine that is busy with other things it has three tries.
				for try := 1; ; try++ {
					ctx, cancel := tt.within()
					began := time.Now()
					err := conn.(bmc.Power).SetPower(ctx, bmc.ActionForceOff)
					took := time.Since(began)
					cancel()
					late := took > time.Second
					if bmc.ClassOf(err) != tt.class || late && try == 3 {
						t.Errorf("after %s: %v, want class %s within a second", took, err, tt.class)
					}
					if !late || try == 3 {
						break
					}
				}
			}
			close(silent)
			eventually(t, "the call that was left keeps its turn", func() bool {
				_, err := conn.(bmc.Power).PowerState(t.Context())
				return err == nil
			})
			if err := conn.Close(t.Context()); err != nil {
				t.Error(err)
			}
			s.CloseClientConnections()
			eventually(t, "goroutines are left", func() bool { return runtime.NumGoroutine() <= before+1 })
		})
	}
}

// A provider that does not heed its context costs its own goroutine, no more.
func TestCallLeavesTheDeaf(t *testing.T) {
	c := newCaller(20 * time.Millisecond)
	hold := make(chan struct{})
	deaf := func(context.Context) (int, error) { <-hold; return 1, nil }
	if _, err := call(t.Context(), c, "wait", deaf); bmc.ClassOf(err) != bmc.Unreachable {
		t.Errorf("over the limit: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := call(ctx, c, "wait", deaf); bmc.ClassOf(err) != bmc.Unreachable {
		t.Errorf("with the turn taken: %v", err)
	}
	close(hold)
	if n, err := call(t.Context(), newCaller(0), "wait", deaf); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}
