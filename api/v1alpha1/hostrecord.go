package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// HostRecord is what ingot remembers of one BareMetalHost beyond Metal3's own
// fields. Its spec survives a move between clusters and a lost status; its
// status is the record of the operation that is going on.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=hostrecords,singular=hostrecord,shortName=hr,categories=ingot
// +kubebuilder:metadata:labels={"clusterctl.cluster.x-k8s.io=","clusterctl.cluster.x-k8s.io/move="}
// +kubebuilder:printcolumn:name="Operation",type=string,JSONPath=`.status.operation.kind`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.operation.phase`
// +kubebuilder:printcolumn:name="Problem",type=string,JSONPath=`.status.problem.code`
// +kubebuilder:printcolumn:name="Next try",type=string,JSONPath=`.status.problem.nextTry`
// +kubebuilder:printcolumn:name="Waits for",type=string,JSONPath=`.status.waitsFor`,priority=1
// +kubebuilder:printcolumn:name="Hold",type=string,JSONPath=`.spec.hold`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type HostRecord struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec HostRecordSpec `json:"spec,omitzero"`
	// +optional
	// +structType=atomic
	Status HostRecordStatus `json:"status,omitzero"`
}

// HostRecordList is a list of HostRecords.
//
// +kubebuilder:object:root=true
type HostRecordList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []HostRecord `json:"items"`
}

// HostRecordSpec survives a move and a lost status.
type HostRecordSpec struct {
	// ID is the node UUID at the REST door and status.provisioning.ID of the
	// BareMetalHost. It is chosen once and never changes.
	//
	// +optional
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="the id of a host is chosen once and never changes"
	ID string `json:"id,omitempty"`

	// IronicName is the node's name as the REST client wrote it.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=255
	IronicName string `json:"ironicName,omitempty"`

	// Hold names the Ironic state in which a host born at the REST door rests
	// until it is told to go on; empty: it goes on by itself.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Hold string `json:"hold,omitempty"`

	// Ask is what the REST door asked for last.
	//
	// +optional
	Ask *Ask `json:"ask,omitempty"`

	// Provisioned is the URL of the image that was written last and is on the disk,
	// or "customDeploy:" and the name of the method that installed it, and the URL
	// if it was given one: a host whose status is lost is not taken for a new one.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Provisioned string `json:"provisioned,omitempty"`
}

// Ask is a verb of the REST door. It is carried out once: when its number is greater
// than that of the last one taken up (status.node.asked).
type Ask struct {
	// +kubebuilder:validation:Minimum=1
	N int64 `json:"n"`
	// Verb of Ironic: a target of states/provision, or of states/power.
	//
	// +kubebuilder:validation:MaxLength=32
	Verb string `json:"verb"`
	// Erase says how much a cleaning erases: metadata, all; empty: nothing.
	//
	// +optional
	// +kubebuilder:validation:Enum=metadata;all
	Erase string `json:"erase,omitempty"`
	// Hold says that a step named hold is among its steps.
	//
	// +optional
	Hold bool `json:"hold,omitempty"`
	// TimeoutSeconds is how long the machine has to follow a soft power verb; 0: as
	// long as Ironic gives it by default.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=86400
	TimeoutSeconds int32 `json:"timeoutSeconds,omitempty"`
	// Generation of the BareMetalHost that declares what goes with it: it is not
	// taken up before that is seen.
	//
	// +optional
	Generation int64 `json:"generation,omitempty"`
}

// NodeStatus is the course of a host that the REST door leads.
type NodeStatus struct {
	// Hold is the Ironic state that it rests in; empty: it goes on by itself.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Hold string `json:"hold,omitempty"`
	// Asked is the number of the ask that was taken up last.
	//
	// +optional
	Asked int64 `json:"asked,omitempty"`
	// Verb that is being carried out.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Verb string `json:"verb,omitempty"`
	// Erase is how much that verb erases.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Erase string `json:"erase,omitempty"`
	// Error of the verb that was carried out last (Ironic's last_error).
	//
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Error string `json:"error,omitempty"`
	// Power of a node without a machine (the driver fake-hardware).
	//
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Power string `json:"power,omitempty"`
	// Since is when it last changed (provision_updated_at).
	//
	// +optional
	Since *metav1.MicroTime `json:"since,omitempty"`
}

