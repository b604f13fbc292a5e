package capm3

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Names of CAPM3 and Cluster API (capm3:baremetal/metal3machine_manager.go,
// capm3:api/v1beta2/common_types.go, cluster-api:api/core/v1beta2/common_types.go).
const (
	labelCluster         = "cluster.x-k8s.io/cluster-name"
	labelNodeReuse       = "infrastructure.cluster.x-k8s.io/node-reuse"
	labelFailureDomain   = "infrastructure.cluster.x-k8s.io/failure-domain"
	annotationHost       = "metal3.io/BareMetalHost"
	annotationUnhealthy  = "capm3.metal3.io/unhealthy"
	annotationUnhealthy0 = "capi.metal3.io/unhealthy" // before v1.12
	pausedByCAPM3        = "metal3.io/capm3"
	kindMachine          = "Metal3Machine"
	cleaningDisabled     = "disabled"
)

// errWait is CAPM3's transient error: the machine is looked at again later.
var errWait = errors.New("wait")

// provider is CAPM3 against one API.
type provider struct {
	client.Client
	fastTrack bool       // CAPM3_FAST_TRACK=true
	choosing  sync.Mutex // associateBMHMutex: one machine chooses at a time
}

// machine is a Metal3Machine with what CAPM3 knows from the objects around it.
type machine struct {
	p       *provider
	obj     *unstructured.Unstructured // the Metal3Machine, as in the API
	cluster string
	set     string // "cp-" or "md-" and a name (getControlPlaneName, getMachineDeploymentName)

	// Of its spec.
	selector      labels.Selector
	failureDomain string
	image         metal3.Image
	customDeploy  string
	cleaning      metal3.AutomatedCleaningMode
	nodeReuse     bool // of its template
	keepsRef      bool // main: a host to be used again is the Cluster's meanwhile
	template      *template

	// Of its status: Secrets that are there.
	userData, metaData, networkData *corev1.SecretReference
	addresses                       []address
	providerID                      string
}

// newMachine makes a Metal3Machine whose Machine has bootstrap data.
func (s *site) newMachine(t *testing.T, namespace, name, cluster string) *machine {
	t.Helper()
	m := &machine{
		p: s.capm3, cluster: cluster, set: "md-" + cluster, selector: labels.Everything(),
		obj: infra(kindMachine, namespace, name),
		image: metal3.Image{
			URL: shared.image.URL + "/" + name + ".raw", Checksum: diskSum(), ChecksumType: metal3.SHA256,
			// What an omitted diskFormat becomes (setHostSpec: DiskFormat is the
			// address of a string).
			DiskFormat: new(string),
		},
		// A bootstrap provider's Secret has its data under "value"
		// (cluster-api: contract of bootstrap providers).
		userData: &corev1.SecretReference{Name: name + "-bootstrap"},
	}
	m.obj.SetLabels(map[string]string{labelCluster: cluster})
	must(t, s.capm3.Create(t.Context(), m.obj))
	must(t, s.capm3.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: m.userData.Name, Labels: map[string]string{labelCluster: cluster}},
		Type:       "cluster.x-k8s.io/secret",
		Data:       map[string][]byte{"value": []byte(bootstrap(name)), "format": []byte("cloud-config")},
	}))
	return m
}

// bootstrap is a kubeadm join as CABPK renders it: the node's label is what CAPM3
// finds it by, taken by cloud-init from the config drive.
func bootstrap(name string) string {
	return "## template: jinja\n#cloud-config\nruncmd:\n  - kubeadm join --name " + name +
		" --node-labels metal3.io/uuid={{ ds.meta_data.uuid }}   # \"quotes\", $vars and\ttabs stay\n"
}

func infra(kind, namespace, name string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(schema.GroupVersionKind{Group: groupInfra, Version: versionCAPI, Kind: kind})
	u.SetNamespace(namespace)
	u.SetName(name)
	return u
}

