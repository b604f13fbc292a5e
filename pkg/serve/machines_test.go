package serve

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/blob"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/open"
	"github.com/ingot-metal/ingot/pkg/engine"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
	"github.com/ingot-metal/ingot/pkg/node"
	"github.com/ingot-metal/ingot/pkg/rest"
	"github.com/ingot-metal/ingot/pkg/shard"
)

// share is the claim of this replica, which can be taken away.
type share struct{ epoch atomic.Int64 }

func (s *share) Claim(string) (shard.Claim, bool) {
	e := s.epoch.Load()
	return shard.Claim{Epoch: e}, e > 0
}

const machineID = "11111111-2222-4333-8444-555555555555"

// restRig is a REST door over one host whose BMC is simulated, on the wire.
type restRig struct {
	t       *testing.T
	kube    client.Client
	store   *node.Store
	machine *restMachines
	door    *rest.Server
	body    *simbmc.Memory
	board   *simbmc.BMC
	log     *simbmc.Journal
	share   *share
}

func newRestRig(t *testing.T, protocol string) *restRig {
	t.Helper()
	r := &restRig{t: t, log: simbmc.NewJournal(nil, nil), share: &share{}}
	r.share.epoch.Store(7)
	r.body = simbmc.NewMemory(simbmc.Info{UUID: "6b6c1f0e-52a1-4d0c-9a61-0f0c33aa1101", Name: "m1"}, simbmc.ModeUEFI, nil, nil)
	r.board = simbmc.New(r.body, simbmc.Config{Username: "admin", Password: "secret", Events: true, Journal: r.log})
	address := r.serve(protocol)

	scheme, err := Scheme()
	if err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "bmc"}}
	secret.Data = map[string][]byte{"username": []byte("admin"), "password": []byte("secret")}
	b := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "m1", UID: "u1"}}
	b.Spec.BMC = metal3.BMCDetails{Address: address, CredentialsName: "bmc"}
	hr := &v1alpha1.HostRecord{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "m1"}}
	hr.Spec.ID = machineID
	na := &v1alpha1.NodeAttributes{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "m1"}}
	raw, _ := json.Marshal(map[string]any{"driver": protocol})
	na.Spec.ID = machineID
	na.Spec.Attributes = &apiextensionsv1.JSON{Raw: raw}
	r.kube = fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.HostRecord{}, &metal3.BareMetalHost{}, &metal3.HostFirmwareSettings{}).
		WithObjects(secret, b, hr, na).Build()

	pool := open.NewPool(time.Minute)
	t.Cleanup(pool.Close)
	blobs, err := blob.Open(t.TempDir(), blob.Options{Key: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	e := &engine.Engine{
		BMCs: engine.NewPooled(pool, nil, log), Blobs: blobs, Secrets: secrets{r.kube, r.kube}, Claims: r.share, CA: newCA(t), Log: log,
	}
	t.Cleanup(e.Wait)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	r.machine = &restMachines{
		hosts: r.kube, engine: e, blobs: blobs, base: ctx, door: "https://127.0.0.1:6183",
		owner: func(types.NamespacedName) string {
			if r.share.epoch.Load() > 0 {
				return ""
			}
			return "https://10.0.0.2:6183"
		},
	}
	r.store = node.NewStore(r.kube, r.kube, "rack", time.Now, uuid.NewString)
	r.door = rest.New(rest.Options{Nodes: r.store, Machines: r.machine, Log: log, Now: time.Now})
	r.seen()
	return r
}

// serve serves the BMC and returns its address.
func (r *restRig) serve(protocol string) string {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var served sync.WaitGroup
	r.t.Cleanup(func() { cancel(); r.board.Close(); served.Wait() })
	if protocol == "ipmi" {
		conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			r.t.Fatal(err)
		}
		served.Go(func() { _ = r.board.ServeIPMI(ctx, conn) })
		r.t.Cleanup(func() { conn.Close() })
		return "ipmi://" + conn.LocalAddr().String()
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	served.Go(func() { _ = r.board.ServeRedfish(ctx, l, nil) })
	return "redfish+http://" + l.Addr().String() + r.board.SystemPath()
}

// seen has the store see the host's objects as they are.
func (r *restRig) seen() {
	r.t.Helper()
	k := types.NamespacedName{Namespace: "rack", Name: "m1"}
	for _, o := range []client.Object{&metal3.BareMetalHost{}, &v1alpha1.HostRecord{}, &v1alpha1.NodeAttributes{}} {
		if err := r.kube.Get(r.t.Context(), k, o); err != nil {
			r.t.Fatal(err)
		}
		r.store.Observe(o)
	}
}

// record changes the host's record as the life cycle would.
func (r *restRig) record(change func(*v1alpha1.HostRecord)) {
	r.t.Helper()
	hr := &v1alpha1.HostRecord{}
	if err := r.kube.Get(r.t.Context(), types.NamespacedName{Namespace: "rack", Name: "m1"}, hr); err != nil {
		r.t.Fatal(err)
	}
	change(hr)
	if err := r.kube.Status().Update(r.t.Context(), hr); err != nil {
		r.t.Fatal(err)
	}
	r.seen()
}

// do sends a request about the node; the answer has to have this status.
func (r *restRig) do(status int, method, path, body string) string {
	r.t.Helper()
	req := httptest.NewRequestWithContext(r.t.Context(), method, "http://10.0.0.1:6385/v1/nodes/"+machineID+"/"+path, bytes.NewReader([]byte(body)))
	req.Header.Set("X-OpenStack-Ironic-API-Version", "latest")
	w := httptest.NewRecorder()
	r.door.ServeHTTP(w, req)
	if w.Code != status {
		r.t.Fatalf("%s %s: %d %s, want %d", method, path, w.Code, w.Body, status)
	}
	return w.Body.String()
}

// did is what the BMC was told, since the last time.
func (r *restRig) did() []string {
	var out []string
	for _, e := range r.log.Entries("", simbmc.KindMedia, simbmc.KindBoot, simbmc.KindPower) {
		out = append(out, e.Kind+" "+e.Detail)
	}
	return out
}

func (r *restRig) wants(want ...string) {
	r.t.Helper()
	if got := r.did(); !slices.Equal(got, want) {
		r.t.Errorf("the BMC was told %q, want %q", got, want)
	}
}

func (r *restRig) lastError() string {
	r.t.Helper()
	var n struct {
		LastError *string `json:"last_error"`
	}
	if err := json.Unmarshal([]byte(r.do(http.StatusOK, http.MethodGet, "", "")), &n); err != nil {
		r.t.Fatal(err)
	}
	if n.LastError == nil {
		return ""
	}
	return *n.LastError
}

// Everything that a client may ask of a machine, over the wire, as its BMC saw it.
func TestMachineOverRedfish(t *testing.T) {
	r := newRestRig(t, "redfish")
	if err := r.body.SetPower(t.Context(), simbmc.PowerOn); err != nil {
		t.Fatal(err)
	}
	r.do(http.StatusNoContent, http.MethodPut, "management/inject_nmi", "")
	r.do(http.StatusNoContent, http.MethodPut, "management/boot_device", `{"boot_device": "pxe"}`)
	if got := r.do(http.StatusOK, http.MethodGet, "management/boot_device", ""); got != `{"boot_device":"pxe","persistent":false}` {
		t.Error(got)
	}
	r.do(http.StatusNoContent, http.MethodPut, "management/boot_device", `{"boot_device": "disk", "persistent": true}`)
	if got := r.do(http.StatusOK, http.MethodGet, "management/boot_device", ""); got != `{"boot_device":"disk","persistent":true}` {
		t.Error(got)
	}
	r.do(http.StatusAccepted, http.MethodPut, "states/boot_mode", `{"target": "bios"}`)
	r.do(http.StatusNoContent, http.MethodPost, "vmedia", `{"device_type": "cdrom", "image_url": "http://192.0.2.1/a.iso"}`)
	if got := r.do(http.StatusOK, http.MethodGet, "vmedia", ""); got != `[{"image":"http://192.0.2.1/a.iso","inserted":true,"media_types":["CD","DVD"]}]` {
		t.Error(got)
	}
	r.do(http.StatusNoContent, http.MethodDelete, "vmedia?device_types=cdrom", "")
	if got := r.do(http.StatusOK, http.MethodGet, "vmedia", ""); got != `[{"image":null,"inserted":false,"media_types":["CD","DVD"]}]` {
		t.Error(got)
	}
	r.wants("power Nmi", "boot Pxe Once UEFI", "boot Hdd Continuous UEFI", "boot Hdd Continuous Legacy", "media insert http://192.0.2.1/a.iso", "media eject")
	if got := r.lastError(); got != "" {
		t.Errorf("last_error %q", got)
	}

	// What this BMC has not.
	r.do(http.StatusAccepted, http.MethodPut, "states/secure_boot", `{"target": true}`)
	if got := r.lastError(); !strings.HasPrefix(got, "Failed to change secure_boot state to 'True': Driver redfish does not support set_secure_boot_state (disabled or not implemented).") {
		t.Errorf("last_error %q", got)
	}
	if got := r.do(http.StatusBadRequest, http.MethodGet, "management/indicators/led@system", ""); !strings.Contains(got, "Driver redfish does not support get_indicator_state") {
		t.Error(got)
	}
}

// A subscription is made, shown and ended at the BMC; ours is not seen.
func TestSubscriptionsOverRedfish(t *testing.T) {
	r := newRestRig(t, "redfish")
	n, _ := r.store.Get(machineID)
	in, err := r.machine.input(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := r.machine.engine.Conn(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.(bmc.Events).Subscribe(t.Context(), bmc.Subscription{Destination: "https://192.0.2.2:6183" + engine.EventsPath, Context: "token"}); err != nil {
		t.Fatal(err)
	}
	var made map[string]any
	text := r.do(http.StatusOK, http.MethodPost, "vendor_passthru/create_subscription", `{"Destination": "https://192.0.2.9/events", "Context": "c", "HttpHeaders": [{"X-Auth": "hush"}]}`)
	if err := json.Unmarshal([]byte(text), &made); err != nil || made["Destination"] != "https://192.0.2.9/events" || made["Id"] == "" || strings.Contains(text, "hush") {
		t.Fatalf("%s, %v", text, err)
	}
	id, _ := made["Id"].(string)
	at := "/redfish/v1/EventService/Subscriptions/" + id
	if code := r.ask(at); code != http.StatusOK {
		t.Errorf("the BMC has no %s: %d", at, code)
	}
	if got := r.do(http.StatusOK, http.MethodGet, "vendor_passthru?method=get_all_subscriptions", ""); !strings.Contains(got, `"Members":[{"@odata.id":"`+at+`"}],"Members@odata.count":1`) {
		t.Error(got)
	}
	r.do(http.StatusOK, http.MethodDelete, "vendor_passthru?method=delete_subscription", `{"id": "`+id+`"}`)
	if code := r.ask(at); code != http.StatusNotFound {
		t.Errorf("the BMC has %s: %d", at, code)
	}
	r.do(http.StatusNotFound, http.MethodDelete, "vendor_passthru?method=delete_subscription", `{"id": "`+id+`"}`)
	if !r.machine.OwnSubscription(n, bmc.Subscription{Context: r.machine.engine.CA.Token("bmc events u1")}) || r.machine.OwnSubscription(n, bmc.Subscription{Destination: "https://192.0.2.9/events"}) {
		t.Error("ours is not known from others'")
	}
}

// ask asks the BMC itself.
func (r *restRig) ask(path string) int {
	req := httptest.NewRequestWithContext(r.t.Context(), http.MethodGet, path, http.NoBody)
	req.SetBasicAuth("admin", "secret")
	w := httptest.NewRecorder()
	r.board.Redfish().ServeHTTP(w, req)
	return w.Code
}

func TestMachineOverIPMI(t *testing.T) {
	r := newRestRig(t, "ipmi")
	if err := r.body.SetPower(t.Context(), simbmc.PowerOn); err != nil {
		t.Fatal(err)
	}
	r.do(http.StatusNoContent, http.MethodPut, "management/inject_nmi", "")
	r.do(http.StatusNoContent, http.MethodPut, "management/boot_device", `{"boot_device": "cdrom"}`)
	if got := r.do(http.StatusOK, http.MethodGet, "management/boot_device", ""); got != `{"boot_device":"cdrom","persistent":false}` {
		t.Error(got)
	}
	r.do(http.StatusBadRequest, http.MethodPut, "management/boot_device", `{"boot_device": "uefihttp"}`)
	r.do(http.StatusNoContent, http.MethodPut, "management/indicators/led@system", `{"state": "on"}`)
	if got := r.do(http.StatusOK, http.MethodGet, "management/indicators/led@system", ""); got != `{"state":"on"}` {
		t.Error(got)
	}
	r.do(http.StatusNoContent, http.MethodPost, "vmedia", `{"device_type": "cdrom", "image_url": "http://192.0.2.1/a.iso"}`)
	if got := r.lastError(); !strings.Contains(got, "Driver ipmi does not support attach_virtual_media (disabled or not implemented).") {
		t.Errorf("last_error %q", got)
	}
	if got := r.did(); len(got) < 2 || got[0] != "power Nmi" || !strings.HasPrefix(got[1], "boot Cd Once") {
		t.Errorf("the BMC was told %q", got)
	}
}

// Nothing is ordered of a machine that is worked on, is another replica's, or is left
// alone, and nothing that a wrong password would make worse.
func TestMachineIsLeftAlone(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*restRig)
		want   int
		text   string
		reads  int // status of a reading; 0: as of a change
	}{
		{
			name: "an operation runs",
			change: func(r *restRig) {
				r.record(func(h *v1alpha1.HostRecord) { h.Status.Operation = &v1alpha1.Operation{Kind: "provision"} })
			},
			want: 409, text: "is locked by host ingot, please retry after the current operation is completed.", reads: 200,
		},
		{
			name: "another change is made",
			change: func(r *restRig) {
				_, release, err := r.machine.engine.Beside(r.t.Context(), types.NamespacedName{Namespace: "rack", Name: "m1"})
				if err != nil {
					r.t.Fatal(err)
				}
				r.t.Cleanup(release)
			},
			want: 409, text: "please retry after the current operation is completed.", reads: 200,
		},
		{
			name:   "another replica's",
			change: func(r *restRig) { r.share.epoch.Store(0) },
			want:   503, text: "https://10.0.0.2:6183",
		},
		{
			name: "paused",
			change: func(r *restRig) {
				r.host(func(b *metal3.BareMetalHost) { b.Annotations = map[string]string{metal3.PausedAnnotation: ""} })
			},
			want: 409, text: metal3.PausedAnnotation,
		},
		{
			name:   "no BMC",
			change: func(r *restRig) { r.host(func(b *metal3.BareMetalHost) { b.Spec.BMC.Address = "" }) },
			want:   400, text: "names no BMC",
		},
		{
			name:   "no Secret",
			change: func(r *restRig) { r.host(func(b *metal3.BareMetalHost) { b.Spec.BMC.CredentialsName = "none" }) },
			want:   400, text: "no username and password",
		},
		{
			name: "refused before",
			change: func(r *restRig) {
				s := &corev1.Secret{}
				if err := r.kube.Get(r.t.Context(), types.NamespacedName{Namespace: "rack", Name: "bmc"}, s); err != nil {
					r.t.Fatal(err)
				}
				r.record(func(h *v1alpha1.HostRecord) {
					h.Status.Problem = &v1alpha1.Problem{Code: "bmc-auth", Secret: s.ResourceVersion + " more"}
				})
			},
			want: 400, text: "refused its username and password",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRestRig(t, "redfish")
			tc.change(r)
			before := r.board.Stats().Requests
			for _, do := range [][3]string{
				{http.MethodPut, "management/inject_nmi", ""},
				{http.MethodPut, "management/boot_device", `{"boot_device": "pxe"}`},
				{http.MethodPut, "states/boot_mode", `{"target": "bios"}`},
				{http.MethodPost, "vmedia", `{"device_type": "cdrom", "image_url": "http://192.0.2.1/a.iso"}`},
				{http.MethodPost, "vendor_passthru/create_subscription", `{"Destination": "https://192.0.2.9/events"}`},
			} {
				if got := r.do(tc.want, do[0], do[1], do[2]); !strings.Contains(got, tc.text) {
					t.Errorf("%s: %s", do[1], got)
				}
			}
			r.wants()
			if got := r.board.Stats().Requests; got != before {
				t.Errorf("the BMC was asked %d times", got-before)
			}
			r.do(cmp.Or(tc.reads, tc.want), http.MethodGet, "management/boot_device", "")
		})
	}
}

