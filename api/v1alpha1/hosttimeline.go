package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// MaxTimelineEntries is how many entries a HostTimeline keeps; a writer drops
// the oldest.
const MaxTimelineEntries = 50

// How a phase ended.
const (
	OutcomeOK      = "ok"
	OutcomeFailed  = "failed"
	OutcomeAborted = "aborted"
)

// HostTimeline is what happened to the BareMetalHost of the same name and
// namespace, the newest last. It is written once at the end of each phase.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=hosttimelines,singular=hosttimeline,shortName=ht,categories=ingot
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type HostTimeline struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=50
	Entries []TimelineEntry `json:"entries,omitempty"`
}

// HostTimelineList is a list of HostTimelines.
//
// +kubebuilder:object:root=true
type HostTimelineList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []HostTimeline `json:"items"`
}

// TimelineEntry is one phase that ended.
type TimelineEntry struct {
	// At is when the phase began.
	At metav1.MicroTime `json:"at"`
	// +kubebuilder:validation:MaxLength=64
	Phase string `json:"phase"`
	// Took is how long the phase lasted, as Go prints it: 1m2.5s.
	//
	// +optional
	Took *metav1.Duration `json:"took,omitempty"`
	// Outcome: ok, failed, aborted.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Outcome string `json:"outcome,omitempty"`
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Detail string `json:"detail,omitempty"`
}
