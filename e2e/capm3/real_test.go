//go:build e2e

package capm3

import (
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// TestReal has Cluster API's own core manager, its Metal3 provider and clusterctl
// at work against ingot: a control plane machine and a MachineDeployment of one
// get hosts, nodes and providerIDs, a node is remediated, a worker's host is used
// again, the cluster is moved to another management cluster, and deleted there.
func TestReal(t *testing.T) {
	p := realPrograms(t)
	dir := t.TempDir()
	from, err := startSite(t.Context(), filepath.Join(dir, "a"))
	must(t, err)
	t.Cleanup(func() { must(t, from.server.Close()) })
	p.manage(t, from)
	machines, err := newRack(from, 3, 5)
	must(t, err)
	t.Cleanup(machines.close)
	w := newWorkload(t)

	const ns = "metal3"
	must(t, from.admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: objectMeta("", ns)}))
	var hosts []hostOf
	for i := range 3 {
		hosts = append(hosts, from.enrol(t, machines, ns, func(b *metal3.BareMetalHost) {
			b.Labels = map[string]string{"role": "worker", "my-prefix.metal3.io/rack": "r1"}
			if i == 0 {
				b.Labels["role"] = "control-plane"
			}
		}))
	}
	for _, h := range hosts {
		from.awaitState(t, h, metal3.StateAvailable)
	}
	// Kubelets: a node joins from what its machine received.
	joined := map[string]bool{}
	kubelets := func() {
		for _, h := range hosts {
			if h.machine.ConfigDrive() == nil {
				delete(joined, h.Name)
			} else if !joined[h.Name] {
				joined[h.Name] = true
				w.join(kubelet(t, h))
			}
		}
	}
	wait := func(t *testing.T, what string, look func() (bool, error), last func() string) {
		t.Helper()
		began := time.Now()
		until(t, what, func() (bool, error) { kubelets(); return look() }, last)
		t.Logf("%5.1f s  %s", time.Since(began).Seconds(), what)
	}

	from.apply(t, w.manifests(t, ns))
	running := func(s *site, name string) func() (bool, error) {
		return func() (bool, error) {
			m, err := s.object(t.Context(), groupCluster, "Machine", ns, name)
			phase, _, _ := unstructured.NestedString(m.Object, "status", "phase")
			node, _, _ := unstructured.NestedString(m.Object, "status", "nodeRef", "name")
			return phase == "Running" && node != "", client.IgnoreNotFound(err)
		}
	}
	describe := func(s *site, kind string, names ...string) func() string {
		return func() string {
			var b strings.Builder
			for _, name := range names {
				group := groupCluster
				if strings.HasPrefix(kind, "Metal3") {
					group = groupInfra
				}
				o, err := s.object(t.Context(), group, kind, ns, name)
				text, _ := yaml.Marshal(o.Object["status"])
				fmt.Fprintf(&b, "%s %v\n%s", name, err, text)
			}
			return b.String()
		}
	}
	wait(t, "the control plane's Machine to be Running", running(from, "cp"), describe(from, "Machine", "cp"))
	var worker string
	wait(t, "the MachineDeployment's Machine to be Running", func() (bool, error) {
		list := &unstructured.UnstructuredList{Object: map[string]any{"apiVersion": groupCluster + "/" + versionCAPI, "kind": "MachineList"}}
		if err := from.admin.List(t.Context(), list, client.InNamespace(ns), client.MatchingLabels{"role": "worker"}); err != nil || len(list.Items) == 0 {
			return false, err
		}
		worker = list.Items[0].GetName()
		return running(from, worker)()
	}, func() string { return describe(from, "Machine", worker)() })
	cp := from.get(t, hosts[0])
	m, err := from.object(t.Context(), groupCluster, "Machine", ns, "cp")
	must(t, err)
	providerID, _, _ := unstructured.NestedString(m.Object, "spec", "providerID")
	if want := fmt.Sprintf("metal3://%s/%s/cp", ns, hosts[0].Name); providerID != want || w.node("cp").Spec.ProviderID != want {
		t.Errorf("providerID %q at the Machine, %q at the node, want %q", providerID, w.node("cp").Spec.ProviderID, want)
	}
	if got := w.node("cp").Labels[labelNodeUUID]; got != string(cp.UID) {
		t.Errorf("the node's %s is %q, want the host's UID", labelNodeUUID, got)
	}
	addresses, _, _ := unstructured.NestedSlice(m.Object, "status", "addresses")
	if len(addresses) != 3 {
		t.Errorf("the Machine's addresses are %v", addresses)
	}
	wait(t, "labels to be copied to the node", func() (bool, error) { return w.node("cp").Labels["my-prefix.metal3.io/rack"] == "r1", nil }, nothing)

	t.Run("remediation", func(t *testing.T) {
		before := len(machines.touched(hosts[0].machine))
		text := fmt.Sprintf(remediationYAML, ns, m.GetUID())
		from.apply(t, text)
		wait(t, "the remediation to switch the machine off", func() (bool, error) {
			return !from.get(t, hosts[0]).Status.PoweredOn, nil
		}, describe(from, "Metal3Remediation", "cp"))
		wait(t, "the remediation to switch it on again", func() (bool, error) {
			b := from.get(t, hosts[0])
			for k := range b.Annotations {
				if strings.HasPrefix(k, "reboot.metal3.io/") {
					return false, nil
				}
			}
			return b.Status.PoweredOn, nil
		}, describe(from, "Metal3Remediation", "cp"))
		var did []string
		for _, e := range machines.touched(hosts[0].machine)[before:] {
			if e.Kind == simbmc.KindPower {
				did = append(did, e.Detail)
			}
		}
		if fmt.Sprint(did) != "[ForceOff On]" {
			t.Errorf("to the machine was done: %v", did)
		}
		r, err := from.object(t.Context(), groupInfra, "Metal3Remediation", ns, "cp")
		must(t, err)
		must(t, from.admin.Delete(t.Context(), r))
	})

	t.Run("node reuse", func(t *testing.T) {
		of := func() string {
			o, err := from.object(t.Context(), groupInfra, "Metal3Machine", ns, worker)
			must(t, err)
			return o.GetAnnotations()[annotationHost]
		}
		was := of()
		scale := func(n int) {
			md := &unstructured.Unstructured{Object: map[string]any{"apiVersion": groupCluster + "/" + versionCAPI, "kind": "MachineDeployment", "metadata": map[string]any{"namespace": ns, "name": "workers"}}}
			must(t, from.admin.Patch(t.Context(), md, client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n))))
		}
		scale(0)
		wait(t, "the worker's Machine to be gone", func() (bool, error) {
			_, err := from.object(t.Context(), groupCluster, "Machine", ns, worker)
			return client.IgnoreNotFound(err) == nil && err != nil, client.IgnoreNotFound(err)
		}, func() string { return describe(from, "Machine", worker)() + describe(from, "Metal3Machine", worker)() })
		scale(1)
		old := worker
		wait(t, "another Machine to be Running", func() (bool, error) {
			list := &unstructured.UnstructuredList{Object: map[string]any{"apiVersion": groupCluster + "/" + versionCAPI, "kind": "MachineList"}}
			if err := from.admin.List(t.Context(), list, client.InNamespace(ns), client.MatchingLabels{"role": "worker"}); err != nil || len(list.Items) == 0 || list.Items[0].GetName() == old {
				return false, err
			}
			worker = list.Items[0].GetName()
			return running(from, worker)()
		}, func() string { return describe(from, "Machine", worker)() })
		if is := of(); is != was {
			t.Errorf("the next worker got %s, the one before it had %s", is, was)
		}
	})
	if t.Failed() {
		return
	}

	to, err := startSite(t.Context(), filepath.Join(dir, "b"))
	must(t, err)
	t.Cleanup(func() { must(t, to.server.Close()) })
	p.manage(t, to)
	from.labelKinds(t)
	to.labelKinds(t)
	before := map[string]int{}
	for _, h := range hosts {
		before[h.Name] = len(machines.touched(h.machine))
		// CAPM3 pauses its own; a person pauses those that are free.
		if b := from.get(t, h); b.Spec.ConsumerRef == nil {
			plain := b.DeepCopy()
			note(b, metal3.PausedAnnotation, "moving")
			must(t, from.admin.Patch(t.Context(), b, client.MergeFrom(plain)))
		}
	}
	move := exec.Command(filepath.Join(string(p), "clusterctl"), "move", "--kubeconfig", from.server.Kubeconfig, "--to-kubeconfig", to.server.Kubeconfig, "-n", ns, "-v", "3")
	move.Env = append(os.Environ(), "CLUSTERCTL_DISABLE_VERSIONCHECK=true", "HOME="+t.TempDir())
	out, err := move.CombinedOutput()
	if err != nil {
		t.Fatalf("clusterctl move: %v\n%s", err, out)
	}
	t.Logf("clusterctl move:\n%s", out)
	machines.follow(to)
	wait(t, "the moved Machines to be Running", func() (bool, error) {
		a, errA := running(to, "cp")()
		b, errB := running(to, worker)()
		if errA == nil {
			errA = errB
		}
		return a && b, errA
	}, describe(to, "Machine", "cp", worker))
	for _, h := range hosts {
		if b := to.get(t, h); b.Spec.ConsumerRef == nil {
			plain := b.DeepCopy()
			delete(b.Annotations, metal3.PausedAnnotation)
			must(t, to.admin.Patch(t.Context(), b, client.MergeFrom(plain)))
			to.awaitState(t, h, metal3.StateAvailable) // with the Secret of its BMC
			continue
		}
		to.await(t, h, "taken over", func(b *metal3.BareMetalHost) bool {
			return b.Status.Provisioning.State == metal3.StateProvisioned && b.Status.PoweredOn && b.Annotations[metal3.PausedAnnotation] == ""
		})
		if n := len(machines.touched(h.machine)); n != before[h.Name] {
			t.Errorf("%s was touched: %v", h, machines.touched(h.machine)[before[h.Name]:])
		}
	}

	cluster, err := to.object(t.Context(), groupCluster, "Cluster", ns, "c1")
	must(t, err)
	must(t, to.admin.Delete(t.Context(), cluster))
	wait(t, "the cluster to be deleted", func() (bool, error) {
		_, err := to.object(t.Context(), groupCluster, "Cluster", ns, "c1")
		return err != nil && client.IgnoreNotFound(err) == nil, client.IgnoreNotFound(err)
	}, func() string {
		return describe(to, "Cluster", "c1")() + describe(to, "Machine", "cp", worker)() + describe(to, "Metal3Machine", "cp", worker)()
	})
	for _, h := range hosts {
		if b := to.get(t, h); b.Status.Provisioning.State != metal3.StateAvailable || b.Spec.ConsumerRef != nil || len(b.OwnerReferences) > 0 {
			t.Errorf("after the deletion %s is %s of %v", h, b.Status.Provisioning.State, b.Spec.ConsumerRef)
		}
	}
}

