package serve

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/blob"
)

// What a host refers to stays, however old it is; all else goes after a week, and
// sooner when the store is nearly full.
func TestSweep(t *testing.T) {
	tests := map[string]struct {
		after time.Duration
		quota int64
		gone  bool
	}{
		"a day later":                {after: 24 * time.Hour},
		"eight days later":           {after: 8 * 24 * time.Hour, gone: true},
		"a day later, nearly full":   {after: 24 * time.Hour, quota: 1500, gone: true},
		"an hour later, nearly full": {after: time.Hour, quota: 1500},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			store, err := blob.Open(t.TempDir(), blob.Options{Now: func() time.Time { return now }, Key: bytes.Repeat([]byte{1}, 32)})
			if err != nil {
				t.Fatal(err)
			}
			put := func(text string) blob.Digest {
				d, _, err := store.Put(t.Context(), bytes.NewReader([]byte(text)))
				if err != nil {
					t.Fatal(err)
				}
				return d
			}
			inventory, upload, chunk := put("an inventory"), put("an upload"), put("a chunk")
			m, err := json.Marshal(agent.Manifest{Chunks: []agent.Chunk{{Digest: string(chunk)}}})
			if err != nil {
				t.Fatal(err)
			}
			manifest := put(string(m))
			console, err := store.PutSecret(t.Context(), []byte("login:"))
			if err != nil {
				t.Fatal(err)
			}
			nobodys := put(string(bytes.Repeat([]byte("x"), 1300)))

			b := &metal3.BareMetalHost{}
			b.Namespace, b.Name = "default", "w"
			b.Spec.Image = &metal3.Image{URL: "http://10.0.0.1:6180/images/sha256/" + string(upload)}
			r := &v1alpha1.HostRecord{}
			r.Namespace, r.Name = "default", "w"
			r.Status.Inventory = &v1alpha1.InventoryRef{Digest: "sha256:" + string(inventory)}
			r.Status.Image = &v1alpha1.ImageRef{Digest: "sha256:" + string(manifest)}
			r.Status.Console = &v1alpha1.ConsoleRef{Digest: "sha256:" + string(console)}
			scheme, err := Scheme()
			if err != nil {
				t.Fatal(err)
			}
			c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(b, r).Build()

			now = now.Add(tt.after)
			s := &sweeper{hosts: c, blobs: store, quota: tt.quota, log: slog.New(slog.DiscardHandler)}
			if err := s.sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			for what, d := range map[string]blob.Digest{"inventory": inventory, "upload": upload, "chunk": chunk, "manifest": manifest} {
				if !store.Has(t.Context(), d) {
					t.Errorf("the %s that a host refers to is gone", what)
				}
			}
			if _, err := store.OpenSecret(t.Context(), console); err != nil {
				t.Errorf("the console that a host refers to: %v", err)
			}
			if gone := !store.Has(t.Context(), nobodys); gone != tt.gone {
				t.Errorf("what nobody refers to is gone: %v, want %v", gone, tt.gone)
			}
		})
	}
}