// ProvisionedImage is an image as it was asked for when it was written.
type ProvisionedImage struct {
	// +optional
	URL string `json:"url,omitempty"`
	// +optional
	Checksum string `json:"checksum,omitempty"`
	// +optional
	ChecksumType string `json:"checksumType,omitempty"`
	// +optional
	Format string `json:"format,omitempty"`
	// Method of the ramdisk that installed it (spec.customDeploy).
	//
	// +optional
	Method string `json:"method,omitempty"`
	// Digest of the manifest that was written.
	//
	// +optional
	Digest string `json:"digest,omitempty"`
}

// HostRecordStatus is the record of what goes on with a host. A reader after a
// crash finds here what was begun, and asks the BMC or the agent what is true.
type HostRecordStatus struct {
	// Operation that was begun and is not over.
	//
	// +optional
	Operation *Operation `json:"operation,omitempty"`

	// Boot into the agent that we ordered last.
	//
	// +optional
	Boot *Boot `json:"boot,omitempty"`

	// Problem that the host stands at; absent when there is none.
	//
	// +optional
	Problem *Problem `json:"problem,omitempty"`

	// WaitsFor says, for a person, what has to happen before the host goes on.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	WaitsFor string `json:"waitsFor,omitempty"`

	// BMC as it was found at registration.
	//
	// +optional
	BMC *BMC `json:"bmc,omitempty"`

	// Inventory taken last; the whole of it is a blob.
	//
	// +optional
	Inventory *InventoryRef `json:"inventory,omitempty"`

	// Image prepared for this host.
	//
	// +optional
	Image *ImageRef `json:"image,omitempty"`

	// Media that we put into the machine's virtual drive, from before it is done
	// until it was taken out.
	//
	// +optional
	Media *Media `json:"media,omitempty"`

	// Ramdisk that an external builder made, for the boot that was ordered last.
	//
	// +optional
	Ramdisk *Ramdisk `json:"ramdisk,omitempty"`

	// Node is the course of a host that the REST door leads; absent: of none.
	//
	// +optional
	Node *NodeStatus `json:"node,omitempty"`

	// Console is what the machine printed before it last failed.
	//
	// +optional
	Console *ConsoleRef `json:"console,omitempty"`

	// FirstBoot is what the installed system said of itself, once.
	//
	// +optional
	FirstBoot *FirstBoot `json:"firstBoot,omitempty"`

	// Seq numbers the actions of this host, so that step ids never repeat.
	//
	// +optional
	Seq int64 `json:"seq,omitempty"`

	// Dirty is set before a write is handed out and cleared when the disks were
	// cleaned.
	//
	// +optional
	Dirty bool `json:"dirty,omitempty"`

	// FailCount counts failed provisionings of LastTried.
	//
	// +optional
	FailCount int32 `json:"failCount,omitempty"`

	// SecureBoot says that ingot has switched Secure Boot on, and will switch it off.
	//
	// +optional
	SecureBoot bool `json:"secureBoot,omitempty"`

	// LastTried is the image that a provisioning was last begun with.
	//
	// +optional
	LastTried *ProvisionedImage `json:"lastTried,omitempty"`
}

// Media is an image in a virtual drive.
type Media struct {
	URL string `json:"url"`
	// Use is live-iso, data or ramdisk.
	Use string `json:"use"`
	// Inserted says that the drive was read back.
	//
	// +optional
	Inserted bool `json:"inserted,omitempty"`
}