// host changes the host.
func (r *restRig) host(change func(*metal3.BareMetalHost)) {
	r.t.Helper()
	b := &metal3.BareMetalHost{}
	if err := r.kube.Get(r.t.Context(), types.NamespacedName{Namespace: "rack", Name: "m1"}, b); err != nil {
		r.t.Fatal(err)
	}
	change(b)
	if err := r.kube.Update(r.t.Context(), b); err != nil {
		r.t.Fatal(err)
	}
	r.seen()
}

// A host that goes to another replica in the middle of a change is not written to
// any more.
func TestChangeIsFenced(t *testing.T) {
	r := newRestRig(t, "redfish")
	n, _ := r.store.Get(machineID)
	err := r.machine.Change(t.Context(), n, func(ctx context.Context, c bmc.Conn) error {
		r.share.epoch.Add(1)
		return c.(bmc.Boot).SetBootOverride(ctx, bmc.BootOverride{Target: bmc.BootPXE})
	})
	if err == nil {
		t.Error("the change was made")
	}
	r.wants()
}

// An operation that begins breaks off a change, and is not waited for.
func TestOperationGoesFirst(t *testing.T) {
	r := newRestRig(t, "redfish")
	n, _ := r.store.Get(machineID)
	err := r.machine.Change(t.Context(), n, func(ctx context.Context, _ bmc.Conn) error {
		r.machine.engine.Cancel(n.Key) // as Do does with what runs
		<-ctx.Done()
		return ctx.Err()
	})
	var refusal *rest.Refusal
	if !errors.As(err, &refusal) || refusal.Status != http.StatusConflict {
		t.Errorf("%v", err)
	}
}

