package record

import (
	"context"
	"encoding/json"
	"fmt"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/pkg/host"
)

// Newer is what Metal3 v0.14 shows in a BareMetalHost's status and our types do
// not know.
type Newer struct {
	FailCount     int           `json:"provisioningFailCount,omitempty"`
	LastAttempted *metal3.Image `json:"lastAttemptedImage,omitempty"`
}

// NewerOf is what h has to show.
func NewerOf(h host.Host) Newer {
	n := Newer{FailCount: h.FailCount}
	if h.LastTried != nil {
		i := fromImage(*h.LastTried)
		n.LastAttempted = &i
	}
	return n
}

// ReadNewer reads those fields of a host that somebody else has written.
func (s Store) ReadNewer(ctx context.Context, b *metal3.BareMetalHost) (Newer, error) {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(metal3.GroupVersion.WithKind("BareMetalHost"))
	if err := s.Reader.Get(ctx, client.ObjectKeyFromObject(b), u); err != nil {
		return Newer{}, fmt.Errorf("reading %s/%s whole: %w", b.Namespace, b.Name, err)
	}
	var n struct {
		Status Newer `json:"status"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &n); err != nil {
		return Newer{}, nil // of another version: it counts from zero
	}
	return n.Status, nil
}

// withNewer adds them to a merge patch of a status, as far as they changed.
func withNewer(patch []byte, old, now Newer) ([]byte, error) {
	p := map[string]json.RawMessage{}
	if err := json.Unmarshal(patch, &p); err != nil {
		return nil, err
	}
	if old.FailCount != now.FailCount {
		p["provisioningFailCount"] = fmt.Append(nil, now.FailCount)
	}
	if !sameImage(old.LastAttempted, now.LastAttempted) {
		p["lastAttemptedImage"] = json.RawMessage("null")
		if now.LastAttempted != nil {
			text, err := replaced(*now.LastAttempted)
			if err != nil {
				return nil, err
			}
			p["lastAttemptedImage"] = text
		}
	}
	return json.Marshal(p)
}

// replaced is an image as a merge patch that leaves nothing of another behind.
func replaced(i metal3.Image) ([]byte, error) {
	raw, err := json.Marshal(i)
	if err != nil {
		return nil, err
	}
	m := map[string]any{"checksum": nil, "checksumType": nil, "format": nil, "ociAuthSecretName": nil}
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, err
	}
	return json.Marshal(m)
}

func sameImage(a, b *metal3.Image) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, y := *a, *b
	x.DiskFormat, y.DiskFormat = nil, nil
	return x == y && (a.DiskFormat == nil) == (b.DiskFormat == nil) && (a.DiskFormat == nil || *a.DiskFormat == *b.DiskFormat)
}