// Ramdisk is what the machine is booted with instead of ours: an ISO, or a
// ramdisk with or without a kernel.
type Ramdisk struct {
	// +optional
	Kernel string `json:"kernel,omitempty"`
	// +optional
	Initrd string `json:"initrd,omitempty"`
	// +optional
	Params string `json:"params,omitempty"`
	// +optional
	ISO string `json:"iso,omitempty"`
}

// Operation is one piece of work on a host, written before it begins and
// removed after it ended.
type Operation struct {
	// Kind of work: verify, inspect, prepare, provision, deprovision, power-on …
	Kind string `json:"kind"`
	// Phase within the work.
	//
	// +optional
	Phase string `json:"phase,omitempty"`
	// +optional
	Started *metav1.MicroTime `json:"started,omitempty"`
	// +optional
	PhaseStarted *metav1.MicroTime `json:"phaseStarted,omitempty"`
	// Epoch of the replica that works. An agent refuses a lower one than it has
	// seen.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	Epoch int64 `json:"epoch,omitempty"`
	// StepID is the agent step that was handed out and not yet answered. An
	// agent never runs one step id twice.
	//
	// +optional
	StepID string `json:"stepID,omitempty"`
	// Until is when the phase is given up.
	//
	// +optional
	Until *metav1.MicroTime `json:"until,omitempty"`
	// Hard marks a power off that does not ask the operating system.
	//
	// +optional
	Hard bool `json:"hard,omitempty"`
	// Change of firmware or RAID that is under way.
	//
	// +optional
	Change *Change `json:"change,omitempty"`
	// Made says that the operation made a RAID volume.
	//
	// +optional
	Made bool `json:"made,omitempty"`
}

// Change is one thing that a BMC is asked to change about its machine. It is
// written before the BMC is asked, and again with what the BMC answered.
type Change struct {
	// What is changed.
	//
	// +kubebuilder:validation:MaxLength=32
	What string `json:"what"`
	// Target is the volume, the component and its image, or what a person would
	// call it.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Target string `json:"target,omitempty"`
	// For tells what was declared when it was decided from what is now.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=64
	For string `json:"for,omitempty"`
	// Before is the version of the component before it.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Before string `json:"before,omitempty"`
	// Op is what the BMC answered, for polls after a restart; absent: it was not
	// asked yet, or its answer was lost. Nothing in it is secret.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=32768
	Op string `json:"op,omitempty"`
	// Reset says that it waits for the machine's next start.
	//
	// +optional
	Reset bool `json:"reset,omitempty"`
}

// Boot is one ordered start of the agent. A hello is answered only while the
// boot is armed: ordered and not yet redeemed.
type Boot struct {
	// ID is random and public: it is on the kernel's command line.
	ID string `json:"id"`
	// +optional
	Ordered *metav1.MicroTime `json:"ordered,omitempty"`
	// Redeemed is when the first hello with this ID was answered.
	//
	// +optional
	Redeemed *metav1.MicroTime `json:"redeemed,omitempty"`
	// KeyHash is the SHA-256 of the public key that redeemed it, so that the same
	// agent may say hello again and another may not.
	//
	// +optional
	KeyHash string `json:"keyHash,omitempty"`
	// Level of trust that the agent reached.
	//
	// +optional
	// +kubebuilder:validation:Enum=tpm;media;lan
	Level TrustLevel `json:"level,omitempty"`
	// IP from which the agent calls.
	//
	// +optional
	IP string `json:"ip,omitempty"`
}

// TrustLevel says how far a booted agent is believed.
type TrustLevel string

// The levels, the strongest first.
const (
	TrustTPM   TrustLevel = "tpm"
	TrustMedia TrustLevel = "media"
	TrustLAN   TrustLevel = "lan"
)