// associate gives the machine a host, or finds the one that it has
// (MachineManager.Associate).
func (m *machine) associate(ctx context.Context) error {
	m.p.choosing.Lock()
	defer m.p.choosing.Unlock()
	host, helper, err := m.host(ctx)
	if err == nil && host == nil {
		host, helper, err = m.choose(ctx)
	}
	if err != nil {
		return err
	}
	if host == nil {
		return fmt.Errorf("%w: no host is available", errWait)
	}
	setLabel(host, labelCluster, m.cluster) // setHostLabel
	m.consume(host)
	if m.template == nil { // nothing to wait for
		m.setHostSpec(host)
	}
	if err := helper.patch(ctx, host); err != nil {
		return err
	}
	if err := m.labelSecret(ctx, host, func(l map[string]string) { l[labelCluster] = m.cluster }); err != nil { // setBMCSecretLabel
		return err
	}
	return m.annotate(ctx, host)
}

// host is the one that the machine is annotated with (getHost).
func (m *machine) host(ctx context.Context) (*metal3.BareMetalHost, *patchHelper, error) {
	name, ok := m.obj.GetAnnotations()[annotationHost]
	if !ok {
		return nil, nil, nil
	}
	host := &metal3.BareMetalHost{}
	key := client.ObjectKey{Namespace: m.obj.GetNamespace(), Name: name[len(m.obj.GetNamespace())+1:]}
	if err := m.p.Get(ctx, key, host); err != nil {
		return nil, nil, client.IgnoreNotFound(err)
	}
	return host, newPatchHelper(m.p, host), nil
}

// choose picks a host that is free (MachineManager.chooseHost).
func (m *machine) choose(ctx context.Context) (*metal3.BareMetalHost, *patchHelper, error) {
	list := &metal3.BareMetalHostList{}
	err := m.p.List(ctx, list, client.InNamespace(m.obj.GetNamespace()), client.MatchingLabelsSelector{Selector: m.selector})
	if err != nil {
		return nil, nil, err
	}
	var free, reusable []*metal3.BareMetalHost
	for i := range list.Items {
		host := &list.Items[i]
		if m.consumes(host) {
			return host, newPatchHelper(m.p, host), nil
		}
		set, reuse := host.Labels[labelNodeReuse]
		_, paused := host.Annotations[metal3.PausedAnnotation]
		_, unhealthy := host.Annotations[annotationUnhealthy]
		_, unhealthy0 := host.Annotations[annotationUnhealthy0]
		switch {
		case host.Spec.ConsumerRef != nil && !(reuse && host.Spec.ConsumerRef.Kind == "Cluster"), reuse && set != m.set, host.DeletionTimestamp != nil,
			host.Status.ErrorMessage != "", paused, unhealthy, unhealthy0:
		case reuse:
			reusable = append(reusable, host)
		case isAvailable(host):
			free = append(free, host)
		}
	}
	// A host that was of the same set comes first, and is waited for.
	if len(reusable) > 0 {
		i := slices.IndexFunc(reusable, func(h *metal3.BareMetalHost) bool { return !isAvailable(h) })
		if i >= 0 {
			return nil, nil, fmt.Errorf("%w: host %s is to be used again, and is %s", errWait, reusable[i].Name, reusable[i].Status.Provisioning.State)
		}
		free = reusable
	}
	if len(free) == 0 {
		return nil, nil, nil
	}
	// CAPM3 picks at random (pickHost); any will do.
	host := free[0]
	if m.failureDomain != "" {
		if i := slices.IndexFunc(free, func(h *metal3.BareMetalHost) bool { return h.Labels[labelFailureDomain] == m.failureDomain }); i >= 0 {
			host = free[i]
		}
	}
	return host, newPatchHelper(m.p, host), nil
}

func isAvailable(h *metal3.BareMetalHost) bool {
	return h.Status.Provisioning.State == metal3.StateReady || h.Status.Provisioning.State == metal3.StateAvailable
}

// consumes says whether a host is the machine's (consumerRefMatches).
func (m *machine) consumes(host *metal3.BareMetalHost) bool {
	c := host.Spec.ConsumerRef
	return c != nil && c.Name == m.obj.GetName() && c.Namespace == m.obj.GetNamespace() && c.Kind == kindMachine &&
		c.GroupVersionKind().Group == groupInfra
}

