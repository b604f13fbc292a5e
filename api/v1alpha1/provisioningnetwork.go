package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ProvisioningNetwork tells ingot to serve boots on one network. Without any,
// no boot server runs.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=provisioningnetworks,singular=provisioningnetwork,scope=Cluster,shortName=pnet,categories=ingot
// +kubebuilder:printcolumn:name="Interface",type=string,JSONPath=`.spec.interface`
// +kubebuilder:printcolumn:name="Address",type=string,JSONPath=`.spec.address`
// +kubebuilder:printcolumn:name="Mode",type=string,JSONPath=`.spec.mode`
// +kubebuilder:printcolumn:name="Serving",type=string,JSONPath=`.status.conditions[?(@.type=="Serving")].status`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ProvisioningNetwork struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ProvisioningNetworkSpec `json:"spec"`
	// +optional
	Status ProvisioningNetworkStatus `json:"status,omitzero"`
}

// ProvisioningNetworkList is a list of ProvisioningNetworks.
//
// +kubebuilder:object:root=true
type ProvisioningNetworkList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ProvisioningNetwork `json:"items"`
}

// ProvisioningNetworkSpec is what a person says of a network.
//
// +kubebuilder:validation:XValidation:rule="self.mode != 'dhcp' || has(self.range)",message="mode dhcp hands out addresses: give range.start and range.end, or choose mode proxy, static or none"
// +kubebuilder:validation:XValidation:rule="!has(self.range) || !isCIDR(self.address) || !isIP(self.range.start) || cidr(self.address).masked().containsIP(ip(self.range.start))",message="range.start must lie in the network of address"
// +kubebuilder:validation:XValidation:rule="!has(self.range) || !isCIDR(self.address) || !isIP(self.range.end) || cidr(self.address).masked().containsIP(ip(self.range.end))",message="range.end must lie in the network of address"
// +kubebuilder:validation:XValidation:rule="!has(self.gateway) || !isCIDR(self.address) || !isIP(self.gateway) || cidr(self.address).masked().containsIP(ip(self.gateway))",message="gateway must lie in the network of address"
type ProvisioningNetworkSpec struct {
	// Interface of this machine on that network: its name, or unix:/PATH of a
	// userspace network's switch.
	//
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self.matches('^unix:/.+$') || self.matches('^[^/: ]{1,15}$')",message="interface is the name of a network interface (at most 15 characters), or unix:/PATH of a userspace network"
	Interface string `json:"interface"`

	// Address is our own address on that network with its prefix: 10.77.0.1/24.
	//
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="isCIDR(self)",message="address is this server's own address with its prefix length, like 10.77.0.1/24"
	Address string `json:"address"`

	// Range of the addresses that are handed out.
	//
	// +optional
	Range *AddressRange `json:"range,omitempty"`

	// Gateway that machines are told; none when empty.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="isIP(self)",message="gateway is an IP address"
	Gateway string `json:"gateway,omitempty"`

	// DNS servers that machines are told.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.all(a, isIP(a))",message="dns is a list of IP addresses"
	DNS []string `json:"dns,omitempty"`

	// NTP servers that machines are told.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.all(a, isIP(a))",message="ntp is a list of IP addresses"
	NTP []string `json:"ntp,omitempty"`

	// VLAN that the agent tags its frames with.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=4094
	VLAN int32 `json:"vlan,omitempty"`

	// Mode: dhcp hands out addresses; proxy leaves that to another server and
	// answers only what concerns booting; static serves machines whose agent has
	// a configured address; none serves files alone.
	//
	// +optional
	// +kubebuilder:default=dhcp
	// +kubebuilder:validation:Enum=dhcp;proxy;static;none
	Mode NetworkMode `json:"mode,omitempty"`

	// Flavour of the kernel that machines here are booted with: server drives
	// common hardware, vm is small and quick for virtual machines.
	//
	// +optional
	// +kubebuilder:default=server
	// +kubebuilder:validation:Enum=vm;server
	Flavour Flavour `json:"flavour,omitempty"`
}

// AddressRange is inclusive at both ends.
type AddressRange struct {
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="isIP(self)",message="range.start is an IP address"
	Start string `json:"start"`
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="isIP(self)",message="range.end is an IP address"
	End string `json:"end"`
}

// NetworkMode says who hands out addresses.
type NetworkMode string

// The modes.
const (
	NetworkDHCP   NetworkMode = "dhcp"
	NetworkProxy  NetworkMode = "proxy"
	NetworkStatic NetworkMode = "static"
	NetworkNone   NetworkMode = "none"
)

// Flavour of the agent's kernel.
type Flavour string

// The flavours.
const (
	FlavourVM     Flavour = "vm"
	FlavourServer Flavour = "server"
)

// ConditionServing is true while the boot servers of a ProvisioningNetwork
// answer.
const ConditionServing = "Serving"

// ProvisioningNetworkStatus is what ingot says of it.
type ProvisioningNetworkStatus struct {
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// ServerAddress is the address under which machines there reach this server.
	//
	// +optional
	ServerAddress string `json:"serverAddress,omitempty"`
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}
