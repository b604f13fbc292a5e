package record

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"github.com/ingot-metal/ingot/api/crd"
	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/host"
)

// schemas refuse what the API server would refuse.
type schemas map[string]validation.SchemaValidator

func readSchemas(t *testing.T) schemas {
	t.Helper()
	out, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// parsed reads the manifests once: they are long.
var parsed = sync.OnceValues(func() (schemas, error) {
	all, err := crd.Manifests()
	if err != nil {
		return nil, err
	}
	out := schemas{}
	for _, m := range all {
		if m.File != "metal3.io_baremetalhosts.yaml" && m.File != "ingot.dev_hostrecords.yaml" {
			continue
		}
		var v1 apiextensionsv1.CustomResourceDefinition
		if err := yaml.Unmarshal(m.YAML, &v1); err != nil {
			return nil, err
		}
		var props apiextensions.JSONSchemaProps
		if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(v1.Spec.Versions[0].Schema.OpenAPIV3Schema, &props, nil); err != nil {
			return nil, err
		}
		if out[v1.Spec.Names.Kind], _, err = validation.NewSchemaValidator(&props); err != nil {
			return nil, err
		}
	}
	if len(out) != 2 {
		return nil, fmt.Errorf("schemas of %d kinds, want 2", len(out))
	}
	return out, nil
})

// check refuses o as the API server would. Go's zero times are null there.
func (s schemas) check(o client.Object) error {
	if s == nil {
		return nil // another test's concern
	}
	kind := "BareMetalHost"
	if _, ok := o.(*v1alpha1.HostRecord); ok {
		kind = "HostRecord"
	}
	u, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return err
	}
	return validation.ValidateCustomResource(nil, u, s[kind]).ToAggregate()
}

// world is an API with one host, whose status writes are counted and checked.
type world struct {
	client.Client
	t      *testing.T
	store  Store
	objs   Objects
	now    time.Time
	writes int
	lost   bool // the next update is carried out, and its answer is an error
}

const id = "11111111-2222-4333-8444-555555555555"

func newWorld(t *testing.T, s schemas, b *metal3.BareMetalHost) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{metal3.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	w := &world{t: t, now: time.Date(2026, 11, 21, 10, 0, 0, 123456789, time.UTC)}
	w.Client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(b).
		WithStatusSubresource(&metal3.BareMetalHost{}, &v1alpha1.HostRecord{}).
		WithInterceptorFuncs(interceptor.Funcs{
			SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
				w.writes++
				if err := c.SubResource(sub).Patch(ctx, o, p, opts...); err != nil {
					return err
				}
				return s.check(o)
			},
			SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
				w.writes++
				if err := s.check(o); err != nil {
					return err
				}
				if w.lost {
					w.lost = false
					_ = c.SubResource(sub).Update(ctx, o.DeepCopyObject().(client.Object), opts...)
					return apierrors.NewTimeoutError("etcdserver: request timed out", 1)
				}
				return c.SubResource(sub).Update(ctx, o, opts...)
			},
		}).Build()
	w.store = Store{Client: w.Client, Reader: w.Client, Now: func() time.Time { return w.now }}
	w.objs.BMH = &metal3.BareMetalHost{}
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(b), w.objs.BMH); err != nil {
		t.Fatal(err)
	}
	if err := w.store.EnsureRecord(t.Context(), &w.objs, id); err != nil {
		t.Fatal(err)
	}
	return w
}

// save writes h some time later, and says how many writes that took.
func (w *world) save(h host.Host, x Extra) int {
	w.t.Helper()
	before := w.writes
	w.now = w.now.Add(1234567 * time.Microsecond)
	if err := w.store.Save(w.t.Context(), &w.objs, h, x); err != nil {
		w.t.Fatalf("%v\n%+v", err, h)
	}
	return w.writes - before
}

// restart reads the host as a new process does.
func (w *world) restart(wants host.Wants) host.Host {
	w.t.Helper()
	b, hr := &metal3.BareMetalHost{}, &v1alpha1.HostRecord{}
	key := client.ObjectKeyFromObject(w.objs.BMH)
	if err := w.Get(w.t.Context(), key, b); err != nil {
		w.t.Fatal(err)
	}
	if err := w.Get(w.t.Context(), key, hr); err != nil {
		w.t.Fatal(err)
	}
	return Load(b, hr, wants)
}

func states() []host.State {
	return []host.State{
		host.None, host.Unmanaged, host.Registering, host.Inspecting, host.Preparing, host.Available, host.Provisioning, host.Provisioned,
		host.ExternallyProvisioned, host.Deprovisioning, host.PoweringOffBeforeDelete, host.Deleting,
	}
}