// A change that takes long goes on after the answer, keeps others out or waiting, and
// tells what came of it.
func TestChangeGoesOn(t *testing.T) {
	r := newRestRig(t, "redfish")
	n, _ := r.store.Get(machineID)
	ctx, cancel := context.WithCancel(t.Context())
	goOn, came := make(chan struct{}), make(chan error, 1)
	begun := time.Now()
	err := r.machine.Begin(ctx, n, func(ctx context.Context, c bmc.Conn) error {
		<-goOn
		return c.(bmc.Boot).SetBootOverride(ctx, bmc.BootOverride{Target: bmc.BootPXE})
	}, func(_ context.Context, err error) { came <- err })
	if err != nil || time.Since(begun) < machineMoment/2 {
		t.Fatalf("%v after %v", err, time.Since(begun))
	}
	cancel() // the client is gone
	r.do(http.StatusConflict, http.MethodPut, "management/boot_device", `{"boot_device": "disk"}`)
	r.machine.patience = 5 * time.Second
	next := make(chan error, 1)
	go func() {
		next <- r.machine.Change(t.Context(), n, func(ctx context.Context, c bmc.Conn) error {
			return c.(bmc.Boot).SetBootOverride(ctx, bmc.BootOverride{Target: bmc.BootCD})
		})
	}()
	close(goOn)
	if err := <-came; err != nil {
		t.Error(err)
	}
	if err := <-next; err != nil {
		t.Error(err)
	}
	r.machine.engine.Wait()
	r.wants("boot Pxe Once UEFI", "boot Cd Once UEFI")
}

