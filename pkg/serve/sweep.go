package serve

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/blob"
	"github.com/ingot-metal/ingot/pkg/image"
)

const (
	sweepEvery = time.Hour
	// keepUnused is how long a blob stays that no host refers to: an image that was
	// fetched, or uploaded, is there for the next rack.
	keepUnused = 7 * 24 * time.Hour
	// keepCrowded is the same while the store is nearly full. It exceeds the time
	// from the first chunk of an image to the record that names it.
	keepCrowded = 6 * time.Hour
)

// sweeper removes blobs that nobody refers to any more. It runs on every replica:
// each has a store of its own, or all share one and find the same.
type sweeper struct {
	hosts client.Reader
	blobs *blob.Store
	quota int64
	log   *slog.Logger
}

// NeedLeaderElection says that it waits for nobody.
func (*sweeper) NeedLeaderElection() bool { return false }

// Start sweeps until ctx is done. The manager calls it once its caches are full.
func (s *sweeper) Start(ctx context.Context) error {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("blobs that nobody uses were not removed: tried again in an hour", "err", err)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *sweeper) sweep(ctx context.Context) error {
	used, err := s.used(ctx)
	if err != nil {
		return err
	}
	age := keepUnused
	if s.quota > 0 && s.blobs.Used() > s.quota/10*9 {
		age = keepCrowded
	}
	done, err := s.blobs.Sweep(ctx, func(d blob.Digest) bool { return used[d] }, age)
	if done.Removed > 0 {
		s.log.Info("removed blobs that nobody uses", "blobs", done.Removed, "bytes", done.Bytes, "kept", done.Kept)
	}
	return err
}

// uploaded finds the digest in the URL of an image that was uploaded to our door.
var uploaded = regexp.MustCompile(`/images/sha256/([0-9a-f]{64})$`)

// used is every blob that a host refers to.
func (s *sweeper) used(ctx context.Context) (map[blob.Digest]bool, error) {
	used := map[blob.Digest]bool{}
	note := func(text string) {
		if d, err := digest(text); err == nil {
			used[d] = true
		}
	}
	var hosts metal3.BareMetalHostList
	if err := s.hosts.List(ctx, &hosts, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing hosts: %w", err)
	}
	for i := range hosts.Items {
		b := &hosts.Items[i]
		for _, img := range []*metal3.Image{b.Spec.Image, &b.Status.Provisioning.Image} {
			if img == nil {
				continue
			}
			if m := uploaded.FindStringSubmatch(img.URL); m != nil {
				note(m[1])
			}
		}
	}
	var records v1alpha1.HostRecordList
	if err := s.hosts.List(ctx, &records, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing what is recorded of hosts: %w", err)
	}
	manifests := map[string]bool{}
	for i := range records.Items {
		st := &records.Items[i].Status
		if st.Inventory != nil {
			note(st.Inventory.Digest)
		}
		if st.Console != nil {
			note(st.Console.Digest)
		}
		if st.Image != nil {
			manifests[st.Image.Digest] = true
		}
	}
	for text := range manifests {
		d, err := digest(text)
		if err != nil {
			continue
		}
		used[d] = true
		chunks, err := image.Chunks(ctx, s.blobs, d)
		if err != nil {
			continue // it is gone, or another replica's: there is nothing to keep
		}
		for _, c := range chunks {
			used[c] = true
		}
	}
	return used, nil
}

// digest reads one as records have it: sha256:HEX.
func digest(text string) (blob.Digest, error) {
	return blob.ParseDigest(strings.TrimPrefix(text, "sha256:"))
}