func errorTypes() []host.ErrorType {
	return []host.ErrorType{
		host.RegistrationError, host.ProvisionedRegistrationErr, host.InspectionError, host.PreparationError,
		host.ProvisioningError, host.PowerManagementError, host.ServicingError,
	}
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// anyHost makes a host as the life cycle may leave one: with a problem nothing is
// under way, and a detached host has neither.
func anyHost(r *rand.Rand, n int) host.Host {
	at := func() time.Time { return time.Unix(1_800_000_000+r.Int64N(1e6), r.Int64N(1e9)) }
	img := func() *host.Image {
		return pick(r, nil, &host.Image{
			URL: fmt.Sprintf("http://images/%d", r.IntN(9)), Checksum: pick(r, "", "abc"),
			ChecksumType: pick(r, "", "md5", "sha256", "sha512", "auto"), Format: pick(r, "", "raw", "qcow2"),
		})
	}
	h := host.Host{
		Key: "rack/w1", State: pick(r, states()...), Seq: r.Int64N(1e6), ErrorCount: r.IntN(5),
		Power: pick(r, host.PowerOn, host.PowerOff), Good: pick(r, "", "42", "43"), GoodAt: "redfish://10.0.0.3", GoodWith: pick(r, "", "o1"),
		Provisioned: img(), LastTried: img(), FailCount: r.IntN(4), Dirty: r.IntN(2) == 0,
		InventoryBoot: pick(r, "", "b1"),
		RAID:          pick(r, "", "[]", `[{"level":"1","numberOfPhysicalDisks":2}]`), SecureBoot: r.IntN(2) == 0,
		SoftRAID: pick(r, "", host.RAIDUnknown, `[{"level":"1"}]`),
		Wants:    host.Wants{Generation: 7, Address: "redfish://10.0.0.3", SecretName: "s1", SecretVersion: pick(r, "", "42")},
	}
	if r.IntN(2) == 0 {
		h.Node = host.Node{
			Hold: pick(r, "", host.Enroll, host.CleanFailed), Asked: r.Int64N(99), Verb: pick(r, "", host.VerbClean, host.VerbSoftReboot),
			Erase: pick(r, "", host.EraseMetadata), Error: pick(r, "", "it was aborted by request"), Power: pick(r, "", host.VerbPowerOff), Since: at(),
		}
	}
	if r.IntN(2) == 0 {
		h.Boot = &host.Boot{ID: fmt.Sprintf("boot-%d", n), Ordered: at(), Redeemed: r.IntN(2) == 0, Seen: host.Seen{DHCP: true}}
	}
	switch r.IntN(4) {
	case 0:
		h.Problem = &host.Problem{
			Code: pick(r, "bmc-auth", "image-checksum", "of-another-version"), Type: pick(r, errorTypes()...), Since: at(),
			Attempts: r.IntN(9), Generation: 7, Secret: "42", Class: host.Wait,
			Seen: pick(r, nil, []string{"a", "b\xff\xfec"}, longEvidence()), Facts: pick(r, nil, map[string]string{"secret": "s1"}),
		}
		if r.IntN(2) == 0 {
			h.Problem.Class, h.Problem.NextTry = host.Retry, at()
		}
	case 1:
		h.Detached = true
	case 2:
		kind := pick(r, host.OpVerify, host.OpInspect, host.OpPrepare, host.OpProvision, host.OpDeprovision, host.OpPowerOn, host.OpPowerOff, host.OpReset, host.OpService)
		h.Op = &host.Op{
			Kind: kind, Phase: pick(r, host.PhaseImage, host.PhaseHello, host.PhaseWrite, host.PhaseRun), Entered: true,
			Started: at(), Since: at(), Deadline: at(), StepID: pick(r, "", "boot.7"), Hard: r.IntN(2) == 0,
			Made: r.IntN(2) == 0,
		}
		if r.IntN(2) == 0 {
			h.Op.Change = &host.Change{
				What: pick(r, host.ChangeRAIDDelete, host.ChangeFirmware), Target: "bios http://x/y", For: "0123456789abcdef",
				Before: pick(r, "", "1.0"), Op: pick(r, "", `{"kind":"firmware"}`), Reset: r.IntN(2) == 0,
			}
		}
	}
	return h
}

// longEvidence is what a hostile BMC or agent would have us write.
func longEvidence() []string {
	seen := make([]string, 20)
	for i := range seen {
		seen[i] = strings.Repeat("ä\xff", 300)
	}
	return seen
}