const remediationYAML = `apiVersion: infrastructure.cluster.x-k8s.io/v1beta2
kind: Metal3Remediation
metadata:
  namespace: %s
  name: cp
  ownerReferences:
  - {apiVersion: cluster.x-k8s.io/v1beta2, kind: Machine, name: cp, uid: %q}
spec:
  strategy: {type: Reboot, retryLimit: 1, timeoutSeconds: 300}`

// manifests are a cluster as a person writes it, with the workload cluster's API
// as its control plane endpoint.
func (w *workload) manifests(t *testing.T, ns string) string {
	t.Helper()
	host, port, _ := strings.Cut(w.Listener.Addr().String(), ":")
	kc := clientcmdapi.NewConfig()
	kc.Clusters["c"] = &clientcmdapi.Cluster{
		Server: w.URL, CertificateAuthorityData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.Certificate().Raw}),
	}
	kc.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: "x"}
	kc.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	kc.CurrentContext = "x"
	text, err := clientcmd.Write(*kc)
	must(t, err)
	secret, err := yaml.Marshal(corev1.Secret{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, ObjectMeta: objectMeta(ns, "c1-kubeconfig"), Type: "cluster.x-k8s.io/secret", Data: map[string][]byte{"value": text},
	})
	must(t, err)
	boot := ""
	for _, name := range []string{"cp", "workers"} {
		b, err := yaml.Marshal(corev1.Secret{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, ObjectMeta: objectMeta(ns, name+"-bootstrap"), Type: "cluster.x-k8s.io/secret",
			Data: map[string][]byte{"value": []byte(bootstrap(name)), "format": []byte("cloud-config")},
		})
		must(t, err)
		boot += "\n---\n" + string(b)
	}
	// Secrets of no owner are moved only if their name says whose they are.
	labelled := strings.ReplaceAll(string(secret), "name: c1-kubeconfig", "name: c1-kubeconfig\n  labels: {cluster.x-k8s.io/cluster-name: c1}")
	return strings.TrimSpace(labelled) + boot + "\n---\n" + strings.NewReplacer(
		"NS", ns, "HOST", host, "PORT", port, "IMAGE", shared.image.URL+"/os.raw", "SUM", diskSum(),
	).Replace(clusterYAML)
}