// consume makes a host the machine's (setHostConsumerRef).
func (m *machine) consume(host *metal3.BareMetalHost) {
	host.Spec.ConsumerRef = &corev1.ObjectReference{
		Kind: kindMachine, Name: m.obj.GetName(), Namespace: m.obj.GetNamespace(), APIVersion: m.obj.GetAPIVersion(),
	}
	yes := true
	own := metav1.OwnerReference{
		APIVersion: m.obj.GetAPIVersion(), Kind: kindMachine, Name: m.obj.GetName(), UID: m.obj.GetUID(), Controller: &yes,
	}
	if i := m.ownerAt(host); i >= 0 { // the UID may have changed in a move
		host.OwnerReferences[i] = own
	} else {
		host.OwnerReferences = append(host.OwnerReferences, own)
	}
	delete(host.Labels, labelNodeReuse)
}

func (m *machine) ownerAt(host *metal3.BareMetalHost) int {
	return slices.IndexFunc(host.OwnerReferences, func(r metav1.OwnerReference) bool {
		return r.Kind == kindMachine && r.Name == m.obj.GetName()
	})
}

// labelSecret changes the labels of the BMC's Secret with a whole Update, as
// CAPM3 does (setBMCSecretLabel, updateObject). A conflict is waited out.
func (m *machine) labelSecret(ctx context.Context, host *metal3.BareMetalHost, change func(map[string]string)) error {
	if host.Spec.BMC.CredentialsName == "" {
		return nil
	}
	s := &corev1.Secret{}
	if err := m.p.Get(ctx, host.CredentialsKey(), s); err != nil {
		return err
	}
	if s.Labels == nil {
		s.Labels = map[string]string{}
	}
	change(s.Labels)
	err := m.p.Update(ctx, s)
	if apierrors.IsConflict(err) {
		return fmt.Errorf("%w: %w", errWait, err)
	}
	return err
}

// annotate notes the host at the machine (ensureAnnotation, and the patch at the
// end of each Reconcile).
func (m *machine) annotate(ctx context.Context, host *metal3.BareMetalHost) error {
	before := m.obj.DeepCopy()
	notes := maps.Clone(m.obj.GetAnnotations())
	if notes == nil {
		notes = map[string]string{}
	}
	notes[annotationHost] = host.Namespace + "/" + host.Name
	m.obj.SetAnnotations(notes)
	return m.p.Patch(ctx, m.obj, client.MergeFrom(before))
}

// setHostSpec declares what the host is to run (MachineManager.setHostSpec).
func (m *machine) setHostSpec(host *metal3.BareMetalHost) {
	if host.Spec.Image == nil && host.Spec.CustomDeploy == nil && m.userData != nil {
		if m.image.URL != "" {
			host.Spec.Image = m.image.DeepCopy()
		}
		if m.customDeploy != "" {
			host.Spec.CustomDeploy = &metal3.CustomDeploy{Method: m.customDeploy}
		}
		in := func(ref *corev1.SecretReference) *corev1.SecretReference {
			if ref == nil {
				return nil
			}
			return &corev1.SecretReference{Name: ref.Name, Namespace: host.Namespace}
		}
		host.Spec.UserData, host.Spec.MetaData, host.Spec.NetworkData = in(m.userData), in(m.metaData), in(m.networkData)
	}
	if m.cleaning != "" {
		host.Spec.AutomatedCleaningMode = m.cleaning
	}
	host.Spec.Online = true
}

// update brings the host's declaration up to date, and the machine's addresses
// (MachineManager.Update).
func (m *machine) update(ctx context.Context) error {
	host, helper, err := m.host(ctx)
	if err != nil {
		return err
	}
	if host == nil {
		return fmt.Errorf("%w: no host", errWait)
	}
	m.consume(host)
	m.setHostSpec(host)
	if err := helper.patch(ctx, host); err != nil {
		return err
	}
	if err := m.annotate(ctx, host); err != nil {
		return err
	}
	m.addresses = nodeAddresses(host) // updateMachineStatus
	return nil
}

// address is one of a Metal3Machine's status.addresses.
type address struct{ kind, value string }

// nodeAddresses reads the deprecated status.hardware (MachineManager.nodeAddresses).
func nodeAddresses(host *metal3.BareMetalHost) []address {
	var list []address
	hw := host.Status.HardwareDetails
	if hw == nil {
		return nil
	}
	for _, nic := range hw.NIC {
		if nic.IP != "" {
			list = append(list, address{"InternalIP", nic.IP})
		}
	}
	if hw.Hostname != "" {
		list = append(list, address{"Hostname", hw.Hostname}, address{"InternalDNS", hw.Hostname})
	}
	return list
}

