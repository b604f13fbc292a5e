//go:build e2e

package clients

import (
	"fmt"
	"os"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/e2e/rig"
	"github.com/ingot-metal/ingot/pkg/lab/fleet"
)

// site is a server with machines that are pretended and whose BMCs are not.
type site struct {
	url      string
	kube     client.Client // nil of a door that is not ours
	machines []*fleet.Machine
	images   *rig.Images
}

// newSite starts everything, unless INGOT_REST names a door.
func newSite(t *testing.T) *site {
	t.Helper()
	if url := os.Getenv("INGOT_REST"); url != "" {
		return &site{url: url}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	binary, err := rig.Binary(dir)
	must(err)
	boot, err := rig.Pretended(dir)
	must(err)
	ports, err := rig.NewPorts()
	must(err)
	images := rig.NewImages()
	t.Cleanup(images.Close)
	machines, err := fleet.New(fleet.Config{
		Count: 3, Seed: 6, Prefix: "rest", Events: true, BootURL: fmt.Sprintf("http://127.0.0.1:%d", ports.HTTP),
		Latency: 20 * time.Millisecond, POST: 50 * time.Millisecond,
	})
	must(err)
	t.Cleanup(machines.Close)
	s, err := rig.NewServer(binary, dir, ports, "--boot-files", boot, "--allow-loopback", images.Host(), "--retry-unit", "200ms")
	must(err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the server's log ends with:\n%s", s.Tail())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	must(s.Start())
	must(s.WaitReady(t.Context()))
	kube, err := s.Client()
	must(err)
	return &site{url: s.REST, kube: kube, machines: machines.Machines(), images: images}
}
