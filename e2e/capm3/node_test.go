package capm3

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	diskfile "github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	providerIDPrefix = "metal3://"
	labelNodeUUID    = "metal3.io/uuid"
)

// drive reads the config drive of a machine with a reader that is not ours.
func drive(t *testing.T, h hostOf) (meta map[string]any, network map[string]any, user string) {
	t.Helper()
	raw := h.machine.ConfigDrive()
	if raw == nil {
		t.Fatalf("%s got no config drive", h)
	}
	path := filepath.Join(t.TempDir(), "config.iso")
	must(t, os.WriteFile(path, raw, 0o600))
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	img, err := iso9660.Read(diskfile.New(f, true), int64(len(raw)), 0, 2048)
	must(t, err)
	if got := strings.TrimSpace(img.Label()); got != "config-2" {
		t.Errorf("the config drive's label is %q", got)
	}
	read := func(name string) []byte {
		file, err := img.OpenFile("/openstack/latest/"+name, os.O_RDONLY)
		must(t, err)
		content, err := io.ReadAll(file)
		must(t, err)
		return content
	}
	must(t, json.Unmarshal(read("meta_data.json"), &meta))
	entries, err := img.ReadDir("openstack/latest")
	must(t, err)
	for _, e := range entries {
		if e.Name() == "network_data.json" {
			must(t, json.Unmarshal(read("network_data.json"), &network))
		}
	}
	return meta, network, string(read("user_data"))
}

// kubelet is the node that a machine's system registers, if its kubeadm labels
// it with metal3.io/uuid={{ ds.meta_data.uuid }}.
func kubelet(t *testing.T, h hostOf) corev1.Node {
	t.Helper()
	meta, _, _ := drive(t, h)
	name, _ := meta["local-hostname"].(string)
	uuid, _ := meta["uuid"].(string)
	return corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: name, Labels: map[string]string{"kubernetes.io/hostname": name, labelNodeUUID: uuid},
	}}
}

// wantProviderID is in the form of today (getPossibleProviderIDs).
func (m *machine) wantProviderID(host *metal3.BareMetalHost) string {
	return fmt.Sprintf("%s%s/%s/%s", providerIDPrefix, m.obj.GetNamespace(), host.Name, m.obj.GetName())
}

// setProviderID finds the machine's node by the UID of its host and gives both
// the same providerID (MachineManager.SetProviderIDFromNodeLabel, setNodeProviderID).
func (m *machine) setProviderID(host *metal3.BareMetalHost, nodes []corev1.Node) error {
	var found *corev1.Node
	for i := range nodes {
		if nodes[i].Labels[labelNodeUUID] != string(host.UID) {
			continue
		}
		if found != nil {
			return fmt.Errorf("nodes %s and %s have the same label", found.Name, nodes[i].Name)
		}
		found = &nodes[i]
	}
	if found == nil {
		return fmt.Errorf("%w: no node with label %s=%s", errWait, labelNodeUUID, host.UID)
	}
	m.providerID = m.wantProviderID(host)
	if found.Spec.ProviderID != "" && found.Spec.ProviderID != m.providerID && found.Spec.ProviderID != providerIDPrefix+string(host.UID) {
		return fmt.Errorf("node %s has the providerID %s", found.Name, found.Spec.ProviderID)
	}
	found.Spec.ProviderID = m.providerID
	return nil
}

// syncLabels copies a host's labels of some prefixes to its node, and removes
// what the host no longer has (Metal3LabelSyncReconciler.reconcileBMHLabels).
func syncLabels(host *metal3.BareMetalHost, node *corev1.Node, prefixes ...string) {
	ours := func(key string) bool {
		for _, p := range prefixes {
			if strings.HasPrefix(key, p+"/") {
				return true
			}
		}
		return false
	}
	for k := range node.Labels {
		if _, keep := host.Labels[k]; ours(k) && !keep {
			delete(node.Labels, k)
		}
	}
	for k, v := range host.Labels {
		if ours(k) {
			node.Labels[k] = v
		}
	}
}
