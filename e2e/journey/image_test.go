package journey_test

import (
	"encoding/binary"
	"net/http"
	"slices"
	"strings"
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"

	"github.com/ingot-metal/ingot/pkg/lab/fleet"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// qcow2 is the head of such an image, padded (QEMU docs/interop/qcow2.txt).
func qcow2() []byte {
	b := make([]byte, small)
	copy(b, "QFI\xfb")
	binary.BigEndian.PutUint32(b[4:], 3)
	binary.BigEndian.PutUint32(b[20:], 16)    // cluster_bits
	binary.BigEndian.PutUint64(b[24:], 1<<20) // size
	binary.BigEndian.PutUint32(b[100:], 104)  // header_length
	return b
}

// An image that cannot be had never reaches a machine, which is not even started.
func TestImageThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		broken func(r *rack, os image) *metal3.Image // what is asked for
		code   string
		seen   string
		do     string
		mend   func(m *machine, os image)
	}{
		{
			name: "wrong checksum", code: "image-checksum", seen: "", do: "set spec.image.checksum",
			broken: func(_ *rack, os image) *metal3.Image {
				i := os.spec()
				i.Checksum = strings.Repeat("ab", 32)
				return i
			},
			mend: func(m *machine, os image) { m.provision(os) },
		},
		{
			name: "cut short", code: "image-truncated", seen: "32768", do: "upload the image again",
			broken: func(_ *rack, os image) *metal3.Image {
				os.answer(cut(os.bytes))
				return os.spec()
			},
			mend: func(_ *machine, os image) { os.answer(content(os.bytes)) },
		},
		{
			name: "declared raw, is qcow2", code: "image-format", seen: "qcow2", do: "set spec.image.format to qcow2",
			broken: func(r *rack, _ image) *metal3.Image { return r.serve("os.qcow2", qcow2()).spec() },
			mend:   func(m *machine, os image) { m.provision(os) },
		},
		{
			name: "not there", code: "image-unreachable", seen: "404", do: "curl -I http://",
			broken: func(_ *rack, os image) *metal3.Image {
				os.answer(http.NotFound)
				return os.spec()
			},
			mend: func(_ *machine, os image) { os.answer(content(os.bytes)) },
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRack(t, 1)
			m := r.machine(0)
			os := r.image("os.raw", small)
			want := tc.broken(r, os)
			m.enrol()
			m.awaitState(metal3.StateAvailable)
			disks, power := m.disks(), m.log(simbmc.KindPower)
			m.change(func(b *metal3.BareMetalHost) { b.Spec.Image = want })

			rep := m.awaitCode(tc.code, metal3.ProvisioningError)
			if all := strings.Join(rep.Seen, "; "); !strings.Contains(all, tc.seen) {
				t.Errorf("seen %q lacks %q", all, tc.seen)
			}
			if all := strings.Join(rep.Do, "; "); !strings.Contains(all, tc.do) {
				t.Errorf("do %q lacks %q", all, tc.do)
			}
			m.unchanged(disks)
			if got := m.log(simbmc.KindPower); !slices.Equal(got, power) {
				t.Errorf("its power was switched: %v", got[len(power):])
			}

			tc.mend(m, os)
			m.awaitProvisioned(os)
			if n := len(m.log(fleet.KindWriteBegin)); n != 1 {
				t.Errorf("%d writes were begun, want 1", n)
			}
		})
	}
}

func TestUserDataMissing(t *testing.T) {
	r := newRack(t, 1)
	m := r.machine(0)
	os := r.image("os.raw", small)
	m.enrol(func(b *metal3.BareMetalHost) { b.Spec.UserData = &corev1.SecretReference{Name: "cloud-init"} })
	m.awaitState(metal3.StateAvailable)
	disks, power := m.disks(), m.log(simbmc.KindPower)
	m.provision(os)

	rep := m.awaitCode("userdata-missing", metal3.ProvisioningError)
	if text := rep.Seen[0]; !strings.Contains(text, r.ns+"/cloud-init") {
		t.Errorf("seen %q does not name the Secret", text)
	}
	if !strings.Contains(rep.WaitsFor, "Secret") {
		t.Errorf("it waits for %q", rep.WaitsFor)
	}
	m.unchanged(disks)
	if got := m.log(simbmc.KindPower); !slices.Equal(got, power) {
		t.Errorf("the machine was started: %v", got[len(power):])
	}

	// A Secret without the key is not enough.
	r.secret("cloud-init", map[string]string{"value2": "x"})
	m.await("told about the key", func() bool {
		return strings.Contains(strings.Join(m.explain().Seen, " "), "userData")
	})
	m.unchanged(disks)

	s := &corev1.Secret{}
	s.Namespace, s.Name = r.ns, "cloud-init"
	r.update(s, map[string]string{"userData": "#cloud-config\n"})
	m.awaitProvisioned(os)
}