func TestMachineFacts(t *testing.T) {
	r := newRestRig(t, "redfish")
	r.do(http.StatusNotFound, http.MethodGet, "inventory", "")
	d, _, err := r.machine.blobs.Put(t.Context(), strings.NewReader(`{"nics": [{"name": "eth0", "mac": "52:54:00:00:00:01", "pxe": true}], "memory": {"physical": 2147483648}}`))
	if err != nil {
		t.Fatal(err)
	}
	r.record(func(h *v1alpha1.HostRecord) {
		h.Status.Inventory = &v1alpha1.InventoryRef{Digest: "sha256:" + string(d)}
	})
	if got := r.do(http.StatusOK, http.MethodGet, "inventory", ""); !strings.Contains(got, `"physical_mb":2048`) || !strings.Contains(got, `"bmc_address":"127.0.0.1"`) || !strings.Contains(got, `"pxe_enabled":true`) {
		t.Error(got)
	}
	r.record(func(h *v1alpha1.HostRecord) { h.Status.Inventory.Digest = "sha256:" + strings.Repeat("0", 64) })
	r.do(http.StatusNotFound, http.MethodGet, "inventory", "")

	if got := r.do(http.StatusOK, http.MethodGet, "bios", ""); got != `{"bios":[]}` {
		t.Error(got)
	}
	s := &metal3.FirmwareSchema{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "s1"}}
	s.Spec.Schema = map[string]metal3.SettingSchema{"Turbo": {AttributeType: "Boolean"}}
	hfs := &metal3.HostFirmwareSettings{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "m1"}}
	hfs.Status.Settings, hfs.Status.FirmwareSchema = metal3.SettingsMap{"Turbo": "true"}, &metal3.SchemaReference{Namespace: "rack", Name: "s1"}
	hfc := &metal3.HostFirmwareComponents{ObjectMeta: metav1.ObjectMeta{Namespace: "rack", Name: "m1"}}
	hfc.Status.Components = []metal3.FirmwareComponentStatus{{Component: "bmc", InitialVersion: "1.2"}}
	if got := r.do(http.StatusOK, http.MethodGet, "firmware", ""); got != `{"firmware":[]}` {
		t.Error(got)
	}
	for _, o := range []client.Object{s, hfs, hfc} {
		if err := r.kube.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.do(http.StatusOK, http.MethodGet, "bios/Turbo", ""); !strings.Contains(got, `"attribute_type":"Boolean"`) || !strings.Contains(got, `"value":"true"`) {
		t.Error(got)
	}
	if got := r.do(http.StatusOK, http.MethodGet, "firmware", ""); !strings.Contains(got, `"initial_version":"1.2"`) {
		t.Error(got)
	}
	n, _ := r.store.Get(machineID)
	if got := r.machine.Console(n); got != "https://127.0.0.1:6183/console/v1/rack/m1" {
		t.Error(got)
	}
	ending, end := context.WithCancel(t.Context())
	end()
	r.machine.base = ending
	r.do(http.StatusServiceUnavailable, http.MethodPut, "management/inject_nmi", "")
	r.share.epoch.Store(0)
	if got := r.machine.Console(n); got != "https://10.0.0.2:6183/console/v1/rack/m1" {
		t.Error(got)
	}
}