const clusterYAML = `apiVersion: cluster.x-k8s.io/v1beta2
kind: Cluster
metadata: {namespace: NS, name: c1}
spec:
  clusterNetwork: {services: {cidrBlocks: [10.96.0.0/12]}, pods: {cidrBlocks: [192.168.0.0/18]}}
  infrastructureRef: {apiGroup: infrastructure.cluster.x-k8s.io, kind: Metal3Cluster, name: c1}
---
apiVersion: infrastructure.cluster.x-k8s.io/v1beta2
kind: Metal3Cluster
metadata:
  namespace: NS
  name: c1
  annotations: {metal3.io/metal3-label-sync-prefixes: my-prefix.metal3.io}
spec:
  controlPlaneEndpoint: {host: HOST, port: PORT}
  cloudProviderEnabled: false
---
apiVersion: infrastructure.cluster.x-k8s.io/v1beta2
kind: Metal3DataTemplate
metadata: {namespace: NS, name: cp-template, labels: {cluster.x-k8s.io/cluster-name: c1}}
spec:
  clusterName: c1
  metaData:
    objectNames:
    - {key: name, object: machine}
    - {key: local-hostname, object: machine}
    - {key: local_hostname, object: machine}
    fromHostInterfaces: [{key: mac, interface: ens2}, {key: bootMAC, fromBootMAC: true}]
    indexes: [{key: index, offset: 10, step: 2}]
    fromLabels: [{key: role, object: baremetalhost, label: role}]
  networkData:
    links: {ethernets: [{type: phy, id: ens1, mtu: 1500, macAddress: {fromHostInterface: ens1}}]}
    networks: {ipv4DHCP: [{id: ens1, link: ens1}]}
    services: {dns: [8.8.8.8]}
---
apiVersion: infrastructure.cluster.x-k8s.io/v1beta2
kind: Metal3MachineTemplate
metadata: {namespace: NS, name: workers}
spec:
  nodeReuse: true
  template:
    spec:
      image: {url: IMAGE, checksum: SUM, checksumType: sha256}
      hostSelector: {matchLabels: {role: worker}}
---
apiVersion: infrastructure.cluster.x-k8s.io/v1beta2
kind: Metal3Machine
metadata: {namespace: NS, name: cp, labels: {cluster.x-k8s.io/cluster-name: c1}}
spec:
  image: {url: IMAGE, checksum: SUM, checksumType: sha256, diskFormat: raw}
  hostSelector: {matchLabels: {role: control-plane}}
  dataTemplate: {name: cp-template}
---
apiVersion: cluster.x-k8s.io/v1beta2
kind: Machine
metadata: {namespace: NS, name: cp, labels: {cluster.x-k8s.io/cluster-name: c1, cluster.x-k8s.io/control-plane: ""}}
spec:
  clusterName: c1
  version: v1.35.0
  bootstrap: {dataSecretName: cp-bootstrap}
  infrastructureRef: {apiGroup: infrastructure.cluster.x-k8s.io, kind: Metal3Machine, name: cp}
---
apiVersion: cluster.x-k8s.io/v1beta2
kind: MachineDeployment
metadata: {namespace: NS, name: workers, labels: {cluster.x-k8s.io/cluster-name: c1}}
spec:
  clusterName: c1
  replicas: 1
  selector: {matchLabels: {role: worker}}
  template:
    metadata: {labels: {role: worker, cluster.x-k8s.io/cluster-name: c1}}
    spec:
      clusterName: c1
      version: v1.35.0
      bootstrap: {dataSecretName: workers-bootstrap}
      infrastructureRef: {apiGroup: infrastructure.cluster.x-k8s.io, kind: Metal3MachineTemplate, name: workers}`
