package controller

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/auth"
	"github.com/ingot-metal/ingot/pkg/bmc/open"
	"github.com/ingot-metal/ingot/pkg/engine"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/lab/treebmc"
	"github.com/ingot-metal/ingot/pkg/record"
	"github.com/ingot-metal/ingot/pkg/shard"
)

// shop is a host behind a BMC that speaks Redfish over the wire, with everything
// that acts on it but the API, which is pretended. It can be killed and started.
type shop struct {
	t      *testing.T
	api    client.WithWatch
	bmc    *treebmc.Server
	key    types.NamespacedName
	mu     sync.Mutex
	writes int
	said   []string // events

	cancel context.CancelFunc
	hosts  *Hosts
	done   sync.WaitGroup
	kill   func(v1alpha1.HostRecordStatus) bool // when to die: after such a record was written
	died   chan struct{}
}

// Event and ObjectEvent take what people are told.
func (s *shop) Event(_ *metal3.BareMetalHost, _, reason, message string) {
	s.ObjectEvent(nil, "", reason, message)
}

func (s *shop) ObjectEvent(o client.Object, _, reason, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, fmt.Sprintf("%T %s %s", o, reason, message))
}

func (s *shop) Secret(ctx context.Context, ns, name string) (*corev1.Secret, error) {
	return nil, nil
}

func newShop(t *testing.T, o treebmc.Options, change func(*metal3.BareMetalHost), more ...client.Object) *shop {
	t.Helper()
	s := &shop{t: t, key: key("w1")}
	o.Username, o.Password = "admin", "secret"
	var err error
	if s.bmc, err = treebmc.New(treebmc.Small(), o); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s.bmc)
	t.Cleanup(srv.Close)
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, metal3.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	b := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: s.key.Namespace, Name: s.key.Name, UID: "u1", Generation: 1}}
	b.Spec.BMC = metal3.BMCDetails{Address: "redfish+" + srv.URL + "/redfish/v1/Systems/1", CredentialsName: "s1"}
	b.Spec.BootMACAddress, b.Spec.InspectionMode, b.Spec.AutomatedCleaningMode = "52:54:00:00:00:01", metal3.InspectionModeDisabled, metal3.CleaningModeDisabled
	change(b)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.key.Namespace, Name: "s1", UID: "s1"}, Data: map[string][]byte{"username": []byte("admin"), "password": []byte("secret")}}
	companions := companionKinds()
	s.api = fake.NewClientBuilder().WithScheme(scheme).WithObjects(append(more, b, secret)...).
		WithStatusSubresource(append(companions, &metal3.BareMetalHost{}, &v1alpha1.HostRecord{})...).
		WithInterceptorFuncs(interceptor.Funcs{
			SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
				s.count()
				return c.SubResource(sub).Patch(ctx, o, p, opts...)
			},
			SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
				s.count()
				err := c.SubResource(sub).Update(ctx, o, opts...)
				if hr, ok := o.(*v1alpha1.HostRecord); ok && err == nil {
					s.written(hr.Status)
				}
				return err
			},
		}).Build()
	s.start()
	t.Cleanup(s.stop)
	return s
}

func (s *shop) count() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
}

// written kills the process just after it has recorded what the test waits for.
func (s *shop) written(st v1alpha1.HostRecordStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kill != nil && s.kill(st) {
		s.kill = nil
		s.cancel()
		close(s.died)
	}
}