// Problem is a diagnosis: what was seen, what it means, what a person does.
type Problem struct {
	// Code is stable; docs/errors has a page for each.
	Code string `json:"code"`
	// Seen is the evidence.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Seen []string `json:"seen,omitempty"`
	// +optional
	Since *metav1.MicroTime `json:"since,omitempty"`
	// NextTry is when ingot tries again by itself; absent: it waits for a change.
	//
	// +optional
	NextTry *metav1.MicroTime `json:"nextTry,omitempty"`
	// +optional
	// +kubebuilder:validation:Minimum=0
	Attempts int32 `json:"attempts,omitempty"`
	// Type is Metal3's errorType.
	//
	// +optional
	Type string `json:"type,omitempty"`
	// Facts fill the remedy's blanks.
	//
	// +optional
	Facts map[string]string `json:"facts,omitempty"`
	// Generation of the BareMetalHost, and Secret version, that it was met at: a
	// change of either ends the wait.
	//
	// +optional
	Generation int64 `json:"generation,omitempty"`
	// +optional
	Secret string `json:"secret,omitempty"`
}

// BMC as it was found at registration.
type BMC struct {
	// Protocol spoken: redfish or ipmi.
	//
	// +optional
	Protocol string `json:"protocol,omitempty"`
	// SystemID is the path of the Redfish ComputerSystem.
	//
	// +optional
	SystemID string `json:"systemID,omitempty"`
	// SystemUUID is the machine's SMBIOS UUID.
	//
	// +optional
	SystemUUID string `json:"systemUUID,omitempty"`
	// SecretVersion is the resourceVersion of the Secret that was let in, at
	// Address.
	//
	// +optional
	SecretVersion string `json:"secretVersion,omitempty"`
	// +optional
	Address string `json:"address,omitempty"`
	// Options is another text whenever the host's annotations say something else
	// of how its BMC is spoken to (ingot.dev/bmc-quirks, bmc-tls, bmc-pin).
	//
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Options string `json:"options,omitempty"`
	// SPKI is the BMC's public key that was believed at first use and is pinned
	// since: "sha256:" and the SHA-256 of its SubjectPublicKeyInfo in hex.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=80
	SPKI string `json:"spki,omitempty"`
	// Quirks that the BMC is dealt with by (docs/reference/quirks.md).
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Quirks []string `json:"quirks,omitempty"`
	// Session that was open on the BMC when this was last written, to be ended
	// after a crash. It is no secret.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Session string `json:"session,omitempty"`
	// MACs that the BMC names as its machine's.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	MACs []string `json:"macs,omitempty"`
}

// InventoryRef points at an inventory.
type InventoryRef struct {
	// Digest of the blob, sha256:HEX.
	Digest string `json:"digest"`
	// +optional
	Taken *metav1.MicroTime `json:"taken,omitempty"`
	// Boot that it was taken in; absent: the BMC told it without a boot.
	//
	// +optional
	Boot string `json:"boot,omitempty"`
	// StepID of the agent's step: the agent of that boot sends its result again
	// to a replica that has not the blob.
	//
	// +optional
	StepID string `json:"stepID,omitempty"`
}

// ImageRef points at a prepared image.
type ImageRef struct {
	URL string `json:"url"`
	// Digest of the manifest, sha256:HEX.
	//
	// +optional
	Digest string `json:"digest,omitempty"`
}

// ConsoleRef points at the last lines of a machine's serial console before a
// failure.
type ConsoleRef struct {
	// At is the problem's since.
	At metav1.MicroTime `json:"at"`
	// Digest of the blob, sha256:HEX. It is a secret one: consoles show secrets.
	//
	// +optional
	Digest string `json:"digest,omitempty"`
	// None is why there are no lines.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=256
	None string `json:"none,omitempty"`
}

// FirstBoot is the report of an installed system after its first start. It is
// evidence for people: nothing waits for it.
type FirstBoot struct {
	At metav1.MicroTime `json:"at"`
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Hostname string `json:"hostname,omitempty"`
	// SSHKeys are the fingerprints of the keys that may log in.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	SSHKeys []string `json:"sshKeys,omitempty"`
}
