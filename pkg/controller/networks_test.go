package controller

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/bootnet"
	"github.com/ingot-metal/ingot/pkg/dhcp"
	"github.com/ingot-metal/ingot/pkg/ipxe"
	labnet "github.com/ingot-metal/ingot/pkg/lab/net"
)

type nobody struct{}

func (nobody) Lookup(context.Context, net.HardwareAddr) (dhcp.Reservation, bool) {
	return dhcp.Reservation{}, false
}

// Only with one network it is known where a machine will ask for its loader.
func TestOnly(t *testing.T) {
	n := &Networks{running: map[string]*network{}}
	one := netip.MustParsePrefix("10.77.0.1/24")
	for _, want := range []netip.Addr{{}, one.Addr(), {}} {
		if got := n.Only(); got != want {
			t.Errorf("with %d networks %v, want %v", len(n.running), got, want)
		}
		n.running[strconv.Itoa(len(n.running))] = &network{addr: one}
	}
}

// A network's status says whether it is served; it is served again when its
// interface comes back, and no longer when the object is gone.
func TestNetworksComeAndGo(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	loaders := ipxe.Loaders{{Arch: "amd64", Firmware: "bios", Name: "undionly.kpxe", Path: filepath.Join(dir, "l")}}
	if err := os.WriteFile(loaders[0].Path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	p := &v1alpha1.ProvisioningNetwork{ObjectMeta: metav1.ObjectMeta{Name: "lab"}, Spec: v1alpha1.ProvisioningNetworkSpec{
		Interface: "unix:" + socket, Address: "10.77.0.1/24", Flavour: v1alpha1.FlavourVM,
		Range: &v1alpha1.AddressRange{Start: "10.77.0.100", End: "10.77.0.110"},
	}}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(p).WithStatusSubresource(p).Build()
	ctx, cancel := context.WithCancel(t.Context())
	n := &Networks{
		Client: c, Log: slog.New(slog.DiscardHandler), base: ctx, running: map[string]*network{},
		Doors: bootnet.Doors{Hosts: nobody{}, HTTPPort: 6180, HTTPSPort: 6183, Loaders: loaders, Log: slog.New(slog.DiscardHandler)},
	}
	defer n.Wait()
	defer cancel()
	reconcile := func() {
		t.Helper()
		if _, err := n.reconcile(ctx, ctrl.Request{NamespacedName: types.NamespacedName{Name: "lab"}}); err != nil {
			t.Fatal(err)
		}
	}
	status := func(want metav1.ConditionStatus, message, address string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
			if err := c.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil {
				t.Fatal(err)
			}
			s := apimeta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionServing)
			if s != nil && s.Status == want && strings.Contains(s.Message, message) && p.Status.ServerAddress == address {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("status %+v, want %s", p.Status, want)
			}
		}
	}
	reconcile()
	status(metav1.ConditionFalse, socket, "")
	sw, err := labnet.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	status(metav1.ConditionTrue, "", "10.77.0.1")
	if got := n.FlavourAt(netipAddr(t, "10.77.0.1")); got != "vm" {
		t.Errorf("flavour %q at our address there", got)
	}
	if got := n.FlavourAt(netipAddr(t, "10.77.0.2")); got != "" {
		t.Errorf("flavour %q at an address that is not ours", got)
	}
	reconcile() // nothing changed: it goes on being served
	if err := sw.Close(); err != nil {
		t.Fatal(err)
	}
	status(metav1.ConditionFalse, "the switch is gone", "")
	if sw, err = labnet.Listen(socket); err != nil {
		t.Fatal(err)
	}
	defer sw.Close()
	status(metav1.ConditionTrue, "", "10.77.0.1")

	// A spec that cannot be served replaces one that could.
	p.Spec.Gateway = "nonsense"
	if err := c.Update(ctx, p); err != nil {
		t.Fatal(err)
	}
	reconcile()
	status(metav1.ConditionFalse, "spec.gateway", "")
	if len(n.running) != 0 {
		t.Error("the old spec is still being served")
	}
	if err := c.Delete(ctx, p); err != nil {
		t.Fatal(err)
	}
	reconcile()
}

func netipAddr(t *testing.T, s string) netip.Addr {
	t.Helper()
	a, err := netip.ParseAddr(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