// delete gives the host back (MachineManager.Delete). It is called until it says
// that it is done.
func (m *machine) delete(ctx context.Context) (done bool, err error) {
	host, helper, err := m.host(ctx)
	if err != nil || host == nil {
		return host == nil, err
	}
	if host.Spec.ConsumerRef == nil || !m.consumes(host) {
		return true, nil
	}
	err = m.labelSecret(ctx, host, func(l map[string]string) { delete(l, labelCluster) })
	if client.IgnoreNotFound(err) != nil {
		return false, err
	}
	before := host.Spec.DeepCopy()
	host.Spec.Image, host.Spec.CustomDeploy = nil, nil
	for _, ref := range []struct {
		known *corev1.SecretReference
		field **corev1.SecretReference
	}{{m.userData, &host.Spec.UserData}, {m.metaData, &host.Spec.MetaData}, {m.networkData, &host.Spec.NetworkData}} {
		if ref.known != nil {
			*ref.field = nil
		}
	}
	host.Spec.Online = onlineAfter(host.Spec.DisablePowerOff, m.p.fastTrack, host.Spec.AutomatedCleaningMode)
	changed := before.Image != nil || before.CustomDeploy != nil || before.UserData != nil && host.Spec.UserData == nil ||
		before.MetaData != nil && host.Spec.MetaData == nil || before.NetworkData != nil && host.Spec.NetworkData == nil ||
		before.Online != host.Spec.Online
	if changed {
		if err := helper.patch(ctx, host); err != nil {
			return false, err
		}
		return false, fmt.Errorf("%w: deprovisioning", errWait)
	}
	switch host.Status.Provisioning.State {
	case metal3.StateRegistering, metal3.StateMatchProfile, metal3.StateInspecting, metal3.StateReady, metal3.StateAvailable,
		metal3.StateNone, metal3.StateUnmanaged:
	case metal3.StateExternallyProvisioned:
		if host.Status.PoweredOn {
			return false, fmt.Errorf("%w: the host is on", errWait)
		}
	default: // whatever CAPM3 does not know, it waits on for ever
		return false, fmt.Errorf("%w: the host is %s", errWait, host.Status.Provisioning.State)
	}
	if m.nodeReuse {
		setLabel(host, labelNodeReuse, m.set)
	}
	host.Spec.ConsumerRef = nil
	if m.nodeReuse && m.keepsRef {
		host.Spec.ConsumerRef = &corev1.ObjectReference{
			APIVersion: groupCluster + "/" + versionCAPI, Kind: "Cluster", Namespace: host.Namespace, Name: m.cluster,
		}
	}
	if i := m.ownerAt(host); i >= 0 {
		host.OwnerReferences = slices.Delete(host.OwnerReferences, i, i+1)
	}
	if host.Labels[labelCluster] == m.cluster {
		delete(host.Labels, labelCluster)
	}
	if host.Annotations[metal3.PausedAnnotation] == pausedByCAPM3 {
		delete(host.Annotations, metal3.PausedAnnotation)
	}
	return true, client.IgnoreNotFound(helper.patch(ctx, host)) // patchIfFound
}

// onlineAfter is the table in MachineManager.Delete.
func onlineAfter(disablePowerOff, fastTrack bool, cleaning metal3.AutomatedCleaningMode) bool {
	return disablePowerOff || fastTrack && cleaning != cleaningDisabled
}

func setLabel(o client.Object, key, value string) {
	l := maps.Clone(o.GetLabels())
	if l == nil {
		l = map[string]string{}
	}
	l[key] = value
	o.SetLabels(l)
}

// keep repeats a step as CAPM3's queue does, while it says that it waits.
func keep(t *testing.T, what string, step func(context.Context) error) {
	t.Helper()
	var last error
	until(t, what, func() (bool, error) {
		last = step(t.Context())
		if errors.Is(last, errWait) {
			return false, nil
		}
		return true, last
	}, func() string { return fmt.Sprint(last) })
}

// release deletes a machine, and its object.
func (m *machine) release(t *testing.T) {
	t.Helper()
	keep(t, m.obj.GetName()+" to give its host back", func(ctx context.Context) error {
		done, err := m.delete(ctx)
		if err == nil && !done {
			err = errWait
		}
		return err
	})
	must(t, client.IgnoreNotFound(m.p.Delete(t.Context(), m.obj)))
}