// start runs a process that knows nothing but what the API has.
func (s *shop) start() {
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.DiscardHandler)
	ca, err := auth.NewCA(time.Now)
	if err != nil {
		s.t.Fatal(err)
	}
	pool := open.NewPool(time.Minute)
	eng := &engine.Engine{BMCs: engine.NewPooled(pool, nil, log), Secrets: s, Progress: &engine.Hub{}, Log: log, CA: ca, Claims: shard.Sole(1), NewID: func() string { return "b" }}
	m := host.Defaults()
	m.RetryUnit = 50 * time.Millisecond
	c := &Hosts{
		Client: s.api, Reader: s.api, Machine: m, Engine: eng, Shares: shard.Sole(1), Events: s, Log: log, Now: time.Now,
		Store: record.Store{Client: s.api, Reader: s.api, Now: time.Now}, NewID: func() string { return "11111111-2222-4333-8444-555555555555" },
		base: ctx, hosts: map[types.NamespacedName]*live{}, index: newIndex(), wake: make(chan event.GenericEvent, 1024),
	}
	c.polls = engine.NewPoller(ctx, eng, time.Hour, c.powerFound, c.bmcSilent)
	c.ears = engine.NewEars(ctx, eng, nil, c.bmcHeard)
	c.reads = engine.NewReader(ctx, eng, 200*time.Millisecond, c.firmwareRead)
	eng.Post = func(k types.NamespacedName, p engine.Post) { c.post(k, post{Post: p}) }
	s.mu.Lock()
	s.hosts, s.cancel, s.died = c, cancel, make(chan struct{})
	s.mu.Unlock()
	s.done.Go(func() {
		defer pool.Close()
		defer eng.Wait()
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-c.wake:
				k := client.ObjectKeyFromObject(e.Object)
				res, err := c.reconcile(ctx, ctrl.Request{NamespacedName: k})
				if err != nil {
					res.RequeueAfter = 20 * time.Millisecond
				}
				if res.RequeueAfter > 0 {
					time.AfterFunc(res.RequeueAfter, func() { c.enqueue(k) })
				}
			}
		}
	})
	c.enqueue(s.key)
}

func (s *shop) stop() {
	s.mu.Lock()
	cancel := s.cancel
	s.mu.Unlock()
	cancel()
	s.done.Wait()
}

// edit changes an object as kubectl would, generation and all, and tells its
// watchers.
func edit[T client.Object](s *shop, o T, f func(T)) {
	s.t.Helper()
	s.await("edited", func() bool {
		if err := s.api.Get(s.t.Context(), s.key, o); err != nil {
			return false
		}
		f(o)
		o.SetGeneration(o.GetGeneration() + 1)
		return s.api.Update(s.t.Context(), o) == nil
	})
	s.told()
}

// told is what a watch does.
func (s *shop) told() {
	s.mu.Lock()
	c := s.hosts
	s.mu.Unlock()
	c.live(s.key).firmware.stale.Store(true)
	c.enqueue(s.key)
}

func (s *shop) await(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			hr := &v1alpha1.HostRecord{}
			_ = s.api.Get(context.Background(), s.key, hr)
			s.t.Fatalf("not %s: %+v\n%+v\n%v", what, s.bmh().Status, hr.Status, s.asked())
		}
	}
}

func (s *shop) bmh() *metal3.BareMetalHost {
	b := &metal3.BareMetalHost{}
	if err := s.api.Get(context.Background(), s.key, b); err != nil {
		s.t.Fatal(err)
	}
	return b
}

func (s *shop) state(st metal3.ProvisioningState, raid string) func() bool {
	return func() bool {
		b := s.bmh()
		level := ""
		if r := b.Status.Provisioning.RAID; r != nil && len(r.HardwareRAIDVolumes) > 0 {
			level = r.HardwareRAIDVolumes[0].Level
		}
		return b.Status.Provisioning.State == st && b.Status.ErrorType == "" && level == raid
	}
}

func (s *shop) hfs() *metal3.HostFirmwareSettings {
	h := &metal3.HostFirmwareSettings{}
	_ = s.api.Get(context.Background(), s.key, h)
	return h
}

func (s *shop) hfc() *metal3.HostFirmwareComponents {
	h := &metal3.HostFirmwareComponents{}
	_ = s.api.Get(context.Background(), s.key, h)
	return h
}

// asked are the BMC's writes, in order, without sessions.
func (s *shop) asked() []string {
	var out []string
	for _, e := range s.bmc.Journal() {
		if e.Method != http.MethodGet && !strings.Contains(e.Path, "Sessions") {
			out = append(out, e.Method+" "+strings.TrimPrefix(e.Path, "/redfish/v1/"))
		}
	}
	return out
}

