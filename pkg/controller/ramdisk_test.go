package controller

import (
	"context"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/host"
)

func TestBootable(t *testing.T) {
	for _, tc := range []struct {
		name string
		r    host.Ramdisk
		ok   bool
	}{
		{name: "ramdisk", r: host.Ramdisk{Initrd: "http://b/i"}, ok: true},
		{name: "kernel and parameters", r: host.Ramdisk{Kernel: "http://b/k", Initrd: "http://b/i", Params: "a=b c d=http://x/y?z"}, ok: true},
		{name: "ISO over TLS", r: host.Ramdisk{ISO: "https://b/a.iso"}, ok: true},
		{name: "TLS", r: host.Ramdisk{Initrd: "https://b/i"}},
		{name: "a file", r: host.Ramdisk{Kernel: "file:///etc/passwd", Initrd: "http://b/i"}},
		{name: "a user", r: host.Ramdisk{Initrd: "http://u:p@b/i"}},
		{name: "a second line", r: host.Ramdisk{Initrd: "http://b/i\nshell"}},
		{name: "a variable", r: host.Ramdisk{Initrd: "http://b/i", Params: "a=${net0/mac}"}},
		{name: "a quote", r: host.Ramdisk{Initrd: "http://b/i", Params: `a="b c"`}},
		{name: "ISO with a user", r: host.Ramdisk{ISO: "http://u:p@b/a.iso"}},
		{name: "ISO from a file", r: host.Ramdisk{ISO: "file:///a.iso"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := bootable(tc.r); (err == nil) != tc.ok {
				t.Errorf("%v", err)
			}
		})
	}
}

// An agent that cannot name its boot is known by its MACs, where an ISO was ordered
// and nowhere else.
func TestBootFor(t *testing.T) {
	iso, net := types.NamespacedName{Name: "iso"}, types.NamespacedName{Name: "net"}
	c := &Hosts{index: newIndex(), base: context.Background()}
	for k, r := range map[types.NamespacedName]*v1alpha1.Ramdisk{iso: {ISO: "http://b/a.iso"}, net: {Initrd: "http://b/i"}} {
		mac := map[string]string{"iso": "52:54:00:00:00:01", "net": "52:54:00:00:00:02"}[k.Name]
		c.index.macs[mac] = []types.NamespacedName{k}
		c.index.of[k] = entry{bootID: "boot-" + k.Name, macs: []string{mac}}
		c.index.boots["boot-"+k.Name] = boot{host: k, ramdisk: r}
	}
	for _, tc := range []struct {
		name string
		macs []string
		want string
	}{
		{name: "ISO", macs: []string{"nonsense", "52-54-00-00-00-01"}, want: "boot-iso"},
		{name: "network", macs: []string{"52:54:00:00:00:02"}},
		{name: "unknown", macs: []string{"52:54:00:00:00:03"}},
		{name: "none"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := c.BootFor(tc.macs); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}
