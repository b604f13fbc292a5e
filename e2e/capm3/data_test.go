package capm3

import (
	"context"
	"fmt"
	"strconv"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// template is a Metal3DataTemplate, as much as a person usually writes.
type template struct {
	index     int    // of the Metal3Data, dealt out by the template
	nic       string // links[].fromHostInterface
	bootMAC   string // metaData.fromHostInterfaces[] with fromBootMAC: the key
	nicMAC    string // metaData.fromHostInterfaces[]: the key
	fromLabel string // metaData.fromLabels[] of the BareMetalHost
}

// render is what becomes of Metal3DataTemplate, Metal3DataClaim and Metal3Data
// (MachineManager.AssociateM3Metadata, DataManager.createSecrets): two Secrets
// owned by the Metal3Data, once the machine has a host.
func (m *machine) render(ctx context.Context) error {
	host, _, err := m.host(ctx)
	if err != nil {
		return err
	}
	if host == nil {
		return fmt.Errorf("%w: BareMetalHost to become available", errWait)
	}
	data := infra("Metal3Data", m.obj.GetNamespace(), fmt.Sprintf("%s-template-%d", m.cluster, m.template.index))
	data.SetOwnerReferences([]metav1.OwnerReference{ownerOf(m.obj)})
	if err := m.p.Create(ctx, data); err != nil {
		return err
	}
	meta, err := m.renderMetaData(host)
	if err != nil {
		return err
	}
	network, err := m.renderNetworkData(host)
	if err != nil {
		return err
	}
	for key, content := range map[string]map[string]any{"metaData": meta, "networkData": network} {
		text, err := yaml.Marshal(content)
		if err != nil {
			return err
		}
		s := &corev1.Secret{ // createSecret
			ObjectMeta: metav1.ObjectMeta{
				Namespace: m.obj.GetNamespace(), Name: m.obj.GetName() + map[string]string{"metaData": "-metadata", "networkData": "-networkdata"}[key],
				Labels: map[string]string{labelCluster: m.cluster}, OwnerReferences: []metav1.OwnerReference{ownerOf(data)},
			},
			Type: "infrastructure.cluster.x-k8s.io/secret",
			Data: map[string][]byte{key: text},
		}
		if err := m.p.Create(ctx, s); err != nil {
			return err
		}
		ref := &corev1.SecretReference{Name: s.Name, Namespace: s.Namespace}
		if key == "metaData" {
			m.metaData = ref
		} else {
			m.networkData = ref
		}
	}
	return nil
}

func ownerOf(o client.Object) metav1.OwnerReference {
	yes := true
	gvk := o.GetObjectKind().GroupVersionKind()
	return metav1.OwnerReference{APIVersion: gvk.GroupVersion().String(), Kind: gvk.Kind, Name: o.GetName(), UID: o.GetUID(), Controller: &yes}
}

// renderMetaData makes strings of everything (renderMetaData).
func (m *machine) renderMetaData(host *metal3.BareMetalHost) (map[string]any, error) {
	mac, err := macByName(m.template.nic, host)
	if err != nil {
		return nil, err
	}
	if host.Spec.BootMACAddress == "" {
		return nil, fmt.Errorf("host %s has no spec.bootMACAddress", host.Name)
	}
	return map[string]any{
		m.template.nicMAC:  mac,
		m.template.bootMAC: host.Spec.BootMACAddress,
		"rack":             host.Labels[m.template.fromLabel],
		"index":            strconv.Itoa(m.template.index),
		"local-hostname":   m.obj.GetName(), // objectNames, as CAPM3's own templates have it
		"local_hostname":   m.obj.GetName(),
		"metal3-name":      host.Name,
		"metal3-namespace": host.Namespace,
		"datacenter":       "north: 1 #2", // a string that YAML must quote
		"providerid":       m.wantProviderID(host)[len(providerIDPrefix):],
	}, nil
}

// renderNetworkData is OpenStack's network_data.json (renderNetworkData).
func (m *machine) renderNetworkData(host *metal3.BareMetalHost) (map[string]any, error) {
	mac, err := macByName(m.template.nic, host)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"links": []any{map[string]any{"type": "phy", "id": "pxe", "mtu": 1500, "ethernet_mac_address": mac}},
		"networks": []any{map[string]any{
			"type": "ipv4", "id": "pxe", "link": "pxe", "ip_address": "10.1.2.3", "netmask": "255.255.255.0",
			"routes": []any{map[string]any{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "10.1.2.1", "services": []any{}}},
		}},
		"services": []any{map[string]any{"type": "dns", "address": "8.8.8.8"}},
	}, nil
}

// macByName reads the deprecated status.hardware (getBMHMacByName).
func macByName(name string, host *metal3.BareMetalHost) (string, error) {
	if hw := host.Status.HardwareDetails; hw != nil {
		for _, nic := range hw.NIC {
			if nic.Name == name {
				return nic.MAC, nil
			}
		}
	}
	return "", fmt.Errorf("NIC name not found %q", name)
}