func times(all []string, one string) int {
	n := 0
	for _, a := range all {
		if strings.HasPrefix(a, one) {
			n++
		}
	}
	return n
}

func raidOf(level string, disks ...string) *metal3.RAIDConfig {
	return &metal3.RAIDConfig{HardwareRAIDVolumes: []metal3.HardwareRAIDVolume{{Level: level, PhysicalDisks: disks}}}
}

const (
	volumesPath  = "Systems/1/Storage/RAID/Volumes"
	settingsPath = "Systems/1/Bios/Settings"
	updatePath   = "UpdateService/Actions/UpdateService.SimpleUpdate"
)

// Volumes, settings and firmware are changed in one preparation, and each of them
// once, wherever the process is killed in between.
func TestPreparationSurvivesKills(t *testing.T) {
	var points []string
	for _, what := range []host.ChangeKind{host.ChangeRAIDDelete, host.ChangeRAIDMake, host.ChangeSettings, host.ChangeFirmware} {
		for _, p := range []host.Phase{host.PhaseChange, host.PhaseSettle} {
			points = append(points, string(what)+" "+string(p))
		}
	}
	points = append(points, string(host.ChangeSettings)+" "+string(host.PhaseRestart), "")
	for _, point := range points {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, treebmc.Options{TaskReads: 3, PowerReads: 2}, func(b *metal3.BareMetalHost) { b.Spec.RAID = raidOf("0", "D0") })
			s.await("available with its first volume", s.state(metal3.StateAvailable, "0"))
			s.await("shown", func() bool { return s.hfs().Status.LastUpdated != nil && s.hfc().Status.LastUpdated != nil })

			what, phase, _ := strings.Cut(point, " ")
			s.mu.Lock()
			died := s.died
			if point != "" {
				s.kill = func(st v1alpha1.HostRecordStatus) bool {
					op := st.Operation
					return op != nil && op.Change != nil && op.Change.What == what && op.Phase == phase
				}
			}
			s.mu.Unlock()
			edit(s, &metal3.HostFirmwareSettings{}, func(h *metal3.HostFirmwareSettings) {
				h.Spec.Settings = metal3.DesiredSettingsMap{"Threads": intstr.FromInt32(16), "NumLock": intstr.FromString("false")}
			})
			edit(s, &metal3.HostFirmwareComponents{}, func(h *metal3.HostFirmwareComponents) {
				h.Spec.Updates = []metal3.FirmwareUpdate{{Component: "bios", URL: "http://10.0.0.1/bios-2.5.0.bin"}}
			})
			edit(s, &metal3.BareMetalHost{}, func(b *metal3.BareMetalHost) { b.Spec.RAID = raidOf("1") })
			if point != "" {
				select {
				case <-died:
				case <-time.After(60 * time.Second):
					t.Fatalf("never got there; the BMC was asked %q", s.asked())
				}
				s.done.Wait()
				s.start()
			}
			s.await("available again", s.state(metal3.StateAvailable, "1"))
			s.await("told", func() bool {
				settings, components := s.hfs().Status, s.hfc().Status
				return settings.Settings["Threads"] == "16" && settings.Settings["NumLock"] == "false" &&
					meta.IsStatusConditionFalse(settings.Conditions, "ChangeDetected") &&
					len(components.Updates) == 1 && meta.IsStatusConditionFalse(components.Conditions, "ChangeDetected")
			})
			for _, c := range s.hfc().Status.Components {
				if c.Component == "bios" && (c.InitialVersion != "1.0.0" || c.CurrentVersion != "2.5.0" || c.LastVersionFlashed != "2.5.0" || c.UpdatedAt.IsZero()) {
					t.Errorf("component %+v", c)
				}
			}
			asked := s.asked()
			for one, want := range map[string]int{"DELETE " + volumesPath: 1, "POST " + volumesPath: 2, "PATCH " + settingsPath: 1, "POST " + updatePath: 1} {
				if got := times(asked, one); got != want {
					t.Errorf("%s: %d times, want %d\n%s", one, got, want, strings.Join(asked, "\n"))
				}
			}
			s.await("recorded as done", func() bool { // just after the host
				hr := &v1alpha1.HostRecord{}
				return s.api.Get(t.Context(), s.key, hr) == nil && hr.Status.Operation == nil
			})
			if v := s.bmc.Resource("/redfish/v1/" + volumesPath); len(v["Members"].([]any)) != 1 {
				t.Errorf("volumes %v", v["Members"])
			}
		})
	}
}

// What is declared and cannot be is told, and changes nothing; and a host at rest
// writes nothing however often it is read.
func TestFirmwareInvalidAndAtRest(t *testing.T) {
	s := newShop(t, treebmc.Options{}, func(*metal3.BareMetalHost) {})
	s.await("shown", func() bool { return s.hfs().Status.LastUpdated != nil && s.hfc().Status.LastUpdated != nil })
	h := s.hfs()
	if ref := metav1.GetControllerOf(h); ref == nil || ref.UID != "u1" {
		t.Errorf("owner %+v", ref)
	}
	schema := &metal3.FirmwareSchema{}
	if err := s.api.Get(t.Context(), types.NamespacedName{Namespace: s.key.Namespace, Name: h.Status.FirmwareSchema.Name}, schema); err != nil {
		t.Fatal(err)
	}
	if len(schema.OwnerReferences) != 1 || schema.OwnerReferences[0].Kind != "HostFirmwareSettings" || schema.Spec.Schema["Threads"].AttributeType != "Integer" {
		t.Errorf("schema %+v", schema)
	}

	edit(s, &metal3.HostFirmwareSettings{}, func(h *metal3.HostFirmwareSettings) {
		h.Spec.Settings = metal3.DesiredSettingsMap{"Threads": intstr.FromInt32(1000)}
	})
	s.await("refused", func() bool {
		c := meta.FindStatusCondition(s.hfs().Status.Conditions, "Valid")
		return c != nil && c.Status == metav1.ConditionFalse && c.Reason == "ConfigurationError" && strings.Contains(c.Message, "from 1 to 64")
	})
	edit(s, &metal3.HostFirmwareComponents{}, func(h *metal3.HostFirmwareComponents) {
		h.Spec.Updates = []metal3.FirmwareUpdate{{Component: "cpld", URL: "http://x/y"}}
	})
	s.await("refused", func() bool {
		c := meta.FindStatusCondition(s.hfc().Status.Conditions, "Valid")
		return c != nil && c.Status == metav1.ConditionFalse && c.Reason == "InvalidComponent"
	})
	s.await("told by events", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return times(s.said, "*v1alpha1.HostFirmwareSettings ValidationFailed Invalid BIOS setting") == 1 &&
			times(s.said, "*v1alpha1.HostFirmwareComponents ValidationFailed Invalid Firmware Components") == 1
	})
	s.mu.Lock()
	writes := s.writes
	s.mu.Unlock()
	reads := func() int {
		n := 0
		for _, e := range s.bmc.Journal() {
			if e.Method == http.MethodGet && strings.HasSuffix(e.Path, "/Bios") {
				n++
			}
		}
		return n
	}
	before := reads()
	s.await("read again", func() bool { return reads() >= before+3 })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writes != writes {
		t.Errorf("%d writes at rest", s.writes-writes)
	}
	if st := s.bmh().Status.Provisioning.State; st != metal3.StateAvailable {
		t.Errorf("the host is %s", st)
	}
	if asked := s.asked(); len(asked) != 0 {
		t.Errorf("the BMC was asked %q", asked)
	}
}

// A machine in use is changed at its next start, where its policy says so, and not
// otherwise.
func TestServicing(t *testing.T) {
	policy := &metal3.HostUpdatePolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "w1"}}
	policy.Namespace = key("w1").Namespace
	s := newShop(t, treebmc.Options{TaskReads: 2, PowerReads: 1}, func(b *metal3.BareMetalHost) {
		b.Spec.ExternallyProvisioned, b.Spec.Online = true, true
	}, policy)
	s.await("on", func() bool { return s.bmh().Status.PoweredOn })
	s.await("shown", func() bool { return s.hfs().Status.LastUpdated != nil && s.hfc().Status.LastUpdated != nil })
	declare := func(threads int32) {
		edit(s, &metal3.HostFirmwareSettings{}, func(h *metal3.HostFirmwareSettings) {
			h.Spec.Settings = metal3.DesiredSettingsMap{"Threads": intstr.FromInt32(threads)}
		})
	}
	cycle := func() {
		for _, on := range []bool{false, true} {
			edit(s, &metal3.BareMetalHost{}, func(b *metal3.BareMetalHost) { b.Spec.Online = on })
			s.await("switched", func() bool { b := s.bmh(); return b.Status.PoweredOn == on && b.Status.OperationalStatus == "OK" })
		}
	}
	declare(16)
	s.await("due", func() bool { return meta.IsStatusConditionTrue(s.hfs().Status.Conditions, "ChangeDetected") })
	cycle()
	if n := times(s.asked(), "PATCH "+settingsPath); n != 0 {
		t.Fatalf("changed %d times without a policy that lets it", n)
	}

	edit(s, &metal3.HostUpdatePolicy{}, func(p *metal3.HostUpdatePolicy) { p.Spec.FirmwareSettings = metal3.HostUpdatePolicyOnReboot })
	s.await("owned", func() bool {
		p := &metal3.HostUpdatePolicy{}
		return s.api.Get(t.Context(), s.key, p) == nil && len(p.OwnerReferences) == 1 && p.OwnerReferences[0].Controller == nil
	})
	if n := times(s.asked(), "PATCH "+settingsPath); n != 0 {
		t.Fatal("a machine that runs was changed")
	}
	var servicing bool
	s.mu.Lock()
	s.kill = func(st v1alpha1.HostRecordStatus) bool { // as an observer
		op := st.Operation
		servicing = servicing || op != nil && op.Kind == "service"
		return false
	}
	s.mu.Unlock()
	cycle()
	s.await("changed", func() bool { return s.hfs().Status.Settings["Threads"] == "16" })
	s.mu.Lock()
	seen := servicing
	s.mu.Unlock()
	if n := times(s.asked(), "PATCH "+settingsPath); n != 1 || !seen {
		t.Errorf("changed %d times, servicing %v", n, seen)
	}

	// An update that the BMC refuses is a servicing error, and is forgotten when it
	// is withdrawn.
	edit(s, &metal3.HostUpdatePolicy{}, func(p *metal3.HostUpdatePolicy) { p.Spec.FirmwareUpdates = metal3.HostUpdatePolicyOnReboot })
	edit(s, &metal3.HostFirmwareComponents{}, func(h *metal3.HostFirmwareComponents) {
		h.Spec.Updates = []metal3.FirmwareUpdate{{Component: "bmc", URL: "tftp://10.0.0.1/bmc-2.0.bin"}}
	})
	edit(s, &metal3.BareMetalHost{}, func(b *metal3.BareMetalHost) { b.Spec.Online = false })
	s.await("off", func() bool { return !s.bmh().Status.PoweredOn })
	edit(s, &metal3.BareMetalHost{}, func(b *metal3.BareMetalHost) { b.Spec.Online = true })
	s.await("in error", func() bool {
		st := s.bmh().Status
		return st.ErrorType == metal3.ServicingError && strings.HasPrefix(st.ErrorMessage, "firmware-failed: ")
	})
	edit(s, &metal3.HostFirmwareComponents{}, func(h *metal3.HostFirmwareComponents) { h.Spec.Updates = []metal3.FirmwareUpdate{} })
	s.await("on", func() bool { b := s.bmh(); return b.Status.PoweredOn && b.Status.ErrorType == "" })
}
